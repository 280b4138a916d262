"""Let Core accept what our edge says of visitors, with one click.

    check:  ask Core ─▶ 400? ─▶ http/config ─▶ what would change | the YAML lines
    apply:  http/config/configure ─▶ Core restarts with it, on trial
            ─▶ visit through the public hostname ─▶ not 400 ─▶ http/config/promote
                                                 └▶ else nothing: Core goes back itself

Core reverts by itself what is not promoted within five minutes, so a mistake here locks
nobody out for longer. Never gives up the visitor's address to get past a 400.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
import logging
import time
from typing import Any, Final

from hearthgate.errors import HearthgateError
from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.client.http_config import (
    Change,
    HttpConfig,
    read_http_config,
    yaml_lines,
)
from hearthgate.home.hass.errors import (
    ChangeNotSeenError,
    CommandUnknownError,
    CoreAwayError,
    StillRefusedError,
    TrialElsewhereError,
    TrustBusyError,
    WentBackError,
)
from hearthgate.home.hass.trust.check_forwarded_for import (
    ForwardedForCheck,
    check_forwarded_for,
)
from hearthgate.home.model import Problem, Target
from hearthgate.shared.process.tasks import Tasks

_LOGGER = logging.getLogger(__name__)

BAD_REQUEST: Final = 400
_GATEWAY: Final = frozenset({502, 503, 504})  # of our edge: Core is not up yet


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for, in seconds.

    Core takes a minute on a small board to go down and come back. It reverts five
    minutes after it is back, so from then on we have less than that.
    """

    back_within_s: float = 300.0
    seen_within_s: float = 120.0
    look_every_s: float = 2.0
    settle_s: float = 30.0  # after Core's own time to go back


class TrustState(StrEnum):
    """Whether Core accepts what our edge says."""

    UNKNOWN = "unknown"  # Core was not asked yet, or does not answer
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RESTARTING = "restarting"  # with the new settings
    VERIFYING = "verifying"  # they are in use, on trial


class By(StrEnum):
    """How Core's settings can be changed."""

    API = "api"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class TrustStatus:
    """What is known, for the page."""

    state: TrustState = TrustState.UNKNOWN
    proxy: str | None = None  # what Core has to trust
    by: By | None = None
    changes: tuple[Change, ...] = ()
    yaml: str | None = None
    login_attempts: int | None = None  # -1: Core never bans; None: it does not say
    problem: Problem | None = None


class Trust:
    """Core's trust in our edge. Lives in one loop; close it."""

    def __init__(
        self,
        core: Core,
        target: Callable[[], Target | None],
        visit: Callable[[], Awaitable[int | None]],
        *,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.time,
        patience: Patience | None = None,
    ) -> None:
        """Find Core by `target`. `visit` asks through the public hostname.

        It returns the status, None where there is no such hostname, and raises
        HearthgateError.
        """
        self._core = core
        self._target = target
        self._visit = visit
        self._on_change = on_change
        self._clock = clock
        self._patience = patience or Patience()
        self._tasks = Tasks()
        self._lock = asyncio.Lock()
        self._applying = False
        self.status = TrustStatus()

    async def close(self) -> None:
        """End what is under way; Core goes back by itself if it was on trial."""
        await self._tasks.close()

    @property
    def is_busy(self) -> bool:
        """Tell whether Core is being changed."""
        return self._applying

    async def check(self) -> None:
        """Find out whether Core accepts our edge. Raises CoreAwayError."""
        if self._applying or self._goes_back():
            return
        async with self._lock:
            found = await self._check_forwarded_for()
            status = TrustStatus(proxy=found.proxy, problem=self.status.problem)
            status = await self._with_settings(status)
            if found.status == BAD_REQUEST:
                status = replace(status, state=TrustState.REFUSED)
            else:
                status = replace(
                    status,
                    state=TrustState.ACCEPTED,
                    changes=(),
                    yaml=None,
                    problem=None,
                )
            self._set(status)

    def _goes_back(self) -> bool:
        """Tell whether Core still tries out what will not be confirmed."""
        problem = self.status.problem
        retry_at = problem.retry_at if problem is not None else None
        return retry_at is not None and self._clock() < retry_at

    async def _check_forwarded_for(self) -> ForwardedForCheck:
        target = self._target()
        if target is None:
            raise CoreAwayError(reason="the Supervisor has not said yet where it is")
        return await check_forwarded_for(target)

    async def _with_settings(self, status: TrustStatus) -> TrustStatus:
        proxy = status.proxy or ""
        try:
            config = await self._settings()
        except CommandUnknownError:  # before 2026.8
            return replace(status, by=By.YAML, yaml=yaml_lines(proxy))
        return replace(
            status,
            by=By.API,
            changes=tuple(config.changes(proxy)),
            login_attempts=config.login_attempts,
        )

    async def _settings(self) -> HttpConfig:
        return read_http_config(await self._core.ask("http/config"))

    # --- the change -------------------------------------------------------------------

    async def apply(self, *, login_attempts: int | None) -> None:
        """Begin to change Core, which restarts it; `status` tells how it goes.

        Raises TrustBusyError, TrialElsewhereError and what Core's client raises, all of
        it before anything has changed.
        """
        if self._applying or self._goes_back():
            raise TrustBusyError
        self._applying = True
        try:
            found = await self._check_forwarded_for()
            config = _without_trial(await self._settings())
            wanted = config.wanted(found.proxy, login_attempts=login_attempts)
            self._set(replace(self.status, state=TrustState.RESTARTING, problem=None))
            _LOGGER.warning(
                "Home Assistant restarts, to accept visitors from %s", found.proxy
            )
            await self._configure(wanted)
        except BaseException:
            self._applying = False
            if self.status.state is TrustState.RESTARTING:
                self._set(replace(self.status, state=TrustState.REFUSED))
            raise
        self._tasks.start(self._follow(found.proxy), "trust of Home Assistant")

    async def _configure(self, wanted: dict[str, Any]) -> None:
        try:
            await self._core.ask("http/config/configure", config=wanted)
        except CoreAwayError as err:  # it may restart before its answer is through
            _LOGGER.debug("No answer to the new settings: %s", err)

    async def _follow(self, proxy: str) -> None:
        """See the change through, whatever comes of it."""
        revert_at: float | None = None
        try:
            trial = await self._wait_until_in_use(proxy)
            revert_at = trial.revert_at
            self._set(replace(self.status, state=TrustState.VERIFYING))
            await self._verify(revert_at)
            if trial.is_trial:  # else somebody has confirmed it in Home Assistant
                await self._core.ask("http/config/promote")
            _LOGGER.info("Home Assistant accepts visitors from %s now", proxy)
            accepted = TrustState.ACCEPTED
            self._set(replace(self.status, state=accepted, changes=(), problem=None))
        except HearthgateError as err:
            self._failed(err, revert_at)
        finally:
            self._applying = False
        await self._look_again()

    async def _wait_until_in_use(self, proxy: str) -> HttpConfig:
        """Wait until Core is back and uses the new settings, on trial as a rule.

        Raises ChangeNotSeenError.
        """
        reason = "it does not use them"
        try:
            async with asyncio.timeout(self._patience.back_within_s):
                while True:
                    try:
                        config = await self._settings()
                    except HearthgateError as err:  # it starts, and knows little yet
                        reason = str(err).rstrip(".")
                    else:
                        waits = config.has_pending and not config.is_trial
                        if config.failure is not None:
                            raise ChangeNotSeenError(reason=config.failure)
                        if config.trusts(proxy) and not waits:
                            return config
                    await asyncio.sleep(self._patience.look_every_s)
        except TimeoutError as err:
            raise ChangeNotSeenError(reason=reason) from err

    async def _verify(self, revert_at: float | None) -> None:
        """Visit as a visitor does. Raises StillRefusedError."""
        patience_s = self._patience.seen_within_s
        if revert_at is not None:
            patience_s = min(patience_s, max(0.0, revert_at - self._clock()))
        status: int | str = "no answer came"
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    try:
                        seen = await self._visit()
                        status = (
                            seen
                            if seen is not None
                            else (await self._check_forwarded_for()).status
                        )
                    except HearthgateError as err:
                        status = str(err).rstrip(".")
                    if isinstance(status, int) and status not in _GATEWAY:
                        break
                    await asyncio.sleep(self._patience.look_every_s)
        except TimeoutError as err:
            raise StillRefusedError(reason=status) from err
        if status == BAD_REQUEST:
            raise StillRefusedError(reason="400 Bad Request")

    def _failed(self, err: HearthgateError, revert_at: float | None) -> None:
        _LOGGER.warning("%s %s", err, err.advice)
        problem = Problem.of(err, revert_at)
        self._set(replace(self.status, state=TrustState.REFUSED, problem=problem))

    async def _look_again(self) -> None:
        """Check what is so in the end, after Core went back if it has to."""
        problem = self.status.problem
        went_back = problem is not None and problem.retry_at is not None
        if problem is not None and problem.retry_at is not None:
            wait_s = max(0.0, problem.retry_at - self._clock())
            await asyncio.sleep(wait_s + self._patience.settle_s)
        while True:
            try:
                await self.check()
            except CoreAwayError as err:
                _LOGGER.debug("Not checked: %s", err)
                await asyncio.sleep(self._patience.look_every_s)
            except HearthgateError as err:
                _LOGGER.debug("Not checked: %s", err)
                return
            else:
                break
        if went_back and problem is not None and self.status.problem == problem:
            told = Problem.of(WentBackError(before=problem.message))
            self._set(replace(self.status, problem=told))

    def _set(self, status: TrustStatus) -> None:
        if status != self.status:
            self.status = status
            self._on_change()


def _without_trial(config: HttpConfig) -> HttpConfig:
    if config.has_pending:
        raise TrialElsewhereError
    return config
