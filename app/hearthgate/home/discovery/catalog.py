"""What the mDNS service types mean: which have a page, where, and what they are.

    _wled._tcp ─▶ Entry(kind=light, scheme=http)          the announced port has a page
    _ipp._tcp  ─▶ Entry(kind=printer, admin_url=True)     TXT adminurl says where
    _smb._tcp  ─▶ Entry(kind=nas, role=hint)              only tells what the device is

The page path in a TXT record is deliberately not here: anything on the network could
make us request any path of any device. We ask for `/` and for paths in this table.
Holds data; reading an announcement is sighting.py.
"""

from dataclasses import dataclass
from enum import StrEnum
import re

from hearthgate.home.model import Scheme

__all__ = ["CATALOG", "NEVER_PROBED_PORTS", "Entry", "Kind", "Role", "guess_kind"]


class Kind(StrEnum):
    """What a service is; the page has a fallback icon for each."""

    WEB = "web"
    HOME_ASSISTANT = "home-assistant"
    PRINTER = "printer"
    PRINTER_3D = "3d-printer"
    CAMERA = "camera"
    NAS = "nas"
    ROUTER = "router"
    LIGHT = "light"
    MEDIA = "media"
    SENSOR = "sensor"
    ENERGY = "energy"
    BRIDGE = "bridge"  # Zigbee, Hue, Matter: a box that speaks for other devices


class Role(StrEnum):
    """How much an announcement promises."""

    PAGE = "page"  # has a web page: shown even while it doesn't answer
    MAYBE = "maybe"  # may have one: shown once it answered
    HINT = "hint"  # has none; only tells the kind of the device


@dataclass(frozen=True, slots=True)
class Entry:
    """What one service type means."""

    kind: Kind
    role: Role = Role.PAGE
    scheme: Scheme = Scheme.HTTP  # tried first
    port: int | None = None  # None: the announced one
    paths: tuple[str, ...] = ("/",)  # where the title is, in this order
    admin_url: bool = False  # TXT adminurl overrules scheme and port


# In order of preference: of several announcements for one address the first gives the
# service its id, name and kind. Types with a leading underscore as in RFC 6763 §4.1.2.
CATALOG: dict[str, Entry] = {
    "_home-assistant._tcp": Entry(Kind.HOME_ASSISTANT),
    "_octoprint._tcp": Entry(Kind.PRINTER_3D),
    "_moonraker._tcp": Entry(Kind.PRINTER_3D, role=Role.MAYBE, port=80),
    "_wled._tcp": Entry(Kind.LIGHT),
    "_shelly._tcp": Entry(Kind.LIGHT),
    "_hue._tcp": Entry(Kind.BRIDGE, scheme=Scheme.HTTPS),
    "_nanoleafapi._tcp": Entry(Kind.LIGHT, role=Role.MAYBE),
    "_elg._tcp": Entry(Kind.LIGHT, role=Role.MAYBE),
    "_esphomelib._tcp": Entry(Kind.SENSOR, role=Role.MAYBE, port=80),
    "_slzb-06._tcp": Entry(Kind.BRIDGE, port=80),
    "_xzg._tcp": Entry(Kind.BRIDGE, port=80),
    "_zigstar_gw._tcp": Entry(Kind.BRIDGE, port=80),
    "_uzg-01._tcp": Entry(Kind.BRIDGE, port=80),
    "_bond._tcp": Entry(Kind.BRIDGE, role=Role.MAYBE),
    "_axis-video._tcp": Entry(Kind.CAMERA),
    "_plexmediasvr._tcp": Entry(Kind.MEDIA, paths=("/web/index.html", "/")),
    "_jellyfin._tcp": Entry(Kind.MEDIA),
    "_volumio._tcp": Entry(Kind.MEDIA, role=Role.MAYBE, port=80),
    "_xbmc-jsonrpc-h._tcp": Entry(Kind.MEDIA),
    "_sonos._tcp": Entry(Kind.MEDIA, role=Role.MAYBE, port=1400),
    "_daap._tcp": Entry(Kind.MEDIA, role=Role.MAYBE),
    "_enphase-envoy._tcp": Entry(Kind.ENERGY),
    "_fbx-api._tcp": Entry(Kind.ROUTER),
    "_ipp._tcp": Entry(Kind.PRINTER, role=Role.MAYBE, port=80, admin_url=True),
    "_ipps._tcp": Entry(Kind.PRINTER, role=Role.MAYBE, port=80, admin_url=True),
    "_printer._tcp": Entry(Kind.PRINTER, role=Role.MAYBE, port=80, admin_url=True),
    "_pdl-datastream._tcp": Entry(
        Kind.PRINTER, role=Role.MAYBE, port=80, admin_url=True
    ),
    "_http._tcp": Entry(Kind.WEB),
    "_https._tcp": Entry(Kind.WEB, scheme=Scheme.HTTPS),
    "_smb._tcp": Entry(Kind.NAS, role=Role.HINT),
    "_afpovertcp._tcp": Entry(Kind.NAS, role=Role.HINT),
    "_nfs._tcp": Entry(Kind.NAS, role=Role.HINT),
    "_googlecast._tcp": Entry(Kind.MEDIA, role=Role.HINT),
    "_airplay._tcp": Entry(Kind.MEDIA, role=Role.HINT),
    "_rtsp._tcp": Entry(Kind.CAMERA, role=Role.HINT),
    "_mqtt._tcp": Entry(Kind.WEB, role=Role.HINT),
}

# A GET there does harm or nothing: 9100 and its neighbours print whatever they are
# sent, 515 is another print queue, the rest are shells, mail, name and file servers.
NEVER_PROBED_PORTS = frozenset(
    {21, 22, 23, 25, 53, 110, 111, 135, 139, 143, 389, 445, 465, 515, 554, 587, 636}
    | {853, 873, 993, 995, 1883, 2049, 3306, 3389, 5353, 5432, 5900, 6379, 8883}
    | set(range(9100, 9108))
)

# Names and titles that tell more than `_http._tcp` does. Only pictures depend on it.
_WORDS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(rf"\b(?:{words})", re.IGNORECASE))
    for kind, words in (
        (Kind.HOME_ASSISTANT, r"home ?assistant"),
        (Kind.PRINTER_3D, r"octoprint|mainsail|fluidd|klipper|prusa|bambu"),
        (Kind.PRINTER, r"laserjet|officejet|printer|brother|epson|kyocera|canon"),
        (Kind.CAMERA, r"frigate|camera|reolink|hikvision|axis|blue ?iris|ipcam"),
        (Kind.NAS, r"synology|diskstation|qnap|truenas|openmediavault|unraid|nas\b"),
        (Kind.ROUTER, r"fritz!?box|openwrt|router|unifi|opnsense|pfsense|mikrotik"),
        (Kind.MEDIA, r"plex|jellyfin|emby|kodi|volumio|sonos|music assistant"),
        (Kind.ENERGY, r"envoy|fronius|solaredge|victron|inverter|evcc|wallbox"),
        (Kind.LIGHT, r"wled|nanoleaf|shelly|tasmota"),
        (Kind.BRIDGE, r"zigbee|z-wave|philips hue|deconz"),
    )
)


def guess_kind(*texts: str | None) -> Kind:
    """Return what names and titles sound like; WEB if like nothing known."""
    joined = " ".join(text for text in texts if text)
    for kind, words in _WORDS:
        if words.search(joined):
            return kind
    return Kind.WEB
