"""Get one page or picture from a device, and no more than that.

    url ─▶ GET ─▶ redirect on the same host? ─▶ GET … ─▶ Answer(capped body) | Fault

A redirect to another host is never followed, so a device can't send us anywhere. Bodies
are unpacked here, because small devices send gzip whether asked or not, and a cap on
unpacked bytes needs zlib's own. What happened is a value; nothing is raised.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote
import zlib

from yarl import URL

from hearthgate.home.discovery.catalog import NEVER_PROBED_PORTS
from hearthgate.home.discovery.exchange import (
    Exchange,
    Head,
    NotConnectedError,
    NotHttpError,
    NotTlsError,
)
from hearthgate.home.discovery.limits import DiscoveryLimits

__all__ = ["Answer", "Fault", "Fetcher"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "User-Agent": "Hearthgate discovery",
    "Accept": "text/html, image/*;q=0.9, */*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
}
_LOCATION_CHARS_MAX = 2048
# Some pages redirect in a circle to those without a cookie. They set one or two.
_COOKIES_MAX = 16
_COOKIE_CHARS_MAX = 1024
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


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
    whole: bool = True  # False: cut at the cap, or broken off
    slow: bool = False  # the deadline came before the end of the body
    circular: bool = False  # it redirects too often


class Fetcher:
    """A session of GETs for one probe: its requests share cookies."""

    def __init__(
        self, limits: DiscoveryLimits, headers: Mapping[str, str] | None = None
    ) -> None:
        """Open nothing yet. The headers are sent with each request."""
        self._limits = limits
        self._headers = {**_HEADERS, **(headers or {})}
        self._cookies: dict[str, str] = {}

    async def get(self, url: str, *, max_bytes: int) -> Answer | Fault:
        """Get a page, following redirects on its host, within the deadline."""
        fetched = _Fetched(url)
        try:
            async with asyncio.timeout(self._limits.probe_deadline_s):
                await self._follow(fetched, max_bytes)
        except TimeoutError:
            fetched.slow = True
            return fetched.answer(max_bytes) if fetched.status else Fault.SLOW
        except (NotConnectedError, ValueError):  # what yarl can't digest
            return Fault.SILENT
        except NotTlsError:
            return Fault.NOT_TLS
        except NotHttpError:
            return Fault.NOT_HTTP
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
        async with Exchange.open(at, self._limits) as exchange:
            head = await exchange.ask(at, self._headers | self._cookie_header())
            fetched.take(head)
            self._remember(head)
            if head.status in _REDIRECTS:
                further = _further(at, head.get("location"))
                if further is not None:
                    return further
            async for piece in exchange.body(max_bytes):
                fetched.raw.extend(piece)
                if len(fetched.raw) > max_bytes:
                    break
            else:
                fetched.ended = exchange.ended
        return None

    def _cookie_header(self) -> dict[str, str]:
        pairs = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return {"Cookie": pairs} if pairs else {}

    def _remember(self, head: Head) -> None:
        """Keep the cookies of an answer for the next request of this probe."""
        for line in head.all("set-cookie")[:_COOKIES_MAX]:
            name, equals, value = line.partition(";")[0].strip().partition("=")
            if equals and name and len(line) <= _COOKIE_CHARS_MAX:
                self._cookies[name] = value
        for name in list(self._cookies)[:-_COOKIES_MAX]:
            del self._cookies[name]


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
        self.ended = False

    def take(self, head: Head) -> None:
        self.status = head.status
        self.content_type = head.get("content-type")
        self.encoding = head.get("content-encoding").strip().lower()

    def answer(self, max_bytes: int) -> Answer:
        body = _unpack(bytes(self.raw), self.encoding, max_bytes)
        whole = self.ended and len(body) <= max_bytes
        return Answer(
            status=self.status,
            url=self.url,
            content_type=self.content_type,
            body=body[:max_bytes],
            whole=whole,
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
    if not location or len(location) > _LOCATION_CHARS_MAX:
        return None
    # Bytes beyond ASCII can only be in a path: a host of them would be another one.
    ascii_only = quote(location.encode("latin-1"), safe=_PRINTABLE)
    try:
        further = at.join(URL(ascii_only))
        same = further.host == at.host and further.scheme in {"http", "https"}
    except ValueError:
        return None
    if not same or further.port in NEVER_PROBED_PORTS:
        return None
    return further
