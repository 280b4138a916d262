"""compose.yaml, the systemd unit, and what docs/relay.md tells to put beside them."""

import configparser
from pathlib import Path
import re
from typing import Any

import yaml

from hearthgate.wire.ports import read_ports

PROCESSES = 128
ROOT = Path(__file__).parents[2]


def published(compose: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return host ports, container ports and protocol of what is published."""
    found = set()
    for one in compose["services"]["relay"]["ports"]:
        ports, _, protocol = one.partition("/")
        outside, _, inside = ports.partition(":")
        found.add((outside, inside, protocol or "tcp"))
    return found


def test_the_ports_of_visitors_are_published() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert published(compose) == {("80", "80", "tcp"), ("443", "443", "tcp")}


def test_the_example_for_forwards_publishes_ports_of_both_kinds_unchanged() -> None:
    """The relay tells homes and services the numbers that it listens on."""
    text = (ROOT / "docs/relay.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (found,) = (published(yaml.safe_load(one)) for one in blocks if "/udp" in one)
    assert ("443", "443", "udp") in found  # where homes send their datagrams
    assert {protocol for _, _, protocol in found} == {"tcp", "udp"}
    assert all(outside == inside for outside, inside, _ in found)
    ranges = {(outside, protocol) for outside, _, protocol in found if "-" in outside}
    assert {protocol for _, protocol in ranges} == {"tcp", "udp"}
    setting = re.search(r"HEARTHGATE_FORWARD_PORTS=([\d-]+)", text)
    assert setting is not None
    assert {outside for outside, _ in ranges} == {setting[1]}
    assert read_ports(setting[1]).first >= 1024


def test_one_variable_names_a_published_image_instead_of_one_built_here() -> None:
    relay = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["relay"]
    assert relay["image"] == "${HEARTHGATE_IMAGE:-hearthgate-relay}"
    assert relay["build"]["target"] == "relay"


def test_memory_and_processes_of_a_relay_are_bounded() -> None:
    relay = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["relay"]
    assert relay["mem_limit"] == relay["memswap_limit"] == "${RELAY_MEMORY:-1g}"
    assert relay["pids_limit"] == PROCESSES
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keeps its case
    unit.read(ROOT / "systemd/hearthgate-relay.service")
    service = unit["Service"]
    assert service["MemoryMax"] == "75%"
    assert service["MemorySwapMax"] == "0"
    assert service["TasksMax"] == str(PROCESSES)


def test_the_documents_tell_the_bounds_of_the_machine() -> None:
    text = (ROOT / "docs/limits.md").read_text()
    assert "1 GiB, or `RELAY_MEMORY` in `.env` | 75 % of the machine" in text
    assert f"| {PROCESSES} | {PROCESSES} |" in text
