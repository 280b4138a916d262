"""Certificates against a real authority: Pebble, its DNS, and a real port 80."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import logging
import os
from pathlib import Path
import ssl
import stat
import sys
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
import pytest

from hearthgate.home.certificates import (
    AcmeLimits,
    AcmeSettings,
    Certificate,
    ExternalAccount,
    Step,
    errors,
)
from tests.harness.pebble import Pebble, PebbleSettings
from tests.harness.ports import free_port
from tests.support.certificate_parts import HOME, Clock, Home
from tests.support.port80 import Port80

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    with Pebble(PebbleSettings(blocked_domains=("blocked.example",))) as running:
        yield running


@pytest.fixture
async def relay(pebble: Pebble) -> AsyncIterator[Port80]:
    pebble.set_a(HOME, [LOOPBACK])
    port80 = Port80()
    async with port80.serve(pebble.http_port):
        yield port80


def settings(pebble: Pebble, **changes: object) -> AcmeSettings:
    wanted: dict[str, object] = {
        "directory": pebble.directory,
        "ca_file": pebble.ca_file,
        "dns_servers": (pebble.dns,),
        **changes,
    }
    return AcmeSettings(**wanted)  # type: ignore[arg-type] # tests know what they pass


@pytest.fixture
def home(pebble: Pebble, relay: Port80, tmp_path: Path) -> Home:
    return Home(tmp_path, settings(pebble), relay, Clock())


def key_of(certificate: Certificate) -> ec.EllipticCurvePrivateKey:
    data = certificate.path.read_bytes()
    key = serialization.load_pem_private_key(
        data[data.index(b"-----BEGIN PRIV") :], None
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


async def fetch_over_tls(certificate: Certificate, root: bytes) -> str:
    """Serve the file with TLS and connect to it as a browser that trusts root."""
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(certificate.path)

    async def greet(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"hello")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(greet, LOOPBACK, 0, ssl=server_tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        visitor_tls = ssl.create_default_context(cadata=root.decode())
        reader, writer = await asyncio.open_connection(
            LOOPBACK, port, ssl=visitor_tls, server_hostname=certificate.hostname
        )
        text = (await reader.read()).decode()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return text


async def test_an_order_gives_a_file_that_a_visitor_trusts(
    pebble: Pebble, home: Home
) -> None:
    certificate = await home.ensure(addresses=[LOOPBACK])
    assert home.steps == [Step.CHECKING_DNS, Step.ORDERING, Step.PROVING]
    assert home.certificates.get(HOME) == certificate
    assert await fetch_over_tls(certificate, pebble.root_pem()) == "hello"
    assert home.relay.shown == {}
    assert home.relay.withdrawn == home.relay.published


async def test_keys_are_p256_and_private_from_their_first_moment(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int]] = []
    real_open = os.open

    def watching_open(path: str, flags: int, mode: int = 0o777, **kw: int) -> int:
        descriptor = real_open(path, flags, mode, **kw)
        if flags & os.O_CREAT:
            opened.append((str(path), stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(os, "open", watching_open)
    old_mask = os.umask(0)
    try:
        certificate = await home.ensure()
    finally:
        os.umask(old_mask)
    assert key_of(certificate).curve.name == "secp256r1"
    assert opened
    assert {mode for _path, mode in opened} == {0o600}
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    folders = [one for one in tmp_path.rglob("*") if one.is_dir()]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert {stat.S_IMODE(one.stat().st_mode) for one in folders} == {0o700}


async def test_no_key_shows_up_in_logs_or_reprs(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    certificate = await home.ensure()
    secrets = [
        "".join(path.read_text().split("PRIVATE KEY-----")[1].split("\n")[1:3])
        for path in [certificate.path, *tmp_path.rglob("account.pem")]
    ]
    assert len(secrets) == 2
    said = caplog.text + repr(certificate) + repr(vars(home.certificates))
    for secret in secrets:
        assert secret[:40] not in said.replace("\n", "")


async def test_a_restart_uses_what_is_on_disk(
    pebble: Pebble, home: Home, relay: Port80, tmp_path: Path
) -> None:
    first = await home.ensure()
    account = home.certificates.account_url
    again = Home(tmp_path, settings(pebble), relay, home.clock)
    assert again.certificates.get(HOME) == first
    assert await again.ensure() == first
    assert again.steps == []
    assert len(relay.published) == 1
    assert again.certificates.account_url == account


async def test_each_certificate_has_a_fresh_key_and_one_account(
    pebble: Pebble, home: Home, relay: Port80, tmp_path: Path
) -> None:
    first = key_of(await home.ensure())
    home.certificates.get(HOME)
    next(tmp_path.rglob(f"{HOME}.pem")).unlink()
    account = home.certificates.account_url
    again = Home(tmp_path, settings(pebble), relay, home.clock)
    second = key_of(await again.ensure())
    assert first.private_numbers() != second.private_numbers()
    assert account == again.certificates.account_url


async def test_a_lost_account_url_is_found_by_the_key(
    pebble: Pebble, home: Home, relay: Port80, tmp_path: Path
) -> None:
    await home.ensure()
    account = home.certificates.account_url
    for path in [*tmp_path.rglob("state*.yaml"), *tmp_path.rglob("live/*.pem")]:
        path.unlink()
    again = Home(tmp_path, settings(pebble), relay, home.clock)
    assert again.certificates.account_url is None
    await again.ensure()
    assert again.certificates.account_url == account


async def test_an_account_that_the_authority_forgot_is_made_again(
    relay: Port80, tmp_path: Path
) -> None:
    with Pebble() as own:
        own.set_a(HOME, [LOOPBACK])
        home = Home(tmp_path, settings(own), relay, Clock())
        async with relay.serve(own.http_port):
            first = await home.ensure()
            own.restart()
            first.path.unlink()
            assert await home.ensure()


async def test_two_hostnames_at_the_same_time_share_one_new_account(
    pebble: Pebble, home: Home, tmp_path: Path
) -> None:
    names = [f"{word}.example.com" for word in ("one", "two", "three", "four")]
    for name in names:
        pebble.set_a(name, [LOOPBACK])
    got = await asyncio.gather(*(home.ensure(name) for name in names))
    assert [one.hostname for one in got] == names
    assert len(list(tmp_path.rglob("account.pem"))) == 1
    state = next(tmp_path.rglob("state.yaml")).read_text()
    assert all(name in state for name in names)


async def test_the_same_hostname_asked_for_twice_is_ordered_once(home: Home) -> None:
    first, second = await asyncio.gather(home.ensure(), home.ensure())
    assert first == second
    assert len(home.relay.published) == 1


async def test_one_failing_hostname_leaves_the_other_alone(
    pebble: Pebble, home: Home
) -> None:
    pebble.set_a("lost.example.com", [])
    failed, got = await asyncio.gather(
        home.ensure("lost.example.com"), home.ensure(), return_exceptions=True
    )
    assert isinstance(failed, errors.NoRecordError)
    assert isinstance(got, Certificate)


@pytest.mark.parametrize("percent", [50, 80])
async def test_refused_nonces_are_tried_again(percent: int, tmp_path: Path) -> None:
    relay = Port80()
    with Pebble(PebbleSettings(nonce_reject_percent=percent)) as hard:
        hard.set_a(HOME, [LOOPBACK])
        home = Home(tmp_path, settings(hard), relay, Clock())
        async with relay.serve(hard.http_port):
            assert await home.ensure(addresses=[LOOPBACK])


async def test_an_authority_that_never_likes_a_nonce_is_given_up(
    tmp_path: Path,
) -> None:
    relay = Port80()
    with Pebble(PebbleSettings(nonce_reject_percent=100)) as hard:
        hard.set_a(HOME, [LOOPBACK])
        few = AcmeLimits(nonce_tries=5)
        home = Home(tmp_path, settings(hard, limits=few), relay, Clock())
        with pytest.raises(errors.BadNonceError):
            await home.ensure()


async def test_strict_pebble_with_reused_authorizations_asks_for_no_second_proof(
    tmp_path: Path,
) -> None:
    relay = Port80()
    kind = PebbleSettings(strict=True, authz_reuse_percent=100)
    with Pebble(kind) as own:
        own.set_a(HOME, [LOOPBACK])
        home = Home(tmp_path, settings(own), relay, Clock())
        async with relay.serve(own.http_port):
            first = await home.ensure()
            first.path.unlink()
            assert await home.ensure()
    assert len(relay.published) == 1


async def test_a_wrong_answer_is_told_in_the_authoritys_words(home: Home) -> None:
    home.relay.answer_instead = "the router's login page"
    with pytest.raises(errors.ProofFailedError) as caught:
        await home.ensure()
    assert "(unauthorized)" in str(caught.value)
    assert "router's login page" in str(caught.value)
    assert "port 80" in caught.value.advice
    assert home.relay.withdrawn == home.relay.published
    problem = home.certificates.problem(HOME)
    assert problem is not None
    assert problem.code == "proof_failed"
    assert problem.retry_at is not None


async def test_a_closed_port_80_gives_a_hint_about_the_firewall(
    pebble: Pebble, tmp_path: Path
) -> None:
    pebble.set_a("closed.example.com", ["127.0.0.2"])  # nobody listens there
    relay = Port80()
    home = Home(tmp_path, settings(pebble), relay, Clock())
    with pytest.raises(errors.ProofFailedError) as caught:
        await home.ensure("closed.example.com")
    assert "(connection)" in str(caught.value)
    assert "firewall" in caught.value.advice


async def test_a_domain_on_the_blocklist_is_refused_in_the_authoritys_words(
    pebble: Pebble, home: Home
) -> None:
    name = "home.blocked.example"
    pebble.set_a(name, [LOOPBACK])
    with pytest.raises(errors.CaRefusesError) as caught:
        await home.ensure(name)
    assert "(rejectedIdentifier)" in str(caught.value)


async def test_an_authority_that_wants_a_customer_says_so(tmp_path: Path) -> None:
    hmac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    relay = Port80()
    with Pebble(PebbleSettings(external_account=("kid-1", hmac_key))) as own:
        own.set_a(HOME, [LOOPBACK])
        stranger = Home(tmp_path / "a", settings(own), relay, Clock())
        with pytest.raises(errors.ExternalAccountError):
            await stranger.ensure()
        known = ExternalAccount("kid-1", hmac_key)
        assert hmac_key not in repr(known)
        customer = Home(
            tmp_path / "b", settings(own, external_account=known), relay, Clock()
        )
        async with relay.serve(own.http_port):
            assert await customer.ensure()


async def test_an_authority_that_is_down_is_unreachable(
    pebble: Pebble, tmp_path: Path
) -> None:
    nobody = f"https://127.0.0.1:{free_port()}/dir"
    home = Home(tmp_path, settings(pebble, directory=nobody), Port80(), Clock())
    pebble.set_a(HOME, [LOOPBACK])
    with pytest.raises(errors.CaUnreachableError) as caught:
        await home.ensure()
    assert "refused" in str(caught.value)


async def test_an_authority_without_our_trust_is_not_asked(
    pebble: Pebble, relay: Port80, tmp_path: Path
) -> None:
    home = Home(tmp_path, settings(pebble, ca_file=None), relay, Clock())
    with pytest.raises(errors.CaTlsError):
        await home.ensure()


async def test_a_blackhole_is_left_in_time_and_leaves_no_thread(
    pebble: Pebble, tmp_path: Path
) -> None:
    """The old way of waiting for a thread would have kept it for silence_s."""
    pebble.set_a(HOME, [LOOPBACK])
    before = busy_threads()

    async def swallow(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, LOOPBACK, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        limits = AcmeLimits(silence_s=100.0, connect_s=100.0, call_s=0.3)
        home = Home(
            tmp_path,
            settings(pebble, directory=f"https://127.0.0.1:{port}/dir", limits=limits),
            Port80(),
            Clock(),
        )
        with pytest.raises(errors.CaSlowError):
            await home.ensure()
        await settled(before)


async def test_cancelling_while_proving_withdraws_and_leaves_nothing(
    home: Home, tmp_path: Path
) -> None:
    before = busy_threads()
    home.relay.hold = asyncio.Event()
    task = asyncio.create_task(home.ensure())
    await asyncio.wait_for(home.relay.asked_once.wait(), 20)
    assert home.relay.shown
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    home.relay.hold.set()
    assert home.relay.shown == {}
    assert home.relay.withdrawn == home.relay.published
    assert not list(tmp_path.rglob("live/*"))
    assert home.certificates.problem(HOME) is None
    await settled(before)
    assert await home.ensure()  # and the next one works


def busy_threads() -> set[str]:
    """Return where the threads are that are not waiting for work."""
    frames = sys._current_frames()
    names = {one.ident: one.name for one in threading.enumerate()}
    return {
        names.get(ident, "?")
        for ident, frame in frames.items()
        if names.get(ident, "?").startswith("asyncio_")
        and frame.f_code.co_name != "_worker"
    }


async def settled(before: set[str]) -> None:
    end = time.monotonic() + 10
    while busy_threads() - before:
        assert time.monotonic() < end, busy_threads()
        await asyncio.sleep(0.01)


async def test_staging_certificates_are_never_served_after_a_switch(
    home: Home, relay: Port80, tmp_path: Path
) -> None:
    await home.ensure()
    with Pebble() as other:
        switched = Home(tmp_path, settings(other), relay, home.clock)
        assert switched.certificates.get(HOME) is None
        other.set_a(HOME, [LOOPBACK])
        async with relay.serve(other.http_port):
            certificate = await switched.ensure()
        assert await fetch_over_tls(certificate, other.root_pem()) == "hello"
    assert home.certificates.get(HOME) != certificate


@pytest.mark.parametrize("damage", ["cut", "empty", "mismatch", "other name", "noise"])
async def test_a_file_that_cannot_be_used_is_set_aside_and_ordered_anew(
    damage: str, pebble: Pebble, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    first = await home.ensure()
    data = first.path.read_bytes()
    pebble.set_a("else.example.com", [LOOPBACK])
    other = (await home.ensure("else.example.com")).path.read_bytes()
    mark = data.index(b"-----BEGIN PRIV")
    broken = {
        "cut": data[: mark // 2],
        "empty": b"",
        "mismatch": data[:mark] + other[other.index(b"-----BEGIN PRIV") :],
        "other name": other,
        "noise": os.urandom(2000),
    }[damage]
    first.path.write_bytes(broken)
    assert home.certificates.get(HOME) is None
    assert "can't be used" in caplog.text
    assert first.path.with_name(f"{HOME}.pem.damaged").read_bytes() == broken
    again = await home.ensure()
    assert again.path.read_bytes() not in (broken, data)


async def test_an_expired_certificate_is_ordered_anew(home: Home) -> None:
    first = await home.ensure()
    home.clock.now = first.not_after - 1
    assert home.certificates.get(HOME) == first
    home.clock.now = first.not_after + 1
    assert home.certificates.get(HOME) is None
    with pytest.raises(errors.ClockWrongError):  # Pebble's clock did not move
        await home.ensure()


async def test_renewal_by_the_clock_replaces_the_file_and_tells(home: Home) -> None:
    first = await home.ensure()
    old = first.path.read_bytes()
    running = asyncio.create_task(home.certificates.run())
    home.certificates.keep([HOME])
    await asyncio.sleep(0)
    assert home.renewed.empty()
    # Five years for Pebble; a third left is the time to renew.
    home.clock.now = first.not_after - (first.not_after - first.not_before) / 3
    home.certificates.keep([HOME])
    renewed = await asyncio.wait_for(home.renewed.get(), 90)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert renewed.path == first.path
    assert renewed.path.read_bytes() != old
    assert home.certificates.problem(HOME) is None


async def test_a_failed_renewal_keeps_the_old_one_and_says_why(home: Home) -> None:
    first = await home.ensure()
    home.relay.answer_instead = "not the answer"
    home.clock.now = first.not_after - 100 * 86400
    running = asyncio.create_task(home.certificates.run())
    home.certificates.keep([HOME])
    end = time.monotonic() + 90
    while home.certificates.problem(HOME) is None:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    problem = home.certificates.problem(HOME)
    assert problem is not None
    assert "unauthorized" in problem.message
    assert home.certificates.get(HOME) == first
    assert home.renewed.empty()


async def test_a_kept_hostname_without_a_certificate_gets_one(home: Home) -> None:
    running = asyncio.create_task(home.certificates.run())
    home.certificates.keep([HOME, "not a hostname"])
    got = await asyncio.wait_for(home.renewed.get(), 90)
    assert got == home.certificates.get(HOME)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_was_issued_is_for_the_hostname_alone(home: Home) -> None:
    certificate = await home.ensure()
    leaf = x509.load_pem_x509_certificates(certificate.path.read_bytes())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [HOME]
    assert leaf.not_valid_after_utc.timestamp() == certificate.not_after
