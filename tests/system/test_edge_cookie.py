"""Our cookie reaches no service, however often and however it is sent."""

import asyncio
import json
from pathlib import Path

import pytest

from hearthgate.home.access import make_access
from hearthgate.home.edge.requests import COOKIE
from tests.support.h2raw import DATA, H2
from tests.support.visiting import house, household

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
SECRET = "0123456789abcdef"
OURS = f"{COOKIE}={SECRET}"
ENCODED = f"__%48ost-hea%72thgate={SECRET}"
# Lines of a request, and what of them a service gets.
LINES = {
    (OURS,): [],
    (f"a=1; {OURS}; b=2",): ["a=1; b=2"],
    (f"{OURS}; {OURS}; a=1; {OURS}",): ["a=1"],
    (f"a=1;{OURS};b=2",): ["a=1;b=2"],
    (f"a=1;  {OURS} ; b=2",): ["a=1;  b=2"],
    (f"a=1, {OURS}, b=2",): ["a=1, b=2"],
    (f"{COOKIE} = {SECRET}; a=1",): ["a=1"],
    (f'"{COOKIE}"="{SECRET}"; a=1',): ["a=1"],
    (f"a=1; {COOKIE.upper()}={SECRET}",): ["a=1"],
    (f"a=1; {COOKIE.lower()}={SECRET}",): ["a=1"],
    (f"a=1; {ENCODED}",): ["a=1"],
    (f"a=1; {COOKIE}",): ["a=1"],
    ("a=1", OURS): ["a=1"],
    (OURS, "a=1"): ["a=1"],
    (f"a=1; {OURS}", f"{OURS}; b=2"): ["a=1", "b=2"],
    ("; ".join([OURS] * 50),): [],
    # What only looks like it is somebody else's: this page's own, for one.
    ("__Host-hearthgate_session=x; hearthgate=y",): [
        "__Host-hearthgate_session=x; hearthgate=y"
    ],
    (f"a={COOKIE}; b=2",): [f"a={COOKIE}; b=2"],
    ("a=1; b=2;",): ["a=1; b=2;"],
}


@pytest.mark.parametrize("asks", [False, True])
async def test_our_cookie_reaches_no_service(tmp_path: Path, *, asks: bool) -> None:
    """Also where nobody is asked any more: browsers keep it for a while."""
    access = make_access("anna", "a password") if asks else None
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port, access=access)])
        right = "Authorization: Basic YW5uYTphIHBhc3N3b3Jk\r\n"  # anna:a password
        for lines, expected in LINES.items():
            cookies = "".join(f"Cookie: {line}\r\n" for line in lines)
            ask = f"GET /echo HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
            visitor = await home.visit(HOST)
            answer = await asyncio.to_thread(
                visitor.raw, f"{ask}{right if asks else ''}{cookies}\r\n".encode()
            )
            body = json.loads(answer.partition(b"\r\n\r\n")[2])
            got = [value for name, value in body["headers"] if name == "cookie"]
            assert SECRET.encode() not in answer, lines
            assert [one for one in got if one] == expected, lines


async def test_our_cookie_reaches_no_service_over_http_2(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        h2 = H2(await home.visit(HOST, "h2"))
        h2.request(
            1,
            *((":method", "GET"), (":scheme", "https")),
            *((":authority", HOST), (":path", "/echo")),
            *(("cookie", one) for one in (OURS, "a=1", OURS, ENCODED, "b=2", OURS)),
        )
        assert await asyncio.to_thread(h2.status) == 200
        _, _, _, body = await asyncio.to_thread(h2.until, DATA)
        assert SECRET.encode() not in body
        assert ["cookie", "a=1; b=2"] in json.loads(body)["headers"]
