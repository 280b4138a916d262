"""Talk to the authority from the event loop: every call has a deadline and an end.

    await session.call(function, …) ──▶ thread: one to three requests
         │ cancelled, or too late: the sockets are shut down, so the thread ends too

One session for one order or one question; not for two tasks at the same time.
"""

import asyncio
from collections.abc import Callable
import logging
from types import TracebackType
from typing import Any, Self, TypeVar

from josepy.jwk import JWKEC

from hearthgate.home.certificates import errors
from hearthgate.home.certificates.client import Client
from hearthgate.home.certificates.network import AbortedError, Network, retry_after_s
from hearthgate.home.certificates.settings import AcmeSettings
from hearthgate.home.certificates.translate import ANSWER_EXCEPTIONS, translate

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")

# After its sockets are shut down a thread only lives on while it looks up a name or
# connects; that ends by itself (connect_s), and nobody waits for it.
_THREAD_END_S = 2.0


class Session:
    """One conversation with the authority. Use as an async context manager."""

    def __init__(
        self,
        settings: AcmeSettings,
        key: JWKEC,
        *,
        hostname: str,
        clock: Callable[[], float],
    ) -> None:
        """Keep the settings; nothing is sent yet."""
        self.settings = settings
        self.hostname = hostname
        self.key = key
        self._clock = clock
        self._net = Network(key, limits=settings.limits, ca_file=settings.ca_file)
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """Return the client; only after open()."""
        if self._client is None:
            raise RuntimeError("the session is not open")
        return self._client

    @property
    def retry_after_s(self) -> float | None:
        """Return what the last answer asked for."""
        return retry_after_s(self._net.retry_after, self._clock())

    async def open(self) -> None:
        """Fetch the directory."""
        url = self.settings.directory_url
        self._client = await self.call(Client.open, url, self._net)

    async def call(self, function: Callable[..., T], *args: Any, **kw: Any) -> T:  # noqa: ANN401 (passed on)
        """Run a blocking call of the client. Raises CertificateError."""
        thread = asyncio.ensure_future(asyncio.to_thread(function, *args, **kw))
        try:
            async with asyncio.timeout(self.settings.limits.call_s):
                return await asyncio.shield(thread)
        except (TimeoutError, asyncio.CancelledError) as err:
            if thread.done() and not thread.cancelled() and thread.exception() is err:
                raise self.translated(err) from err  # the call's own timeout
            await self._end(thread)
            if isinstance(err, asyncio.CancelledError):
                raise
            raise errors.CaSlowError(
                authority=self.settings.authority,
                waited=f"{self.settings.limits.call_s:.0f} seconds for one answer",
            ) from err
        except ANSWER_EXCEPTIONS as err:
            raise self.translated(err) from err

    def translated(self, err: BaseException) -> errors.CertificateError:
        """Return err as the user reads it."""
        return translate(
            err,
            authority=self.settings.authority,
            hostname=self.hostname,
            now=self._clock(),
            retry_after_s=self.retry_after_s,
        )

    async def _end(self, thread: asyncio.Future[T]) -> None:
        self._net.abort()
        await asyncio.wait({thread}, timeout=_THREAD_END_S)
        if not thread.done():
            _LOGGER.info("%s: a request is still connecting", self.hostname)
            thread.add_done_callback(_forget)
        else:
            _forget(thread)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._net.close()


def _forget(thread: asyncio.Future[Any]) -> None:
    """Look at the outcome, so that asyncio does not complain that nobody did."""
    if thread.cancelled():
        return
    err = thread.exception()
    if err is not None and not isinstance(err, (AbortedError, *ANSWER_EXCEPTIONS)):
        _LOGGER.error("A request to the authority ended badly", exc_info=err)
