"""How the acme library talks HTTP, with what it lacks.

    post ──badNonce──▶ again with the nonce of the refusal, up to a bound
    abort() from another thread ──▶ every socket is shut down, the call ends at once

Blocking, one thread at a time; abort() alone may be called from anywhere. Trusts the
system's roots, or one file for a private authority. Knows nothing of orders.
"""

import contextlib
import datetime as dt
from email.utils import parsedate_to_datetime
from pathlib import Path
import socket
import threading
from typing import Any

from acme import errors as acme_errors
from acme import messages
from acme.client import ClientNetwork
from josepy.jwa import ES256
from josepy.jwk import JWKEC
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection

from hearthgate import __version__
from hearthgate.home.certificates.settings import AcmeLimits

_ANSWER_MAX_BYTES = 256 * 1024  # a chain has 5 KB, see PEM_MAX_BYTES
_PIECE_BYTES = 16 * 1024
_USER_AGENT = f"hearthgate/{__version__}"


class TooManyNoncesError(Exception):
    """Raise if one fresh nonce after the other was refused."""


class AbortedError(Exception):
    """Raise if abort() ended a call."""


class _Sockets:
    """Every connection of one session, so that another thread can end them.

    Keeps duplicates: wrapping a socket in TLS takes the descriptor away from the
    original, long before the handshake is over. Keeps the connections as well, because
    urllib3 only closes them once nothing refers to their pool, and an error with its
    traceback refers to it for as long as anybody looks at the error.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._connections: list[HTTPSConnection] = []
        self.aborted = False

    def add(self, connection: HTTPSConnection, raw: socket.socket) -> None:
        with self._lock:
            if self.aborted:
                raw.close()
                raise AbortedError
            self._open.append(raw.dup())
            self._connections.append(connection)

    def abort(self) -> None:
        with self._lock:
            self.aborted = True
            for raw in self._open:
                with contextlib.suppress(OSError):
                    raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self.aborted = True
            while self._open:
                self._open.pop().close()
            while self._connections:
                self._connections.pop().close()


class AnswerTooLongError(ValueError):
    """Raise if an answer is longer than any certificate with its chain."""


class _Adapter(HTTPAdapter):
    """Tell the sockets of every connection, and bound what comes over them."""

    def __init__(self, sockets: _Sockets) -> None:
        self._sockets = sockets
        super().__init__()

    def send(
        self,
        request: requests.PreparedRequest,
        *args: Any,  # noqa: ANN401 (of requests)
        **kwargs: Any,  # noqa: ANN401
    ) -> requests.Response:
        """Read the answer here: requests itself would read without end."""
        response = super().send(request, *args, **kwargs)
        content = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            content += piece
            if len(content) > _ANSWER_MAX_BYTES:
                response.close()
                raise AnswerTooLongError(f"it has more than {_ANSWER_MAX_BYTES} bytes")
        response._content = bytes(content)  # noqa: SLF001 - there is no other way in
        return response

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (of requests)
        super().init_poolmanager(*args, **kwargs)
        sockets = self._sockets

        class Connection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                raw = super()._new_conn()
                sockets.add(self, raw)
                return raw

        class Pool(HTTPSConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"https": Pool}


class Network(ClientNetwork):
    """One session with one authority, for one order or one question."""

    def __init__(self, key: JWKEC, *, limits: AcmeLimits, ca_file: Path | None) -> None:
        """Keep the account key; connect at the first request."""
        super().__init__(key, alg=ES256, user_agent=_USER_AGENT)
        if ca_file is not None:
            # requests takes a path here too; acme only passes the value on.
            self.verify_ssl = str(ca_file)  # type: ignore[assignment]
        self._timeout = (limits.connect_s, limits.silence_s)
        self._tries = limits.nonce_tries
        self._sockets = _Sockets()
        self.session.mount("https://", _Adapter(self._sockets))
        # Packed, a few bytes could stand for many.
        self.session.headers["Accept-Encoding"] = "identity"
        # A clear-text hop would be a redirect by someone on the path.
        del self.session.adapters["http://"]
        self.retry_after: str | None = None  # as the last answer said it

    def abort(self) -> None:
        """End what runs, and refuse what comes. From any thread."""
        self._sockets.abort()

    def close(self) -> None:
        """Close every connection; the session is of no more use."""
        self.session.close()
        self._sockets.close()

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 (of acme)
        """Repeat after badNonce, which RFC 8555 §6.5 does not limit to once."""
        for _try in range(self._tries):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as err:
                if err.code != "badNonce":
                    raise
        raise TooManyNoncesError

    def _send_request(
        self,
        method: str,
        url: str,
        *args: Any,  # noqa: ANN401 (of acme)
        **kwargs: Any,  # noqa: ANN401
    ) -> requests.Response:
        if self._sockets.aborted:
            raise AbortedError
        kwargs.setdefault("timeout", self._timeout)
        self.retry_after = None
        response = super()._send_request(method, url, *args, **kwargs)
        self.retry_after = response.headers.get("Retry-After")
        if not response.ok and self.REPLAY_NONCE_HEADER in response.headers:
            # acme drops the nonce of a refusal and would ask for another one.
            with contextlib.suppress(acme_errors.NonceError):
                self._add_nonce(response)
        return response


def retry_after_s(header: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110 §10.2.3)."""
    if header is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        if header.strip().isascii() and header.strip().isdigit():
            return float(min(int(header.strip()[:12]), 10**9))
        when = parsedate_to_datetime(header)
        if when.tzinfo is None:
            when = when.replace(tzinfo=dt.UTC)
        return max(0.0, when.timestamp() - now)
    return None
