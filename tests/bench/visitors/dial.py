"""Open new connections as fast as they come, each with a full TLS handshake.

    connect ▶ handshake (unless --plain) ▶ one request ▶ answer ▶ close ▶ the next

wrk and h2load resume the TLS session of the connection before, which spares the edge
the costly half. Python's ssl never does unless told to. One thread, one epoll, no
object per byte: about 80 µs of Python beside the handshake's own work.

`python -m tests.bench.visitors.dial PORT HOSTNAME PATH SECONDS WIDTH [--plain]` prints
JSON: {"done", "errors", "resumed", "seconds"}.
"""

from dataclasses import dataclass
import errno
import json
import selectors
import socket
import ssl
import sys
import time


@dataclass(slots=True)
class _Visit:
    """One connection on its way through the steps."""

    plain: socket.socket
    tls: ssl.SSLSocket | None = None
    greeted: bool = False
    asked: bool = False


class Dialler:
    """Keep `width` connections on their way until the time is over."""

    def __init__(
        self, port: int, hostname: str, path: str, width: int, *, plain: bool
    ) -> None:
        self._port, self._hostname, self._width = port, hostname, width
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {hostname}\r\nConnection: close\r\n\r\n"
        ).encode()
        self._plain = plain
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE  # as wrk does
        self._poll = selectors.EpollSelector()
        self.done = self.errors = self.resumed = 0

    def run(self, seconds: float) -> float:
        """Dial for so long; return how long it really took."""
        begin = time.monotonic()
        for _ in range(self._width):
            self._dial()
        while (now := time.monotonic()) - begin < seconds:
            for key, events in self._poll.select(0.2):
                self._step(key.data, events)
        for key in list(self._poll.get_map().values()):
            (key.data.tls or key.data.plain).close()
        return now - begin

    def _dial(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        code = sock.connect_ex(("127.0.0.1", self._port))
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(code, "cannot dial")
        self._poll.register(sock, selectors.EVENT_WRITE, _Visit(sock))

    def _step(self, visit: _Visit, events: int) -> None:
        try:
            sock = visit.plain if self._plain else self._greet(visit)
            if not visit.asked:
                sock.send(self._request)
                visit.asked = True
            self._finish(visit, ok=sock.recv(8192).startswith(b"HTTP/1.1 200"))
        except (ssl.SSLWantReadError, BlockingIOError):
            if events & selectors.EVENT_WRITE:
                now = visit.tls or visit.plain
                self._poll.modify(now, selectors.EVENT_READ, visit)
        except OSError:
            self._finish(visit, ok=False)

    def _greet(self, visit: _Visit) -> ssl.SSLSocket:
        """Go on with the handshake until it is done."""
        tls = visit.tls or self._wrap(visit)
        if not visit.greeted:
            tls.do_handshake()
            visit.greeted = True
            self.resumed += bool(tls.session_reused)
        return tls

    def _wrap(self, visit: _Visit) -> ssl.SSLSocket:
        """Begin TLS on a connection that is made, or raise why it is not."""
        if code := visit.plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, "refused")
        self._poll.unregister(visit.plain)
        visit.tls = self._context.wrap_socket(
            visit.plain, server_hostname=self._hostname, do_handshake_on_connect=False
        )
        self._poll.register(visit.tls, selectors.EVENT_WRITE, visit)
        return visit.tls

    def _finish(self, visit: _Visit, *, ok: bool) -> None:
        self.done += ok
        self.errors += not ok
        sock = visit.tls or visit.plain  # wrapping took the descriptor over
        self._poll.unregister(sock)
        sock.close()
        self._dial()


def main() -> None:
    port, hostname, path, seconds, width, *more = sys.argv[1:]
    plain = more == ["--plain"]
    dialler = Dialler(int(port), hostname, path, int(width), plain=plain)
    took = dialler.run(float(seconds))
    result = {
        "done": dialler.done,
        "errors": dialler.errors,
        "resumed": dialler.resumed,
        "seconds": took,
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
