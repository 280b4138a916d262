"""End TLS at home and speak HTTP: a supervised HAProxy, replaced as a whole.

    routes ─▶ config.render ─▶ haproxy -c ─▶ new generation ─▶ door turns ─▶ old drains
    channel ─▶ Edge.hand_over ─▶ door ─(SCM_RIGHTS)─▶ HAProxy ─▶ service
    HAProxy ─(a password that it does not know)─▶ desk ─▶ access ─▶ HAProxy

Python steers, and sees nothing of a visitor but such a password. This package does not
dial channels, does not obtain certificates, and decides nothing about what is exposed.
"""

from hearthgate.home.edge.edge import Edge
from hearthgate.home.edge.errors import EdgeError, EdgeFailedError, EdgeRefusedError
from hearthgate.home.edge.routes import Route
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.home.edge.traffic import Traffic

__all__ = [
    "Edge",
    "EdgeError",
    "EdgeFailedError",
    "EdgeRefusedError",
    "EdgeSettings",
    "Route",
    "Traffic",
]
