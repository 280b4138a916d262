"""Get one page or picture from a device, and no more than that.

    url ─▶ GET ─▶ redirect on the same host? ─▶ GET … ─▶ Answer(capped body) | Fault

Certificates are not checked: devices sign their own, and nothing secret is sent. A
redirect to another host is never followed, so a device can't send us anywhere. Bodies
are unpacked here, because small devices send gzip whether asked or not, and a cap on
unpacked bytes needs zlib's own. What happened is a value; nothing is raised.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
import errno
import ssl
from typing import Self
import zlib

import aiohttp
from yarl import URL

from hearthgate.home.discovery.catalog import NEVER_PROBED_PORTS
from hearthgate.home.discovery.limits import KIB, DiscoveryLimits

__all__ = ["Answer", "Fault", "Fetcher"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "User-Agent": "Hearthgate discovery",
    "Accept": "text/html, image/*;q=0.9, */*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
}
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


class Fault(StrEnum):
    """Why there is no answer."""

    SILENT = "silent"  # refused, no route, no such name, or no word in time
    NOT_HTTP = "not_http"
    NOT_TLS = "not_tls"
    SLOW = "slow"  # connected, but no headers in time


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back in the end."""

    status: int
    url: str  # where it came from, after redirects
    content_type: str = ""
    body: bytes = b""
    whole: bool = True  # False: cut at the cap
    slow: bool = False  # the deadline came before the end of the body
    circular: bool = False  # it redirects too often


class Fetcher:
    """A session of GETs for one probe. An async context manager."""

    def __init__(
        self, limits: DiscoveryLimits, headers: Mapping[str, str] | None = None
    ) -> None:
        """Open nothing yet. The headers are sent with each request."""
        self._limits = limits
        self._headers = {**_HEADERS, **(headers or {})}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._limits.connect_deadline_s
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_trusting(), force_close=True),
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # some pages loop without
            timeout=timeout,
            headers=self._headers,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, *, max_bytes: int) -> Answer | Fault:
        """Get a page, following redirects on its host, within the deadline."""
        fetched = _Fetched(url)
        try:
            async with asyncio.timeout(self._limits.probe_deadline_s):
                await self._follow(fetched, max_bytes)
        except aiohttp.ConnectionTimeoutError:
            return Fault.SILENT
        except TimeoutError:
            fetched.slow = True
            return fetched.answer(max_bytes) if fetched.status else Fault.SLOW
        except aiohttp.ClientError as err:
            if not fetched.status:  # else the body broke off: take what came
                return _fault(err, URL(fetched.url))
        except (ValueError, OSError):  # what yarl or a resolver can't digest
            return Fault.SILENT
        return fetched.answer(max_bytes)

    async def _follow(self, fetched: "_Fetched", max_bytes: int) -> None:
        """Get a page and where it leads, until there is a body or it is a circle."""
        for _ in range(self._limits.redirects + 1):
            further = await self._get_one(URL(fetched.url), fetched, max_bytes)
            if further is None:
                return
            fetched.begin(str(further))
        fetched.circular = True

    async def _get_one(
        self, at: URL, fetched: "_Fetched", max_bytes: int
    ) -> URL | None:
        """Read one answer into `fetched`; return where it sends us, if we follow."""
        if self._session is None:
            raise RuntimeError("the fetcher is not open")
        async with self._session.get(at, allow_redirects=False) as response:
            fetched.take(response.status, response.headers)
            if response.status in _REDIRECTS:
                further = _further(at, response.headers.get("Location", ""))
                if further is not None:
                    return further
            async for chunk in response.content.iter_chunked(16 * KIB):
                fetched.raw.extend(chunk)
                if len(fetched.raw) > max_bytes:
                    break
        return None


class _Fetched:
    """What is there so far, so that a deadline loses nothing."""

    def __init__(self, url: str) -> None:
        self.slow = self.circular = False
        self.begin(url)

    def begin(self, url: str) -> None:
        self.url = url
        self.status = 0
        self.content_type = ""
        self.encoding = ""
        self.raw = bytearray()

    def take(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.content_type = headers.get("Content-Type", "")
        self.encoding = headers.get("Content-Encoding", "").lower()

    def answer(self, max_bytes: int) -> Answer:
        body = _unpack(bytes(self.raw), self.encoding, max_bytes)
        whole = len(self.raw) <= max_bytes and len(body) <= max_bytes
        return Answer(
            status=self.status,
            url=self.url,
            content_type=self.content_type,
            body=body[:max_bytes],
            whole=whole and not self.slow,
            slow=self.slow,
            circular=self.circular,
        )


def _unpack(raw: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return at most one byte more than max_bytes; what is broken ends early."""
    if encoding in {"", "identity"}:
        return raw
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return b""
    for bits in (_ZLIB_OR_GZIP, -zlib.MAX_WBITS):  # some "deflate" lacks its header
        try:
            return zlib.decompressobj(bits).decompress(raw, max_bytes + 1)
        except zlib.error:
            continue
    return b""


def _further(at: URL, location: str) -> URL | None:
    """Return where a redirect leads, if that is the same host; ports may differ."""
    try:
        further = at.join(URL(location))
        same = further.host == at.host and further.scheme in {"http", "https"}
    except ValueError:
        return None
    if not location or not same or further.port in NEVER_PROBED_PORTS:
        return None
    return further


def _fault(err: aiohttp.ClientError, at: URL) -> Fault:
    """Return what a failure means to a user."""
    if isinstance(err, aiohttp.ClientSSLError):
        return Fault.NOT_TLS
    if isinstance(err, aiohttp.ClientConnectorError):
        reset = err.errno in {errno.ECONNRESET, errno.EPIPE}
        return Fault.NOT_TLS if reset and at.scheme == "https" else Fault.SILENT
    return Fault.NOT_HTTP


def _trusting() -> ssl.SSLContext:
    """Return a context that accepts any certificate, as the edge does for services."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
