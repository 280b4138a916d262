"""TCP forwards through a real relay, a real agent and its HAProxy."""

import asyncio
from collections.abc import AsyncIterator
import contextlib
import getpass
import hashlib
import json
import os
from pathlib import Path
import shutil
import socket
import struct
import subprocess

import pytest

from tests.harness.hearthgate import ApiError, Json, ProcessError
from tests.harness.ports import free_port
from tests.harness.proxy_reader import proxy_reader
from tests.harness.scene import LOOPBACK, Scene

pytestmark = pytest.mark.keeps("processes")
MIB = 1024 * 1024
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


@contextlib.asynccontextmanager
async def serving(handler: object) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, LOOPBACK, 0)  # type: ignore[arg-type]
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def forwarded(scene: Scene, target: str, **wish: object) -> AsyncIterator[Json]:
    """Grant a free port and forward it for one test."""
    port = free_port()
    grant = ("relay", "grant", scene.name, "--tcp", str(port))
    await asyncio.to_thread(scene.relay.run, *grant)
    service = await scene.add(target, "Forward")
    try:
        async with scene.home.api() as api:
            shown = await api.expose(service["id"], public_port=port, **wish)
        assert shown["exposure"]["status"]["phase"] == "live", shown
        yield shown
    finally:
        await scene.remove(service["id"])
        await asyncio.to_thread(scene.relay.run, *grant, "--remove")


def port_of(service: Json) -> int:
    return int(service["exposure"]["public_port"])


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(MIB):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(10):
            return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_a_service_that_speaks_first_is_heard(scene: Scene) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    async with (
        serving(greet) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service,
    ):
        host = (LOOPBACK, port_of(service))
        assert service["exposure"]["url"] == f"tcp://{LOOPBACK}:{host[1]}"
        reader, writer = await asyncio.open_connection(*host)
        assert await asyncio.wait_for(reader.read(), 10) == b"220 hello\r\n"
        writer.close()


async def test_a_service_that_is_away_ends_the_visitor_and_no_other(
    scene: Scene,
) -> None:
    async with forwarded(scene, f"tcp://{LOOPBACK}:{free_port()}") as service:
        for _ in range(3):
            # The reset may be there before the connection is looked at.
            with contextlib.suppress(ConnectionResetError):
                reader, writer = await asyncio.open_connection(
                    LOOPBACK, port_of(service)
                )
                writer.write(b"anybody there?")
                assert await is_closed(reader)
                writer.close()


async def test_100_mb_go_both_ways_after_a_half_close(scene: Scene) -> None:
    size = 100 * MIB
    block = os.urandom(MIB)

    async def swallow_then_send(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        digest = hashlib.sha256()
        while data := await reader.read(MIB):
            digest.update(data)
        writer.write(digest.digest())
        for _ in range(100):
            writer.write(block)
            await writer.drain()
        writer.close()

    async with (
        serving(swallow_then_send) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service,
    ):
        reader, writer = await asyncio.open_connection(LOOPBACK, port_of(service))
        sent, got = hashlib.sha256(), hashlib.sha256()
        for _ in range(100):
            sent.update(block)
            writer.write(block)
            await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(60):
            assert await reader.readexactly(32) == sent.digest()
            received = 0
            while data := await reader.read(MIB):
                got.update(data)
                received += len(data)
        assert (received, got.digest()) == (size, sent.digest())
        writer.close()


async def test_a_home_that_is_through_can_still_be_sent_to(scene: Scene) -> None:
    swallowed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def end_then_swallow(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write_eof()
        size = len(await reader.read())
        if size:  # not the agent, which looks whether anything listens
            swallowed.set_result(size)
        writer.close()

    async with (
        serving(end_then_swallow) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service,
    ):
        reader, writer = await asyncio.open_connection(LOOPBACK, port_of(service))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.write(b"x" * MIB)
        await writer.drain()
        writer.write_eof()
        assert await asyncio.wait_for(swallowed, 20) == MIB
        writer.close()


async def test_a_service_that_wants_it_gets_the_visitors_address(scene: Scene) -> None:
    heads: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # the agent looks too
            heads.put_nowait(await reader.readexactly(28))
        writer.close()

    async with serving(take) as port:
        target = f"tcp://{LOOPBACK}:{port}"
        async with forwarded(scene, target, proxy_protocol=True) as service:
            public = port_of(service)
            _, writer = await asyncio.open_connection(LOOPBACK, public)
            mine = writer.get_extra_info("sockname")
            head = await asyncio.wait_for(heads.get(), 10)
            writer.close()
    assert head[:16] == SIGNATURE + b"\x21\x11\x00\x0c"
    source, target_ = head[16:20], head[20:24]
    assert (socket.inet_ntoa(source), socket.inet_ntoa(target_)) == (LOOPBACK,) * 2
    assert struct.unpack("!HH", head[24:]) == (mine[1], public)


async def test_a_real_server_that_knows_it_sees_the_visitor(
    scene: Scene, tmp_path: Path
) -> None:
    async with (
        proxy_reader(tmp_path) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}", proxy_protocol=True) as service,
    ):
        reader, writer = await asyncio.open_connection(
            LOOPBACK, port_of(service), local_addr=("127.9.8.7", 0)
        )
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    assert answer.endswith(b"127.9.8.7")


async def test_the_owner_sees_what_a_port_has_moved(scene: Scene) -> None:
    async def moved(name: str) -> Json:
        words = ("relay", "show", scene.name, "--json")
        shown = json.loads(await asyncio.to_thread(scene.relay.run, *words))
        found: Json = {one["hostname"]: one for one in shown["traffic"]}[name]
        return found

    async with (
        serving(echo) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service,
    ):
        name = f"tcp/{port_of(service)}"
        for times in (1, 2):
            reader, writer = await asyncio.open_connection(LOOPBACK, port_of(service))
            writer.write(b"x" * 1000)
            assert await reader.readexactly(1000)
            now = await moved(name)
            assert (now["visitors"], now["to_home"]) == (1, times * 1000)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        now = await moved(name)
        assert (now["visitors"], now["to_home"]) == (0, 2000)
        assert now["to_visitor"] == 2000


async def test_switching_off_cuts_and_frees_the_port(scene: Scene) -> None:
    async with (
        serving(echo) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service,
    ):
        reader, writer = await asyncio.open_connection(LOOPBACK, port_of(service))
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        async with scene.home.api() as api:
            await api.hide(service["id"])
        assert await is_closed(reader)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, port_of(service))
        writer.close()


async def test_taking_the_port_out_of_the_grant_cuts_at_once(scene: Scene) -> None:
    async with (
        serving(echo) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service,
    ):
        public = port_of(service)
        reader, writer = await asyncio.open_connection(LOOPBACK, public)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        grant = ("relay", "grant", scene.name, "--tcp", str(public))
        await asyncio.to_thread(scene.relay.run, *grant, "--remove")
        assert await is_closed(reader)
        writer.close()
        async with scene.home.api() as api:
            shown = await api.settled(service["id"], phases=("failed",))
            assert "grant" in shown["exposure"]["status"]["problem"]["message"]
            await asyncio.to_thread(scene.relay.run, *grant)
            await api.settled(service["id"], phases=("live",))


async def test_a_port_outside_the_grant_is_refused(scene: Scene) -> None:
    service = await scene.add(f"tcp://{LOOPBACK}:9", "Discard")
    try:
        async with scene.home.api() as api:
            with pytest.raises(ApiError) as refused:
                await api.expose(service["id"], public_port=free_port())
        assert refused.value.error["code"] == "port_not_granted"
    finally:
        await scene.remove(service["id"])


async def test_a_port_that_something_else_uses_says_so(scene: Scene) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        grant = ("relay", "grant", scene.name, "--tcp", str(port))
        await asyncio.to_thread(scene.relay.run, *grant)
        service = await scene.add(f"tcp://{LOOPBACK}:9", "Discard")
        try:
            async with scene.home.api() as api:
                shown = await api.expose(service["id"], public_port=port)
            problem = shown["exposure"]["status"]["problem"]
            assert "in use" in problem["message"]
        finally:
            await scene.remove(service["id"])
            await asyncio.to_thread(scene.relay.run, *grant, "--remove")


async def test_ports_of_one_home_cannot_be_granted_to_another(scene: Scene) -> None:
    async with (
        serving(echo) as port,
        forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service,
    ):
        public = str(port_of(service))
        with pytest.raises(ProcessError, match=scene.name):
            await asyncio.to_thread(
                scene.relay.invite, "barn.example.net", "barn", "--tcp", public
            )


async def test_openssh_works_through_a_forward(scene: Scene, tmp_path: Path) -> None:
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    for name in ("host", "visitor"):
        key = str(tmp_path / name)
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]
        await asyncio.to_thread(subprocess.check_call, make)
    port = free_port()
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress {LOOPBACK}\nHostKey {tmp_path}/host\n"
        f"AuthorizedKeysFile {tmp_path}/visitor.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
    )
    inner = 'mount -t tmpfs tmpfs /run && mkdir -m 0755 /run/sshd && exec "$@"'
    server = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "sh", "-c", inner, "sh"),
        *(sshd, "-D", "-e", "-f", str(tmp_path / "sshd_config")),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with forwarded(scene, f"tcp://{LOOPBACK}:{port}") as service:
            client = await asyncio.create_subprocess_exec(
                *("ssh", "-F", "none", "-T", "-i", str(tmp_path / "visitor")),
                *("-p", str(port_of(service)), "-o", "StrictHostKeyChecking=no"),
                *("-o", f"UserKnownHostsFile={tmp_path}/known", "-o", "BatchMode=yes"),
                *(f"{getpass.getuser()}@{LOOPBACK}", "echo through $((6 * 7))"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await asyncio.wait_for(client.communicate(), 30)
            assert out == b"through 42\n"
    finally:
        server.terminate()
        await server.wait()


async def test_revoking_a_home_cuts_its_forwards() -> None:
    async with Scene() as scene, serving(echo) as port:
        public = free_port()
        grant = ("relay", "grant", scene.name, "--tcp", str(public))
        await asyncio.to_thread(scene.relay.run, *grant)
        service = await scene.add(f"tcp://{LOOPBACK}:{port}", "Echo")
        async with scene.home.api() as api:
            await api.expose(service["id"], public_port=public)
        reader, writer = await asyncio.open_connection(LOOPBACK, public)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        await asyncio.to_thread(scene.relay.run, "relay", "revoke", scene.name)
        assert await is_closed(reader)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, public)
        writer.close()
