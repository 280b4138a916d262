"""Whether a service answers a stranger otherwise than the home network."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.test_utils import TestServer
import pytest

from hearthgate.home.discovery.comparison import Comparison
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.model import Scheme, Target
from tests.support.relay_parts import Clock

LOGIN = '<form><input name="p" type="password"></form>'
Answer = Callable[["Trusting", bool], web.Response]


class Trusting:
    """A service that believes X-Forwarded-For; `stranger` is what it makes of it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        return self.answer(self, "X-Forwarded-For" in request.headers)


async def compared(answer: Answer) -> tuple[bool, int]:
    """Return what came of it, asked twice, and how often the service was asked."""
    service = Trusting(answer)
    app = web.Application()
    app.router.add_get("/{_:.*}", service.handle)
    async with TestServer(app) as server:
        assert server.port is not None
        target = Target(Scheme.HTTP, "127.0.0.1", server.port)
        comparison = Comparison(DiscoveryLimits(), clock=Clock())
        found = await comparison.differs(target)
        assert await comparison.differs(target) is found  # remembered
        return found, service.asked


def page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html")


def _login(_: Trusting, is_stranger: bool) -> web.Response:
    return page(LOGIN if is_stranger else "Hello, admin")


def _status(_: Trusting, is_stranger: bool) -> web.Response:
    return page("…", 403 if is_stranger else 200)


def _redirect(service: Trusting, is_stranger: bool) -> web.Response:
    del service
    if is_stranger:
        return web.Response(status=302, headers={"Location": "https://other.example/"})
    return page("Hello")


@pytest.mark.parametrize("answer", [_login, _status, _redirect])
async def test_another_answer_for_a_stranger_is_noticed(answer: Answer) -> None:
    assert await compared(answer) == (True, 3)


def _same(_: Trusting, _is_stranger: bool) -> web.Response:
    return page(LOGIN)


def _body(service: Trusting, _is_stranger: bool) -> web.Response:
    return page(f"<p>{service.asked}</p>")


def _refuses_proxies(_: Trusting, is_stranger: bool) -> web.Response:
    return page("…", 400 if is_stranger else 200)


@pytest.mark.parametrize("answer", [_same, _body, _refuses_proxies])
async def test_what_says_nothing_of_addresses_is_no_difference(answer: Answer) -> None:
    found, asked = await compared(answer)
    assert (found, asked) == (False, 2)


def _moody(service: Trusting, _is_stranger: bool) -> web.Response:
    return page("…", 200 if service.asked == 1 else 503)


async def test_a_service_that_changes_by_itself_is_not_blamed() -> None:
    assert await compared(_moody) == (False, 3)


async def test_nothing_there_is_no_difference() -> None:
    nowhere = Target(Scheme.HTTP, "127.0.0.1", 1)
    assert await Comparison(DiscoveryLimits()).differs(nowhere) is False
