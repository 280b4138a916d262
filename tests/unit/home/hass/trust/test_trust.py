"""One click, and everything that can go wrong after it. Core is played by a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
from dataclasses import dataclass, field
import time

import pytest

from hearthgate.home.errors import NotSeenFromOutsideError
from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.hass.errors import (
    CommandUnknownError,
    CoreAwayError,
    CoreRefusedError,
    TrialElsewhereError,
    TrustBusyError,
)
from hearthgate.home.hass.trust.trust import (
    By,
    Patience,
    Trust,
    TrustState,
    TrustStatus,
)
from hearthgate.shared.settings.kinds import Secret
from tests.harness.supervisor import TOKEN, StandInSupervisor
from tests.support.hass_parts import Door, ScriptedCore

PATIENT = Patience(back_within_s=20, seen_within_s=20, look_every_s=0.02, settle_s=0.02)
# Where it has to run out.
QUICK = Patience(back_within_s=0.5, seen_within_s=0.5, look_every_s=0.02, settle_s=0.02)


@dataclass
class Stage:
    """All that one test plays with."""

    supervisor: StandInSupervisor
    core: ScriptedCore
    door: Door
    trust: Trust
    visits: list[int | Exception | None]
    seen: list[TrustStatus] = field(default_factory=list)

    async def until(self, look: Callable[[TrustStatus], object]) -> TrustStatus:
        """Wait for a status that passes; it may be gone again by now."""
        async with asyncio.timeout(20):
            while True:
                for one in (*self.seen, self.trust.status):
                    if look(one):
                        return one
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def staged(token: str = TOKEN) -> AsyncIterator[Stage]:
    core = ScriptedCore()
    visits: list[int | Exception | None] = [200]
    seen: list[TrustStatus] = []

    async def visit() -> int | None:
        found = visits[0] if len(visits) == 1 else visits.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async with (
        StandInSupervisor() as supervisor,
        Door().open() as door,
        Supervisor(supervisor.url, Secret(token)) as client,
    ):
        supervisor.commands = core.commands
        trust = Trust(
            Core(client.core_socket, client.token),
            lambda: door.target,
            visit,
            on_change=lambda: seen.append(trust.status),
            patience=PATIENT,
        )
        stage = Stage(supervisor, core, door, trust, visits, seen)
        try:
            yield stage
        finally:
            await trust.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as running:
        yield running


async def test_one_click_changes_tries_visits_and_confirms(stage: Stage) -> None:
    await stage.trust.check()
    assert stage.trust.status.state is TrustState.REFUSED
    assert [one.name for one in stage.trust.status.changes] == [
        "use_x_forwarded_for",
        "trusted_proxies",
    ]
    stage.door.status = 200  # as Core answers with its new settings
    await stage.trust.apply(login_attempts=5)
    status = await stage.until(lambda one: one.state is TrustState.ACCEPTED)
    assert [one.state for one in stage.seen[:4]] == [
        TrustState.REFUSED,
        TrustState.RESTARTING,
        TrustState.VERIFYING,
        TrustState.ACCEPTED,
    ]
    assert (status.problem, status.changes) == (None, ())
    assert stage.core.promoted == 1
    assert stage.core.stable["trusted_proxies"] == ["127.0.0.1"]
    assert stage.core.stable["login_attempts_threshold"] == 5
    assert stage.core.stable["server_port"] == 8123


async def test_a_core_that_never_comes_back_is_told_with_what_to_expect(
    stage: Stage,
) -> None:
    stage.trust._patience = QUICK

    def goes_down(asked: dict[str, object]) -> object:
        stage.supervisor.core_is_up = False
        return stage.core.configure(asked)

    stage.supervisor.commands["http/config/configure"] = goes_down
    await stage.trust.apply(login_attempts=None)
    status = await stage.until(lambda one: one.problem)
    assert status.state is TrustState.REFUSED
    assert status.problem is not None
    assert status.problem.code == "change_not_seen"
    assert "did not come back" in status.problem.message
    assert "goes back" in status.problem.hint
    assert stage.core.promoted == 0
    stage.supervisor.core_is_up = True  # and it is looked after still
    stage.core.revert()
    await stage.until(lambda _: not stage.trust.is_busy and stage.trust.status.by)
    assert stage.trust.status.by is By.API


async def test_a_core_that_cannot_use_the_settings_says_why_at_once(
    stage: Stage,
) -> None:
    def fails(asked: dict[str, object]) -> object:
        answer = stage.core.configure(asked)
        stage.core.revert("apply_failed", "Port 8123 is in use")
        return answer

    stage.supervisor.commands["http/config/configure"] = fails
    await stage.trust.apply(login_attempts=None)
    status = await stage.until(lambda one: one.problem)
    assert status.problem is not None
    assert "Port 8123 is in use" in status.problem.message


@pytest.mark.parametrize(
    "visit",
    [400, NotSeenFromOutsideError(hostname="ha.example.com", reason="refused")],
    ids=["refused", "not reached"],
)
async def test_what_the_public_name_does_not_show_is_not_confirmed(
    stage: Stage, visit: int | Exception
) -> None:
    stage.trust._patience = QUICK
    stage.visits[:] = [visit]
    stage.core.revert_at = time.time() + 5
    await stage.trust.apply(login_attempts=None)
    status = await stage.until(lambda one: one.problem)
    assert stage.core.promoted == 0
    assert status.state is TrustState.REFUSED
    assert status.problem is not None
    assert status.problem.code == "still_refused"
    assert status.problem.retry_at == pytest.approx(stage.core.revert_at, abs=0.01)
    # Core still runs with them, and nobody may take that for the end.
    stage.door.status = 200
    await stage.trust.check()
    assert stage.trust.status == status
    with pytest.raises(TrustBusyError):
        await stage.trust.apply(login_attempts=None)
    stage.core.revert()
    stage.door.status = 400
    status = await stage.until(lambda one: one.problem and not one.problem.retry_at)
    assert status.state is TrustState.REFUSED
    assert status.problem is not None
    assert status.problem.code == "went_back"
    assert status.changes  # the button is there again, with what it would do


async def test_after_a_failed_trial_one_more_click_works(stage: Stage) -> None:
    """Core remembers what failed; that must not look like somebody else's trial."""
    stage.core.configure({"config": {"server_port": 1}})
    stage.core.revert()
    stage.door.status = 200
    await stage.trust.apply(login_attempts=None)
    await stage.until(lambda one: one.state is TrustState.ACCEPTED)
    assert stage.core.promoted == 1


async def test_the_edge_may_need_a_moment_until_core_is_up(stage: Stage) -> None:
    stage.visits[:] = [502, 503, 200]
    stage.door.status = 200
    await stage.trust.apply(login_attempts=None)
    await stage.until(lambda one: one.state is TrustState.ACCEPTED)
    assert stage.visits == [200]


async def test_where_nothing_is_public_the_front_door_is_asked(stage: Stage) -> None:
    stage.visits[:] = [None]
    await stage.trust.apply(login_attempts=None)
    status = await stage.until(lambda one: one.problem)
    assert stage.core.promoted == 0
    assert status.problem is not None
    assert "400" in status.problem.message


async def test_what_somebody_confirmed_meanwhile_is_not_confirmed_again(
    stage: Stage,
) -> None:
    stage.core.restarts = False

    def confirmed(asked: dict[str, object]) -> object:
        answer = stage.core.configure(asked)
        stage.core.promote({})
        return answer

    stage.supervisor.commands["http/config/configure"] = confirmed
    stage.supervisor.commands["http/config/promote"] = ValueError("Nothing to promote")
    stage.door.status = 200
    await stage.trust.apply(login_attempts=None)
    await stage.until(lambda one: one.state is TrustState.ACCEPTED)
    assert all(one.problem is None for one in stage.seen)


async def test_settings_that_wait_for_a_restart_are_not_in_use(stage: Stage) -> None:
    """The same proxies as before: only Core itself says which settings it uses."""
    stage.trust._patience = QUICK
    stage.core.stable |= {"use_x_forwarded_for": True, "trusted_proxies": ["127.0.0.1"]}
    stage.core.restarts = False
    stage.door.status = 200
    await stage.trust.apply(login_attempts=5)
    status = await stage.until(lambda one: one.problem)
    assert status.problem is not None
    assert status.problem.code == "change_not_seen"
    assert stage.core.promoted == 0


async def test_a_trial_of_somebody_else_is_left_alone(stage: Stage) -> None:
    stage.core.configure({"config": {"server_port": 8124}})
    with pytest.raises(TrialElsewhereError):
        await stage.trust.apply(login_attempts=None)
    assert len(stage.core.configured) == 1


async def test_a_refusal_before_anything_changed_is_the_callers(stage: Stage) -> None:
    await stage.trust.check()
    stage.supervisor.commands["http/config/configure"] = ValueError("not running.")
    with pytest.raises(CoreRefusedError, match="not running"):
        await stage.trust.apply(login_attempts=None)
    assert stage.trust.status.state is TrustState.REFUSED
    assert not stage.trust.is_busy


async def test_an_answer_that_the_restart_swallowed_is_no_failure(
    stage: Stage,
) -> None:
    def swallowed(asked: dict[str, object]) -> object:
        stage.core.configure(asked)
        raise ConnectionResetError

    stage.supervisor.commands["http/config/configure"] = swallowed
    stage.door.status = 200
    await stage.trust.apply(login_attempts=None)
    await stage.until(lambda one: one.state is TrustState.ACCEPTED)


async def test_two_clicks_are_one_change(stage: Stage) -> None:
    stage.core.restarts = False
    await stage.trust.apply(login_attempts=None)
    with pytest.raises(TrustBusyError):
        await stage.trust.apply(login_attempts=None)
    assert len(stage.core.configured) == 1


async def test_a_token_without_rights_changes_nothing() -> None:
    async with staged("another token") as stage:
        with pytest.raises(CoreRefusedError):
            await stage.trust.apply(login_attempts=None)
        with pytest.raises(CoreRefusedError):
            await stage.trust.check()
        assert stage.trust.status == TrustStatus()
        assert not stage.trust.is_busy


async def test_an_old_core_gets_lines_instead_of_a_click(stage: Stage) -> None:
    stage.supervisor.commands = {}
    await stage.trust.check()
    status = stage.trust.status
    assert (status.state, status.by) == (TrustState.REFUSED, By.YAML)
    assert status.yaml is not None
    assert "- 127.0.0.1" in status.yaml
    with pytest.raises(CommandUnknownError):
        await stage.trust.apply(login_attempts=None)
    stage.door.status = 200
    await stage.trust.check()
    assert stage.trust.status.state is TrustState.ACCEPTED
    assert stage.trust.status.yaml is None


async def test_a_core_that_is_away_is_not_judged(stage: Stage) -> None:
    stage.door.raw = b""
    with pytest.raises(CoreAwayError):
        await stage.trust.check()
    assert stage.trust.status.state is TrustState.UNKNOWN
