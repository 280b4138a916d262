"""Choose loopback ports for programs that cannot take a listening socket.

None is from the ephemeral range, where an outgoing connection of anybody could take it
before its program binds it, and none is given twice: each of the processes that
pytest-xdist runs beside each other has ports of its own.
"""

import contextlib
import os
import socket

_COUNT = 1_500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_FIRST = 20_000 + _WORKER * _COUNT  # all below Linux' ip_local_port_range
_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that is free for TCP and UDP at this moment."""
    while len(_given) < _COUNT:
        port = _FIRST + int.from_bytes(os.urandom(4)) % _COUNT
        if port in _given:
            continue
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            # As listeners do; what lingers in TIME_WAIT is not in their way.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _given.add(port)
            with contextlib.suppress(OSError):
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("no free loopback port is left")
