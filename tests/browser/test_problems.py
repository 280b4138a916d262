"""What the home says in English, in German on a German page."""

import ast
from collections.abc import Iterator
import errno
import importlib
import json
import os
from pathlib import Path
import pkgutil
import re

from playwright.async_api import expect
import pytest

import hearthgate
from hearthgate.errors import HearthgateError
from hearthgate.home.errors import HostnameInUseError
from hearthgate.home.i18n.problems import words
from hearthgate.relay import errors as relay_errors
from hearthgate.wire.pairing import PairingCodeExpiredError
from tests.browser.conftest import OpenPage
from tests.browser.standin import (
    PAGE,
    Json,
    StandIn,
    exposure,
    problem,
    relay,
    service,
)

SOURCES = Path(hearthgate.__file__).parent
LANGUAGES = sorted((PAGE / "translations/problems").glob("*.json"))
PLACE = re.compile(r"\{(\w+)[^}]*\}")
# Errors of these never reach the page: they are for the command line and the start.
UNSEEN = (
    "hearthgate.home.commands",
    "hearthgate.relay",
    "hearthgate.shared.settings.loader",
)
# What the resolver and OpenSSL say.
LIBRARIES = {
    "Name or service not known",
    "Temporary failure in name resolution",
    "certificate has expired",
    "certificate is not yet valid",
    "self-signed certificate",
    "unable to get local issuer certificate",
}
# What a relay may answer to a pairing code reaches the page of the home.
OF_PAIRING = (
    relay_errors.CertificateRequestInvalidError,
    relay_errors.InviteExpiredError,
    relay_errors.InviteUnknownError,
    relay_errors.InviteUsedError,
    relay_errors.PairingTooOftenError,
    relay_errors.RequestInvalidError,
)


def read(path: Path) -> Json:
    texts: Json = json.loads(path.read_text())
    return texts


def subclasses(of: type[HearthgateError]) -> Iterator[type[HearthgateError]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def shown_errors() -> set[type[HearthgateError]]:
    """Return every error that has words of its own and can reach the page."""
    for module in pkgutil.walk_packages(hearthgate.__path__, "hearthgate."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {
        one
        for one in subclasses(HearthgateError)
        if one.__module__.startswith("hearthgate.")
        and (one in OF_PAIRING or not one.__module__.startswith(UNSEEN))
        and one.message not in {HearthgateError.message, "{message}"}  # it quotes
    }


def places(text: str) -> set[str]:
    return set(PLACE.findall(text))


def form(text: str) -> str:
    """Return a sentence with its places emptied, however they are called."""
    return PLACE.sub("{}", text).rstrip(".")


def literal(node: ast.AST) -> str:
    """Return the text that a node is; what an f-string fills in becomes {}."""
    match node:
        case ast.Constant(value=str(text)):
            return form(text)
        case ast.JoinedStr(values=parts):
            texts = [
                part.value if isinstance(part, ast.Constant) else "{}" for part in parts
            ]
            return "".join(map(str, texts)).rstrip(".")
        case _:
            return ""


def reasons(tree: ast.AST) -> Iterator[str]:
    """Return the texts that are given as a reason and have words, not places only."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.keyword(arg="reason", value=value)
                | ast.Assign(targets=[ast.Name(id="reason")], value=value)
            ) if re.search(r"[a-z]{2}", text := literal(value)):
                yield text


def trees(*folders: str) -> Iterator[ast.AST]:
    for folder in folders:
        for path in sorted((SOURCES / folder).rglob("*.py")):
            yield ast.parse(path.read_text())


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_every_error_that_the_page_can_show_has_words(path: Path) -> None:
    texts = read(path)["errors"]
    errors = shown_errors()
    assert {one.code for one in errors} == set(texts)
    for one in errors:
        found = texts[one.code]
        assert places(found["message"]) == places(one.message), one
        assert places(found.get("hint", "")) == places(one.hint), one
        assert bool(found.get("hint")) == bool(one.hint), one


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_every_sentence_is_one_that_the_home_can_say(path: Path) -> None:
    said = {literal(node) for tree in trees(".") for node in ast.walk(tree)}
    said |= {os.strerror(number) for number in errno.errorcode} | LIBRARIES
    for english, other in read(path)["sentences"].items():
        assert form(english) in said, english
        assert places(other) == places(english), english
        assert other, english


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_every_reason_that_the_home_gives_has_words(path: Path) -> None:
    known = {form(english) for english in read(path)["sentences"]}
    given = {text for tree in trees("home", "wire") for text in reasons(tree)}
    assert given <= known


def test_each_language_of_the_page_but_the_homes_own_has_them() -> None:
    languages = {path.stem for path in (PAGE / "translations").glob("*.json")}
    assert {path.stem for path in LANGUAGES} == languages - {"en"}


async def test_page_and_notifications_say_the_same(open_page: OpenPage) -> None:
    problems = [
        {
            "code": one.code,
            "message": one.message,
            "hint": one.hint,
            "fields": {name: f"<{name}>" for name in places(one.message + one.hint)},
        }
        for one in shown_errors()
    ]
    texts = read(LANGUAGES[0])
    said = [PLACE.sub("no answer came", english) for english in texts["sentences"]]
    said += ["Nothing answers at .", "x" * 2000, "it stops.", "", "Connection refused"]
    page = await open_page(locale="de-DE")
    told = await page.evaluate(
        """async ([problems, said]) => {
          const { told, sentence } = await import("./js/problems.js");
          return [problems.map((one) => Object.values(told(one))), said.map(sentence)];
        }""",
        [problems, said],
    )
    german = words(LANGUAGES[0].stem)
    assert told[0] == [list(german.told(one)) for one in problems]
    assert told[1] == [german.sentence(one) for one in said]
    assert told[1] != said


async def test_a_german_page_says_in_german_what_failed_and_why(
    home: StandIn, open_page: OpenPage
) -> None:
    err = HostnameInUseError(hostname="tv.cottage.example.com", name="Fernseher")
    one = exposure("failed")
    one["status"]["problem"] = {**err.as_dict(), "retry_at": None}
    home.add(
        relay(),
        service(exposure=one),
        service("nas", "NAS", reachable=False, problem="Nothing answers at nas:5000."),
    )
    page = await open_page(locale="de-DE")
    failed = page.locator("hg-service").filter(has_text="Camera")
    await expect(failed).to_contain_text(
        "tv.cottage.example.com gehört schon zu Fernseher."
    )
    await expect(failed).to_contain_text("Wähle einen anderen Namen.")
    away = page.locator("hg-service").filter(has_text="NAS")
    await expect(away).to_contain_text(
        "Nicht erreichbar: Bei nas:5000 antwortet nichts."
    )


async def test_what_a_relay_says_to_a_code_is_german_too_with_its_fields(
    home: StandIn, open_page: OpenPage
) -> None:
    err = relay_errors.InviteUsedError(home="cottage")
    fields: Json = {**err.told_fields(), "said": err.code}
    home.refuse("relay_refused", str(err), err.advice, fields=fields)
    page = await open_page(locale="de-DE")
    await page.get_by_label("Kopplungscode").fill("HG1-ABCD")
    await page.get_by_role("button", name="Beitreten").click()
    shown = page.get_by_role("alert").filter(has_text="benutzt")
    await expect(shown).to_contain_text("wurde schon benutzt, vom Zuhause cottage.")
    await expect(shown).to_contain_text("hearthgate relay invite")


@pytest.mark.parametrize("code", ["from_a_newer_home", "constructor", "__proto__"])
async def test_what_has_no_german_words_stays_as_the_home_said_it(
    home: StandIn, open_page: OpenPage, code: str
) -> None:
    one = exposure("failed")
    one["status"]["problem"] = {
        **problem("Something is {new} here.", "Look at {code}."),
        "code": code,
        "fields": {"said": code, "code": "x"},
    }
    home.add(relay(), service(exposure=one))
    page = await open_page(locale="de-DE")
    shown = page.locator("hg-service hg-problem").filter(has_text="Something")
    await expect(shown).to_contain_text("Something is {new} here.")
    await expect(shown).to_contain_text("Look at {code}.")


async def test_without_the_fields_of_the_german_words_the_home_is_quoted(
    home: StandIn, open_page: OpenPage
) -> None:
    one = exposure("failed")
    words = problem("The home attic has used it.")
    one["status"]["problem"] = {**words, "fields": {"said": "pairing_code_used"}}
    home.add(relay(), service(exposure=one))
    page = await open_page(locale="de-DE")
    shown = page.locator("hg-service hg-problem").filter(has_text="attic")
    await expect(shown).to_contain_text("The home attic has used it.")


async def test_a_reason_inside_of_a_problem_is_put_into_words_as_well(
    home: StandIn, open_page: OpenPage
) -> None:
    reason = "its name cannot be found"
    message = f"The relay relay.example.com does not answer: {reason}."
    trouble = {
        **problem(message, "Check that the relay is running."),
        "code": "relay_unreachable",
        "fields": {"relay": "relay.example.com", "reason": reason},
    }
    home.add(relay(state="waiting", problem=trouble))
    page = await open_page(locale="de-DE")
    await expect(page.locator("hg-relay")).to_contain_text(
        "Das Relay relay.example.com antwortet nicht: sein Name ist nicht zu finden."
    )


async def test_an_english_page_shows_the_homes_own_words(
    home: StandIn, open_page: OpenPage
) -> None:
    err = PairingCodeExpiredError()
    home.refuse(err.code, str(err), err.advice)
    page = await open_page()
    await page.get_by_label("Pairing code").fill("HG1-ABCD")
    await page.get_by_role("button", name="Join").click()
    await expect(page.get_by_role("alert").filter(has_text="expired")).to_contain_text(
        err.advice
    )
