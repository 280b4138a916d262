"""Protocols to which a service may switch, beside WebSocket (RFC 9110 §7.8).

    "tailscale-control-protocol" ─▶ protocol_mistake ─▶ None, or why not

The edge carries what comes behind such a switch without looking at it. So the user
names what a service needs, and what could carry whole requests of HTTP is never let in.
"""

import re
from typing import Final

# A household's service has one of its own, if any.
PROTOCOLS_MAX: Final = 8

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}(?:/[a-z0-9][a-z0-9.-]{0,15})?")
# HTTP in any form, and what would hide it. A WebSocket needs no permission.
_NEVER: Final = re.compile(
    r"(?:h[0-9]+c?(?:-.*)?|https?[0-9.-]*|tls.*|ssl.*|connect(?:-.*)?)(?:/.*)?"
)


def protocol_mistake(name: object) -> str | None:
    """Tell why a name cannot be allowed; None: it can."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "expected the lower-case name of a protocol, as in its Upgrade header"
    if name.startswith("websocket"):
        return "WebSockets need no permission"
    if _NEVER.fullmatch(name):
        return "this protocol could carry requests past the access rules"
    return None
