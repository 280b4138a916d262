"""Which request headers a visitor must not bring, because services believe them.

Proxies write these, so services trust them for the address, the scheme, the host or
even the user. The edge is the only proxy before them that a service may believe.
"""

from typing import Final

# Each stands for itself and for its spelling with underscores: CGI, WSGI and PHP map
# both to the same variable. A trailing * means every header that begins so.
UNTRUSTED: Final = (
    "x-forwarded*",
    "forwarded*",  # RFC 7239, and forwarded-for of old proxies
    "x-original-*",  # -url and -host override the path in IIS, Symfony, Laminas
    "x-rewrite-url",
    "x-host",
    "x-http-host-override",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "cf-connecting-ip*",
    "fastly-client-ip",
    "fly-client-ip",
    "x-envoy-external-address",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-remote-*",  # the user of a proxy: Home Assistant's ingress, Gitea, Jellyfin …
    "remote-*",  # Authelia: Remote-User, Remote-Groups, Remote-Email
    "x-authenticated-*",
    "x-auth-request-*",  # oauth2-proxy
    "x-authentik-*",
    "x-webauth-*",  # Grafana
    "x-pomerium-*",
    "x-ssl-*",
    "ssl-client-*",
    "x-client-cert*",
    "x-ingress-path",  # the Supervisor's ingress
    "x-hass-*",
    "x-supervisor-*",
    "x-hassio-*",
    "proxy",  # httpoxy: becomes HTTP_PROXY in CGI
    "http2-settings",  # half of an upgrade to h2c
    "keep-alive",  # meant for the nearest end of a connection, as the next one
    "proxy-authorization",  # meant for the nearest proxy, and that is us
)


def _spellings(name: str) -> str:
    wild = name.endswith("*")
    stem = name.rstrip("*").replace("-", "[-_]")
    return stem + (".*" if wild else "")


def pattern() -> str:
    """Return one regular expression over whole header names.

    One pass with PCRE's compiler is cheaper than thirty rules that each walk the list.
    Holds neither blanks nor quotes, so it is one word in a configuration.
    """
    return "^(?i:" + "|".join(_spellings(name) for name in UNTRUSTED) + ")$"
