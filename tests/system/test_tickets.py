"""Homes that break the rules: refused, counted, logged once, and nobody else's trouble.

bad home ──▶ relay ◀── good home        after each offence a visitor of the good home
                                        still gets through
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
import contextlib
from dataclasses import replace
import itertools
import json
from pathlib import Path

from aiohttp import (
    ClientSession,
    ServerFingerprintMismatch,
    WSServerHandshakeError,
)
import pytest

from hearthgate.home.tunnel.dialing import control_url, relay_client
from hearthgate.home.tunnel.identity import relay_context
from hearthgate.wire import messages
from hearthgate.wire.channel import write_preamble
from hearthgate.wire.constants import PAIR_PATH
from hearthgate.wire.messages import GoodbyeReason
from hearthgate.wire.ports import Protocol
from tests.harness.hearthgate import RelayProcess
from tests.support import hellos
from tests.support.fake_agent import Channel, FakeAgent, dial, read

LIMITS = {
    "HEARTHGATE_LIMITS__CONTROL_MESSAGES_PER_MINUTE": "40",
    "HEARTHGATE_LIMITS__CHANNELS_PER_HOME_MAX": "3",
    "HEARTHGATE_LIMITS__HOSTNAMES_PER_HOME_MAX": "3",
    "HEARTHGATE_LIMITS__ANSWERS_PER_HOME_MAX": "2",
    "HEARTHGATE_LIMITS__CONTROL_HANDSHAKE_DEADLINE_S": "1.5",
    "HEARTHGATE_LIMITS__PAIRING_ATTEMPTS_PER_MINUTE": "10",
    "HEARTHGATE_LIMITS__RECONNECT_GRACE_S": "0.1",
}
GOOD_NAME, BAD_NAME = "a.good.example.com", "a.bad.example.com"


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(environment=LIMITS) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
async def good(relay: RelayProcess, tmp_path: Path) -> AsyncIterator[FakeAgent]:
    code = relay.invite("good.example.com", "good")
    async with await FakeAgent.join(code, tmp_path / "good") as agent:
        assert await agent.publish(GOOD_NAME) == messages.Published(1, {})
        yield agent


@pytest.fixture
async def bad(relay: RelayProcess, tmp_path: Path) -> AsyncIterator[FakeAgent]:
    code = relay.invite("bad.example.com", "bad")
    async with await FakeAgent.join(code, tmp_path / "bad") as agent:
        yield agent


async def visit(relay: RelayProcess, agent: FakeAgent, name: str = GOOD_NAME) -> None:
    """Let a visitor through, from its hello to an answer."""
    channel = await agent.park()
    visitor = await dial(relay.https_port, hellos.hello(name))
    try:
        await channel.opened()
        channel.sock.send(b"fine")
        assert await read(visitor, 4) == b"fine"
    finally:
        visitor.close()


def counted(relay: RelayProcess, cause: str) -> int:
    return int(relay.status()["refused"].get(cause, 0))


# --- channels -------------------------------------------------------------------------

_SERIALS = itertools.count(100)
Offence = Callable[[FakeAgent, FakeAgent], Awaitable[Channel]]


async def _replayed(bad: FakeAgent, _good: FakeAgent) -> Channel:
    await bad.park(serial=7)
    return await bad.park(serial=7)


async def _replayed_after_use(bad: FakeAgent, _good: FakeAgent) -> Channel:
    first = await bad.park(serial=7)
    first.sock.close()
    return await bad.park(serial=7)


async def _forged(bad: FakeAgent, _good: FakeAgent) -> Channel:
    return await bad.park(key=b"x" * 32)


async def _with_the_key_of_another(bad: FakeAgent, good: FakeAgent) -> Channel:
    """Claims the other home's session, which its own key does not open."""
    return await bad.park(session=good.welcome.session_id)


async def _of_no_session(bad: FakeAgent, _good: FakeAgent) -> Channel:
    return await bad.park(session=b"n" * 16)


async def _of_a_session_that_is_over(bad: FakeAgent, _good: FakeAgent) -> Channel:
    old = bad.welcome
    await bad.close()
    await bad.connect()
    return await bad.park(session=old.session_id, key=old.channel_key)


async def _of_another_kind(bad: FakeAgent, _good: FakeAgent) -> Channel:
    preamble = write_preamble(bad.welcome.session_id, 9, bad.welcome.channel_key)
    return await bad.channel(preamble[:4] + b"\x02" + preamble[5:])


async def _that_talks_at_once(bad: FakeAgent, _good: FakeAgent) -> Channel:
    serial = next(_SERIALS)
    preamble = write_preamble(bad.welcome.session_id, serial, bad.welcome.channel_key)
    return await bad.channel(preamble + b"and more")


async def _with_serial_zero(bad: FakeAgent, _good: FakeAgent) -> Channel:
    preamble = write_preamble(bad.welcome.session_id, 0, bad.welcome.channel_key)
    return await bad.channel(preamble)


async def _one_too_many(bad: FakeAgent, _good: FakeAgent) -> Channel:
    for _ in range(3):
        await bad.park()
    return await bad.park()


@pytest.mark.parametrize(
    ("offence", "cause"),
    [
        (_replayed, "a channel with a used ticket"),
        (_replayed_after_use, "a channel with a used ticket"),
        (_with_serial_zero, "a channel with a used ticket"),
        (_forged, "a channel with a forged ticket"),
        (_with_the_key_of_another, "a channel with a forged ticket"),
        (_of_no_session, "a channel of no session"),
        (_of_a_session_that_is_over, "a channel of no session"),
        (_of_another_kind, "a channel of no session"),
        (_that_talks_at_once, "a channel that talks out of turn"),
        (_one_too_many, "more parked channels than allowed"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_a_channel_that_breaks_the_rules_is_closed_and_counted(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent, offence: Offence, cause: str
) -> None:
    channel = await offence(bad, good)
    assert await channel.is_closed()
    again = await offence(bad, good)
    assert await again.is_closed()
    assert counted(relay, cause) >= 2
    # Once for each home that is concerned, not for each channel.
    assert relay.log.count(f"Refused: {cause}") == 1
    await visit(relay, good)


async def test_a_parked_channel_that_speaks_is_closed(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    channel = await bad.park()
    async with asyncio.timeout(15):
        while not any(home["parked"] for home in relay.homes()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    channel.sock.send(b"out of turn")
    assert await channel.is_closed()
    await visit(relay, good)


async def test_a_home_cannot_serve_visitors_of_another(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    await bad.publish(BAD_NAME)
    channel = await bad.park()
    await visit(relay, good)
    with pytest.raises(BlockingIOError):
        channel.sock.recv(1)


# --- control messages -----------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        "hello",
        "{}",
        "[" * 50_000,
        '{"type":"sudo"}',
        '{"type":"publish","id":1}',
        '{"type":"publish","id":1,"hostnames":["*.bad.example.com"]}',
        '{"type":"publish","id":1,"hostnames":"a.bad.example.com"}',
        '{"type":"welcome","protocol":1}',
        messages.Hello((1,), "again"),
        messages.Need(1),
        messages.Done(1),
        messages.Goodbye(GoodbyeReason.STOPPING),
        b"bytes",
    ],
    ids=lambda said: str(said)[:40],
)
async def test_a_message_that_breaks_the_protocol_ends_that_session_with_a_goodbye(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent, said: messages.Message | str
) -> None:
    await bad.publish(BAD_NAME)
    channel = await bad.park()
    await bad.say(said)
    assert await bad.ended() == messages.Goodbye(GoodbyeReason.MISBEHAVED)
    assert await channel.is_closed()
    causes = {"a control message", "a control frame that is no text"}
    refused = relay.status()["refused"]
    assert sum(refused.get(cause, 0) for cause in causes) == 1
    await visit(relay, good)
    await bad.close()
    await bad.connect()  # it may come back and behave
    assert await bad.publish(BAD_NAME) == messages.Published(1, {})
    await visit(relay, bad, BAD_NAME)


async def test_a_message_beyond_the_bound_ends_that_session(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    await bad.say('{"type":"done","id":1,"x":"' + "y" * 70_000 + '"}')
    assert await bad.ended() is None
    await visit(relay, good)


async def test_a_flood_of_messages_ends_that_session(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    with contextlib.suppress(ConnectionError):
        for number in range(200):
            await bad.say(messages.Publish(number, ()))
    assert await bad.ended() == messages.Goodbye(GoodbyeReason.MISBEHAVED)
    assert counted(relay, "too many control messages") == 1
    await visit(relay, good)
    # Coming back does not reset what it has used up.
    await bad.close()
    await bad.connect()
    with contextlib.suppress(ConnectionError):
        for number in range(20):  # half of what a new one could say
            await bad.say(messages.Publish(number, ()))
    assert isinstance(await bad.ended(), messages.Goodbye)
    assert relay.log.count("Refused: too many control messages") == 1
    await visit(relay, good)


@pytest.mark.parametrize(
    "first",
    [
        messages.Hello((7, 2), "from the future"),
        messages.Publish(1, ()),
    ],
    ids=["other versions", "no hello"],
)
async def test_a_session_without_a_common_version_is_told_to_update(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent, first: messages.Message
) -> None:
    await bad.close()
    await bad.dial()
    await bad.say(first)
    told = await bad.ended()
    assert isinstance(told, messages.Refused)
    assert (told.id, told.code) == (0, "protocol_unknown")
    assert counted(relay, "a session in another language") == 1
    await visit(relay, good)


@pytest.mark.parametrize("first", ["", "garbage", b"\0\1"])
async def test_a_session_that_begins_with_garbage_is_closed(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent, first: str | bytes
) -> None:
    await bad.close()
    await bad.dial()
    await bad.say(first)
    assert await bad.ended() is None
    assert counted(relay, "a session without a hello") == 1
    await visit(relay, good)


async def test_a_session_that_says_nothing_is_closed(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    await bad.close()
    await bad.dial()
    assert await bad.ended() is None
    await visit(relay, good)


async def test_a_newer_agent_is_answered_in_the_version_that_both_speak(
    relay: RelayProcess, bad: FakeAgent
) -> None:
    del relay
    await bad.close()
    await bad.dial()
    await bad.say(
        json.dumps(
            {
                "type": "hello",
                "protocols": [9, 2, 1],
                "software": "9.0",
                "colour": "blue",
            }
        )
    )
    welcome = await bad.hear()
    assert isinstance(welcome, messages.Welcome)
    assert welcome.protocol == 1


# --- claims ---------------------------------------------------------------------------


async def test_hostnames_outside_the_grant_are_refused_and_others_published(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    stolen = [GOOD_NAME, "good.example.com", "example.com", "xbad.example.com"]
    reply = await bad.publish(*stolen, BAD_NAME)
    assert isinstance(reply, messages.Published)
    assert set(reply.refused) == set(stolen)
    assert "does not let your home use a.good.example.com" in reply.refused[GOOD_NAME]
    assert counted(relay, "a hostname") == 4
    assert relay.log.count("bad: Refused: a hostname") == 1
    await visit(relay, good)
    await visit(relay, bad, BAD_NAME)


async def test_more_hostnames_than_allowed_are_refused(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    names = [f"{n}.bad.example.com" for n in range(5)]
    reply = await bad.publish(*names)
    assert isinstance(reply, messages.Published)
    assert set(reply.refused) == {"3.bad.example.com", "4.bad.example.com"}
    await visit(relay, good)


async def test_very_many_refusals_do_not_end_the_session(
    relay: RelayProcess, bad: FakeAgent
) -> None:
    """The reply was once longer than any agent reads."""
    del relay
    names = [f"{n:x<40}.example.com" for n in range(900)]
    reply = await bad.publish(*names)
    assert isinstance(reply, messages.Published)
    assert set(reply.refused) == set(names)  # each with as much as there is room for
    names = [f"{n:x<48}.example.com" for n in range(1000)]
    reply = await bad.publish(*names)
    assert isinstance(reply, messages.Refused)
    assert reply.code == "too_many_hostnames"
    forwards = tuple(messages.Forward(Protocol.TCP, 2000 + n) for n in range(1000))
    await bad.say(messages.Forwards(3, forwards))
    reply = await bad.hear()
    assert isinstance(reply, messages.Forwarded)
    assert set(reply.refused) == set(map(str, forwards))
    assert await bad.publish(BAD_NAME) == messages.Published(1, {})


async def test_acme_answers_outside_the_grant_or_beyond_the_bound_are_refused(
    good: FakeAgent, bad: FakeAgent
) -> None:
    await bad.say(messages.Answer(5, GOOD_NAME, "t", "t.k"))
    told = await bad.hear()
    assert isinstance(told, messages.Refused)
    assert (told.id, told.code) == (5, "hostname_not_granted")
    for number in range(3):
        await bad.say(messages.Answer(number, BAD_NAME, f"t{number}", "t.k"))
    assert [await bad.hear(), await bad.hear()] == [messages.Done(0), messages.Done(1)]
    told = await bad.hear()
    assert isinstance(told, messages.Refused)
    assert (told.id, told.code) == (2, "too_many_answers")
    await good.say(messages.Answer(1, GOOD_NAME, "t", "t.k"))
    assert await good.hear() == messages.Done(1)


async def test_taking_a_domain_takes_its_acme_answers_and_names_at_once(
    relay: RelayProcess, bad: FakeAgent
) -> None:
    async def shown(client: ClientSession) -> int:
        url = f"http://127.0.0.1:{relay.http_port}/.well-known/acme-challenge/t"
        async with client.get(url, headers={"Host": BAD_NAME}) as answer:
            return answer.status

    relay.run("relay", "grant", "bad", "--domain", "left.example.com")
    await bad.close()  # an agent without features learns it from its next welcome
    await bad.connect()
    assert await bad.publish(BAD_NAME, "left.example.com") == messages.Published(1, {})
    await bad.say(messages.Answer(1, BAD_NAME, "t", "t.k"))
    assert await bad.hear() == messages.Done(1)
    async with ClientSession() as client:
        assert await shown(client) == 200
        relay.run("relay", "grant", "bad", "--domain", "bad.example.com", "--remove")
        assert await shown(client) == 404
    (home,) = [one for one in relay.homes() if one["name"] == "bad"]
    assert home["hostnames"] == ["left.example.com"]


async def test_dropping_an_answer_of_another_home_changes_nothing(
    relay: RelayProcess, good: FakeAgent, bad: FakeAgent
) -> None:
    await good.say(messages.Answer(1, GOOD_NAME, "t", "t.k"))
    assert await good.hear() == messages.Done(1)
    await bad.say(messages.DropAnswer(2, GOOD_NAME, "t"))
    assert await bad.hear() == messages.Done(2)
    asking = f"GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: {GOOD_NAME}\r\n\r\n"
    sock = await dial(relay.http_port, asking.encode())
    try:
        assert (await read(sock, 4096)).endswith(b"t.k")
    finally:
        sock.close()


# --- sessions -------------------------------------------------------------------------


async def test_a_home_that_connects_again_replaces_itself_at_once(
    relay: RelayProcess, good: FakeAgent, tmp_path: Path
) -> None:
    old_channel = await good.park()
    async with FakeAgent(good.joined, tmp_path / "good") as again:
        assert again.welcome.generation == good.welcome.generation + 1
        assert again.welcome.channel_key != good.welcome.channel_key
        assert await good.ended() == messages.Goodbye(GoodbyeReason.REPLACED)
        assert await old_channel.is_closed()
        # The hostname is still there, without being published again.
        await visit(relay, again)


async def test_a_relay_that_stops_says_so(relay: RelayProcess, good: FakeAgent) -> None:
    stopping = asyncio.create_task(asyncio.to_thread(relay.stop))
    assert await good.ended() == messages.Goodbye(GoodbyeReason.STOPPING)
    await stopping


# --- who may connect at all -----------------------------------------------------------


@contextlib.asynccontextmanager
async def client(agent: FakeAgent) -> AsyncIterator[ClientSession]:
    one = relay_client(agent.joined.host, bytes.fromhex(agent.joined.fingerprint))
    try:
        yield one
    finally:
        await one.close()
        await asyncio.sleep(0)


async def test_a_control_connection_without_a_certificate_is_refused(
    relay: RelayProcess, good: FakeAgent
) -> None:
    stranger = FakeAgent(good.joined, Path())
    try:
        with pytest.raises(WSServerHandshakeError) as caught:
            await stranger.dial(relay_context())
        assert caught.value.status == 403
    finally:
        await stranger.close()
    assert counted(relay, "a home that is not paired") == 1
    await visit(relay, good)


async def test_a_relay_with_another_key_is_noticed_before_anything_is_said(
    relay: RelayProcess, good: FakeAgent
) -> None:
    other = FakeAgent(replace(good.joined, fingerprint="00" * 32), Path())
    other.identity = good.identity
    try:
        with pytest.raises(ServerFingerprintMismatch):
            await other.dial()
    finally:
        await other.close()
    await visit(relay, good)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"secret":1,"request":""}',
        b'{"secret":"!","request":""}',
        b"\xff",
        b'{"secret":"' + b"A" * 70 + b'","request":""}',
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_pairing_request_that_is_none_gets_a_400(
    relay: RelayProcess, good: FakeAgent, body: bytes
) -> None:
    url = control_url(relay.https_port, PAIR_PATH)
    async with (
        client(good) as one,
        one.post(url, data=body, ssl=relay_context()) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "request_invalid"


async def test_guessing_pairing_codes_is_slowed_down(
    relay: RelayProcess, good: FakeAgent
) -> None:
    url = control_url(relay.https_port, PAIR_PATH)
    codes = []
    async with client(good) as one:
        for _ in range(12):
            body = {"secret": "AAAAAAAAAAAAAAAAAAAAAA==", "request": ""}
            async with one.post(url, json=body, ssl=relay_context()) as answer:
                codes.append((await answer.json())["error"]["code"])
    assert codes.count("pairing_too_often") >= 2
    assert set(codes) == {"pairing_code_unknown", "pairing_too_often"}
    await visit(relay, good)


async def test_other_paths_are_not_found(relay: RelayProcess, good: FakeAgent) -> None:
    async with client(good) as one:
        for method, path in (("GET", "/"), ("GET", PAIR_PATH), ("POST", "/v1/control")):
            url = control_url(relay.https_port, path)
            async with one.request(method, url, ssl=relay_context()) as answer:
                assert answer.status == 404
