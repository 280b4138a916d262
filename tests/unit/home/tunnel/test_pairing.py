"""Pairing: what is tried before the code is used up, and what is kept."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
import ssl

from aiohttp import web
import pytest

from hearthgate.home.tunnel.errors import (
    PairingUncertainError,
    RelayAnswerError,
    RelayRefusedError,
)
from hearthgate.home.tunnel.identity import Identity, certificate_request, make_key
from hearthgate.home.tunnel.pairing import pair, relay_id_of
from hearthgate.relay.errors import InviteUsedError
from hearthgate.relay.homes.keys import Keys
from hearthgate.shared.storage.private_files import NotOursError
from hearthgate.wire.pairing import PairingCode, write_pairing_code


class PairingRelay:
    """Signs whatever is asked for, or ends the connection before it has answered."""

    def __init__(self, folder: Path) -> None:
        self.keys = Keys(folder / "keys", may_make=True)
        self.secrets: list[bytes] = []
        self.loses_answers = False
        self.refusal: dict[str, object] | None = None
        self.raw = ""  # send this instead
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.json()
        self.secrets.append(base64.b64decode(body["secret"]))
        if self.loses_answers and request.transport is not None:
            request.transport.close()
        if self.raw:
            return web.Response(text=self.raw, content_type="application/json")
        if self.refusal is not None:
            return web.json_response({"error": self.refusal}, status=409)
        signed = self.keys.sign(body["request"], "cottage")
        answer = {
            "home": "cottage",
            "certificate": signed.certificate,
            "domains": ["home.example.com"],
        }
        return web.json_response(answer, status=201)

    @property
    def code(self) -> PairingCode:
        secret, pin = b"secret of a code", self.keys.fingerprint
        return PairingCode("127.0.0.1", self.port, pin, secret, 4_000_000_000)


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[PairingRelay]:
    made = PairingRelay(tmp_path)
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=0.1)
    await runner.setup()
    context = made.keys.control_context()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


async def test_key_and_certificate_are_one_private_file(
    relay: PairingRelay, tmp_path: Path
) -> None:
    joined = await pair(write_pairing_code(relay.code), tmp_path / "relays")
    (kept,) = (tmp_path / "relays" / joined.id).iterdir()
    assert kept.name == "home.pem"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert Identity(kept.parent).context()


async def test_a_folder_that_cannot_be_written_costs_no_code(
    relay: PairingRelay, tmp_path: Path
) -> None:
    """The code was used up before the first byte was on disk."""
    (tmp_path / "relays").write_text("in the way")
    with pytest.raises(NotOursError):
        await pair(write_pairing_code(relay.code), tmp_path / "relays")
    assert relay.secrets == []


async def test_an_answer_that_gets_lost_may_have_used_the_code(
    relay: PairingRelay, tmp_path: Path
) -> None:
    relay.loses_answers = True
    with pytest.raises(PairingUncertainError) as caught:
        await pair(write_pairing_code(relay.code), tmp_path / "relays")
    assert relay.secrets == [b"secret of a code"]
    assert "Try the same code again" in caught.value.advice


async def test_a_refusal_keeps_the_relays_words_code_and_fields(
    relay: PairingRelay, tmp_path: Path
) -> None:
    """With them the page says it in the reader's language."""
    relay.refusal = InviteUsedError(home="attic").as_dict()
    with pytest.raises(RelayRefusedError, match="was used already, by the home attic"):
        await pair(write_pairing_code(relay.code), tmp_path / "relays")
    theirs = {"message": "Another one.", "said": "?", "self": "?", "cls": "?"}
    relay.refusal["fields"] = {"home": "attic", **theirs}
    with pytest.raises(RelayRefusedError, match="was used already") as caught:
        await pair(write_pairing_code(relay.code), tmp_path / "relays")
    assert caught.value.advice == InviteUsedError.hint
    told = caught.value.told_fields()
    assert (told["said"], told["home"]) == ("pairing_code_used", "attic")
    relay.refusal["fields"] = {}
    with pytest.raises(RelayRefusedError, match="was used already"):
        await pair(write_pairing_code(relay.code), tmp_path / "relays")


@pytest.mark.parametrize("fields", [None, [], {"home": 1}, "home"])
async def test_a_refusal_with_nonsense_for_fields_is_no_answer(
    relay: PairingRelay, tmp_path: Path, fields: object
) -> None:
    relay.refusal = {**InviteUsedError(home="attic").as_dict(), "fields": fields}
    with pytest.raises(RelayAnswerError):
        await pair(write_pairing_code(relay.code), tmp_path / "relays")


async def test_an_answer_that_is_nested_without_end_is_no_answer(
    relay: PairingRelay, tmp_path: Path
) -> None:
    relay.raw = "[" * 20_000
    with pytest.raises(RelayAnswerError):
        await pair(write_pairing_code(relay.code), tmp_path / "relays")


async def test_pairing_again_replaces_both_or_neither(
    relay: PairingRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(tmp_path / "relays" / relay_id_of(relay.code))
    await pair(write_pairing_code(relay.code), tmp_path / "relays")
    key = make_key()
    signed = relay.keys.sign(certificate_request(key), "cottage")

    def crash(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "hearthgate.shared.storage.private_files.Temporary.replace", crash
    )
    with pytest.raises(KeyboardInterrupt):
        identity.save(key, signed.certificate)
    try:
        identity.context()
    except ssl.SSLError as err:
        raise AssertionError("key and certificate do not fit any more") from err
