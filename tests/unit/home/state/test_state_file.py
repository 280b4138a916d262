"""The home's state file: what goes in comes out, and nothing else gets in."""

from copy import deepcopy
import json
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol

from hearthgate.home.model import Access, Exposure, Origin, Scheme, Service, Target
from hearthgate.home.state.state import HomeState, Membership
from hearthgate.home.state.state_file import (
    STATE_SCHEMA,
    dump_state,
    home_state_store,
    load_state,
)

RELAY = Membership(
    id="cottage",
    name="cottage",
    host="relay.example.com",
    port=443,
    fingerprint="ab" * 32,
    home_id="h-1",
    joined_at=1_764_000_000,
)
LAMP = Service(
    id="lamp",
    name="Lamp: “living room”",
    origin=Origin.MANUAL,
    target=Target(Scheme.HTTP, "192.168.1.20", 3000),
    kind="printer",
)
PUBLIC = Exposure(
    service_id="lamp",
    name="Lamp",
    target=Target(Scheme.HTTPS, "fd00::1", 8443),
    relay_id="cottage",
    hostname="lamp.example.com",
    enabled=True,
    access=Access("anna", "$6$rounds=5000$salt$hash/with.dots"),
    was_public=True,
)
STATE = HomeState((RELAY,), (LAMP,), (PUBLIC,))


def plain() -> dict[str, Any]:
    return deepcopy(dump_state(STATE))


def test_all_of_it_comes_back_after_a_restart(tmp_path: Path) -> None:
    home_state_store(tmp_path).write(STATE)
    assert home_state_store(tmp_path).read() == STATE


def test_the_file_can_be_read_by_a_human(tmp_path: Path) -> None:
    home_state_store(tmp_path).write(STATE)
    text = (tmp_path / "state.yaml").read_text()
    assert "address: http://192.168.1.20:3000/" in text
    assert "hostname: lamp.example.com" in text
    assert "joined_at: '2025-11-24T16:00:00+00:00'" in text


def test_a_time_without_quotes_means_the_same(tmp_path: Path) -> None:
    home_state_store(tmp_path).write(STATE)
    path = tmp_path / "state.yaml"
    path.write_text(path.read_text().replace("'", ""))
    assert home_state_store(tmp_path).read() == STATE


def test_an_empty_file_of_version_one_is_an_empty_home(tmp_path: Path) -> None:
    (tmp_path / "state.yaml").write_text("version: 1\n")
    assert home_state_store(tmp_path).read() == HomeState()


def test_an_exposure_may_wait_for_a_relay_that_is_gone() -> None:
    data = plain()
    data["relays"] = []
    assert load_state(STATE_SCHEMA(data)).exposures == (PUBLIC,)


BAD = [
    ("relays", "id", "../../etc"),
    ("relays", "id", ""),
    ("relays", "id", "a" * 65),
    ("relays", "id", "Cottage"),
    ("relays", "id", 7),
    ("relays", "host", "Relay.Example.com"),
    ("relays", "host", "relay.example.com:443"),
    ("relays", "host", "relay example"),
    ("relays", "host", None),
    ("relays", "port", 0),
    ("relays", "port", 65536),
    ("relays", "port", "443"),
    ("relays", "port", True),
    ("relays", "fingerprint", "AB" * 32),
    ("relays", "fingerprint", "ab" * 31),
    ("relays", "home_id", "../h"),
    ("relays", "joined_at", "yesterday"),
    ("relays", "joined_at", None),
    ("services", "id", "a/b"),
    ("services", "name", ""),
    ("services", "name", "  "),
    ("services", "name", "a\nb"),
    ("services", "name", "x" * 200),
    ("services", "address", "http://user@nas/"),
    ("services", "address", "nas/path"),
    ("services", "address", 80),
    ("services", "kind", "<b>"),
    ("exposures", "service", "lamp "),
    ("exposures", "hostname", "Lamp.example.com"),
    ("exposures", "hostname", "lamp.example.com."),
    ("exposures", "hostname", "lamp"),
    ("exposures", "hostname", "*.example.com"),
    ("exposures", "hostname", "192.0.2.1"),
    ("exposures", "hostname", "müller.example.com"),
    ("exposures", "hostname", "a" * 64 + ".example.com"),
    ("exposures", "hostname", ".".join(["a" * 60] * 5)),
    ("exposures", "hostname", None),
    ("exposures", "enabled", "yes"),
    ("exposures", "enabled", 1),
    ("exposures", "relay", "../x"),
    ("exposures", "access", {"username": "anna"}),
    ("exposures", "access", {"username": "a:b", "password_hash": "$6$salt$hash1"}),
    ("exposures", "access", {"username": "anna", "password_hash": "plain text"}),
    ("exposures", "access", {"username": "anna", "password_hash": '$6$x"\nuser b'}),
]


@pytest.mark.parametrize(("group", "key", "value"), BAD)
def test_a_wrong_value_never_gets_in(group: str, key: str, value: object) -> None:
    data = plain()
    data[group][0][key] = value
    with pytest.raises(vol.Invalid):
        STATE_SCHEMA(data)


@pytest.mark.parametrize("group", ["relays", "services", "exposures"])
def test_the_same_entry_twice_never_gets_in(group: str) -> None:
    data = plain()
    data[group] *= 2
    with pytest.raises(vol.Invalid, match="twice"):
        STATE_SCHEMA(data)


def test_one_hostname_for_two_services_never_gets_in() -> None:
    data = plain()
    data["exposures"].append({**data["exposures"][0], "service": "fan"})
    with pytest.raises(vol.Invalid, match="is there twice"):
        STATE_SCHEMA(data)


def a_forward(**changes: object) -> dict[str, Any]:
    return {
        "service": "game",
        "name": "Game",
        "address": "tcp://192.0.2.9:25565",
        "relay": "r1",
        "port": 25565,
        "enabled": True,
        "proxy_protocol": True,
        **changes,
    }


def test_a_forward_is_kept() -> None:
    found = load_state(STATE_SCHEMA({"exposures": [a_forward()]}))
    assert found.forwards[0].public_port == 25565
    assert found.forwards[0].tells_visitor
    assert load_state(STATE_SCHEMA(dump_state(found))) == found


@pytest.mark.parametrize("tells", [True, False])
def test_a_site_that_tells_visitors_addresses_is_kept(tells: bool) -> None:
    site = a_forward(
        address="http://192.0.2.9:80", hostname="a.example.com", proxy_protocol=tells
    )
    del site["port"]
    found = load_state(STATE_SCHEMA({"exposures": [site]}))
    assert found.sites[0].tells_visitor is tells
    dumped = dump_state(found)
    assert load_state(STATE_SCHEMA(dumped)) == found
    # A site that does not looks as it did before there was a choice.
    assert ("proxy_protocol" in dumped["exposures"][0]) is tells


def test_protocols_of_a_site_are_kept_and_left_away_if_there_are_none() -> None:
    """A file without them can be read by a version that does not know them."""
    site: dict[str, object] = {
        "service": "headscale",
        "name": "Headscale",
        "address": "http://192.0.2.9:8080",
        "relay": "r1",
        "hostname": "vpn.example.com",
        "enabled": True,
    }
    without = load_state(STATE_SCHEMA({"exposures": [site]}))
    assert "protocols" not in dump_state(without)["exposures"][0]
    site["protocols"] = ["tailscale-control-protocol"]
    found = load_state(STATE_SCHEMA({"exposures": [site]}))
    assert found.sites[0].protocols == ("tailscale-control-protocol",)
    assert load_state(STATE_SCHEMA(dump_state(found))) == found
    for wrong in (["h2c"], ["Upper"], ["a b"], [""], [1], ["x"] * 9, "x"):
        with pytest.raises(vol.Invalid):
            STATE_SCHEMA({"exposures": [{**site, "protocols": wrong}]})


@pytest.mark.parametrize(
    "changes",
    [
        {"hostname": "a.example.com"},
        {"port": 0},
        {"address": "http://192.0.2.9:80"},
        {"port": 65536},
    ],
)
def test_what_is_neither_site_nor_forward_never_gets_in(
    changes: dict[str, object],
) -> None:
    with pytest.raises(vol.Invalid):
        STATE_SCHEMA({"exposures": [a_forward(**changes)]})


def test_one_port_for_two_services_never_gets_in() -> None:
    both = [a_forward(), a_forward(service="other")]
    with pytest.raises(vol.Invalid, match="is there twice"):
        STATE_SCHEMA({"exposures": both})
    udp = a_forward(service="other", address="udp://192.0.2.9:25565")
    STATE_SCHEMA({"exposures": [a_forward(), udp]})


def test_home_assistant_may_switch_nothing_that_version_2_let_it_switch(
    tmp_path: Path,
) -> None:
    """Somebody turned on what is on; who did is not known of what is off."""
    second = {"version": 2, **plain()}
    (live,) = second["exposures"]
    del live["hass_may_switch"], live["was_public"]
    off = {**live, "service": "den", "hostname": "den.example.com", "enabled": False}
    second["exposures"] = [live, off]
    (tmp_path / "state.yaml").write_text(json.dumps(second))
    found = home_state_store(tmp_path).read()
    assert [one.hass_may_switch for one in found.exposures] == [False, False]
    assert [one.was_public for one in found.exposures] == [True, False]


def test_a_file_of_version_1_is_read_as_it_was(tmp_path: Path) -> None:
    first = {"version": 1, **plain()}
    (tmp_path / "state.yaml").write_text(json.dumps(first))
    assert home_state_store(tmp_path).read() == load_state(STATE_SCHEMA(plain()))


def test_an_unknown_key_never_gets_in() -> None:
    data = plain()
    data["exposures"][0]["private_key"] = "x"
    with pytest.raises(vol.Invalid):
        STATE_SCHEMA(data)


@pytest.mark.parametrize("group", ["relays", "services", "exposures"])
def test_more_than_a_home_has_never_gets_in(group: str) -> None:
    data = plain()
    data[group] = data[group] * 501
    with pytest.raises(vol.Invalid):
        STATE_SCHEMA(data)


# --- changes -------------------------------------------------------------------------


def test_putting_replaces_in_place_and_appends_what_is_new() -> None:
    other = Service("fan", "Fan", Origin.MANUAL, LAMP.target)
    both = STATE.with_service(other)
    renamed = both.with_service(Service("lamp", "New", Origin.MANUAL, LAMP.target))
    assert [one.id for one in both.services] == ["lamp", "fan"]
    assert [one.name for one in renamed.services] == ["New", "Fan"]
    assert STATE.services == (LAMP,)


def test_removing_a_service_removes_what_was_public_of_it() -> None:
    gone = STATE.without_service("lamp")
    assert (gone.services, gone.exposures) == ((), ())


def test_leaving_a_relay_keeps_the_wishes() -> None:
    gone = STATE.without_relay("cottage")
    assert (gone.relays, gone.exposures) == ((), (PUBLIC,))


def test_a_second_wish_for_a_service_replaces_the_first() -> None:
    off = Exposure("lamp", "Lamp", LAMP.target, "cottage", "b.example.com", False)
    assert STATE.with_exposure(off).exposures == (off,)
    assert STATE.with_exposure(off).exposure("lamp") == off
    assert STATE.without_exposure("lamp").exposure("lamp") is None


def test_things_are_found_by_their_id() -> None:
    assert STATE.relay("cottage") == RELAY
    assert STATE.service("lamp") == LAMP
    assert STATE.relay("other") is None
    assert STATE.service("other") is None
    assert STATE.with_relay(RELAY) == STATE
