"""Run the real `hearthgate` command: a relay and homes, each a process of its own.

    RelayProcess   hearthgate relay run   on free loopback ports
    HomeProcess    hearthgate home run    its page on a free port, its API by agent.sock

Context managers; whatever happens they end what they started. Children die with us. No
pytest here: the demonstration and the benchmark use them too.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
import contextlib
import ctypes
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.request import urlopen

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

T = TypeVar("T")
Json = dict[str, Any]

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_LISTENS = re.compile(r"listens on ports (\d+) and (\d+)")


class ProcessError(Exception):
    """Raise if a process of ours did not do what it was started for; with its log."""


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One `hearthgate` process with its data folder and log file."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        prefix: Sequence[str] = (),
    ) -> None:
        """Run a command of ours. prefix: a program that becomes it."""
        self._prefix = prefix
        self.folder = Path(tempfile.mkdtemp(prefix="hearthgate-"))
        self.folder.chmod(0o711)  # as /var/lib: the edge's own user goes through
        self.data = self.folder / "data"
        self.log_path = self.folder / "log"
        self._arguments = arguments
        self._environment = environment
        self._child: subprocess.Popen[bytes] | None = None
        self._log_from = 0

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
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process number. Raises ProcessError if it does not run."""
        if self._child is None:
            raise ProcessError("not started")
        return self._child.pid

    @property
    def log(self) -> str:
        """All that was logged, over restarts."""
        return self.log_path.read_text(errors="replace")

    def start(self, *more: str) -> None:
        """Start, and wait until it is ready. Raises ProcessError."""
        self._launch(more)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    async def start_again(self, *more: str) -> None:
        """Start without blocking the loop. Raises ProcessError."""
        self._launch(more)  # by this thread, with which it would end
        await asyncio.to_thread(self._wait_until_ready)

    def _launch(self, more: Sequence[str] = ()) -> None:
        self._log_from = len(self.log) if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                [
                    *self._prefix,
                    *(sys.executable, "-m", "hearthgate"),
                    *(*self._arguments, *more),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "HEARTHGATE_DATA": str(self.data),
                    **self._environment,
                },
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one prctl, no Python lock)
            )

    def _wait_until_ready(self) -> None:
        raise NotImplementedError

    def _wait(self, look: Callable[[], T | None]) -> T:
        """Look until there is something, the process has ended, or time is up."""
        deadline = time.monotonic() + START_DEADLINE_S
        while (found := look()) is None:
            ended = self._child is None or self._child.poll() is not None
            if ended or time.monotonic() > deadline:
                raise ProcessError(f"did not become ready:\n{self.log[-4000:]}")
            time.sleep(0.02)
        return found

    def change(self, environment: Mapping[str, str]) -> None:
        """Give it more settings from its next start on."""
        self._environment = {**self._environment, **environment}

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9 and reap; `start` starts it again with the same data."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(STOP_DEADLINE_S)
            self._child = None

    def stop(self) -> None:
        """Ask it to stop, and reap it. Twice does no harm."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(STOP_DEADLINE_S)

    def run(self, *arguments: str) -> str:
        """Run another `hearthgate` command on the same data; return what it prints.

        Raises ProcessError with its words if it fails.
        """
        done = subprocess.run(
            [sys.executable, "-m", "hearthgate", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_DEADLINE_S,
            check=False,
            env={**os.environ, "HEARTHGATE_DATA": str(self.data), "COLUMNS": "200"},
        )
        if done.returncode:
            raise ProcessError(done.stdout + done.stderr)
        return done.stdout


class RelayProcess(Process):
    """A relay on loopback. Its ports stay the same over restarts."""

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
        http_port: int = 0,
        open_files_max: int | None = None,
    ) -> None:
        """Reach it at `address`; the port is added once it is known.

        open_files_max: what the system allows it, fewer than this process has.
        """
        self.https_port = 0
        self.http_port = http_port
        self._address = address
        super().__init__(
            ("relay", "run"),
            {
                "HEARTHGATE_BIND": "127.0.0.1",
                "HEARTHGATE_PUBLIC_ADDRESSES": "127.0.0.1",
                **(environment or {}),
            },
            prefix=("prlimit", f"--nofile={open_files_max}") if open_files_max else (),
        )

    @property
    def address(self) -> str:
        """Where homes reach it."""
        return f"{self._address}:{self.https_port}"

    def start(self, *more: str) -> None:
        """Start on the same ports as before, or on free ones."""
        self._keep_ports()
        super().start(*more)

    def _keep_ports(self) -> None:
        environment = dict(self._environment)
        environment["HEARTHGATE_HTTPS_PORT"] = str(self.https_port)
        environment["HEARTHGATE_HTTP_PORT"] = str(self.http_port)
        self._environment = environment

    async def start_again(self, *more: str) -> None:
        """Start without blocking the loop. Raises ProcessError."""
        self._keep_ports()
        await super().start_again(*more)

    async def replace(self) -> "Replaced":
        """Let a new process take over, and wait until it serves; return the old one."""
        old = self._child
        if old is None:
            raise ProcessError("not started")
        try:
            await self.start_again("--take-over")
        except BaseException:
            old.kill()
            old.wait(STOP_DEADLINE_S)
            raise
        return Replaced(old)

    def _wait_until_ready(self) -> None:
        def ports() -> re.Match[str] | None:
            return _LISTENS.search(self.log, self._log_from)

        found = self._wait(ports)
        self.https_port, self.http_port = int(found[1]), int(found[2])

    def invite(self, domain: str, name: str, *more: str) -> str:
        """Return a pairing code, made as the owner would."""
        made = self.run(
            *("relay", "invite", "--json", "--address", self.address),
            *("--domain", domain, "--name", name, *more),
        )
        code: str = json.loads(made)["code"]
        return code

    def homes(self) -> list[Json]:
        """Return the homes as the owner sees them."""
        found: list[Json] = json.loads(self.run("relay", "homes", "--json"))["homes"]
        return found

    def status(self) -> Json:
        """Return the status as the owner sees it."""
        found: Json = json.loads(self.run("relay", "status", "--json"))
        return found

    @property
    def metrics_port(self) -> int:
        """Where metrics are, if the relay was told to show them."""
        return int(re.findall(r"Metrics are at http://[^/]+:(\d+)/", self.log)[-1])

    def metric(self, name: str) -> float:
        """Return a metric, by its name with labels and without our prefix."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^hearthgate_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


class Replaced:
    """A process that another one has taken over from."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    async def wait(self) -> None:
        """Wait for its end; kill it if it does not come. Raises TimeoutExpired."""
        try:
            await asyncio.to_thread(self._child.wait, STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(STOP_DEADLINE_S)
            raise


class HomeProcess(Process):
    """A home on loopback."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Take more settings as environment variables."""
        super().__init__(
            ("home", "run"),
            {
                "HEARTHGATE_WEB__HOST": "127.0.0.1",
                "HEARTHGATE_WEB__PORT": "0",
                "HEARTHGATE_PASSWORD": "correct horse battery staple",
                "HEARTHGATE_DISCOVERY__ENABLED": "no",
                **(environment or {}),
            },
        )

    @property
    def socket(self) -> Path:
        """Where the API answers without a login."""
        return self.data / "agent.sock"

    @property
    def web_port(self) -> int:
        """The port of the page."""
        found = re.findall(r"The page is at http://\S+:(\d+)/", self.log)
        return int(found[-1])

    def _wait_until_ready(self) -> None:
        self._wait(lambda: "The page is at" in self.log[self._log_from :] or None)

    def edge_pids(self) -> list[int]:
        """Return the HAProxy processes that this agent has started."""
        return [pid for pid, name in children(self.pid) if name == "haproxy"]

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator["Api"]:
        """Talk to the API."""
        connector = UnixConnector(str(self.socket))
        timeout = ClientTimeout(total=60.0)
        async with ClientSession(connector=connector, timeout=timeout) as client:
            yield Api(client)


class ApiError(Exception):
    """Raise if the API refused; `error` is its answer."""

    def __init__(self, status: int, error: Json) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error


class Api:
    """The API of a home, as a program uses it."""

    def __init__(self, client: ClientSession) -> None:
        self._client = client

    async def call(self, method: str, path: str, body: Json | None = None) -> Any:  # noqa: ANN401  JSON is anything
        """Return the JSON of an answer. Raises ApiError."""
        async with self._client.request(
            method, f"http://agent/api/{path}", json=body
        ) as response:
            answer = await response.json() if response.content_length else None
            if response.status >= 400:
                raise ApiError(response.status, answer["error"] if answer else {})
            return answer

    async def state(self) -> Json:
        """Return the whole state."""
        found: Json = await self.call("GET", "state")
        return found

    async def until(
        self, look: Callable[[Json], T | None], *, deadline_s: float = 60.0
    ) -> T:
        """Watch the live state until `look` finds something in it.

        Raises TimeoutError with the last state.
        """
        state: Json = {}
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    with contextlib.suppress(ClientError, OSError):
                        async for state in self._watch():
                            if (found := look(state)) is not None:
                                return found
                    await asyncio.sleep(0.05)  # the agent is starting again
        except TimeoutError as err:
            raise TimeoutError(json.dumps(state, indent=1)) from err

    async def _watch(self) -> AsyncIterator[Json]:
        async with self._client.ws_connect("http://agent/api/live") as live:
            state: Json = {}
            async for frame in live:
                message = json.loads(frame.data)
                state = _merged(state, message)
                yield state

    async def service(self, look: Callable[[Json], bool], **options: float) -> Json:
        """Wait for a service that fits."""
        return await self.until(
            lambda state: next((one for one in state["services"] if look(one)), None),
            **options,
        )

    async def connected(self) -> Json:
        """Wait until the first relay is connected; return it."""
        return await self.until(
            lambda state: next(
                (one for one in state["relays"] if one["state"] == "connected"), None
            )
        )

    async def expose(self, service_id: str, **wish: object) -> Json:
        """Switch a service on and wait until it is live or has failed."""
        await self.call(
            "PUT", f"services/{service_id}/exposure", {"enabled": True, **wish}
        )
        return await self.settled(service_id)

    async def hide(self, service_id: str) -> Json:
        """Switch a service off and wait until it is off."""
        await self.call("PUT", f"services/{service_id}/exposure", {"enabled": False})
        return await self.settled(service_id)

    async def settled(
        self, service_id: str, phases: Sequence[str] = ("live", "failed", "off")
    ) -> Json:
        """Wait until an exposure is in one of some phases."""
        return await self.service(
            lambda one: bool(
                one["id"] == service_id
                and one["exposure"]
                and one["exposure"]["status"]["phase"] in phases
            )
        )


def _merged(state: Json, message: Json) -> Json:
    """Return the state after an event, as the page keeps it."""
    kind = message["type"]
    if kind == "state":
        found: Json = message["state"]
        return found
    if kind in ("hass", "home"):
        return {**state, kind: message[kind]}
    name = "services" if kind.startswith("service") else "relays"
    one = message.get("service") or message.get("relay") or {"id": message.get("id")}
    kept = [other for other in state[name] if other["id"] != one["id"]]
    gone = kind.endswith("_removed")
    return {**state, name: kept if gone else [*kept, one]}


def children(pid: int) -> Iterator[tuple[int, str]]:
    """Return the children of a process with their names."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            name, _, rest = (
                (folder / "stat").read_text().partition("(")[2].rpartition(")")
            )
            if int(rest.split()[1]) == pid and rest.split()[0] != "Z":
                yield int(folder.name), name
