"""Take uploads and drop them: `python sink.py PORT`.

nginx reads a request body only to keep it or to pass it on; both cost more than the
way that is measured, and would hide it. This reads the head, drops Content-Length
bytes with large reads that hold no Python object each, and answers 200. Standard
library only; a thread per connection; speaks just enough HTTP/1.1 for an edge.
"""

import contextlib
import re
import socket
import sys
import threading

_PIECE = 1 << 20  # bytes per read; one buffer per connection
_LENGTH = re.compile(rb"(?mi)^content-length:[ \t]*(\d+)")
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
)


def _serve(visitor: socket.socket) -> None:
    buffer = bytearray(_PIECE)
    head = b""
    with visitor, contextlib.suppress(OSError):
        while True:
            while (end := head.find(b"\r\n\r\n")) < 0:
                more = visitor.recv(65536)
                if not more:
                    return
                head += more
            match = _LENGTH.search(head[: end + 2])
            left = int(match[1]) if match else 0
            body, head = head[end + 4 :], b""
            left -= len(body)
            while left > 0:
                count = visitor.recv_into(buffer, min(left, _PIECE))
                if not count:
                    return
                left -= count
            visitor.sendall(_ANSWER)


def main() -> None:
    """Accept on loopback until ended."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024) as door:
        while True:
            visitor, _ = door.accept()
            visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_serve, args=(visitor,), daemon=True).start()


if __name__ == "__main__":
    main()
