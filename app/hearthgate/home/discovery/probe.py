"""Look at a service as a visitor would: does it answer, what is it called, its icon.

    Target ─▶ GET / ─▶ not HTTP? the other scheme ─▶ title ─▶ icons, best first ─▶ Probe

Any HTTP answer counts as reachable, a login page or an error as well. Paths come from
our catalog or are `/`, never from the network. Problems are sentences for the user.
"""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
import logging
import re
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from hearthgate.home.discovery.catalog import NEVER_PROBED_PORTS, Kind, guess_kind
from hearthgate.home.discovery.comparison import Comparison
from hearthgate.home.discovery.fetch import Answer, Fault, Fetcher
from hearthgate.home.discovery.icons import IconStore
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.page import Page, read_page
from hearthgate.home.model import Scheme, Target
from hearthgate.shared.storage.private_files import StateError

__all__ = ["Probe", "Prober"]

_LOGGER = logging.getLogger(__name__)
_BAD_REQUEST, _FIRST_ERROR = 400, 400
_ERROR_TITLE = re.compile(
    r"\b[45]\d\d\b|error|not found|forbidden|unauthori[sz]ed|denied", re.IGNORECASE
)
_OTHER = {Scheme.HTTP: Scheme.HTTPS, Scheme.HTTPS: Scheme.HTTP}


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look at a service showed."""

    reachable: bool | None  # None: it was looked, and nobody can tell
    title: str | None = None
    icon: str | None = None  # a file name in the icons folder, from its content
    problem: str | None = None  # a sentence; may be there although it is reachable
    target: Target | None = None  # the scheme may differ from what was asked for
    tells_apart: bool = False  # a stranger's address gets another answer than ours


class Prober:
    """Probe services. Holds nothing open between two probes."""

    def __init__(self, limits: DiscoveryLimits, icons: IconStore) -> None:
        """Take where icons go."""
        self._limits = limits
        self._icons = icons
        self._comparison = Comparison(limits)

    async def probe(
        self, target: Target, paths: Sequence[str] = ("/",), *, either_scheme: bool
    ) -> Probe:
        """Look at a service; never raises for what the service does.

        either_scheme: an answer on the other scheme counts, and Probe.target says so.
        Otherwise it becomes the problem, because the user chose the scheme.
        """
        if target.port in NEVER_PROBED_PORTS:
            problem = f"Port {target.port} is not for web pages."
            return Probe(reachable=False, problem=problem)
        fetcher = Fetcher(self._limits)
        found, answer = await self._find(fetcher, target, paths[0])
        if isinstance(answer, Fault):
            return Probe(reachable=False, problem=self._sentence(answer, target))
        if found.scheme != target.scheme and not either_scheme:
            return Probe(reachable=False, problem=_other_scheme(target, found))
        page, answer = await self._read(fetcher, found, answer, paths[1:])
        icon = await self._icon(fetcher, answer.url, page)
        complaint = self._complaint(answer)
        return Probe(
            reachable=True,
            title=page.title or None,
            icon=icon,
            problem=complaint,
            target=found,
            tells_apart=complaint is None
            and guess_kind(page.title) is not Kind.HOME_ASSISTANT
            and await self._comparison.differs(found),
        )

    async def _find(
        self, fetcher: Fetcher, target: Target, path: str
    ) -> tuple[Target, Answer | Fault]:
        """Ask by the scheme at hand, and by the other if it sounds like that."""
        answer = await self._get(fetcher, target, path)
        doubtful = answer in {Fault.NOT_HTTP, Fault.NOT_TLS} or (
            isinstance(answer, Answer)
            and answer.status == _BAD_REQUEST
            and target.scheme is Scheme.HTTP  # "plain HTTP was sent to an HTTPS port"
        )
        if doubtful:
            other = replace(target, scheme=_OTHER[target.scheme])
            second = await self._get(fetcher, other, path)
            if isinstance(second, Answer):
                return other, second
        return target, answer

    async def _get(self, fetcher: Fetcher, target: Target, path: str) -> Answer | Fault:
        url = urljoin(target.url, path)
        return await fetcher.get(url, max_bytes=self._limits.body_max_bytes)

    async def _read(
        self, fetcher: Fetcher, target: Target, answer: Answer, paths: Sequence[str]
    ) -> tuple[Page, Answer]:
        """Return the page, and where it was, trying further paths for a title."""
        page = await self._page(answer)
        for path in paths:
            if page.title:
                break
            further = await self._get(fetcher, target, path)
            if isinstance(further, Answer):
                page, answer = await self._page(further), further
        return page, answer

    async def _page(self, answer: Answer) -> Page:
        page = await asyncio.to_thread(
            read_page,
            answer.body,
            answer.content_type,
            answer.url,
            max_chars=self._limits.text_max_chars,
        )
        if answer.status >= _FIRST_ERROR and _ERROR_TITLE.search(page.title):
            return replace(page, title="")
        return page

    async def _icon(self, fetcher: Fetcher, url: str, page: Page) -> str | None:
        """Return the first icon that is a real picture. Late or none: None."""
        host = urlsplit(url).hostname
        tries = [*page.icons[: self._limits.icon_tries], urljoin(url, "/favicon.ico")]
        try:
            async with asyncio.timeout(self._limits.icons_deadline_s):
                for each in tries:
                    data = await self._picture(fetcher, each, host)
                    if data and (
                        name := await asyncio.to_thread(self._icons.save, data)
                    ):
                        return name
        except TimeoutError:
            return None
        except (OSError, StateError) as err:
            _LOGGER.warning("can't keep an icon: %s", err)
        return None

    async def _picture(
        self, fetcher: Fetcher, url: str, host: str | None
    ) -> bytes | None:
        """Return the bytes behind an icon link, if they are on the same host."""
        if url.startswith("data:"):
            return await asyncio.to_thread(_inline, url)
        try:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or parts.hostname != host:
                return None
        except ValueError:
            return None
        answer = await fetcher.get(url, max_bytes=self._limits.icon_max_bytes)
        if isinstance(answer, Fault) or answer.status != 200 or not answer.whole:  # noqa: PLR2004
            return None
        return answer.body

    def _sentence(self, fault: Fault, target: Target) -> str:
        """Return what went wrong, in the user's words."""
        at = target.authority
        seconds = f"{self._limits.probe_deadline_s:g}"
        match fault:
            case Fault.SILENT:
                return f"Nothing answers at {at}."
            case Fault.SLOW:
                return f"{at} took longer than {seconds} seconds to answer."
            case Fault.NOT_HTTP:
                return f"{at} answers, but not with HTTP."
            case Fault.NOT_TLS:
                return f"{at} answers, but not with HTTPS."

    def _complaint(self, answer: Answer) -> str | None:
        """Return what is odd about a service that does answer."""
        if answer.circular:
            return "It answers, but redirects in a circle."
        if answer.slow:
            seconds = f"{self._limits.probe_deadline_s:g}"
            return f"It answers, but its page took longer than {seconds} seconds."
        return None


def _other_scheme(target: Target, found: Target) -> str:
    spoken, asked = found.scheme.upper(), target.scheme.upper()
    return f"It answers with {spoken}, not {asked}: change the address to {found.url}"


def _inline(url: str) -> bytes | None:
    """Return the bytes of a data: URL (RFC 2397)."""
    kind, comma, data = url.partition(",")
    if not comma:
        return None
    raw = unquote_to_bytes(data)
    if not kind.endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw)
    except binascii.Error:
        return None
