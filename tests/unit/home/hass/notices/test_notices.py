"""What needs a person, and what does not."""

from dataclasses import asdict
import re
import string
from typing import Any

from hypothesis import given, strategies
import pytest

from hearthgate.home.hass.notices.notices import MOST, notices
from hearthgate.home.model import Problem
from hearthgate.home.tunnel.errors import RelayUnreachableError

Json = dict[str, Any]
PUNCTUATION = re.escape(string.punctuation)
# What text becomes a link, a picture, HTML or a template by; each is in many words.
SEEDS = (
    "https://evil.example/?a=b",
    "HTTP://evil.example",
    "see www.evil.example",
    "ftp://evil.example",
    "mail me@evil.example",
    "mailto:me@evil.example",
    "xmpp:me@evil.example/x",
    "<https://evil.example>",
    "[Click](https://evil.example)",
    "[Click][1] [1]: https://evil.example",
    "![x](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "&#60;b&#62;",
    "| a | b | |---|---| | 1 | 2 |",
    "# head",
    "1. one",
    "- [ ] one",
    "> quote",
    "~~~ code",
    "`code` **bold** __bold__ ~~gone~~",
    "\\[x](https://evil.example) \\",
    "{{ states('lock.door') }} {% set a = 1 %} {# no #} {{{{",
    "h\u200bttps://evil.example \u202e gnp",
)
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


def shown_as(message: str) -> str:
    """Return what a person reads of Markdown in which nothing but escapes is used."""
    return re.sub(rf"\\([{PUNCTUATION}])", r"\1", message)


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
    assert shown_as(one.message) == (
        "The key is another one. Mend it. Open Hearthgate in the sidebar."
    )


def test_what_failed_for_good_is_told_with_its_reason() -> None:
    (one,) = notices(state(service("failed", problem())), now=NOW)
    assert one.id == "hearthgate_failed_lamp"
    assert one.title == "Lamp is not on the Internet"
    assert "It broke. Mend it." in shown_as(one.message)


def test_a_certificate_that_runs_out_is_told_while_there_is_time() -> None:
    why = problem("The authority said no.", retry_at=NOW + 60)
    later = service("live", why, expires=NOW + 15 * DAY)
    assert notices(state(later), now=NOW) == []
    (one,) = notices(state(later), now=NOW + 2 * DAY)
    assert one.id == "hearthgate_renewal_lamp"
    assert one.title == "The certificate of lamp.example.com runs out"
    assert "The authority said no." in shown_as(one.message)


def test_settings_that_were_set_aside_come_first() -> None:
    damage = {"path": "/data/home.yaml.bad", "reason": "no YAML"}
    shown = state(service("failed", problem()), damage=damage)
    first, _ = notices(shown, now=NOW)
    assert first.id == "hearthgate_damage"
    assert "/data/home.yaml.bad" in shown_as(first.message)


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
    told = shown_as(one.message)
    assert "Das Relay vps antwortet nicht: es dauerte zu lange." in told
    assert "Prüfe, ob das Relay läuft" in told
    (one,) = notices(shown, now=NOW, language="fr")
    assert "The relay vps does not answer: it took too long." in shown_as(one.message)


texts = strategies.lists(
    strategies.one_of(strategies.sampled_from(SEEDS), strategies.text(max_size=30)),
    min_size=1,
    max_size=4,
).map(" ".join)


@given(text=texts)
def test_no_sign_of_a_stranger_is_markdown(text: str) -> None:
    """An address alone becomes a link, so every sign that one needs is escaped."""
    shown = state(service("failed", problem(text), name=text))
    (one,) = notices(shown, now=NOW)
    theirs = one.message.removesuffix("Open Hearthgate in the sidebar.")
    assert not re.search(rf"[{PUNCTUATION}]", re.sub(rf"\\[{PUNCTUATION}]", "", theirs))
    assert theirs.isprintable()
    assert one.title.isprintable()
    assert not re.search(r"\{[{%#]", one.title + theirs)


@pytest.mark.parametrize("text", SEEDS)
def test_a_stranger_s_text_is_still_read_as_it_was_said(text: str) -> None:
    shown = state(service("failed", problem(text)))
    (one,) = notices(shown, now=NOW)
    said = "".join(sign for sign in text if sign.isprintable())
    said = re.sub(r"\{(?=[{%#])", "{ ", said)
    assert shown_as(one.message).startswith(f"{said} Mend it.")


def test_much_that_a_stranger_says_is_cut() -> None:
    name = "# x\n" + "x" * 5000
    (one,) = notices(state(service("failed", problem(name), name=name)), now=NOW)
    assert len(one.title) + len(one.message) < 3000


def test_there_are_never_more_than_a_few() -> None:
    many = [service("failed", problem(), ident=f"lamp-{n}") for n in range(50)]
    assert len(notices(state(*many), now=NOW)) == MOST
