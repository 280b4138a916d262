"""Start, watch and end the processes that a benchmark needs.

Every child gets a session of its own and the kernel's word that it will be told when
we die (PR_SET_PDEATHSIG), so neither Ctrl-C nor a crash leaves one behind. Nothing here
is searched for by name: only children that we started are ended.
"""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import ctypes
import os
from pathlib import Path
import resource
import shlex
import signal
import socket
import subprocess
import time
from types import TracebackType
from typing import Self

__all__ = [
    "BenchError",
    "Child",
    "descendants",
    "own_hosts",
    "raise_open_files",
    "run_tool",
    "wait_for_port",
    "wait_until",
]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_STOP_S = 8.0  # a graceful stop; nginx and the agent need less than two seconds


class BenchError(Exception):
    """Raise if a part of the benchmark cannot run; the text says which and why."""


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Child:
    """One process; ended by `stop` or by leaving the context."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        pipes: bool = False,
    ) -> None:
        """Start it. Output goes to `log`, with `pipes` stdin and stdout to us."""
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else sink,
                stderr=sink,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads here
            )
        self.name = Path(str(argv[0])).name

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise BenchError with the end of the log if it is gone."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-1500:]
            raise BenchError(f"{self.name} ended ({self.process.returncode}): {tail}")

    def stop(self) -> None:
        """End it and what it started; safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its session: leftovers only
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def wait_until(
    ready: Callable[[], bool], what: str, *children: Child, deadline_s: float = 20.0
) -> None:
    """Poll `ready`; raise BenchError after the deadline or when a child is gone."""
    end = time.monotonic() + deadline_s
    while not ready():
        for child in children:
            child.check()
        if time.monotonic() > end:
            raise BenchError(f"{what} was not ready within {deadline_s:.0f} s")
        time.sleep(0.05)


def wait_for_port(port: int, *children: Child, deadline_s: float = 20.0) -> None:
    """Wait until something accepts connections on a loopback port."""

    def accepts() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(accepts, f"port {port}", *children, deadline_s=deadline_s)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started, itself first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def own_hosts(argv: Sequence[str], hosts: Path) -> list[str]:
    """Return a command that sees `hosts` as /etc/hosts, and nobody else does.

    wrk can neither resolve a name by itself nor send another SNI than the URL's name.
    A mount namespace of its own gives it the name without touching the machine.
    """
    inner = f'mount --bind {shlex.quote(str(hosts))} /etc/hosts && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *user, "sh", "-c", inner, "sh", *argv]


def run_tool(argv: Sequence[str], *, deadline_s: float, scratch: Path) -> str:
    """Run a load generator to its end and return what it printed."""
    log = scratch / f"{Path(argv[0]).name}.log"
    with Child(argv, log=log, pipes=True) as child:
        try:
            out, _ = child.process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired as err:
            raise BenchError(f"{argv[0]} took longer than {deadline_s:.0f} s") from err
    text = out.decode(errors="replace")
    if child.process.returncode:
        tail = log.read_text(errors="replace")[-600:]
        raise BenchError(f"{argv[0]} failed ({child.process.returncode}): {text}{tail}")
    return text
