"""A small real web service in a process of its own, for tests and the demo.

    WebService().start() ─▶ python -m tests.harness.webservice ─▶ {"port": 40123, …}
    visitor ─▶ edge ─▶ / /icon.svg /echo /ws /sse /mjpeg /download /upload /slow

It binds before it prints, so its port answers from the first line on. It ends with its
parent, whatever happens to that. Uses aiohttp alone, no pytest. Is not hardened: it
tells every visitor what it received, which is the point.
"""

import argparse
import asyncio
import contextlib
import ctypes
from datetime import UTC, datetime, timedelta
import hashlib
import ipaddress
import json
import os
from pathlib import Path
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Self
from xml.sax.saxutils import escape

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["WebService", "WebServiceError", "application"]

_START_S = 30.0
_STOP_S = 5.0
_BLOCK = bytes(64 * 1024)
_ROOT = Path(__file__).resolve().parents[2]
_TITLE = web.AppKey("title", str)

_ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
<rect width="64" height="64" rx="14" fill="#1d5c63"/>
<path d="M32 13 12 30v21h14V38h12v13h14V30z" fill="#f6e7c1"/>
<circle cx="32" cy="29" r="4" fill="#e8823a"/></svg>
"""
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<link rel="icon" type="image/svg+xml" sizes="any" href="icon.svg">
<style>
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center;
  font: 17px/1.5 system-ui, sans-serif; color: #f6e7c1;
  background: radial-gradient(circle at 50% 20%, #2b7a82, #12363b 70%); }
main { text-align: center; padding: 2rem; max-width: 30rem; }
img { width: 96px; height: 96px; filter: drop-shadow(0 8px 20px #0006); }
h1 { font-weight: 500; font-size: 2rem; margin: 1.2rem 0 .4rem; color: #fff; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .2rem 1rem; text-align: left;
  background: #0003; border-radius: 12px; padding: 1rem 1.4rem; font-size: .9rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
</style>
<main>
<img src="icon.svg" alt="">
<h1>Hello from the living room</h1>
<p>This page lives at home. You are reading it on a public address.</p>
<dl><dt>Asked for</dt><dd>@HOST@</dd><dt>By</dt><dd>@VISITOR@</dd>
<dt>Over</dt><dd>@SCHEME@</dd></dl>
</main>
</html>
"""


async def _page(request: web.Request) -> web.Response:
    """Say hello, and what reached us about the visitor."""
    headers = request.headers
    facts = {
        "@TITLE@": request.app[_TITLE],
        "@HOST@": request.host,
        "@VISITOR@": headers.get("X-Forwarded-For", request.remote or "?"),
        "@SCHEME@": headers.get("X-Forwarded-Proto", request.scheme),
    }
    text = _PAGE
    for mark, fact in facts.items():
        text = text.replace(mark, escape(fact))
    return web.Response(text=text, content_type="text/html")


async def _icon(_: web.Request) -> web.Response:
    return web.Response(text=_ICON, content_type="image/svg+xml")


async def _echo(request: web.Request) -> web.Response:
    """Return what arrived; header names as they came, repeated ones in order."""
    size = 0
    async for block in request.content.iter_chunked(len(_BLOCK)):
        size += len(block)
    pairs = [[key.decode(), value.decode()] for key, value in request.raw_headers]
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "version": f"{request.version.major}.{request.version.minor}",
            "scheme": request.scheme,
            "host": request.host,
            "remote": request.remote,
            "headers": dict(request.headers),
            "raw_headers": pairs,
            "body_bytes": size,
        }
    )


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    """Send every message back."""
    ws = web.WebSocketResponse(max_msg_size=16 * 1024 * 1024)
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def _events(request: web.Request) -> web.StreamResponse:
    """Send `count` events (0: without end), `interval` seconds apart."""
    interval = float(request.query.get("interval", "1"))
    count = int(request.query.get("count", "0"))
    answer = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    await answer.prepare(request)
    number = 0
    while count == 0 or number < count:
        number += 1
        await answer.write(f"id: {number}\ndata: {number}\n\n".encode())
        await asyncio.sleep(interval)
    return answer


async def _camera(request: web.Request) -> web.StreamResponse:
    """Send frames without end, `interval` seconds apart, as a camera does (MJPEG).

    A frame is its number in hexadecimal, over and over, between a JPEG's first and last
    bytes.
    """
    interval = float(request.query.get("interval", "0.05"))
    content_type = "multipart/x-mixed-replace;boundary=frame"
    answer = web.StreamResponse(headers={"Content-Type": content_type})
    await answer.prepare(request)
    number = 0
    while True:
        number += 1
        picture = b"\xff\xd8" + f"{number:08x}".encode() * 1024 + b"\xff\xd9"
        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}"
        await answer.write(f"--frame\r\n{head}\r\n\r\n".encode() + picture + b"\r\n")
        await asyncio.sleep(interval)


async def _download(request: web.Request) -> web.StreamResponse:
    """Send so many zero bytes, 64 KiB of memory at a time."""
    left = int(request.query.get("bytes", "1048576"))
    answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    answer.content_length = left
    await answer.prepare(request)
    while left > 0:
        block = _BLOCK[:left] if left < len(_BLOCK) else _BLOCK
        await answer.write(block)
        left -= len(block)
    return answer


async def _upload(request: web.Request) -> web.Response:
    """Count and hash the body without keeping it."""
    size, digest = 0, hashlib.sha256()
    async for block in request.content.iter_any():
        size += len(block)
        digest.update(block)
    return web.json_response({"bytes": size, "sha256": digest.hexdigest()})


async def _slow(request: web.Request) -> web.Response:
    """Answer after so many seconds."""
    await asyncio.sleep(float(request.query.get("seconds", "1")))
    return web.Response(text="at last\n")


def application(title: str) -> web.Application:
    """Return the application with all its pages."""
    app = web.Application(client_max_size=0)
    app[_TITLE] = title
    app.router.add_get("/", _page)
    app.router.add_get("/icon.svg", _icon)
    app.router.add_route("*", "/echo", _echo)
    app.router.add_get("/ws", _websocket)
    app.router.add_get("/sse", _events)
    app.router.add_get("/mjpeg", _camera)
    app.router.add_get("/download", _download)
    app.router.add_route("*", "/upload", _upload)
    app.router.add_get("/slow", _slow)
    return app


def self_signed() -> ssl.SSLContext:
    """Return a TLS context whose certificate nobody has a reason to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "living-room.local")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # made with mode 0600
        file.write(secret + certificate.public_bytes(serialization.Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def _serve(host: str, port: int, title: str, *, tls: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(title), shutdown_timeout=0.5)
    await runner.setup()
    listener = socket.create_server((host, port), backlog=1024)
    site = web.SockSite(runner, listener, ssl_context=self_signed() if tls else None)
    try:
        await site.start()
        fact = {"port": listener.getsockname()[1], "scheme": "https" if tls else "http"}
        sys.stdout.write(json.dumps(fact) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def _die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends (prctl(2)), if it still lives."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="A small web service to look at.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--title", default="Living room")
    parser.add_argument("--tls", action="store_true", help="self-signed HTTPS")
    parser.add_argument("--parent", type=int, default=0, help="end with this process")
    options = parser.parse_args()
    if options.parent:
        _die_with_parent(options.parent)
    asyncio.run(_serve(options.host, options.port, options.title, tls=options.tls))


class WebServiceError(RuntimeError):
    """Raise if the service did not start."""


class WebService:
    """The service as a process of its own. A context manager; `stop` always reaps.

    Start it from a thread that lives as long as it should: Linux counts the end of the
    starting thread as the end of the parent.
    """

    def __init__(
        self,
        title: str = "Living room",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
    ) -> None:
        """Take the page's title, and where to listen; port 0 is any free one."""
        self.host = host
        self.port = port
        self._title = title
        self._tls = tls
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address, with a trailing slash."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/"

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start, and return when the port answers. Raises WebServiceError."""
        command = [sys.executable, "-m", "tests.harness.webservice"]
        command += ["--host", self.host, "--port", str(self.port)]
        command += ["--title", self._title, "--parent", str(os.getpid())]
        if self._tls:
            command.append("--tls")
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self._first_line(self._process)
        try:
            self.port = int(json.loads(line)["port"])
        except (ValueError, KeyError) as err:
            self.stop()
            raise WebServiceError(f"the web service did not start: {line!r}") from err

    @staticmethod
    def _first_line(process: subprocess.Popen[str]) -> str:
        """Return the line with the port; empty if it ended or took too long."""
        killer = threading.Timer(_START_S, process.kill)
        killer.start()
        try:
            return process.stdout.readline() if process.stdout else ""
        finally:
            killer.cancel()
            killer.join()

    def stop(self) -> None:
        """End the process and wait for it. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    main()
