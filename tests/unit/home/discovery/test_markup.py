"""Tags are found as a browser finds them, in work that grows with the page."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.discovery.markup import start_tags
from hearthgate.home.discovery.page import Page, read_page

KIB = 1024
# What some reader somewhere tries again from each place at which it occurs.
PIECES = (
    *("<a", "<a ", "<a>", "</", "</a", "<", "<!", "<!--", "<!---->", "<![CDATA[", "<?"),
    *("<a b='", '<a b="', "<a b=", "<a ====", "<link rel=icon href=&#", "&#9", "&a"),
    *("<title>", "<title", "</titl", "<script>", "</scrip", "<svg>", "<base href=../"),
    *(" ", "/", "=", "'", '"', "\0", "charset=", "--", "<textarea></texta"),
)


def names(html: str, most: int = 100) -> list[str]:
    return [tag.name for tag in start_tags(html, most=most)]


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<p><B/></p>", ["p", "b"]),
        ("<a<b>", ["a<b"]),
        ("1 < 2 <p>", ["p"]),
        ("<!-->--><p>", ["p"]),
        ("<!doctype html><?php <a> ?></ no><p>", ["p"]),
        ("<script>if (a<b) '<p>'</script ><i>", ["script", "i"]),
        ("<title><b></titles></TITLE\n><i>", ["title", "i"]),
        ("<a title='>'><i>", ["a", "i"]),
        ("<a b='>", []),
        ("<a<a<a", []),
        ("<!-- <p>", []),
        ("<plaintext><p>", ["plaintext"]),
        ("<3<p>", ["p"]),
    ],
)
def test_tags_are_those_of_the_html_standard(html: str, found: list[str]) -> None:
    assert names(html) == found


@pytest.mark.parametrize(
    ("html", "attributes"),
    [
        ("<a b=c d>", {"b": "c", "d": ""}),
        ("<a B='c>\"' d = \"e'\" f>", {"b": 'c>"', "d": "e'", "f": ""}),
        ("<a b=1 b=2>", {"b": "1"}),
        ("<a/b=c/d/>", {"b": "c/d/"}),
        ("<a b=>", {"b": ""}),
        ("<a =b='c'>", {"=b": "c"}),
        ("<a b='&amp;&#x41;&nosuch;'>", {"b": "&A&nosuch;"}),
    ],
)
def test_attributes_are_those_of_the_html_standard(
    html: str, attributes: dict[str, str]
) -> None:
    assert [tag.attributes() for tag in start_tags(html, most=9)] == [attributes]


def test_no_more_pieces_are_looked_at_than_asked_for() -> None:
    assert names("<a>" * 50, most=20) == ["a"] * 20
    assert names("<!---->" * 20 + "<a>", most=20) == []
    assert len(next(start_tags(f"<a {'b ' * 9000}>", most=1)).attributes()) <= 32


# An expression that tries again has to look at some of these for hours.
@pytest.mark.parametrize("first", PIECES)
def test_a_page_of_unfinished_pieces_is_read_once(first: str) -> None:
    for second in PIECES:
        for html in (
            (first + second) * (256 * KIB // len(first + second)),
            first + second * (256 * KIB // len(second)),
        ):
            page = read_page(html.encode(), html[:8000], "http://x/", max_chars=80)
            assert isinstance(page, Page)


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "utf-7", "zlib", "x" * 40]
)
def test_a_page_chooses_no_decoder_that_is_not_for_pages(charset: str) -> None:
    body = b"<title>A-" + b"z9" * (100 * KIB)
    page = read_page(body, f"text/html; charset={charset}", "http://x/", max_chars=9)
    assert page.title == "A-z9z9z9…"


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_broken_markup_raises(html: str) -> None:
    for tag in start_tags(html, most=100):
        tag.attributes()
