"""What is counted: refusals and traffic. Below all others of the relay."""
