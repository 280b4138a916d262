"""What a person has to do, as Home Assistant's notifications say it.

    state ──▶ Notice (id, title, message), the gravest first, at most a few

Only what does not mend itself: a relay that refuses this home, an exposure that failed
for good, a certificate that runs out because its renewal fails, a state file that was
set aside. Whoever waits for the relay or the next try needs nobody. Pure functions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import re
from typing import Any, Final

from hearthgate.home.i18n.problems import Words, words

State = Mapping[str, Any]  # as GET /api/state answers it

PREFIX: Final = "hearthgate_"
# A relay that refuses a home of fifty services is one thing to do, not fifty.
MOST: Final = 8
_TEXT_MAX: Final = 600
# Renewal begins much earlier and tries again by itself. Two weeks are left for a person
# then; what lives shorter than that has nobody to wait for.
_RUNS_OUT_S: Final = 14 * 86400.0
# Names, and what relays and authorities say, are shown as they are: never as a link, a
# picture, HTML or a table. Every sign of ASCII that is neither letter, digit nor blank
# may be escaped (CommonMark §2.4), and no construct of Markdown, addresses that become
# links by themselves included (GFM §6.9), can do without such a sign.
_MARKDOWN: Final = re.compile(r"([!-/:-@\[-`{-~])")
# Core takes a text with one of these for a template, in titles as well.
_TEMPLATE: Final = re.compile(r"\{(?=[{%#])")

_TEXTS: Final = {
    "en": {
        "damage": (
            "Hearthgate could not read its settings",
            "{path} was set aside: {reason}. Check what is switched on.",
        ),
        "relay": ("The relay {name} refuses this home", "{why}"),
        "failed": ("{name} is not on the Internet", "{why}"),
        "renewal": (
            "The certificate of {hostname} runs out",
            "It could not be renewed. {why}",
        ),
        "end": "Open Hearthgate in the sidebar.",
    },
    "de": {
        "damage": (
            "Hearthgate konnte seine Einstellungen nicht lesen",
            "{path} wurde beiseitegelegt: {reason}. Prüfe, was eingeschaltet ist.",
        ),
        "relay": ("Das Relay {name} weist dieses Zuhause ab", "{why}"),
        "failed": ("{name} steht nicht im Internet", "{why}"),
        "renewal": (
            "Das Zertifikat von {hostname} läuft bald ab",
            "Es konnte nicht erneuert werden. {why}",
        ),
        "end": "Öffne Hearthgate in der Seitenleiste.",
    },
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification. The id stays the same as long as it is about the same."""

    id: str
    title: str
    message: str  # Markdown


def notices(state: State, *, now: float, language: str = "en") -> list[Notice]:
    """Return what needs a person, in a language that we have, else in English."""
    texts = _TEXTS.get(language.lower().partition("-")[0], _TEXTS["en"])
    found = [_notice(texts, *one) for one in _facts(state, now, words(language))]
    return found[:MOST]


def _facts(
    state: State, now: float, known: Words
) -> Iterator[tuple[str, str, dict[str, str]]]:
    damage = state["home"]["damage"]
    if damage is not None:
        reason = known.sentence(damage["reason"])
        yield "damage", "damage", {"path": damage["path"], "reason": reason}
    refusing = set()
    for relay in state["relays"]:
        if relay["state"] == "refused":
            refusing.add(relay["id"])
            facts = {"name": relay["host"], "why": _why(relay["problem"], known)}
            yield f"relay_{relay['id']}", "relay", facts
    for service in state["services"]:
        exposure = service["exposure"]
        if exposure is None or not exposure["enabled"]:
            continue
        status = exposure["status"]
        problem = status["problem"]
        if problem is None or exposure["relay_id"] in refusing:
            continue
        facts = {"name": service["name"], "why": _why(problem, known)}
        facts["hostname"] = exposure["hostname"] or service["name"]
        if status["phase"] == "failed" and problem["retry_at"] is None:
            yield f"failed_{service['id']}", "failed", facts
        elif _runs_out(status, now):
            yield f"renewal_{service['id']}", "renewal", facts


def _runs_out(status: State, now: float) -> bool:
    expires = status["certificate_expires"]
    live = status["phase"] == "live"
    return live and expires is not None and expires - now < _RUNS_OUT_S


def _why(problem: State | None, known: Words) -> str:
    if problem is None:
        return ""
    return " ".join(one for one in known.told(problem) if one)


def _notice(texts: Mapping[str, Any], ident: str, kind: str, facts: State) -> Notice:
    title, message = texts[kind]
    shown = {name: _plain(str(value)) for name, value in facts.items()}
    # Home Assistant shows the title as it is, the message as Markdown.
    return Notice(
        PREFIX + re.sub(r"[^a-z0-9_]", "_", ident.lower()),
        title.format(**{name: _line(str(value)) for name, value in facts.items()}),
        f"{message.format(**shown).strip()} {texts['end']}",
    )


def _line(text: str) -> str:
    """Return text on one line, without signs that nobody sees."""
    shown = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    return _TEMPLATE.sub("{ ", shown[:_TEXT_MAX])


def _plain(text: str) -> str:
    """Return text as Markdown that shows it and does nothing else."""
    return _MARKDOWN.sub(r"\\\1", _line(text))
