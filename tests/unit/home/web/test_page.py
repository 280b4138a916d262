"""The page's own files and icons: what is served, and with which headers."""

from pathlib import Path

import pytest

from hearthgate.home.web.icons import image_type
from hearthgate.home.web.page_files import PAGE_FOLDER, PageFiles
from tests.unit.home.web.conftest import Running

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


async def test_the_page_needs_no_login(running: Running) -> None:
    for path in ("/", "/index.html"):
        async with running.browser.get(path) as got:
            assert got.status == 200
            assert got.headers["Content-Type"] == "text/html; charset=utf-8"
            assert "Hearthgate" in await got.text()
    async with running.browser.get("/js/main.js") as got:
        assert got.headers["Content-Type"] == "text/javascript; charset=utf-8"


async def test_a_page_that_did_not_change_is_not_sent_again(running: Running) -> None:
    async with running.browser.get("/js/main.js") as got:
        tag = got.headers["ETag"]
        assert got.headers["Cache-Control"] == "no-cache"
    same, other = {"If-None-Match": tag}, {"If-None-Match": '"other"'}
    async with running.browser.get("/js/main.js", headers=same) as got:
        assert got.status == 304
        assert await got.read() == b""
        assert got.headers["ETag"] == tag
    async with running.browser.get("/js/main.js", headers=other) as got:
        assert got.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/notes.md",
        "/js",
        "/js/",
        "/..%2fdata%2fpassword",
        "/%2e%2e/data/password",
        "/js/..%2f..%2f..%2fetc/passwd",
        "/js/main.js%00.html",
    ],
)
async def test_nothing_but_the_files_of_the_page_is_served(
    running: Running, path: str
) -> None:
    async with running.browser.get(path) as got:
        assert got.status in {400, 404}


@pytest.mark.parametrize(
    "path", ["/", "/js/main.js", "/api/health", "/api/state", "/x"]
)
async def test_every_answer_is_armoured(running: Running, path: str) -> None:
    async with running.browser.get(path) as got:
        policy = got.headers["Content-Security-Policy"]
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in got.headers
        assert got.headers["Cache-Control"] in {"no-store", "no-cache"}
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy


async def test_a_live_page_is_armoured_as_well(owner: Running) -> None:
    async with owner.browser.ws_connect("/api/live") as page:
        headers = page._response.headers
        assert "Content-Security-Policy" in headers
        assert "Server" not in headers


@pytest.mark.parametrize(("raw", "kind"), [(PNG, "image/png"), (SVG, "image/svg+xml")])
async def test_an_icon_is_an_image_and_can_do_nothing(
    owner: Running, tmp_path: Path, raw: bytes, kind: str
) -> None:
    owner.home.icons["lamp"] = tmp_path / "icon"
    (tmp_path / "icon").write_bytes(raw)
    async with owner.browser.get("/api/services/lamp/icon?v=1") as got:
        policy = got.headers["Content-Security-Policy"]
        assert got.headers["Content-Type"] == kind
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert "immutable" in got.headers["Cache-Control"]
        assert await got.read() == raw
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert "sandbox" in policy


async def test_an_icon_without_its_version_is_asked_for_each_time(
    owner: Running, tmp_path: Path
) -> None:
    owner.home.icons["lamp"] = tmp_path / "icon"
    (tmp_path / "icon").write_bytes(PNG)
    async with owner.browser.get("/api/services/lamp/icon") as got:
        assert got.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "raw", [b"", b"<html><script>", b"plain", b"MZ\x90", b"<?xml version='1.0'?><x/>"]
)
async def test_what_is_no_image_is_not_served(
    owner: Running, tmp_path: Path, raw: bytes
) -> None:
    owner.home.icons["lamp"] = tmp_path / "icon"
    (tmp_path / "icon").write_bytes(raw)
    async with owner.browser.get("/api/services/lamp/icon") as got:
        assert got.status == 404


async def test_an_icon_that_is_gone_or_too_large_is_not_there(
    owner: Running, tmp_path: Path
) -> None:
    owner.home.icons["gone"] = tmp_path / "gone"
    owner.home.icons["large"] = tmp_path / "large"
    owner.home.icons["folder"] = tmp_path
    (tmp_path / "large").write_bytes(PNG + bytes(1024 * 1024))
    for name in ("gone", "large", "folder", "unknown"):
        async with owner.browser.get(f"/api/services/{name}/icon") as got:
            assert got.status == 404


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"GIF89a...", "image/gif"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x00\x00\x01\x00\x01", "image/x-icon"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"\xef\xbb\xbf  <?xml version='1.0'?><svg/>", "image/svg+xml"),
        (b"<!-- by hand --><svg/>", "image/svg+xml"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"<!-- <b> -->", None),
    ],
)
def test_the_type_of_an_icon_comes_from_its_bytes(raw: bytes, kind: str | None) -> None:
    assert image_type(raw) == kind


def test_every_file_of_the_real_page_has_a_type_we_serve() -> None:
    served = set(PageFiles(PAGE_FOLDER)._files)
    there = {
        path.relative_to(PAGE_FOLDER).as_posix()
        for path in PAGE_FOLDER.rglob("*")
        if path.is_file() and path.suffix not in {".md", ".py", ".pyc"}
    }
    assert served == there
