"""Whether something listens at a TCP or UDP service."""

import asyncio
from collections.abc import Iterator
import socket

import pytest

from hearthgate.home.discovery.probe_tcp import probe_tcp
from hearthgate.home.model import Scheme, Target

HOSTS = ("127.0.0.1", "::1")


@pytest.fixture(params=HOSTS)
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Return a UDP socket with a port of its own."""
    host: str = request.param
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((host, 0))
        made.setblocking(False)
        yield made


def target(scheme: Scheme, sock: socket.socket) -> Target:
    host, port = sock.getsockname()[:2]
    return Target(scheme, host, port)


async def test_a_udp_service_that_does_not_exist_is_not_reachable(
    sock: socket.socket,
) -> None:
    where = target(Scheme.UDP, sock)
    sock.close()
    found = await probe_tcp(where)
    assert found.reachable is False
    assert found.problem == "Nothing listens there (Connection refused)."


async def test_nobody_can_tell_of_a_udp_service_that_is_silent(
    sock: socket.socket,
) -> None:
    found = await probe_tcp(target(Scheme.UDP, sock))
    assert found.reachable is None
    assert found.problem is not None
    assert sock.recv(100) == b""  # one datagram, without any byte
    with pytest.raises(BlockingIOError):
        sock.recv(100)


async def test_a_udp_service_that_answers_is_reachable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    looked = asyncio.ensure_future(probe_tcp(target(Scheme.UDP, sock)))
    _, address = await asyncio.wait_for(loop.sock_recvfrom(sock, 100), 20)
    sock.sendto(b"what?", address)
    assert (await looked).reachable is True


async def test_a_udp_service_with_a_name_that_leads_nowhere_is_not_reachable() -> None:
    found = await probe_tcp(Target(Scheme.UDP, "nobody.invalid", 53))
    assert found.reachable is False


async def test_a_tcp_service_is_reachable_if_it_takes_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = target(Scheme.TCP, server)
        assert (await probe_tcp(where)).reachable is True
    found = await probe_tcp(where)
    assert (found.reachable, found.problem) == (
        False,
        "Nothing listens there (Connection refused).",
    )
