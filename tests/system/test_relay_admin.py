"""What the owner of a relay may do: the first code, homes, conflicts, revoking."""

import asyncio
from collections.abc import Iterator
import json
from pathlib import Path

import pytest

from hearthgate.wire import messages
from hearthgate.wire.messages import GoodbyeReason
from hearthgate.wire.pairing import read_pairing_code
from tests.harness.hearthgate import ProcessError, RelayProcess
from tests.support import hellos
from tests.support.fake_agent import FakeAgent, dial, joined, read

NAME = "photos.cottage.example.com"


@pytest.fixture(scope="module")
def shared() -> Iterator[RelayProcess]:
    """Run a relay for tests that leave no home behind."""
    with RelayProcess() as running:
        yield running
        assert "Traceback" not in running.log


def refusal(relay: RelayProcess, *command: str) -> str:
    with pytest.raises(ProcessError) as caught:
        relay.run("relay", *command)
    return " ".join(str(caught.value).split())


def invite(
    domain: str, name: str, *more: str, address: str = "203.0.113.5"
) -> tuple[str, ...]:
    return (
        *("invite", "--address", address, "--domain", domain, "--name", name),
        *more,
    )


# --- the first start ------------------------------------------------------------------


def test_the_first_start_prints_a_code_with_a_picture_and_later_ones_do_not() -> None:
    environment = {"HEARTHGATE_ADDRESS": "203.0.113.5"}
    with RelayProcess(environment=environment) as relay:
        relay._wait(lambda: "hearthgate home pair CODE" in relay.log or None)
        first = relay.log
        (line,) = [one for one in first.splitlines() if "HG1-" in one]
        code = read_pairing_code(line)
        assert (code.host, code.port) == ("203.0.113.5", 443)
        assert "203-0-113-5.sslip.io and names below" in first
        assert sum("█" in one or "▄" in one for one in first.splitlines()) > 15
        relay.stop()
        relay.log_path.unlink()
        relay.start()
        listed = json.loads(relay.run("relay", "homes", "--json"))
        assert [one["name"] for one in listed["invites"]] == ["home"]
        assert "HG1-" not in relay.log


def test_a_relay_without_an_address_says_what_it_needs() -> None:
    with RelayProcess() as relay:
        wanted = "without an address there is no pairing code"
        relay._wait(lambda: wanted in relay.log or None)
        said = refusal(relay, "invite", "--domain", "a.example.com", "--name", "a")
        assert "does not know its public address" in said
        assert "--address relay.example.com" in said


# --- invites --------------------------------------------------------------------------


def test_an_invite_is_printed_for_people_and_for_programs(shared: RelayProcess) -> None:
    said = shared.run("relay", *invite("people.example.com", "people"))
    assert "Pairing code for the home “people”" in said
    assert sum("█" in one or "▄" in one for one in said.splitlines()) > 15
    made = shared.run("relay", *invite("programs.example.com", "programs", "--json"))
    found = json.loads(made)
    assert found["domains"] == ["programs.example.com"]
    assert read_pairing_code(found["code"]).expires == found["expires"]
    table = shared.run("relay", "homes")
    assert "people" in table
    assert "invited, 24 h left" in table
    for name in ("people", "programs"):
        shared.run("relay", "revoke", name)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_conflicts_are_refused_with_words(running: bool) -> None:
    with RelayProcess(environment={"HEARTHGATE_ADDRESS": "relay.example.org"}) as relay:
        relay._wait(lambda: "hearthgate home pair CODE" in relay.log or None)
        relay.run("relay", "revoke", "home")
        relay.run("relay", *invite("cottage.example.com", "cottage"))
        if not running:
            relay.stop()
        said = refusal(relay, *invite("other.example.com", "cottage"))
        assert "There is a home with the name cottage already." in said
        for domain in ("cottage.example.com", "a.cottage.example.com", "example.com"):
            said = refusal(relay, *invite(domain, "barn"))
            assert f"{domain} overlaps with cottage.example.com" in said
        own = "relay.example.org"
        said = refusal(relay, *invite("example.org", "barn", address=own))
        assert "example.org covers relay.example.org, the relay's own name." in said
        for name in ("Barn House", "-barn", "a/b"):
            said = refusal(relay, *invite("barn.example.com", name))
            assert f"“{name}” cannot be a home's name." in said
        said = refusal(relay, *invite("203.0.113.5", "barn"))
        assert "“203.0.113.5” is not a hostname: it is an IP address." in said
        relay.run("relay", *invite("barn.example.com", "barn"))


@pytest.mark.parametrize("valid", ["soon", "5s", "400d", "-1h", ""])
def test_a_lifetime_that_makes_no_sense_is_refused(
    shared: RelayProcess, valid: str
) -> None:
    said = refusal(shared, *invite("barn.example.com", "barn", "--valid", valid))
    assert "--valid" in said
    assert "Traceback" not in said


# --- revoking -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nobody", "a/b", "a b", "a?b=c", "ä"])
def test_revoking_nobody_says_so(shared: RelayProcess, name: str) -> None:
    said = refusal(shared, "revoke", "--", name)
    assert f"There is no home with the name {name}." in said


async def test_revoking_cuts_a_home_and_its_visitors_at_once(tmp_path: Path) -> None:
    with RelayProcess() as relay:
        code = relay.invite("cottage.example.com", "cottage")
        async with joined(code, tmp_path) as agent:
            await agent.publish(NAME)
            channel, spare = await agent.park(), await agent.park()
            visitor = await dial(relay.https_port, hellos.hello(NAME))
            try:
                carrying = spare
                await carrying.opened()
                carrying.sock.send(b"flowing")
                assert await read(visitor, 7) == b"flowing"
                said = await asyncio.to_thread(relay.run, "relay", "revoke", "cottage")
                assert "is removed and cannot come back without a code" in said
                assert await read(visitor, 1) == b""
            finally:
                visitor.close()
            assert await agent.ended() == messages.Goodbye(GoodbyeReason.REVOKED)
            assert await channel.is_closed()
            answer = await dial(relay.https_port, hellos.hello(NAME))
            assert (await read(answer, 100))[-1] == 112  # unrecognized_name
            answer.close()
            assert relay.homes() == []
            again = FakeAgent(agent.joined, tmp_path)
            try:
                with pytest.raises(Exception, match="403"):
                    await again.dial()
            finally:
                await again.close()
        fresh = relay.invite("cottage.example.com", "cottage")
        async with joined(fresh, tmp_path / "fresh") as agent:
            assert await agent.publish(NAME) == messages.Published(1, {})


async def test_a_home_that_was_revoked_while_the_relay_was_off_stays_out(
    tmp_path: Path,
) -> None:
    with RelayProcess() as relay:
        agent = await FakeAgent.join(
            relay.invite("cottage.example.com", "cottage"), tmp_path
        )
        relay.stop()
        relay.run("relay", "revoke", "cottage")
        relay.start()
        try:
            with pytest.raises(Exception, match="403"):
                await agent.dial()
        finally:
            await agent.close()


# --- looking --------------------------------------------------------------------------


async def test_homes_and_status_show_what_is(tmp_path: Path) -> None:
    with RelayProcess() as relay:
        code = relay.invite("cottage.example.com", "cottage")
        async with joined(code, tmp_path) as agent:
            await agent.publish(NAME)
            (home,) = relay.homes()
            assert (home["name"], home["connected"]) == ("cottage", True)
            assert home["domains"] == ["cottage.example.com"]
            assert home["hostnames"] == [NAME]
            status = relay.status()
            assert (status["homes"], status["connected"]) == (1, 1)
            assert status["visitors"] == 0
            table = relay.run("relay", "homes")
            assert "connected" in table
            assert NAME in table
            assert "1 of 1" in relay.run("relay", "status")


def test_a_stopped_relay_has_homes_but_no_status() -> None:
    with RelayProcess() as relay:
        relay.invite("cottage.example.com", "cottage")
        relay.stop()
        assert relay.homes() == []
        assert "cottage" in relay.run("relay", "homes")
        assert "The relay is not running." in refusal(relay, "status")


def test_only_the_owner_reaches_the_socket(shared: RelayProcess) -> None:
    path = shared.data / "relay.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert shared.data.stat().st_mode & 0o077 == 0
    for name in ("relay.key", "authority.key"):
        assert (shared.data / "keys" / name).stat().st_mode & 0o777 == 0o600


def test_two_relays_do_not_share_a_folder(shared: RelayProcess) -> None:
    said = refusal(shared, "run", "--bind", "127.0.0.1", "--https-port", "0")
    assert "Traceback" not in said
    assert str(shared.data) in said


def test_the_keys_survive_a_restart() -> None:
    with RelayProcess() as relay:
        first = read_pairing_code(relay.invite("a.example.com", "a")).fingerprint
        relay.kill()
        relay.start()
        assert (
            read_pairing_code(relay.invite("b.example.com", "b")).fingerprint == first
        )
