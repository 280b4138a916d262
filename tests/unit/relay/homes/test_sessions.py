"""Sessions and hostnames: who replaces whom, what is cut, and for whom to wait."""

import asyncio
from collections.abc import AsyncIterator
import contextlib

import pytest

from hearthgate.relay.homes.registry import Home
from hearthgate.relay.homes.sessions import Session, Sessions
from hearthgate.shared.net.poller import Poller
from hearthgate.wire.alerts import Alert
from hearthgate.wire.channel import read_preamble, write_preamble
from hearthgate.wire.messages import (
    GoodbyeReason,
    Published,
    read_message,
    write_message,
)
from tests.support.relay_parts import (
    BARN,
    COTTAGE,
    SMALL,
    Agent,
    Clock,
    Cut,
    Visitor,
    parked,
    until,
)

PHOTOS, MUSIC = "photos.cottage.example.com", "music.cottage.example.com"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    made = Poller(asyncio.get_running_loop())
    yield made
    made.close()


@pytest.fixture
def sessions(poller: Poller, clock: Clock) -> Sessions:
    return Sessions(poller, SMALL, clock=clock)


def begin(sessions: Sessions, home: Home = COTTAGE) -> tuple[Session, Agent]:
    agent = Agent()
    session = sessions.begin(home, agent.got.append, agent.leave)
    agent.session = session
    return session, agent


# --- generations ----------------------------------------------------------------------


def test_a_home_that_comes_again_replaces_its_session_at_once(
    sessions: Sessions, poller: Poller
) -> None:
    old, old_agent = begin(sessions)
    sessions.publish(old, [PHOTOS])
    with parked(old, poller, 1) as (channel, theirs):
        new, agent = begin(sessions)
        assert (old.generation, new.generation) == (1, 2)
        assert (old.id, old.key) != (new.id, new.key)
        assert old_agent.goodbye is GoodbyeReason.REPLACED
        assert sessions.by_id == {new.id: new}
        assert theirs.recv(1) == b""
        assert channel.fd not in poller._handlers
    assert old.ended
    assert agent.goodbye is None
    assert sessions.routes[PHOTOS].presence.session is new


def test_the_end_of_a_replaced_session_does_not_touch_the_new_one(
    sessions: Sessions,
) -> None:
    old, _ = begin(sessions)
    sessions.publish(old, [PHOTOS])
    new, agent = begin(sessions)
    sessions.finish(old)
    assert new.presence.session is new
    assert new.presence.lost_at is None
    assert not new.ended
    assert agent.got == []
    assert PHOTOS in sessions.routes


def test_what_is_live_stays_when_a_session_is_replaced(sessions: Sessions) -> None:
    old, _ = begin(sessions)
    sessions.publish(old, [PHOTOS])
    live = Cut()
    sessions.routes[PHOTOS].live.add(live)
    new, _ = begin(sessions)
    sessions.publish(new, [PHOTOS])
    assert not live.closed
    assert sessions.routes[PHOTOS].live == {live}


# --- hostnames ------------------------------------------------------------------------


def test_publishing_declares_the_whole_set(sessions: Sessions) -> None:
    session, _ = begin(sessions)
    assert sessions.publish(session, [PHOTOS, MUSIC, PHOTOS]) == {}
    assert set(sessions.routes) == {PHOTOS, MUSIC}
    assert sessions.publish(session, [MUSIC]) == {}
    assert set(sessions.routes) == set(session.presence.routes) == {MUSIC}


def test_what_is_withdrawn_is_cut_before_publish_returns(sessions: Sessions) -> None:
    session, _ = begin(sessions)
    sessions.publish(session, [PHOTOS, MUSIC])
    photos, music = Cut(), Cut()
    sessions.routes[PHOTOS].live.add(photos)
    sessions.routes[MUSIC].live.add(music)
    waiting, other = Visitor(PHOTOS), Visitor(MUSIC)
    session.presence.waiting.extend([waiting, other])
    sessions.publish(session, [MUSIC])
    assert (photos.closed, music.closed) == (True, False)
    assert (waiting.alert, other.alert) == (Alert.UNRECOGNIZED_NAME, None)
    assert list(session.presence.waiting) == [other]


def test_a_hostname_outside_the_grant_is_refused_and_the_others_are_taken(
    sessions: Sessions,
) -> None:
    session, _ = begin(sessions)
    bad = ["barn.example.com", "xcottage.example.com", "example.com"]
    refused = sessions.publish(session, [*bad, PHOTOS])
    assert set(refused) == set(bad)
    assert "It allows cottage.example.com and names below" in refused["example.com"]
    assert set(sessions.routes) == {PHOTOS}


def test_a_hostname_of_another_home_is_refused(sessions: Sessions) -> None:
    """Only if grants overlap after all, as they may in an edited state file."""
    first, _ = begin(sessions)
    sessions.publish(first, [PHOTOS])
    thief = Home("f" * 64, "thief", ("example.com",), 1)
    second, _ = begin(sessions, thief)
    refused = sessions.publish(second, [PHOTOS])
    assert refused == {PHOTOS: f"Another home on this relay holds {PHOTOS}."}
    assert sessions.routes[PHOTOS].presence is first.presence
    sessions.publish(second, [])
    assert PHOTOS in sessions.routes


def test_there_are_no_more_hostnames_than_allowed(sessions: Sessions) -> None:
    session, _ = begin(sessions)
    names = [f"{n}.cottage.example.com" for n in range(8)]
    refused = sessions.publish(session, names)
    assert set(refused) == set(names[5:])
    assert set(sessions.routes) == set(names[:5])


def test_a_refusal_fits_into_a_message_whatever_the_grant(sessions: Sessions) -> None:
    """Many domains made it longer than an agent reads, which ended the session."""
    long = ".".join(["y" * 62] * 4)
    for domains in (
        [f"domain-number-{n}.example.com" for n in range(300)],
        [".".join(["z" * 62] * 4)],
    ):
        home = Home("d" * 64, "villa", tuple(domains), 1)
        session, _ = begin(sessions, home)
        reply = Published(1, sessions.publish(session, [long]))
        assert read_message(write_message(reply)) == reply


def test_revoking_cuts_everything_of_that_home_only(sessions: Sessions) -> None:
    cottage, agent = begin(sessions)
    barn, barn_agent = begin(sessions, BARN)
    sessions.publish(cottage, [PHOTOS])
    sessions.publish(barn, ["a.barn.example.com"])
    live, other = Cut(), Cut()
    sessions.routes[PHOTOS].live.add(live)
    sessions.routes["a.barn.example.com"].live.add(other)
    waiting = Visitor(PHOTOS)
    cottage.presence.waiting.append(waiting)
    sessions.revoke(COTTAGE.id)
    sessions.revoke("nobody")
    assert live.closed
    assert not other.closed
    assert waiting.alert is Alert.UNRECOGNIZED_NAME
    assert agent.goodbye is GoodbyeReason.REVOKED
    assert barn_agent.got == []
    assert set(sessions.routes) == {"a.barn.example.com"}
    assert set(sessions.by_id) == {barn.id}
    assert sessions.expected(None) is None


# --- coming and going -----------------------------------------------------------------


def test_hostnames_stay_for_the_grace_period(sessions: Sessions, clock: Clock) -> None:
    session, _ = begin(sessions)
    sessions.publish(session, [PHOTOS])
    live, waiting = Cut(), Visitor(PHOTOS)
    sessions.routes[PHOTOS].live.add(live)
    session.presence.waiting.append(waiting)
    sessions.finish(session)
    clock.now += SMALL.reconnect_grace_s
    sessions.sweep()
    assert PHOTOS in sessions.routes
    clock.now += 1.0
    sessions.sweep()
    assert sessions.routes == {}
    assert live.closed
    assert waiting.alert is Alert.UNRECOGNIZED_NAME


def test_a_home_is_expected_while_it_may_come_back(
    sessions: Sessions, clock: Clock
) -> None:
    session, _ = begin(sessions)
    assert sessions.expected(COTTAGE) is session.presence  # not published yet
    sessions.publish(session, [MUSIC])
    assert sessions.expected(COTTAGE) is None
    sessions.finish(session)
    assert sessions.expected(COTTAGE) is session.presence
    clock.now += SMALL.reconnect_grace_s
    assert sessions.expected(COTTAGE) is None
    assert sessions.expected(None) is None


def test_every_home_is_expected_just_after_the_relay_has_started(
    sessions: Sessions, clock: Clock
) -> None:
    presence = sessions.expected(COTTAGE)
    assert presence is not None
    assert presence.home is COTTAGE
    clock.now += SMALL.reconnect_grace_s
    assert sessions.expected(COTTAGE) is None
    assert sessions.expected(BARN) is None


def test_who_waited_for_a_name_that_comes_back_unpublished_is_sent_away(
    sessions: Sessions, poller: Poller
) -> None:
    """They used to wait out their time, and asked for channels four times a second."""
    presence = sessions.expected(COTTAGE)
    assert presence is not None
    wanted, other = Visitor(PHOTOS), Visitor(MUSIC)
    presence.waiting.extend([other, wanted])
    session, agent = begin(sessions)
    assert session.presence is presence
    with parked(session, poller, 1) as (channel, _):
        presence.serve()
        assert wanted.channel is None  # nothing is published yet
        sessions.publish(session, [PHOTOS])
        assert wanted.channel is channel
    assert other.alert is Alert.UNRECOGNIZED_NAME
    assert agent.needs == []


def test_stopping_says_goodbye_and_leaves_what_is_live(sessions: Sessions) -> None:
    session, agent = begin(sessions)
    sessions.publish(session, [PHOTOS])
    live = Cut()
    sessions.routes[PHOTOS].live.add(live)
    sessions.say_goodbye()
    assert agent.goodbye is GoodbyeReason.STOPPING
    assert not live.closed
    sessions.close()
    assert live.closed
    assert [type(one).__name__ for one in agent.got] == ["Goodbye"]


# --- channels -------------------------------------------------------------------------


def test_the_freshest_channel_is_taken_first(
    sessions: Sessions, poller: Poller
) -> None:
    session, _ = begin(sessions)
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(parked(session, poller, n))[0] for n in (1, 2)]
        assert session.presence.take_channel() is made[1]
        assert session.presence.take_channel() is made[0]
        assert session.presence.take_channel() is None
        for channel in made:
            channel.close()


def test_who_came_first_is_served_first(sessions: Sessions, poller: Poller) -> None:
    session, agent = begin(sessions)
    sessions.publish(session, [PHOTOS])
    first, second = Visitor(PHOTOS), Visitor(PHOTOS)
    session.presence.waiting.extend([first, second])
    with parked(session, poller, 1) as (channel, _):
        session.presence.serve()
        assert first.channel is channel
    session.presence.ask_for_channels()
    assert [need.count for need in agent.needs] == [1]


def test_a_ticket_counts_once(sessions: Sessions) -> None:
    session, agent = begin(sessions)
    assert session.accepts(agent.preamble(session, 7)) == ""
    assert session.accepts(agent.preamble(session, 7)) == "a channel with a used ticket"
    assert session.accepts(agent.preamble(session, 6)) == ""


def test_a_ticket_of_another_session_is_forged(sessions: Sessions) -> None:
    session, agent = begin(sessions)
    other, _ = begin(sessions, BARN)
    assert session.accepts(agent.preamble(other)) == "a channel with a forged ticket"
    stolen = read_preamble(write_preamble(session.id, 1, other.key))
    assert stolen is not None
    assert session.accepts(stolen) == "a channel with a forged ticket"
    assert session.accepts(agent.preamble(session, 1)) == ""  # it used up no serial


def test_more_channels_than_allowed_are_refused_unless_somebody_waits(
    sessions: Sessions, poller: Poller
) -> None:
    session, agent = begin(sessions)
    with contextlib.ExitStack() as stack:
        for serial in range(1, SMALL.channels_per_home_max + 1):
            stack.enter_context(parked(session, poller, serial))
        why = session.accepts(agent.preamble(session, 50))
        assert why == "more parked channels than allowed"
        session.presence.waiting.append(Visitor(PHOTOS))
        assert session.accepts(agent.preamble(session, 51)) == ""


def test_stale_channels_are_closed_and_younger_ones_stay(
    sessions: Sessions, poller: Poller
) -> None:
    session, _ = begin(sessions)
    with (
        parked(session, poller, 1, since=1.0) as (_, old),
        parked(session, poller, 2, since=2.0) as (_, same),
        parked(session, poller, 3, since=3.0) as (young, _),
    ):
        assert session.discard_stale(2.0) == 2
        assert session.parked == [young]
        assert old.recv(1) == same.recv(1) == b""


async def test_a_parked_channel_that_says_anything_is_given_up(
    sessions: Sessions, poller: Poller
) -> None:
    session, _ = begin(sessions)
    for end in ("talks", "closes"):
        with parked(session, poller, 1) as (_, theirs):
            if end == "talks":
                theirs.send(b"out of turn")
            else:
                theirs.close()
            await until(lambda: not session.parked)
