"""Who may use the page: the password, sessions, wrong attempts, ingress users."""
