"""See what this process has started or opened and not ended.

    look() ──▶ {key: sentence}      wait_for_end(look, before) ──▶ [sentence, …]

Linux only: reads /proc. Ends processes that it reports, nothing else; never raises for
something that goes away while it looks.
"""

import asyncio
from collections.abc import Callable, Collection
import contextlib
import gc
import os
from pathlib import Path
import signal
import threading
import time

Look = Callable[[], dict[int, str]]

PATIENCE_S = 5.0  # a busy machine ends a process or a thread later than asked
POLL_S = 0.02
MARK = "HG_LEAK_CHECK"  # in the environment of all that a test starts
DESCRIPTORS = ("socket:", "pipe:", "anon_inode:[eventpoll]")


def mark_children() -> None:
    """Make what is started from now on known as ours, even if its parent ends first.

    Adopting orphans (prctl(2), PR_SET_CHILD_SUBREAPER) would be surer, but then they
    stay as zombies, and a test that waits for one to be gone waits for ever.
    """
    os.environ[MARK] = str(os.getpid())


def processes() -> dict[int, str]:
    """Return living descendants and marked orphans. A zombie has ended: no descendant.

    Missed: an orphan that was started with an environment of its own.
    """
    mark = f"{MARK}={os.getpid()}".encode()
    parents: dict[int, int] = {}
    found: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The command may hold blanks and brackets; state and parent follow it.
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            pid = int(stat.parent.name)
            if state in "ZX" or pid == os.getpid():
                continue
            parents[pid] = int(parent)
            if mark in stat.with_name("environ").read_bytes().split(b"\0"):
                found[pid] = _command(pid)
    fresh = {os.getpid()}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
        found |= {pid: _command(pid) for pid in fresh}
    return found


def marked(marks: dict[str, str]) -> dict[int, str]:
    """Return living processes that have all of these in their environment."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found: dict[int, str] = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted <= set(environ.read_bytes().split(b"\0")):
                pid = int(environ.parent.name)
                found[pid] = _command(pid)
    return found


def kill(pids: Collection[int]) -> None:
    """End these processes at once."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def threads() -> dict[int, str]:
    """Return all living threads of this process, by identity."""
    return {
        id(thread): f"{thread.name} (daemon: {thread.daemon})"
        for thread in threading.enumerate()
    }


def sockets() -> dict[int, str]:
    """Return open sockets, pipes and event polls, by descriptor and inode."""
    found: dict[int, str] = {}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith(DESCRIPTORS):
                found[hash((link.name, target))] = f"descriptor {link.name} {target}"
    return found


LOOKS: dict[str, Look] = {
    "processes": processes,
    "threads": threads,
    "sockets": sockets,
}


def wait_for_end(look: Look, before: Collection[int]) -> list[str]:
    """Return what is there, was not before, and does not end by itself in time.

    What only a collected cycle still held is no leak. Processes are killed.
    """
    deadline = time.monotonic() + PATIENCE_S
    left = _new(look, before)
    while left and time.monotonic() < deadline:
        # Each time anew: what a frame or a report still held at first may be free now.
        gc.collect()
        time.sleep(POLL_S)
        left = _new(look, before)
    if look is processes:
        kill(left)
    return sorted(text + _ports(text) for text in left.values())


async def unfinished_tasks(before: Collection[asyncio.Task[object]]) -> list[str]:
    """Return where tasks of this loop stand that do not end by themselves in time."""
    ours = {asyncio.current_task(), *before}
    left = {task for task in asyncio.all_tasks() if task not in ours}
    if left:
        _, left = await asyncio.wait(left, timeout=PATIENCE_S)
    return sorted(_stand(task) for task in left)


def _new(look: Look, before: Collection[int]) -> dict[int, str]:
    return {key: text for key, text in look().items() if key not in before}


def _stand(task: asyncio.Task[object]) -> str:
    frames = task.get_stack(limit=1)
    where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
    return f"{task.get_name()} at {where}"


def _lines(table: str) -> list[str]:
    return Path(f"/proc/net/{table}").read_text().splitlines()[1:]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        command = b" ".join(words).decode(errors="replace").strip()
        return f"pid {pid}: {command}"
    return f"pid {pid}, just ended"


def _ports(text: str) -> str:
    """Return the ports of a TCP or UDP socket, which /proc/net lists by inode."""
    if "socket:[" not in text:
        return ""
    inode = text.rpartition("socket:[")[2].removesuffix("]")
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with contextlib.suppress(OSError):
            for line in _lines(table):
                fields = line.split()
                if fields[9] == inode:
                    ours, theirs = (int(at[-4:], 16) for at in fields[1:3])
                    return f", {table} port {ours}, other side {theirs}"
    if any(line.split()[6] == inode for line in _lines("unix")):
        return ", a UNIX socket"
    return ", reset or not connected yet"
