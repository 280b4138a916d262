"""Run one HAProxy: the process, its socket pair, its words in our log.

    check ─▶ start ─▶ ready ─▶ (serves) ─▶ soft_stop ─▶ ends by itself
                                   └──────▶ end ─▶ SIGTERM ─▶ SIGKILL

HAProxy must not outlive the agent: when our end of the pair closes it spins on the dead
socket at 100 % CPU. The kernel ends it with us (PR_SET_PDEATHSIG, set by setpriv once
it has changed the user, which clears it; Python code between fork and exec is not safe
beside threads). That signal is tied to the thread that forks, so this must run in the
thread that lives as long as the agent. Should the agent die before the signal is asked
for, HAProxy gets no configuration and ends: it comes through a pipe (`_feed`).
"""

import asyncio
from asyncio.subprocess import Process
import base64
from collections.abc import Mapping
import contextlib
import fcntl
import logging
import os
from pathlib import Path
import secrets
import signal
import socket
import struct
import termios
from typing import Final

from hearthgate.home.edge.access import KEY_VARIABLE
from hearthgate.home.edge.config import CONFIG, DOOR_VARIABLE
from hearthgate.home.edge.console import Console
from hearthgate.home.edge.errors import EdgeError, EdgeFailedError, EdgeRefusedError
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    StateError,
    read_capped,
)

_LOGGER = logging.getLogger(__name__)

_CONFIG_MAX: Final = 16 * 1024 * 1024  # 500 hostnames are about 500 KB
_PIPE_BYTES: Final = 4096  # the kernel makes it a page, however large that is
_FILLING: Final = b"#" * 79 + b"\n"
_WORDS_MAX: Final = 16 * 1024
_READY_EVERY_S: Final = 0.01
_DOOR_EVERY_S: Final = 0.005
_LEVELS: Final[Mapping[str, int]] = {
    "[ALERT]": logging.ERROR,
    "[WARNING]": logging.WARNING,
    "[NOTICE]": logging.DEBUG,
}


class Haproxy:
    """One generation's process. `start`, then `wait`; `close` when it has ended."""

    def __init__(self, folder: Path, number: int, settings: EdgeSettings) -> None:
        self.number = number
        self.folder = folder
        self._settings = settings
        self._process: Process | None = None
        self._stopping = False
        self._words: list[str] = []
        self._memory_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.pair, self._theirs = socket.socketpair()
        self.pair.setblocking(False)  # noqa: FBT003 - its own signature

    @property
    def pid(self) -> int | None:
        """Return the process number while it runs."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def check(self) -> None:
        """Let HAProxy judge the configuration. Raises EdgeRefusedError."""
        try:
            async with asyncio.timeout(self._settings.start_deadline_s):
                process = await self._spawn("-c", CONFIG)
                try:
                    _, words = await process.communicate()
                finally:
                    await _put_down(process)
        except TimeoutError as err:
            raise EdgeFailedError(reason="checking took too long") from err
        if process.returncode != 0:
            reason = _alerts(words.decode("utf-8", "replace"))
            _LOGGER.error("edge: this is a bug, HAProxy refused: %s", reason)
            raise EdgeRefusedError(reason=reason)

    async def start(self) -> None:
        """Start HAProxy and return when it answers. Raises EdgeFailedError."""
        await self._start()
        self._theirs.close()

    async def ready(self) -> None:
        """Return when its console answers. Raises EdgeFailedError."""
        try:
            async with asyncio.timeout(self._settings.start_deadline_s):
                while not await self._answers():  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(_READY_EVERY_S)
        except TimeoutError as err:
            raise EdgeFailedError(reason="it was not ready in time") from err

    async def wait(self) -> int:
        """Carry its words to the log until it ends; return its exit status."""
        process = self._running()
        while process.stderr and (words := await process.stderr.read(_WORDS_MAX)):
            for line in words.decode("utf-8", "replace").splitlines():
                self._log(line)
        return await process.wait()

    async def door_is_empty(self) -> None:
        """Return when it accepted all visitors in its pair, or after a deadline.

        What is still in the pair when HAProxy closes its end is lost, so this comes
        before a soft stop.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.door_deadline_s):
                while self.pid is not None and _unread(self.pair):  # noqa: ASYNC110
                    await asyncio.sleep(_DOOR_EVERY_S)

    def soft_stop(self) -> None:
        """Accept no more, close idle connections, end with the last visitor."""
        self._signal(signal.SIGUSR1)

    async def end(self) -> None:
        """End it now, whatever it carries. Returns when it is gone."""
        self._signal(signal.SIGTERM)
        if self._process is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.stop_deadline_s):
                await self._process.wait()
        await _put_down(self._process)

    def close(self) -> None:
        """Close the socket pair. Only when the process is gone: see the module."""
        self.pair.close()
        self._theirs.close()

    async def _start(self) -> None:
        """Run it with the configuration from a pipe, of which we hold the other end."""
        reading, writing = os.pipe()
        try:
            size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            if (user := self._settings.user) is not None:
                os.fchown(reading, user.uid, user.gid)  # or it could not open it
            self._process = await self._spawn("-db", f"/dev/fd/{reading}", reading)
        except BaseException as err:
            os.close(writing)
            if isinstance(err, OSError):
                reason = f"it can't be configured: {err}"
                raise EdgeFailedError(reason=reason) from err
            raise
        finally:
            os.close(reading)
        try:
            async with asyncio.timeout(self._settings.start_deadline_s):
                await asyncio.to_thread(_feed, writing, self.folder / CONFIG, size)
        except TimeoutError as err:
            # Without a reader the thread ends as well.
            if self._process is not None:
                await _put_down(self._process)
            raise EdgeFailedError(reason="it did not read its configuration") from err
        except (OSError, StateError, NotAFileError) as err:
            raise EdgeFailedError(reason=f"it can't be configured: {err}") from err

    async def _spawn(self, mode: str, config: str, *pipes: int) -> Process:
        door, user = self._theirs.fileno(), self._settings.user
        command = (
            *("setpriv", *(user.become() if user else ()), "--pdeathsig", "KILL", "--"),
            *(self._settings.program, mode, "-f", config),
        )
        try:
            if user is not None:
                await asyncio.to_thread(user.share, self.folder)
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    DOOR_VARIABLE: str(door),
                    KEY_VARIABLE: self._memory_key,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(door, *pipes),
            )
        except OSError as err:
            raise EdgeFailedError(reason=f"{command[0]}: {err.strerror}") from err

    async def _answers(self) -> bool:
        if self._running().returncode is not None:
            raise EdgeFailedError(reason=_alerts("\n".join(self._words)))
        try:
            console = await Console.open(self.folder)
        except EdgeError:
            return False
        await console.close()
        return True

    def _running(self) -> Process:
        if self._process is None:
            raise EdgeFailedError(reason="it was never started")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._stopping = True
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _log(self, line: str) -> None:
        self._words = [*self._words[-19:], line]
        level = _LEVELS.get(line.partition(" ")[0], logging.INFO)
        if self._stopping:
            level = min(level, logging.DEBUG)  # "Proxy … stopped" for every backend
        _LOGGER.log(level, "edge generation %s: %s", self.number, line)


def _feed(pipe: int, config: Path, size: int) -> None:
    """Write the configuration, behind as much filling as the pipe takes, and close it.

    Once a byte of the configuration is in the pipe HAProxy has read from it, and so
    setpriv has asked the kernel for the signal long ago. If we die before, there is
    nothing but comment, and HAProxy ends. Returns early if HAProxy has ended.
    Blocking.
    """
    with (
        contextlib.suppress(BrokenPipeError),
        os.fdopen(pipe, "wb", buffering=0) as stream,
    ):
        text = read_capped(config, _CONFIG_MAX) or b""
        content = memoryview(_FILLING * (size // len(_FILLING) + 1) + text)
        while content:
            content = content[stream.write(content) :]


def _alerts(words: str) -> str:
    """Return what HAProxy complains about, in one line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    alerts = [line for line in lines if line.startswith("[ALERT]")] or lines
    return " / ".join(alerts[-5:]) or "it said nothing"


def _unread(pair: socket.socket) -> bool:
    """Tell whether the other end has not read everything (SIOCOUTQ, unix(7))."""
    answer = fcntl.ioctl(pair.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return bool(struct.unpack("i", answer)[0])


async def _put_down(process: Process) -> None:
    """Kill what still runs and collect it. Returns when it is gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
