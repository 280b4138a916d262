"""Core's HTTP settings: what is read, what goes back, what the user is shown."""

import pytest

from hearthgate.home.hass.client.http_config import (
    Change,
    HttpConfig,
    read_http_config,
    yaml_lines,
)
from hearthgate.home.hass.errors import CoreAwayError
from tests.support.hass_parts import NOTES, STABLE, ScriptedCore


def config(**in_use: object) -> HttpConfig:
    return read_http_config(
        {"stable": {**STABLE, **in_use}, "active_config_type": "stable"}
    )


def test_everything_in_use_goes_back_but_for_cores_own_notes() -> None:
    wanted = config(ssl_key="/ssl/key.pem").wanted("127.0.0.1", login_attempts=None)
    assert wanted == {
        "server_port": 8123,
        "cors_allowed_origins": ["https://cast.home-assistant.io"],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": True,
        "ssl_key": "/ssl/key.pem",
        "use_x_forwarded_for": True,
        "trusted_proxies": ["127.0.0.1"],
    }
    assert not NOTES.keys() & wanted.keys()


def test_proxies_that_are_trusted_already_stay() -> None:
    found = config(use_x_forwarded_for=True, trusted_proxies=["10.0.0.0/8"])
    wanted = found.wanted("127.0.0.1", login_attempts=5)
    assert wanted["trusted_proxies"] == ["10.0.0.0/8", "127.0.0.1"]
    assert wanted["login_attempts_threshold"] == 5
    assert found.changes("127.0.0.1") == [
        Change("trusted_proxies", "10.0.0.0/8", "10.0.0.0/8, 127.0.0.1")
    ]
    again = config(**wanted).wanted("127.0.0.1", login_attempts=None)
    assert again["trusted_proxies"] == ["10.0.0.0/8", "127.0.0.1"]


@pytest.mark.parametrize(
    ("proxies", "trusted"),
    [
        (["127.0.0.1"], True),
        (["127.0.0.1/32"], True),
        (["127.0.0.0/8"], True),
        (["10.0.0.0/8", "127.0.0.0/8"], True),
        (["127.0.0.2"], False),
        (["::1"], False),
        (["::ffff:127.0.0.1"], False),
        (["no network"], False),
        ([], False),
    ],
)
def test_a_network_covers_what_is_in_it(proxies: list[str], *, trusted: bool) -> None:
    found = config(use_x_forwarded_for=True, trusted_proxies=proxies)
    assert found.trusts("127.0.0.1") is trusted
    assert (found.changes("127.0.0.1") == []) is trusted


def test_a_network_of_add_ons_is_trusted_only_as_a_whole() -> None:
    network = "172.30.33.0/24"
    one = config(use_x_forwarded_for=True, trusted_proxies=["172.30.33.7"])
    assert not one.trusts(network)
    bigger = config(use_x_forwarded_for=True, trusted_proxies=["172.30.32.0/23"])
    assert bigger.trusts(network)


def test_proxies_count_only_while_forwarded_addresses_are_used() -> None:
    found = config(use_x_forwarded_for=False, trusted_proxies=["127.0.0.1"])
    assert not found.trusts("127.0.0.1")
    assert found.changes("127.0.0.1")[0] == Change(
        "use_x_forwarded_for", "false", "true"
    )


def test_a_trial_is_what_is_in_use_and_has_its_end() -> None:
    core = ScriptedCore()
    core.configure({"config": {"login_attempts_threshold": 3}})
    core.revert_at = 1_800_000_000.0
    found = read_http_config(core.answer())
    assert (found.is_trial, found.has_pending) == (True, True)
    assert found.login_attempts == 3
    assert found.revert_at == 1_800_000_000.0


def test_a_trial_that_failed_is_remembered_and_is_none_any_more() -> None:
    """Core keeps it to be looked at; it must not keep anybody from trying again."""
    core = ScriptedCore()
    core.configure({"config": {}})
    core.revert("apply_failed", "Port 8123 is in use")
    found = read_http_config(core.answer())
    assert (found.is_trial, found.has_pending) == (False, False)
    assert found.failure == "Port 8123 is in use"
    core.revert("not_promoted")
    assert read_http_config(core.answer()).failure == "not_promoted"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"stable": None, "active_config_type": "stable"},
        {"stable": {}, "active_config_type": 7},
        {"stable": {"trusted_proxies": "all"}, "active_config_type": "stable"},
        {"stable": {}, "pending": "yes", "active_config_type": "stable"},
        {"stable": {}, "pending": {"error": 7}, "active_config_type": "stable"},
        {"stable": {"login_attempts_threshold": "x"}, "active_config_type": "stable"},
    ],
)
def test_an_answer_that_makes_no_sense_is_no_settings(answer: object) -> None:
    with pytest.raises(CoreAwayError, match="can't be read"):
        read_http_config(answer)


def test_an_end_that_is_no_moment_is_none() -> None:
    answer = {"stable": {}, "active_config_type": "stable", "revert_at": "soon"}
    assert read_http_config(answer).revert_at is None


def test_the_lines_for_an_old_core_name_the_proxy_and_limit_logins() -> None:
    lines = yaml_lines("172.30.33.0/24").splitlines()
    assert lines[0] == "http:"
    assert "    - 172.30.33.0/24" in lines
    assert "  login_attempts_threshold: 5" in lines
