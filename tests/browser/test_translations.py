"""Every text exists in every language, is used, and takes the same values."""

import json
from pathlib import Path
import re

import pytest

from hearthgate.home.discovery.catalog import Kind
from tests.browser.standin import PAGE

Texts = dict[str, str | dict[str, str]]

SCRIPTS = sorted((PAGE / "js").rglob("*.js"))
LANGUAGES = sorted((PAGE / "translations").glob("*.json"))
# A string literal such as "relay.waiting"; paths and file names have no such form.
LITERAL = re.compile(r'"([a-z]+\.(?!svg")[a-z_]+)"')
EXPRESSION_KEY = re.compile(r"\bt\(`")


def read(path: Path) -> Texts:
    def refuse_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"a key stands twice in {path.name}"
        return dict(pairs)

    texts: Texts = json.loads(path.read_text(), object_pairs_hook=refuse_twins)
    return texts


def used_keys() -> set[str]:
    return {key for script in SCRIPTS for key in LITERAL.findall(script.read_text())}


def values_of(text: str | dict[str, str]) -> set[str]:
    forms = [text] if isinstance(text, str) else text.values()
    return {name for form in forms for name in re.findall(r"\{(\w+)\}", form)}


def test_there_is_english_and_german() -> None:
    assert [path.stem for path in LANGUAGES] == ["de", "en"]


def test_every_key_in_the_code_exists_and_no_text_is_dead() -> None:
    assert used_keys() == set(read(PAGE / "translations" / "en.json"))


def test_no_key_is_put_together_where_no_test_could_see_it() -> None:
    assert not [path for path in SCRIPTS if EXPRESSION_KEY.search(path.read_text())]


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_a_language_has_the_keys_and_values_of_english(path: Path) -> None:
    english, texts = read(PAGE / "translations" / "en.json"), read(path)
    assert list(texts) == list(english)
    for key, text in texts.items():
        assert values_of(text) == values_of(english[key]), key
        assert text, key
        assert isinstance(text, str) or set(text) == {"one", "other"}, key


def test_every_kind_of_service_has_its_own_drawing() -> None:
    source = (PAGE / "js/elements/hg-service-icon.js").read_text()
    drawings = dict(re.findall(r'^  "?([\w-]+)"?: "(\w+)",$', source, re.MULTILINE))
    assert {kind.value for kind in Kind} - {"web"} <= set(drawings)
    assert all((PAGE / "icons" / f"{name}.svg").exists() for name in drawings.values())


def test_every_drawing_is_used() -> None:
    source = "".join(path.read_text() for path in SCRIPTS)
    drawn = {path.stem for path in (PAGE / "icons").glob("*.svg")}
    assert not [name for name in drawn if f'"{name}"' not in source]
