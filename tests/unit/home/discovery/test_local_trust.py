"""Which services are known to trust the home network."""

from pathlib import Path
import re

import pytest

from hearthgate.home.discovery.local_trust import APPS, known_app
from hearthgate.home.model import Origin, Scheme, Service, Target

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "app/hearthgate/home/web/page"


def service(
    name: str,
    title: str | None = None,
    *,
    scheme: Scheme = Scheme.HTTP,
    port: int = 8080,
) -> Service:
    target = Target(scheme, "192.0.2.7", port)
    return Service("s", name, Origin.MANUAL, target, title=title)


@pytest.mark.parametrize(
    ("found", "app"),
    [
        (service("Printer", "OctoPrint Login"), "octoprint"),
        (service('OctoPrint instance "voron"'), "octoprint"),
        (service("voron", "Mainsail"), "moonraker"),
        (service("x", "Transmission Web Interface"), "transmission"),
        (service("x", "qBittorrent WebUI"), "qbittorrent"),
        (service("x", "Radarr"), "servarr"),
        (service("x", "Emby"), "jellyfin"),
        (service("x", "Home Assistant"), "home_assistant"),
        (service("Frigate", port=5000), "frigate"),
        (service("Frigate", port=8971), None),
        (service("x", "Home - CUPS 2.4.2"), "cups"),
        (service("shell", scheme=Scheme.TCP, port=22), "ssh"),
        (service("shell", scheme=Scheme.HTTP, port=22), None),
        (service("names", scheme=Scheme.UDP, port=53), "dns"),
        (service("mail", scheme=Scheme.TCP, port=25), "smtp"),
        (service("Hiccups", "Simplex"), None),
        (service("Photos", "Immich"), None),
    ],
)
def test_an_application_is_known_by_its_name_title_or_port(
    found: Service, app: str | None
) -> None:
    known = known_app(found)
    assert (known and known.id) == app


def test_each_application_has_a_sentence_and_its_setting_in_the_documentation() -> None:
    script = (PAGE / "js/local-trust.js").read_text()
    sentences = dict(re.findall(r'^  (\w+): "trust\.(\w+)",$', script, re.MULTILINE))
    assert sentences == {app.id: app.id for app in APPS}
    documented = (ROOT / "DOCS.md").read_text()
    names = re.findall(r"^\| ([^|]+) \| [^|]{10,} \|$", documented, re.MULTILINE)
    assert {app.name for app in APPS} <= set(names)
