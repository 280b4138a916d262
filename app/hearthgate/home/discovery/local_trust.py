"""Which services trust the home network, so that the owner hears of it at the switch.

    Service ─▶ App | None        by its name, its page's title, or its port

Visitors reach a service from the home's own address. What lets its own network in
without a password, or bans addresses, then takes them all for one who lives there. Only
applications whose documentation says so are here; DOCS.md has the setting of each, and
the page the sentence. Silence about another application means nothing.
"""

from dataclasses import dataclass
import re
from typing import Final

from hearthgate.home.model import Scheme, Service

__all__ = ["APPS", "App", "known_app"]


@dataclass(frozen=True, slots=True)
class App:
    """An application that trusts addresses of the home, or bans by address."""

    id: str  # the page has a sentence for it
    name: str
    words: str = ""  # of its name or title
    ports: frozenset[int] = frozenset()  # empty: at any port
    schemes: frozenset[Scheme] = frozenset(Scheme)

    def fits(self, service: Service) -> bool:
        """Tell whether a service looks like it."""
        target = service.target
        if target.scheme not in self.schemes:
            return False
        if self.ports and target.port not in self.ports:
            return False
        texts = (service.name, service.title or "")
        words = rf"\b(?:{self.words})\b"
        return not self.words or any(
            re.search(words, text, re.IGNORECASE) for text in texts
        )


_TCP: Final = frozenset({Scheme.TCP})
_RAW: Final = frozenset({Scheme.TCP, Scheme.UDP})

APPS: Final = (
    App("octoprint", "OctoPrint", "octoprint"),
    App("moonraker", "Moonraker", "moonraker|mainsail|fluidd|klipper"),
    App("transmission", "Transmission", "transmission"),
    App("qbittorrent", "qBittorrent", "qbittorrent"),
    App("servarr", "Sonarr, Radarr", "sonarr|radarr|lidarr|readarr|prowlarr|whisparr"),
    App("sabnzbd", "SABnzbd", "sabnzbd"),
    App("plex", "Plex", "plex"),
    App("jellyfin", "Jellyfin, Emby", "jellyfin|emby"),
    App("home_assistant", "Home Assistant", "home ?assistant"),
    # Its other port, 8971, asks for a login.
    App("frigate", "Frigate", "frigate", frozenset({5000})),
    App("cups", "CUPS", "cups"),
    App("open_page", "Node-RED, Zigbee2MQTT", "node-red|zigbee2mqtt"),
    App("ssh", "SSH", ports=frozenset({22, 2222}), schemes=_TCP),
    App("smtp", "SMTP", ports=frozenset({25, 465, 587}), schemes=_TCP),
    App("postgresql", "PostgreSQL", ports=frozenset({5432}), schemes=_TCP),
    App("dns", "DNS", ports=frozenset({53}), schemes=_RAW),
)


def known_app(service: Service) -> App | None:
    """Return what a service is known to be; None if it is nothing of these."""
    return next((app for app in APPS if app.fits(service)), None)
