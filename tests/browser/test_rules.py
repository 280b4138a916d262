"""The page's own rules: small files, no foreign hosts, no data parsed as HTML."""

from pathlib import Path
import re

import pytest

from tests.browser.standin import PAGE

FILES = sorted(
    path for path in PAGE.rglob("*") if path.suffix in {".js", ".css", ".html"}
)
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
PARSERS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    r"|srcdoc|DOMParser|setHTML"
)
FOREIGN = re.compile(r"""["'(](?:https?:)?//[a-z]""")
ABSOLUTE = re.compile(r"""(?:href|src)="/|url\(["']?/|["']/api""")


def name_of(path: Path) -> str:
    return str(path.relative_to(PAGE))


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 200
    assert text.startswith("/**\n")
    assert not PARSERS.search(text)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_names_no_foreign_host_and_no_absolute_path(path: Path) -> None:
    text = path.read_text()
    assert not FOREIGN.search(text)
    assert not ABSOLUTE.search(text)


def test_each_element_has_a_file_and_is_loaded() -> None:
    main = (PAGE / "js/main.js").read_text()
    for path in (PAGE / "js/elements").glob("hg-*.js"):
        assert f'customElements.define("{path.stem}"' in path.read_text()
        assert path.stem in main


def test_the_document_has_no_inline_script_or_style() -> None:
    text = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|style=|\bon\w+=|<script(?![^>]*\bsrc=)", text)
