"""What needs a person, and what does not."""

from dataclasses import asdict
from typing import Any

import pytest

from hearthgate.home.hass.notices import MOST, notices
from hearthgate.home.model import Problem
from hearthgate.home.tunnel.errors import RelayUnreachableError

Json = dict[str, Any]
NOW = 1_800_000_000.0
DAY = 86400.0


def problem(message: str = "It broke.", retry_at: float | None = None) -> Json:
    return {
        "code": "broken",
        "message": message,
        "hint": "Mend it.",
        "retry_at": retry_at,
        "fields": {},
    }


def relay(state: str = "connected", why: Json | None = None) -> Json:
    return {"id": "r1", "host": "relay.example.com", "state": state, "problem": why}


def service(
    phase: str,
    why: Json | None = None,
    *,
    ident: str = "lamp",
    name: str = "Lamp",
    expires: float | None = NOW + 80 * DAY,
    enabled: bool = True,
) -> Json:
    status = {"phase": phase, "problem": why, "certificate_expires": expires}
    exposure = {
        "enabled": enabled,
        "hostname": f"{ident}.example.com",
        "relay_id": "r1",
        "status": status,
    }
    return {"id": ident, "name": name, "exposure": exposure}


def state(
    *services: Json, first: Json | None = None, damage: Json | None = None
) -> Json:
    return {
        "home": {"damage": damage},
        "relays": [first or relay()],
        "services": list(services),
    }


@pytest.mark.parametrize(
    "shown",
    [
        state(),
        state(service("live")),
        state({"id": "new", "name": "New", "exposure": None}),
        state(service("waiting", problem()), first=relay("waiting", problem())),
        state(first=relay("connecting", problem())),
        state(service("failed", problem(retry_at=NOW + 60))),
        state(service("failed", problem(), enabled=False)),
        # It renews for another two months, and tries again by itself.
        state(service("live", problem(retry_at=NOW + 60))),
    ],
    ids=str,
)
def test_what_mends_itself_needs_nobody(shown: Json) -> None:
    assert notices(shown, now=NOW) == []


def test_a_relay_that_refuses_is_one_thing_to_do_however_many_services_hang_on_it() -> (
    None
):
    lamps = [service("failed", problem(), ident=f"lamp-{n}") for n in range(50)]
    shown = state(*lamps, first=relay("refused", problem("The key is another one.")))
    (one,) = notices(shown, now=NOW)
    assert one.id == "hearthgate_relay_r1"
    assert one.title == "The relay relay.example.com refuses this home"
    assert one.message == (
        "The key is another one. Mend it. Open Hearthgate in the sidebar."
    )


def test_what_failed_for_good_is_told_with_its_reason() -> None:
    (one,) = notices(state(service("failed", problem())), now=NOW)
    assert one.id == "hearthgate_failed_lamp"
    assert one.title == "Lamp is not on the Internet"
    assert "It broke. Mend it." in one.message


def test_a_certificate_that_runs_out_is_told_while_there_is_time() -> None:
    why = problem("The authority said no.", retry_at=NOW + 60)
    later = service("live", why, expires=NOW + 15 * DAY)
    assert notices(state(later), now=NOW) == []
    (one,) = notices(state(later), now=NOW + 2 * DAY)
    assert one.id == "hearthgate_renewal_lamp"
    assert one.title == "The certificate of lamp.example.com runs out"
    assert "The authority said no." in one.message


def test_settings_that_were_set_aside_come_first() -> None:
    damage = {"path": "/data/home.yaml.bad", "reason": "no YAML"}
    shown = state(service("failed", problem()), damage=damage)
    first, _ = notices(shown, now=NOW)
    assert first.id == "hearthgate_damage"
    assert "/data/home.yaml.bad" in first.message


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("de", "Lamp steht nicht im Internet"),
        ("de-CH", "Lamp steht nicht im Internet"),
        ("en-GB", "Lamp is not on the Internet"),
        ("fr", "Lamp is not on the Internet"),
        ("", "Lamp is not on the Internet"),
    ],
)
def test_it_speaks_the_language_of_the_house_if_it_can(
    language: str, title: str
) -> None:
    shown = state(service("failed", problem()))
    assert notices(shown, now=NOW, language=language)[0].title == title


def test_the_reason_is_in_the_language_of_the_house_too() -> None:
    why = Problem.of(RelayUnreachableError(relay="vps", reason="it took too long"))
    shown = state(service("failed", asdict(why)))
    (one,) = notices(shown, now=NOW, language="de")
    assert "Das Relay vps antwortet nicht: es dauerte zu lange." in one.message
    assert "Prüfe, ob das Relay läuft" in one.message
    (one,) = notices(shown, now=NOW, language="fr")
    assert "The relay vps does not answer: it took too long." in one.message


def test_names_from_the_network_are_shown_and_not_obeyed() -> None:
    name = "[Click](https://evil.example) ![x](y)\n# <b>Lamp</b> {why}" + "x" * 5000
    why = problem(name)
    (one,) = notices(state(service("failed", why, name=name)), now=NOW)
    assert "](" not in one.message
    assert "<b>" not in one.message
    assert "\n" not in one.message + one.title
    assert len(one.title) + len(one.message) < 3000


def test_there_are_never_more_than_a_few() -> None:
    many = [service("failed", problem(), ident=f"lamp-{n}") for n in range(50)]
    assert len(notices(state(*many), now=NOW)) == MOST
