"""A scene for all tests that break nothing, and fresh ones for those that do."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.harness.haproxies import haproxies, using
from tests.harness.hearthgate import Api, Json
from tests.harness.scene import Scene
from tests.harness.webservice import WebService


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest our marker."""
    config.addinivalue_line("markers", "slow: waits for deadlines of half a minute")


@pytest.fixture(scope="module", params=haproxies())
def haproxy(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run what uses this once with every HAProxy that there is; give its version."""
    with using(haproxies()[request.param]):
        yield request.param


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """Share one paired home; leave it as you found it."""
    shared = Scene()
    asyncio.run(shared.__aenter__())
    try:
        yield shared
    finally:
        asyncio.run(shared.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def lamp(scene: Scene) -> Json:
    """Share a service that is live."""
    return asyncio.run(scene.expose(scene.web.url, "Lamp"))


@pytest.fixture(scope="session")
def hostname(lamp: Json) -> str:
    """Share the public name of that service."""
    return str(lamp["exposure"]["hostname"])


@pytest.fixture
async def api(scene: Scene) -> AsyncIterator[Api]:
    """Talk to the shared home."""
    async with scene.home.api() as api:
        yield api


@pytest.fixture(scope="module")
def other_web() -> Iterator[WebService]:
    """Run one more service, with another title."""
    with WebService(title="Kitchen") as web:
        yield web
