"""Joining a relay by the command line: every way it goes wrong has its own words."""

import asyncio
import base64
from collections.abc import Iterator
import json
from pathlib import Path

from aiohttp import web
import pytest

from hearthgate.relay.homes.keys import Keys
from hearthgate.wire.pairing import (
    PairingCode,
    read_pairing_code,
    write_pairing_code,
)
from tests.harness.hearthgate import HomeProcess, ProcessError, RelayProcess


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess() as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def home() -> Iterator[HomeProcess]:
    with HomeProcess() as running:
        yield running
        assert "Traceback" not in running.log


def pair(home: HomeProcess, *code: str) -> str:
    return home.run("home", "pair", *code)


def refusal(home: HomeProcess, *code: str) -> str:
    """Return what the command says as it fails, in one line."""
    with pytest.raises(ProcessError) as caught:
        pair(home, *code)
    return " ".join(str(caught.value).split())


# --- it works -------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["as printed", "by hand", "as several words"])
def test_a_code_joins_a_home(relay: RelayProcess, spelling: str) -> None:
    name = spelling.replace(" ", "-")
    code = relay.invite(f"{name}.example.com", name)
    words = {
        "as printed": [code],
        "by hand": [code[:4].lower() + code[4:].replace("-", " ").lower()],
        "as several words": code.replace("-", " ").split(),
    }[spelling]
    with HomeProcess() as home:
        said = pair(home, *words)
        assert said == f"Joined the relay 127.0.0.1 as “{name}”.\n"
        assert name in [one["name"] for one in relay.homes()]
        found = home.run("home", "status", "--json")
        assert json.loads(found)["relays"][0]["host"] == "127.0.0.1"
        keys = list(home.data.rglob("home.pem"))
        assert len(keys) == 1
        assert keys[0].stat().st_mode & 0o777 == 0o600
        secret = read_pairing_code(code).secret
        for written in (home.log, relay.log):
            assert code not in written
            assert base64.b64encode(secret).decode() not in written


def test_an_invite_of_a_stopped_relay_works_once_it_runs() -> None:
    with RelayProcess() as relay, HomeProcess() as home:
        relay.stop()
        code = relay.invite("cottage.example.com", "cottage")
        said = refusal(home, code)
        assert "does not answer: the connection was refused" in said
        relay.start()
        assert "Joined" in pair(home, code)


# --- it does not ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["hello", "https://relay.example.com", "HG2-AAAAA"])
def test_other_text_is_no_code(home: HomeProcess, text: str) -> None:
    said = refusal(home, text)
    assert "This is not a pairing code: a pairing code begins with HG1-." in said
    assert "Copy the whole line that begins with HG1-" in said


def test_a_code_that_is_cut_off_says_how_much_is_missing(
    relay: RelayProcess, home: HomeProcess
) -> None:
    code = relay.invite("cut.example.com", "cut")
    said = refusal(home, code.rsplit("-", 2)[0])
    missing = len("".join(code.rsplit("-", 2)[1:]))
    assert f"This pairing code is cut off: {missing} characters are missing." in said


def test_a_mistyped_code_says_so(relay: RelayProcess, home: HomeProcess) -> None:
    code = relay.invite("mistyped.example.com", "mistyped")
    for at in (6, 20, len(code) - 1):
        other = "A" if code[at] != "A" else "Q"
        said = refusal(home, code[:at] + other + code[at + 1 :])
        assert "This pairing code has a typing mistake:" in said
    assert "in no pairing code" in refusal(home, code[:10] + "é" + code[11:])


def test_a_used_code_names_the_home_that_used_it(
    relay: RelayProcess, home: HomeProcess
) -> None:
    code = relay.invite("used.example.com", "used")
    with HomeProcess() as first:
        pair(first, code)
    said = refusal(home, code)
    assert "This pairing code was used already, by the home used." in said
    assert "hearthgate relay invite" in said


def test_a_revoked_code_is_unknown(relay: RelayProcess, home: HomeProcess) -> None:
    code = relay.invite("revoked.example.com", "revoked")
    said = relay.run("relay", "revoke", "revoked")
    assert said == "The pairing code for revoked does not work any more.\n"
    said = refusal(home, code)
    assert (
        "The relay does not know this pairing code. It may have been revoked." in said
    )


def test_an_expired_code_says_so(home: HomeProcess) -> None:
    """The least that can be asked for is a minute; the state file brings it forward."""
    with RelayProcess() as relay:
        code = relay.invite("old.example.com", "old", "--valid", "1m")
        relay.stop()
        state = relay.data / "relay.yaml"
        text = state.read_text()
        expires = read_pairing_code(code).expires
        assert str(expires) in text
        state.write_text(text.replace(str(expires), "1000000000"))
        relay.start()
        said = refusal(home, code)
        assert "This pairing code has expired." in said
        assert "hearthgate relay invite" in said


def test_an_old_code_for_a_relay_that_is_gone_has_expired(home: HomeProcess) -> None:
    code = PairingCode("127.0.0.1", 9, bytes(32), bytes(16), 1_000_000_000)
    assert "This pairing code has expired." in refusal(home, write_pairing_code(code))


def test_a_relay_that_does_not_answer_is_named(home: HomeProcess) -> None:
    code = PairingCode("127.0.0.1", 9, bytes(32), bytes(16), 4_000_000_000)
    said = refusal(home, write_pairing_code(code))
    assert "The relay 127.0.0.1:9 does not answer: the connection was refused." in said
    assert "Check that the relay is running" in said


def test_something_else_on_the_port_is_noticed(
    relay: RelayProcess, home: HomeProcess
) -> None:
    code = PairingCode(
        "127.0.0.1", relay.http_port, bytes(32), bytes(16), 4_000_000_000
    )
    said = refusal(home, write_pairing_code(code))
    assert f"The relay 127.0.0.1:{relay.http_port} does not answer:" in said


def test_an_unknown_secret_is_unknown(relay: RelayProcess, home: HomeProcess) -> None:
    good = read_pairing_code(relay.invite("secret.example.com", "secret"))
    code = PairingCode(good.host, good.port, good.fingerprint, b"x" * 16, good.expires)
    said = refusal(home, write_pairing_code(code))
    assert "The relay does not know this pairing code." in said


# --- somebody in between --------------------------------------------------------------


class Impostor:
    """Speaks TLS with another key, and notes whatever it is told."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self._context = Keys(folder, may_make=True).control_context()
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(f"{request.method} {request.path} {await request.text()}")
        return web.json_response({}, status=500)

    async def start(self) -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(self.answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner


async def test_a_relay_with_another_key_is_noticed_and_told_nothing(
    relay: RelayProcess, home: HomeProcess, tmp_path: Path
) -> None:
    impostor = Impostor(tmp_path)
    runner = await impostor.start()
    try:
        good = read_pairing_code(relay.invite("mitm.example.com", "mitm"))
        code = PairingCode(
            good.host, impostor.port, good.fingerprint, good.secret, good.expires
        )
        said = await asyncio.to_thread(refusal, home, write_pairing_code(code))
    finally:
        await runner.cleanup()
    assert f"What answers at 127.0.0.1:{impostor.port} is not the relay" in said
    assert "somebody is in between" in said
    assert impostor.asked == []
    # The secret was not used up, and is still good at the right place.
    with HomeProcess() as other:
        assert "Joined" in await asyncio.to_thread(
            pair, other, write_pairing_code(good)
        )
