"""The files of the add-on store, held against the rules of those who read them.

Supervisor: what its schema and its file search take. Linter: keys that it knows, and
that none repeats its default. Neither can run here; their rules are written down below.
"""

import base64
import dataclasses
from pathlib import Path
import re
import shutil
import struct
import subprocess
from typing import Any

import pytest
import voluptuous as vol
import yaml

from hearthgate.home.settings import HomeSettings

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
S6 = ROOT / "rootfs/etc/s6-overlay/s6-rc.d"

# What both know of the keys that a home could use, and the linter's defaults.
DEFAULTS: dict[str, object] = {
    "advanced": False,
    "apparmor": True,
    "audio": False,
    "auth_api": False,
    "backup": "hot",
    "boot": "auto",
    "docker_api": False,
    "full_access": False,
    "hassio_api": False,
    "hassio_role": "default",
    "homeassistant_api": False,
    "host_dbus": False,
    "host_ipc": False,
    "host_network": False,
    "host_pid": False,
    "host_uts": False,
    "ingress": False,
    "ingress_port": 8099,
    "ingress_stream": False,
    "init": True,
    "options": {},
    "panel_admin": True,
    "panel_icon": "mdi:puzzle",
    "schema": {},
    "stage": "stable",
    "startup": "application",
    "timeout": 10,
    "tmpfs": False,
    "udev": False,
    "ulimits": {},
}
ELEMENT = re.compile(
    r"(bool|email|url|port|str(\(\d*,\d*\))?|password(\(\d*,\d*\))?"
    r"|int(\(\d*,\d*\))?|float(\([\d.]*,[\d.]*\))?|match\(.*\)|list\([^)]+\))\??"
)
FLAGS: dict[Any, Any] = {
    vol.Optional(key): bool
    for key, value in DEFAULTS.items()
    if isinstance(value, bool)
}
SUPERVISOR = vol.Schema(
    {
        vol.Required("name"): vol.All(str, vol.Length(min=1)),
        vol.Required("version"): vol.Match(r"\d+\.\d+\.\d+$"),
        vol.Required("slug"): vol.Match(r"[-_.A-Za-z0-9]+$"),
        vol.Required("description"): vol.All(str, vol.Length(min=1)),
        vol.Required("arch"): [vol.In(["aarch64", "amd64"])],
        vol.Optional("url"): vol.Url(),
        vol.Optional("image"): vol.Match(r"[a-z0-9.:-]+(/[a-z0-9._{}-]+)+$"),
        vol.Optional("homeassistant"): str,
        vol.Optional("ingress_port"): vol.Range(0, 65535),
        vol.Optional("timeout"): vol.Range(10, 300),
        vol.Optional("panel_icon"): vol.Match(r"mdi:[a-z0-9-]+$"),
        vol.Optional("panel_title"): str,
        vol.Optional("services"): [vol.Match(r"(mqtt|mysql):(provide|want|need)$")],
        vol.Optional("backup_exclude"): [str],
        vol.Optional("breaking_versions"): [str],
        vol.Optional("options"): dict,
        vol.Optional("schema"): {str: vol.All(str, vol.Match(ELEMENT.pattern + "$"))},
        vol.Optional("privileged"): [str],
        **FLAGS,
    }
)


def test_the_supervisor_takes_the_configuration() -> None:
    SUPERVISOR(CONFIG)


def test_the_linter_finds_no_default_repeated_and_no_key_that_it_refuses() -> None:
    repeated = [key for key in CONFIG if DEFAULTS.get(key) == CONFIG[key]]
    assert not repeated
    refused = {"watchdog", "webui", "auto_uart", "codenotary", "advanced", "map"}
    assert not refused & CONFIG.keys()
    assert CONFIG["ingress_port"] != 0 or CONFIG["host_network"]


def test_both_architectures_that_are_left_are_offered() -> None:
    assert CONFIG["arch"] == ["aarch64", "amd64"]


def rating(config: dict[str, Any]) -> int:
    """Compute the security rating like the Supervisor."""
    points = 5
    if config.get("apparmor", True) is False:
        points -= 1
    elif (ROOT / "apparmor.txt").exists():
        points += 1
    if config.get("ingress"):
        points += 2
    elif config.get("auth_api"):
        points += 1
    rights = {"BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH", "NET_ADMIN", "NET_RAW"}
    rights |= {"PERFMON", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"}
    if rights & set(config.get("privileged", ())) or config.get("kernel_modules"):
        points -= 1
    points -= {"manager": 1, "admin": 2}.get(config.get("hassio_role", ""), 0)
    points -= bool(config.get("host_network"))
    points -= 2 * bool(config.get("host_pid"))
    if config.get("docker_api") or config.get("full_access"):
        return 1
    return max(1, min(8, points))


def test_the_security_rating_is_seven_and_eight_without_the_host_network() -> None:
    assert rating(CONFIG) == 7
    assert rating({**CONFIG, "host_network": False}) == 8


def test_the_add_on_stops_later_than_its_service_and_both_before_the_engine() -> None:
    kill_ms = int((S6 / "hearthgate/timeout-kill").read_text())
    assert kill_ms < CONFIG["timeout"] * 1000


@pytest.mark.parametrize("kind", ["config", "repository", "build"])
def test_nothing_else_in_the_repository_looks_like_a_file_of_the_store(
    kind: str,
) -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    found = {
        one
        for one in listed
        if Path(one).stem == kind and Path(one).suffix in {".yaml", ".yml", ".json"}
    }
    assert found == ({f"{kind}.yaml"} if kind != "build" else set())


def test_the_repository_has_a_name() -> None:
    told = yaml.safe_load((ROOT / "repository.yaml").read_text())
    assert told["name"] == "Hearthgate"
    assert told.keys() <= {"name", "url", "maintainer"}


def test_option_texts_come_in_every_language_of_the_page() -> None:
    page = ROOT / "app/hearthgate/home/web/page/translations"
    wanted = {one.stem for one in page.glob("*.json")}
    assert {one.stem for one in (ROOT / "translations").iterdir()} == wanted


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_option_has_a_text(language: str) -> None:
    told = yaml.safe_load((ROOT / f"translations/{language}.yaml").read_text())
    assert told.keys() <= {"configuration", "network"}
    assert told["configuration"].keys() == CONFIG["schema"].keys()
    for text in told["configuration"].values():
        assert set(text) == {"name", "description"}


def _settings(of: type[Any], prefix: str = "") -> set[str]:
    names = set()
    for one in dataclasses.fields(of):
        if dataclasses.is_dataclass(one.default_factory):
            names |= _settings(one.default_factory, f"{prefix}{one.name}_")
        else:
            names.add(prefix + one.name)
    return names


def test_every_option_is_a_setting_and_has_no_default_of_its_own() -> None:
    assert set(CONFIG["schema"]) <= _settings(HomeSettings)
    assert "options" not in CONFIG
    assert all(element.endswith("?") for element in CONFIG["schema"].values())


@pytest.mark.parametrize(
    ("name", "size"), [("icon.png", (128, 128)), ("logo.png", (250, 100))]
)
def test_pictures_have_the_size_that_the_store_shows(
    name: str, size: tuple[int, int]
) -> None:
    data = (ROOT / name).read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == size
    assert len(data) < 50_000


# What Home Assistant's frontend leaves of Markdown: any other tag is shown as text, and
# any other address is taken out. No path of ours leads anywhere from there.
SHOWN = {
    *("a", "b", "blockquote", "br", "code", "details", "div", "em", "h1", "h2", "h3"),
    *("hr", "i", "img", "li", "ol", "p", "pre", "span", "strong", "sub", "summary"),
    *("sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ADDRESSES = ("https://", "http://", "mailto:", "data:image/")


@pytest.mark.parametrize("name", ["README.md", "DOCS.md", "CHANGELOG.md"])
def test_what_the_store_shows_has_no_tag_that_it_would_show_as_text(name: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", (ROOT / name).read_text(), flags=re.DOTALL)
    assert set(re.findall(r"</?([a-z][a-z0-9-]*)", text)) <= SHOWN


@pytest.mark.parametrize("name", ["DOCS.md", "CHANGELOG.md"])
def test_what_home_assistant_shows_has_only_links_that_lead_somewhere(
    name: str,
) -> None:
    text = (ROOT / name).read_text()
    found = re.findall(r"\]\(([^)\s]+)", text)
    found += re.findall(r"^\[[^]]+\]: (\S+)", text, re.MULTILINE)
    assert [one for one in found if not one.startswith(ADDRESSES)] == []


@pytest.mark.parametrize("name", ["page", "card"])
def test_the_documentation_has_its_pictures_in_itself(name: str) -> None:
    text = (ROOT / "DOCS.md").read_text()
    assert f"][{name}]" in text
    found = re.search(
        rf"^\[{name}\]: data:image/webp;base64,(\S+)$", text, re.MULTILINE
    )
    assert found is not None
    picture = base64.b64decode(found[1], validate=True)
    assert (picture[:4], picture[8:12]) == (b"RIFF", b"WEBP")
    assert len(picture) < 50_000


def test_git_knows_which_scripts_of_the_image_are_executable() -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--stage", "rootfs"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    modes = {path: line[:6] for line in listed for path in [line.split("\t")[1]]}
    assert modes
    for path, mode in modes.items():
        script = (ROOT / path).read_bytes().startswith(b"#!")
        assert mode == ("100755" if script else "100644"), path


def test_s6_starts_what_the_folders_describe() -> None:
    started = {one.name for one in (S6 / "user/contents.d").iterdir()}
    described = {one.parent.name for one in S6.glob("*/type")}
    assert started == described == {"hearthgate"}
    assert (S6 / "hearthgate/type").read_text() == "longrun\n"
    for script in ("run", "finish"):
        subprocess.run(["sh", "-n", S6 / "hearthgate" / script], check=True)


def test_the_supervisor_finds_one_profile_that_it_can_rename() -> None:
    text = (ROOT / "apparmor.txt").read_text()
    assert re.findall(r"^profile ([^ ]+).*$", text, re.MULTILINE) == ["hearthgate"]


def test_apparmor_understands_the_profile_under_its_full_name() -> None:
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
    if parser is None:
        pytest.skip("apparmor_parser is not installed")
    text = (ROOT / "apparmor.txt").read_text()
    renamed = text.replace("\nprofile hearthgate ", "\nprofile 1a2b3c4d_hearthgate ", 1)
    done = subprocess.run(
        [parser, "--skip-kernel-load", "--skip-cache", "--names"],
        input=renamed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "1a2b3c4d_hearthgate",
        "1a2b3c4d_hearthgate//agent",
        "1a2b3c4d_hearthgate//agent//edge",
    ]


def test_agent_and_edge_have_no_shell_and_no_sockets_of_strangers() -> None:
    """With the machine's network comes everybody's abstract UNIX socket."""
    text = (ROOT / "apparmor.txt").read_text()
    inner = text[text.index("  profile agent ") :]
    rules = [line.strip() for line in inner.splitlines()]
    ours = "unix type=stream peer=(label=**hearthgate**),"
    assert [rule for rule in rules if rule.startswith("unix")] == [ours, ours]
    started = [
        rule for rule in rules if re.search(r"\b(ix|mrix|ixmr|cx|px|ux)\b", rule)
    ]
    assert not [rule for rule in started if re.search(r"\b(sh|dash|bash|env)\b", rule)]
    assert len(started) == 5  # python, ldconfig, setpriv twice, haproxy


def test_no_profile_has_a_capability_or_reaches_the_kernel_s_raw_network() -> None:
    lines = (ROOT / "apparmor.txt").read_text().splitlines()
    rules = [line.strip() for line in lines if not line.strip().startswith("#")]
    for word in ("capability", "mount", "ptrace", "userns", "change_profile"):
        assert not [rule for rule in rules if rule.startswith(word)], word
    networks = {rule for rule in rules if rule.startswith("network")}
    assert networks == {
        *("network inet stream,", "network inet6 stream,"),
        *("network inet dgram,", "network inet6 dgram,", "network netlink raw,"),
    }
