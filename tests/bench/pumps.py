"""Does a second pump process help? The same streams with one and with two.

    python -m tests.bench.pumps

    source ──TCP──▶ pump 1 (or 1 and 2) ──TCP──▶ sink      bulk: bytes per second
    visitor ◀─────▶ pump ◀─────▶ echo                      small: round trips per second

Only the relay's own pump, without hellos, edge and TLS: the most that a second process
could gain. What was measured is in docs/decisions.md.
"""

import asyncio
from collections.abc import Callable, Iterator
import contextlib
import multiprocessing
from multiprocessing.synchronize import Event
import os
import socket
import time

import uvloop

from hearthgate.relay.visitors.pump import Pump
from hearthgate.shared.net.poller import READABLE, Poller

_RUN_S = 4.0
_STREAMS = 4
_PIECE = b"x" * 65536


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for sock in (one, other):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


def _pump(pairs: list[tuple[socket.socket, socket.socket]], stop: Event) -> None:
    async def run() -> None:
        poller = Poller(asyncio.get_running_loop())
        pump = Pump(poller)
        for visitor, channel in pairs:
            for sock in (visitor, channel):
                sock.setblocking(False)
            poller.add(channel.fileno(), READABLE, lambda _events: None)
            pump.join(visitor, channel, b"", lambda _pair: None)
        while not stop.is_set():  # noqa: ASYNC110  set by another process
            await asyncio.sleep(0.1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _bulk_source(socks: list[socket.socket], _done: object) -> None:
    with contextlib.suppress(OSError):
        while True:
            for sock in socks:
                sock.sendall(_PIECE)


def _count(socks: list[socket.socket], done: "multiprocessing.Queue[int]") -> None:
    """Read everything for a while; tell how much."""
    end = time.monotonic() + _RUN_S
    total = 0
    buffer = bytearray(1 << 20)
    while time.monotonic() < end:
        for sock in socks:
            total += sock.recv_into(buffer)
    done.put(total)


def _echo(socks: list[socket.socket], _done: object) -> None:
    with contextlib.suppress(OSError):
        while True:
            for sock in socks:
                sock.sendall(sock.recv(1024))


def _ask(socks: list[socket.socket], done: "multiprocessing.Queue[int]") -> None:
    """Send a little on each and wait for the echo; tell how often."""
    end = time.monotonic() + _RUN_S
    turns = 0
    while time.monotonic() < end:
        for sock in socks:
            sock.sendall(b"request")
        for sock in socks:
            sock.recv(1024)
        turns += len(socks)
    done.put(turns)


Work = Callable[[list[socket.socket], "multiprocessing.Queue[int]"], None]


@contextlib.contextmanager
def _started(processes: list[multiprocessing.Process]) -> Iterator[None]:
    for one in processes:
        one.start()
    try:
        yield
    finally:
        for one in processes:
            one.kill()
            one.join()


def _round(pumps: int, home: Work, visitor: Work) -> float:
    """Return what the visitor's side counted, per second."""
    links = [(_pair(), _pair()) for _ in range(_STREAMS)]
    done: multiprocessing.Queue[int] = multiprocessing.Queue()
    stop = multiprocessing.Event()
    middles = [(one[1], other[0]) for one, other in links]
    visitors = [one[0] for one, _ in links]
    homes = [other[1] for _, other in links]
    workers = [
        multiprocessing.Process(target=_pump, args=(middles[n::pumps], stop))
        for n in range(pumps)
    ]
    workers.append(multiprocessing.Process(target=home, args=(homes, done)))
    workers.append(multiprocessing.Process(target=visitor, args=(visitors, done)))
    with _started(workers):
        count = done.get(timeout=60)
        stop.set()
    for one, other in links:
        for sock in (*one, *other):
            sock.close()
    return count / _RUN_S


def main() -> None:
    """Measure three times each, in turn, and print."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for _ in range(3):
        for pumps in (1, 2):
            bulk = _round(pumps, _bulk_source, _count) / 1e6
            small = _round(pumps, _echo, _ask)
            print(f"{pumps} pumps: {bulk:7.0f} MB/s {small:9.0f} round trips/s")


if __name__ == "__main__":
    main()
