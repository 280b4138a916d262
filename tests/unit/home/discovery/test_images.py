"""Only real pictures become icons."""

import struct

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.discovery.images import picture_type
from tests.support.pictures import SVG, ico, jpeg, png


def picture(data: bytes) -> str | None:
    return picture_type(data, max_side=1024)


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (png(32, 32), "png"),
        (b"GIF89a" + struct.pack("<HH", 16, 16), "gif"),
        (jpeg(64, 48), "jpg"),
        (ico(png(32, 32)), "ico"),
        (ico(struct.pack("<Iii", 40, 32, 64)), "ico"),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x1f\0\0\x1f\0\0", "webp"),
        (SVG, "svg"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->' + SVG, "svg"),
    ],
)
def test_pictures_are_known_by_their_bytes(data: bytes, ending: str) -> None:
    assert picture(data) == ending


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html><title>404</title>",
        b"<html><svg></svg></html>",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\xff\xd8\xff",
        png(20000, 20000),
        png(0, 4),
        jpeg(9000, 10),
        ico(png(20000, 20000)),
        ico(png(16, 16))[:-4],
    ],
)
def test_what_is_no_picture_or_unpacks_to_too_much_is_refused(data: bytes) -> None:
    assert picture(data) is None


@pytest.mark.parametrize(
    "inside",
    [
        b"<script>alert(1)</script>",
        b"<SCRIPT/>",
        b"<x:script/>",
        b'<path onload = "x()"/>',
        b"<foreignObject/>",
        b'<image href="http://192.168.7.1/"/>',
        b'<a href="javascript:x()"/>',
        b'<use xlink:href="//evil/x#y"/>',
        b"<style>@import 'x'</style>",
        b'<path style="fill:url(http://evil/)"/>',
        b'<animate attributeName="href"/>',
        b'<path d="&#106;avascript"/>',
        b"<script xmlns='http://www.w3.org/1999/xhtml'/>",
        b"<x:script xmlns:x='http://www.w3.org/1999/xhtml'/>",
        b"<dc:script xmlns:dc='http://www.w3.org/1999/xhtml'/>",
        b"<style>path{fill:ur<!-- -->l(http://evil/)}</style>",
        b"<style>path{fill:u<![CDATA[rl(http://evil/)]]>}</style>",
        b"<style>path{fill:\\75 rl(http://evil/)}</style>",
        b"<style>path{fill:image-set('http://evil/' 1x)}</style>",
        b"<style><g/></style>",
        b"<g xml:base='http://evil/'/>",
        b"<path d='' d=''/>",
        b"<path d=''fill=''/>",
        b"<path fill=red/>",
        b"<?xml-stylesheet href='http://evil/'?>",
        b"<g></path>",
        b"</svg><svg xmlns='http://www.w3.org/2000/svg'>",
    ],
)
def test_an_active_svg_is_refused(inside: bytes) -> None:
    assert picture(SVG.replace(b"<path", inside + b"<path")) is None


def test_an_svg_with_entities_is_refused() -> None:
    bomb = b'<!DOCTYPE svg [<!ENTITY a "aa">]>' + SVG
    assert picture(bomb) is None


@pytest.mark.parametrize(
    "inside",
    [
        b'<use href="#a"/><path fill="url(#g)"/>',
        b"<style>.a{fill:url('#g');stroke-width:2px}</style>",
        b"<style>@media (prefers-color-scheme:dark){path{fill:#fff}}</style>",
        b"<style type='text/css'><![CDATA[.a > .b{fill:#fff}]]></style>",
        b'<mask id="m"><rect width="4" height="4"/></mask><g mask="url(#m)"/>',
        b"<title>A &amp; B</title><g id='x@2x' data-name='Layer 1' aria-label='B'/>",
        b"<metadata><cc:Work xmlns:cc='http://creativecommons.org/ns#'/></metadata>",
        b"<svg:g xmlns:svg='http://www.w3.org/2000/svg'></svg:g >",
    ],
)
def test_an_svg_may_hold_what_drawing_programs_write(inside: bytes) -> None:
    assert picture(SVG.replace(b"<path", inside + b"<path")) == "svg"


def test_an_svg_of_1999_has_a_document_type_without_entities() -> None:
    public = b'"-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/svg11.dtd"'
    declared = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
    document = declared + b"<!DOCTYPE svg PUBLIC " + public + b">" + SVG
    assert picture(document) == "svg"
    assert picture(document.replace(b"UTF-8", b"UTF-7")) is None
    assert picture(document.decode().encode("utf-16")) is None


MASK = b'<mask id="m"><rect mask="url(#m)"/></mask>'
PATTERN = b'<style>rect{fill:url(#p)}</style><pattern id="p"><rect/></pattern>'


@pytest.mark.parametrize(
    "inside",
    [
        b'<use href="#a"/>' * 9,
        b'<g id="a"><use href="#b"/></g>' * 10,
        b'<rect fill="url(#p)"/>' * 201,
        b'<symbol id="s"><use href="#t"/></symbol>',
        b'<mask id="m" mask="url(#n)"/>',
        *(MASK, PATTERN),
        b"<g>" * 64 + b"</g>" * 64,
        b"<path/>" * 8000,
    ],
)
def test_an_svg_that_draws_itself_without_end_is_refused(inside: bytes) -> None:
    assert picture(SVG.replace(b"<path", inside + b"<path")) is None


@given(st.sampled_from([png(9, 9), jpeg(9, 9), ico(png(9, 9)), SVG]), st.data())
def test_no_bytes_raise(start: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(start)))
    picture(start[:cut] + data.draw(st.binary()))
