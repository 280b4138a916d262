"""Titles and icon links out of whatever a device calls HTML."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.discovery.page import Page, read_page

URL = "http://192.168.7.30:8080/ui/index.html"


def read(html: str | bytes, content_type: str = "text/html") -> Page:
    body = html.encode() if isinstance(html, str) else html
    return read_page(body, content_type, URL, max_chars=80)


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title>Attic</title>", "Attic"),
        ("<TITLE lang=en>\n Attic &amp; co&nbsp;\n</TITLE>", "Attic & co"),
        ("<title>&#x202e;evil&#0;</title>", "evil\ufffd"),
        ("<svg><title>Logo</title></svg><title>Page</title>", "Page"),
        ("<title>First</title><title>Second</title>", "First"),
        ("<title>never closed", "never closed"),
        ("<!-- <title>no</title> --><title>yes</title>", "yes"),
        ("<script>var a='<title>no</title>'</script><title>yes</title>", "yes"),
        ("<title>" + "x" * 100_000 + "</title>", "x" * 79 + "…"),
        ("<p>no title", ""),
        ('{"title": "json"}', ""),
        ("", ""),
    ],
)
def test_the_title_is_what_a_browser_would_show(html: str, title: str) -> None:
    assert read(html).title == title


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<title>Küche</title>".encode(), "text/html"),
        ("<title>Küche</title>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("<meta charset=latin1><title>Küche</title>".encode("latin-1"), "text/html"),
        ("<title>Küche</title>".encode("latin-1"), "text/html"),
        ("\ufeff<title>Küche</title>".encode("utf-16-le"), "text/html"),
        ("<title>Küche</title>".encode(), "text/html; charset=hex"),
        ("<title>Küche</title>".encode(), "text/html; charset=no-such"),
        ("<title>Küche</title>…".encode()[:-1], "text/html"),
    ],
)
def test_the_charset_is_found(body: bytes, content_type: str) -> None:
    assert read(body, content_type).title == "Küche"


def test_the_best_icon_comes_first() -> None:
    page = read(
        "<link rel='shortcut icon' href=/small.ico>"
        "<link rel=icon sizes=16x16 href=16.png>"
        "<link rel=apple-touch-icon href=touch.png>"
        "<link rel=icon sizes='512x512' href=//cdn.example/512.png>"
        "<link rel=stylesheet href=icon.css><link rel=icon>"
    )
    assert page.icons == (
        "http://cdn.example/512.png",
        "http://192.168.7.30:8080/ui/touch.png",
        "http://192.168.7.30:8080/small.ico",
        "http://192.168.7.30:8080/ui/16.png",
    )


def test_a_base_counts_for_icons() -> None:
    page = read("<base href=/static/><link rel=icon href=a.svg>")
    assert page.icons == ("http://192.168.7.30:8080/static/a.svg",)


def test_a_thousand_icons_are_not_all_kept() -> None:
    links = "".join(f"<link rel=icon href={n}.png>" for n in range(1000))
    assert len(read(links).icons) == 16


@given(st.binary(), st.text())
def test_no_bytes_raise(body: bytes, content_type: str) -> None:
    page = read_page(body, content_type, URL, max_chars=80)
    assert len(page.title) <= 80


PIECES = st.sampled_from(
    [
        *("<title", ">", "</title>", "<!", "--", "<![CDATA[", "]]>", "<svg>", "&#"),
        *("x41;", "<link rel=icon href=", "'", '"', "http://[", "<base href=", "<?"),
        *("<!DOCTYPE", "<script>", "<textarea>", "data:,", "\0", "ü", "<plaintext>"),
        " sizes=0x0 ",
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_broken_markup_raises(html: str) -> None:
    page = read(html)
    assert len(page.title) <= 80
    assert len(page.icons) <= 16
