"""Services that learn the visitor's address by PROXY protocol, behind the real edge."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hearthgate.home.model import Scheme
from tests.harness.proxy_reader import proxy_reader
from tests.support.visiting import VISITOR, household, make_certificate

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER_VISITOR = "198.51.100.77"


@pytest.mark.parametrize("scheme", [Scheme.HTTP, Scheme.HTTPS])
async def test_a_service_that_wants_it_gets_each_visitors_address(
    tmp_path: Path, scheme: Scheme
) -> None:
    certificate = None
    if scheme is Scheme.HTTPS:
        certificate = tmp_path / "service.pem"
        make_certificate(certificate, "service.local")
    async with (
        proxy_reader(tmp_path, certificate) as port,
        household(tmp_path) as home,
    ):
        route = home.route(HOST, port, scheme=scheme)
        await home.edge.apply([replace(route, tells_visitor=True)])
        one = await home.visit(HOST)
        other = await home.visit(HOST, address=OTHER_VISITOR)
        for _ in range(3):  # connections to the service that are kept are not mixed up
            for visitor, address in ((one, VISITOR), (other, OTHER_VISITOR)):
                answer = await asyncio.to_thread(visitor.ask, "/")
                assert await asyncio.to_thread(answer.read) == address.encode()


async def test_a_service_is_told_nothing_unless_that_is_wanted(tmp_path: Path) -> None:
    async with proxy_reader(tmp_path) as port, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, port)])
        status, _ = await home.get(HOST, "/")
        assert status == 502  # it waits for a header, and gets a request
