"""Which request headers a visitor must not bring, because services believe them.

Proxies write these, so services trust them for the address, the scheme, the host or
even the user. The edge is the only proxy before them that a service may believe.

    not only letters, digits and dashes ─▶ dropped: CGI, WSGI, Rack and PHP make the
                                           same variable of Remote-User and Remote.User
    a WORD between its dashes           ─▶ dropped
    a FAMILY                            ─▶ dropped
    anything else                       ─▶ passes; EXCEPTIONS pass in any case

docs/threat-model.md says the same for people.
"""

from typing import Final

# Whose names are made of words between dashes, any of which says what they are about.
WORDS: Final = (
    # the address: X-Real-IP, CF-Connecting-IPv6, X-Azure-ClientIP, X-Remote-Addr …
    *("ip", "ipv4", "ipv6", "addr", "address"),
    *("clientip", "realip", "remoteip", "socketip", "srcip", "userip"),
    *("ipaddr", "ipaddress"),
    # what a proxy saw: X-Forwarded-For, Forwarded (RFC 7239), X-Forward-For …
    *("forward", "forwarded", "forwardedfor", "forwardfor"),
    # who it is, by single sign-on: X-Amzn-Oidc-Identity, X-Goog-IAP-JWT-Assertion …
    *("iap", "oidc", "saml", "shib", "sso", "webauth", "remoteuser", "authuser"),
    # the visitor's certificate, or how it came: SSL-Client-Verify, X-ARR-SSL, X-TLS-…
    *("ssl", "tls", "clientcert", "sslclientcert", "https"),
)
# A star stands for any letters, digits and dashes, or for nothing.
FAMILIES: Final = (
    # The user, whatever stands before: X-Remote-User, IV-User, X-Auth-Username.
    *("user", "*-user", "username", "*-username", "userinfo", "*-userinfo"),
    *("groups", "*-groups", "roles", "*-roles", "email", "*-email", "mail"),
    *("upn", "eppn", "displayname", "*-dn", "*-jwt-assertion"),
    "remote-*",  # Authelia, Pangolin, YunoHost, Apache
    "x-remote-*",  # Home Assistant's ingress, and many
    "auth-user*",
    *("auth-mail", "auth-uid", "auth-cn"),  # LemonLDAP::NG
    "x-auth-user*",
    *("x-auth-mail", "x-auth-fullname", "x-auth-displayname"),
    *("x-auth-group", "x-auth-role", "x-group", "x-role", "x-fullname"),
    "x-auth-request-*",  # oauth2-proxy
    "x-auth-subject",  # gatekeepers of Keycloak
    "x-auth-name",
    "x-authenticated-*",
    "x-authentik-*",
    "x-authelia-*",
    "x-pomerium-*",
    "x-vouch-*",
    "x-token-user-*",  # Caddy's security module, as the next one
    "x-token-subject",
    "x-consumer-*",  # Kong and APISIX
    "x-credential-*",
    "x-anonymous-consumer",
    "x-teleport-*",
    "teleport-*",
    "x-organizr-*",
    "x-cosmos-*",
    "x-ldap-*",
    "x-jwt-payload",  # Istio, as the next one: a token's content, without its signature
    "x-jwt-claim-*",
    "x-rh-identity",
    "x-sp-user*",  # ShinyProxy
    "kubeflow-*",
    # Shibboleth, if told to use headers
    *("affiliation", "entitlement", "persistent-id", "targeted-id"),
    "x-sandstorm-*",
    "x-user-email",
    "x-user-name",
    "x-proxy-*",
    "x-ms-client-principal*",  # Azure, as the next three
    "x-ms-token-*",
    "x-arr-*",
    "x-azure-*",
    "x-goog-authenticated-*",  # Google, as the next three
    "x-endpoint-api-*",
    "x-apigateway-*",
    "x-appengine-*",
    "x-amzn-mtls-*",
    "tailscale-*",  # what its serve says; its clients say X-Tailscale-…
    "ngrok-*",
    "ynh-*",
    "oam-*",  # Oracle, as the next one
    "osso-*",
    "iv-*",  # IBM
    "sm-*",  # SiteMinder
    "cas-*",
    "mellon-*",
    "wl-proxy-*",
    "client-cert*",  # RFC 9440
    "x-client-cert*",
    "x-client-verify",
    "x-client-s-*",
    # The address and the way: content delivery networks and load balancers.
    "cf-*",
    "cdn-*",
    "x-cdn-*",
    "cloudfront-*",
    "fastly-*",
    "fly-*",
    "akamai-*",
    "x-akamai-*",
    "true-client-*",
    "x-nf-*",
    "x-vercel-*",
    "x-sucuri-*",
    "x-envoy-*",
    "x-real-*",
    "x-cluster-*",
    "x-originating-*",
    "x-coming-from",
    "x-forwarder-for",
    # The host, the scheme and the path, which some believe more than the request.
    "x-original-*",  # IIS, Symfony, Laminas
    "x-rewrite-*",
    "x-override-*",
    "x-request-uri",
    "x-script-name",
    "x-host",
    "x-http-host*",
    "disguised-host",
    "x-scheme",
    "x-proto",
    "x-url-scheme",
    "front-end-*",
    # What only a platform around the service may say.
    "x-ingress-*",  # the Supervisor's ingress, as the next three
    "x-hass-*",
    "x-supervisor-*",
    "x-hassio-*",
    "x-hearthgate-*",
    "hearthgate-*",
    "x-accel-*",  # nginx with Rack: which file to send, as the next one
    "x-sendfile-*",
    # What is meant for the nearest proxy, and that is us (RFC 9110 §7.6.1).
    "proxy",  # httpoxy: becomes HTTP_PROXY in CGI
    "proxy-*",
    "keep-alive",
    "trailer",  # none passes
    "http2-settings",  # half of an upgrade to h2c
    "cookie2",
)
# What browsers and other clients say for themselves, and no proxy does. Some of them
# choose as whom somebody acts who may act as others: without the header the service
# would do it as the one who has more rights.
EXCEPTIONS: Final = (
    "sec-fetch-user",  # every browser: whether somebody clicked
    "api-username",  # Discourse
    "auth-email",  # Bitwarden: no login without it
    "es-security-runas-user",
    "impersonate-*",  # Kubernetes
    "x-api-user",  # Habitica
    "x-clickhouse-user",
    "x-plex-username",
    "x-presto-user",
    "x-redmine-switch-user",
    "x-run-as-user",  # Opencast, as the next one
    "x-run-with-roles",
    "x-storage-user",  # OpenStack
    "x-trino-user",
    "x-trino-original-user",
    # What somebody stores with a file, under names of any letters. They are part of the
    # signature, so a request without one of them is refused.
    "x-amz-meta-*",  # S3: MinIO, Garage …
    "x-goog-meta-*",
    "x-ms-meta-*",
    "x-account-meta-*",  # OpenStack, as the next two
    "x-container-meta-*",
    "x-object-meta-*",
)


def pattern() -> str:
    """Return one regular expression over whole header names, in lower case.

    One pass with PCRE's compiler is cheaper than a hundred rules that each walk the
    list. Holds neither blanks nor quotes, so it is one word in a configuration.
    """
    kept = "|".join(name.replace("*", ".*") for name in EXCEPTIONS)
    words = "|".join(WORDS)
    # One search for all that may stand at the end is cheaper than one for each.
    ends = "|".join(name[2:] for name in FAMILIES if name.startswith("*-"))
    rest = "|".join(
        name.replace("*", "[a-z0-9-]*") for name in FAMILIES if name[0] != "*"
    )
    return (
        f"^(?i:(?!(?:{kept})$)(?:[a-z0-9-]*+[^a-z0-9-].*"
        f"|(?:[a-z0-9]*+-)*?(?:(?:{words})(?:-[a-z0-9-]*)?|(?<=-)(?:{ends}))"
        f"|{rest}))$"
    )
