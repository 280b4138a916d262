"""UDP flows at the relay: who is let through, who is bounded, when they end."""

import asyncio
from collections.abc import AsyncIterator, Callable
import os
import socket

import pytest

from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.counting.traffic import Traffic
from hearthgate.relay.forwards.udp import Datagrams
from hearthgate.relay.homes.registry import Home
from hearthgate.relay.homes.sessions import Session, Sessions
from hearthgate.shared.net.poller import Poller
from hearthgate.wire.datagrams import (
    FLOW_BYTES,
    Kind,
    Opener,
    Sealer,
    datagram_keys,
    read_flow,
    read_open,
    session_tag,
    write_flow,
)
from hearthgate.wire.messages import Forward
from hearthgate.wire.ports import PortRange, Ports, Protocol
from tests.support.relay_parts import SMALL, Clock, limits

LOOPBACK = "127.0.0.1"
BOUNDS = limits(flows_per_home_max=5, flows_per_address_max=3)
TOO_MUCH = "an answer to an unproven visitor"


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


class AtHome:
    """The home's end, scripted."""

    def __init__(self, session: Session, port: int) -> None:
        to_relay, to_home = datagram_keys(session.key)
        self.sealer = Sealer(to_relay, session_tag(session.id))
        self.opener = Opener(to_home)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect((LOOPBACK, port))

    def send(self, message: bytes) -> bytes:
        datagram = self.sealer.seal(message)
        self.sock.send(datagram)
        return datagram

    async def get(self) -> bytes:
        loop = asyncio.get_running_loop()
        datagram = await asyncio.wait_for(loop.sock_recv(self.sock, 65_535), 20)
        message = self.opener.open(datagram)
        assert message is not None
        return message


class Scene:
    """A relay's datagrams with one home and one public port."""

    def __init__(self, poller: Poller) -> None:
        self.clock = Clock()
        self.counters = Counters(clock=self.clock, log_period_s=60)
        self.traffic = Traffic()
        self.port, self.public = free_udp_port(), free_udp_port()
        self.datagrams = Datagrams(
            poller=poller,
            counters=self.counters,
            limits=BOUNDS,
            hosts=(LOOPBACK,),
            port=self.port,
            clock=self.clock,
            traffic=self.traffic,
        )
        self.datagrams.open()
        sessions = Sessions(poller, SMALL, clock=self.clock)
        ports = Ports(udp=(PortRange(self.public, self.public),))
        home = Home("c" * 64, "cottage", ("c.example.com",), 1, ports)
        self.session = sessions.begin(home, lambda _: None, lambda: None)
        self.datagrams.attach(self.session)
        forward = Forward(Protocol.UDP, self.public)
        self.sessions = sessions
        self.door = self.datagrams.forward(forward, self.session.presence, [])
        self.door.open()
        self.home = AtHome(self.session, self.port)
        self.visitors: list[socket.socket] = []

    def reconnect(self) -> None:
        """Have the home come back with another session."""
        self.home.sock.close()
        home = self.session.presence.home
        self.session = self.sessions.begin(home, lambda _: None, lambda: None)
        self.datagrams.attach(self.session)
        self.home = AtHome(self.session, self.port)

    def visitor(self, address: str = LOOPBACK) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((address, 0))
        sock.connect((LOOPBACK, self.public))
        self.visitors.append(sock)
        return sock

    async def greet(self) -> None:
        self.home.send(bytes([Kind.HELLO]))
        assert await self.home.get() == bytes([Kind.ANSWER])

    async def opened(self, sock: socket.socket, payload: bytes) -> int:
        """Begin a flow; return its number."""
        sock.send(payload)
        found = read_open(await self.home.get())
        assert found is not None
        assert found.payload == payload
        assert found.visitor == sock.getsockname()
        return found.flow

    async def proven(self) -> socket.socket:
        """Return a visitor that went on twice after it was answered."""
        sock = self.visitor()
        flow = await self.opened(sock, b"1")
        for number in (b"2", b"3"):
            self.home.send(write_flow(Kind.DATA, flow, b"a"))
            assert await heard(sock) == b"a"
            sock.send(number)
            assert await self.home.get() == write_flow(Kind.DATA, flow, number)
        return sock

    def close(self) -> None:
        self.datagrams.close()
        for sock in (self.home.sock, *self.visitors):
            sock.close()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    poller = Poller(asyncio.get_running_loop())
    made = Scene(poller)
    yield made
    made.close()
    poller.close()


async def heard(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    return await asyncio.wait_for(loop.sock_recv(sock, 65_535), 20)


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not look():  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.01)


async def test_a_flow_opens_is_accepted_and_answers(scene: Scene) -> None:
    await scene.greet()
    sock = scene.visitor()
    flow = await scene.opened(sock, b"one")
    scene.home.send(write_flow(Kind.ACCEPT, flow))
    scene.home.send(write_flow(Kind.DATA, flow, b"answer"))
    assert await heard(sock) == b"answer"
    sock.send(b"two")
    message = await scene.home.get()
    assert (message[0], read_flow(message)) == (Kind.DATA, flow)
    assert message[FLOW_BYTES:] == b"two"


async def test_a_replayed_datagram_is_dropped_and_counted(scene: Scene) -> None:
    await scene.greet()
    sock = scene.visitor()
    flow = await scene.opened(sock, b"one")
    datagram = scene.home.send(write_flow(Kind.DATA, flow, b"answer"))
    assert await heard(sock) == b"answer"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        attacker.sendto(datagram, (LOOPBACK, scene.port))
        refused = scene.counters.refused
        await until(lambda: refused["a replayed datagram"] == 1)
        changed = bytearray(scene.home.sealer.seal(b"x"))
        changed[-1] ^= 1
        attacker.sendto(changed, (LOOPBACK, scene.port))
        await until(lambda: refused["a forged datagram"] == 1)
    # Neither has moved the home's address.
    assert await scene.opened(scene.visitor(), b"still to the home")


async def test_flows_time_out_sooner_if_the_visitor_was_never_proven(
    scene: Scene,
) -> None:
    await scene.greet()
    sock = scene.visitor()
    flow = await scene.opened(sock, b"0")
    await scene.opened(scene.visitor(), b"says no more")
    scene.home.send(write_flow(Kind.ACCEPT, flow))
    for _ in range(2):
        scene.home.send(write_flow(Kind.DATA, flow, b"answer"))
        await heard(sock)
        sock.send(b"goes on")
        await scene.home.get()
    scene.clock.now += BOUNDS.unproven_flow_idle_s
    scene.datagrams.sweep()
    assert scene.datagrams.flows == 1
    scene.clock.now += BOUNDS.flow_idle_s
    scene.datagrams.sweep()
    assert scene.datagrams.flows == 0


async def test_a_flood_of_visitors_is_bounded(scene: Scene) -> None:
    await scene.greet()
    for number in range(10):
        scene.visitor().send(bytes([number]))
    cause = "an idle flow that made room for another"
    await until(lambda: scene.counters.refused[cause] == 7)
    assert scene.datagrams.flows == BOUNDS.flows_per_address_max


async def test_who_is_in_the_middle_of_something_makes_no_room(scene: Scene) -> None:
    await scene.greet()
    proven = [await scene.proven() for _ in range(3)]
    newcomer = scene.visitor()
    newcomer.send(b"me too")
    cause = "more flows than allowed from one address"
    await until(lambda: scene.counters.refused[cause] == 1)
    scene.clock.now += BOUNDS.flow_spared_s + 1
    proven[0].send(b"still there")
    await scene.home.get()
    newcomer.send(b"now")
    assert (await scene.home.get())[0] == Kind.CLOSE
    found = read_open(await scene.home.get())
    assert found is not None
    assert found.payload == b"now"
    assert scene.datagrams.flows == 3
    proven[0].send(b"and still")
    assert (await scene.home.get())[FLOW_BYTES:] == b"and still"


async def test_what_a_flow_has_moved_is_counted_when_it_ends(scene: Scene) -> None:
    await scene.greet()
    await scene.proven()
    scene.door.close()
    moved = scene.traffic.by_hostname()[f"udp/{scene.public}"]
    assert (moved.to_home, moved.to_visitor) == (3, 2)


async def test_an_unproven_visitor_gets_little_back(scene: Scene) -> None:
    await scene.greet()
    sock = scene.visitor()
    flow = await scene.opened(sock, b"?")
    for _ in range(10):
        scene.home.send(write_flow(Kind.DATA, flow, bytes(700)))
    await until(lambda: scene.counters.refused[TOO_MUCH] == 4)
    assert [len(await heard(sock)) for _ in range(6)] == [700] * 6


async def answered(scene: Scene, sock: socket.socket, question: bytes) -> bool:
    """Ask; tell whether the answer of 1,000 bytes got through."""
    sock.send(question)
    message = await scene.home.get()
    while message[0] == Kind.CLOSE:  # of a flow that made room
        message = await scene.home.get()
    flow = read_flow(message)
    assert flow is not None
    before = scene.counters.refused.total()
    scene.home.send(write_flow(Kind.DATA, flow, bytes(1_000)))
    loop = asyncio.get_running_loop()
    got = asyncio.ensure_future(loop.sock_recv(sock, 65_535))
    try:
        await until(lambda: got.done() or scene.counters.refused.total() > before)
        return got.done()
    finally:
        got.cancel()


async def test_who_changes_ports_gets_no_more_than_who_stays(scene: Scene) -> None:
    """And an honest visitor beside it gets all that it asks for."""
    await scene.greet()
    honest = scene.visitor("127.0.0.9")
    questions = passed = 0
    for _ in range(40):
        assert await answered(scene, honest, bytes(50))
        for payload in (b"?", b"?", b"?"):  # goes on blindly, and changes then
            forger = scene.visitor()
            questions += 1
            passed += await answered(scene, forger, payload)
    most = 3 * questions + BOUNDS.unproven_reply_max
    assert 1_000 * passed <= most
    assert passed == 4


async def test_going_on_blindly_does_not_help_who_got_no_answer(scene: Scene) -> None:
    await scene.greet()
    for _ in range(4):
        assert await answered(scene, scene.visitor(), b"?")
    blind = scene.visitor()
    assert [await answered(scene, blind, b"?") for _ in range(10)] == [False] * 10


@pytest.mark.parametrize("questions", [5, 1_000])
async def test_each_question_of_an_honest_visitor_is_answered(
    scene: Scene, questions: int
) -> None:
    await scene.greet()
    sock = scene.visitor()
    for number in range(questions):
        sock.send(number.to_bytes(50))
        flow = read_flow(await scene.home.get())
        assert flow is not None
        scene.home.send(write_flow(Kind.DATA, flow, number.to_bytes(1_000)))
        assert int.from_bytes(await heard(sock)) == number


async def test_a_refused_answer_is_made_up_for_in_time(scene: Scene) -> None:
    await scene.greet()
    for _ in range(4):
        assert await answered(scene, scene.visitor(), b"?")
    late = scene.visitor()
    assert not await answered(scene, late, b"?")
    scene.clock.now += BOUNDS.unproven_reply_window_s / 3
    assert await answered(scene, late, b"again")
    assert [await answered(scene, late, b"on") for _ in range(9)] == [True] * 9


async def test_a_visitor_that_is_silent_for_long_is_sent_nothing_more(
    scene: Scene,
) -> None:
    await scene.greet()
    sock = await scene.proven()
    flow = next(iter(scene.door.flows.values())).id
    scene.clock.now += BOUNDS.flow_idle_s - 1
    scene.home.send(write_flow(Kind.DATA, flow, b"from the service"))
    assert await heard(sock) == b"from the service"
    scene.clock.now += 1
    scene.datagrams.sweep()
    assert scene.datagrams.flows == 0


async def test_without_udp_from_home_messages_go_by_the_stream(scene: Scene) -> None:
    sent: list[bytes] = []
    stream = sent.append
    assert scene.datagrams.set_stream("c" * 64, stream)
    scene.datagrams.end_stream("c" * 64, lambda _: None)  # an older one, already gone
    sock = scene.visitor()
    sock.send(b"one")
    await until(lambda: bool(sent))
    found = read_open(sent[0])
    assert found is not None
    answer = write_flow(Kind.DATA, found.flow, b"answer")
    scene.datagrams.from_stream("c" * 64, answer)
    assert await heard(sock) == b"answer"


async def test_a_new_session_opens_the_flows_anew(scene: Scene) -> None:
    await scene.greet()
    sock = scene.visitor()
    flow = await scene.opened(sock, b"one")
    scene.home.send(write_flow(Kind.ACCEPT, flow))
    scene.home.sock.close()
    presence = scene.session.presence
    again = Session(presence, 2, lambda _: None, lambda: None, 4)
    scene.datagrams.attach(again)
    scene.home = AtHome(again, scene.port)
    await scene.greet()
    assert await scene.opened(sock, b"two")


async def test_closing_the_port_tells_the_home(scene: Scene) -> None:
    await scene.greet()
    flow = await scene.opened(scene.visitor(), b"one")
    scene.door.close()
    assert await scene.home.get() == write_flow(Kind.CLOSE, flow)
    assert scene.datagrams.flows == 0


async def test_datagrams_wait_for_a_home_that_comes_back(scene: Scene) -> None:
    await scene.greet()
    sock = scene.visitor()
    await scene.opened(sock, b"before")
    scene.datagrams.detach("c" * 64)
    for number in range(3):
        sock.send(bytes([number]))
    scene.reconnect()
    await scene.greet()
    for number in range(3):
        found = read_open(await scene.home.get())
        assert found is not None
        assert found.payload == bytes([number])
    assert "a datagram without a way to its home" not in scene.counters.refused


async def test_datagrams_wait_no_longer_than_they_are_worth(scene: Scene) -> None:
    await scene.greet()
    scene.datagrams.detach("c" * 64)
    scene.visitor().send(b"x")
    scene.clock.now += BOUNDS.datagram_wait_s - 1
    scene.datagrams.sweep_waiting()
    await asyncio.sleep(0)
    assert not scene.counters.refused
    scene.clock.now += 1
    scene.datagrams.sweep_waiting()
    await until(
        lambda: scene.counters.refused["a datagram without a way to its home"] == 1
    )


async def test_a_port_can_be_taken_over_with_what_waits_in_it(scene: Scene) -> None:
    sock = scene.visitor()
    sock.send(b"early")
    sockets = [socket.socket(fileno=os.dup(one.fileno())) for one in scene.door.socks]
    scene.door.close()
    presence = scene.session.presence
    heir = scene.datagrams.forward(scene.door.forward, presence, sockets)
    assert sockets == []
    heir.open()
    await scene.greet()
    found = read_open(await scene.home.get())
    assert found is not None
    assert found.payload == b"early"
