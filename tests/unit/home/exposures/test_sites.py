"""The exposer when things happen at the wrong moment, and when they fail."""

from collections.abc import AsyncIterator

import pytest

from hearthgate.home.errors import HostnameNotGrantedError, NothingGrantedError
from hearthgate.home.exposures.grant import check_grant
from hearthgate.home.model import Phase, Problem, Scheme, Target
from hearthgate.home.state.state import HomeState
from hearthgate.home.tunnel.tunnel import TunnelState
from tests.support.exposure_parts import EXPOSURE, RELAY, FakeTunnel, Stage
from tests.support.relay_parts import until

NAME, OTHER = EXPOSURE.hostname, "tools.home.example.com"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.exposer.close()


async def live(stage: Stage) -> None:
    stage.exposer.relay_changed("r")
    stage.wish()
    await stage.reaches(Phase.LIVE)
    await stage.rests()


def problem_of(stage: Stage) -> str | None:
    problem = stage.exposer.status("photos").problem
    return None if problem is None else problem.code


# --- relays come and go ---------------------------------------------------------------


async def test_a_relay_that_connects_while_the_edge_is_changed_is_not_missed(
    stage: Stage,
) -> None:
    """The job ended in waiting, and nobody came to end that."""
    stage.tunnel.status.state = TunnelState.CONNECTING
    stage.certificates.issue(NAME)
    stage.edge.gate.clear()
    stage.wish()
    await until(lambda: stage.edge.waiting)
    await stage.relay_comes()
    stage.edge.gate.set()
    await stage.reaches(Phase.LIVE)
    assert stage.public() == (NAME,)


async def test_a_failed_visit_is_made_again_when_the_relay_comes_back(
    stage: Stage,
) -> None:
    stage.fail_visits()
    stage.wish()
    await stage.reaches(Phase.FAILED)
    stage.relay_goes()
    stage.visit_error = None
    await stage.relay_comes()
    await stage.reaches(Phase.LIVE)


async def test_what_an_authority_refused_is_not_ordered_again_by_a_reconnect(
    stage: Stage,
) -> None:
    stage.certificates.error = LookupError("refused")
    stage.wish()
    await stage.reaches(Phase.FAILED)
    for _ in range(3):
        stage.relay_goes()
        await stage.relay_comes()
    assert stage.phase() is Phase.FAILED
    assert stage.certificates.orders == 1


async def test_a_new_grant_ends_what_was_not_granted(stage: Stage) -> None:
    stage.tunnel.status.domains = ("elsewhere.example.com",)
    stage.wish()
    await stage.reaches(Phase.FAILED)
    await stage.rests()
    stage.relay_goes()
    stage.tunnel.status.domains = ("home.example.com",)
    await stage.relay_comes()
    await stage.reaches(Phase.LIVE)


async def test_what_is_granted_during_a_session_goes_on_by_itself(stage: Stage) -> None:
    stage.tunnel.status.domains = ("other.example.com",)
    stage.exposer.relay_changed("r")
    stage.wish(enabled=True)
    await stage.reaches(Phase.FAILED)
    stage.tunnel.status.domains = ("other.example.com", "home.example.com")
    stage.exposer.relay_changed("r")
    await stage.reaches(Phase.LIVE)


async def test_an_exposure_waits_for_a_relay_that_is_not_joined(stage: Stage) -> None:
    stage.store.value = HomeState(exposures=(EXPOSURE,))
    stage.tunnels.clear()
    stage.certificates.issue(NAME)
    await stage.exposer.start()
    await stage.rests()
    assert (stage.phase(), problem_of(stage)) == (Phase.WAITING, "relay_forgotten")
    stage.store.value = stage.store.value.with_relay(RELAY)
    stage.tunnels["r"] = stage.tunnel = FakeTunnel()
    await stage.relay_comes()
    await stage.reaches(Phase.LIVE)


async def test_a_reconnect_hurries_nothing_that_the_edge_has_never_taken(
    stage: Stage,
) -> None:
    """A job that was ended while it served left the service as one that is on."""
    stage.tunnel.status.state = TunnelState.CONNECTING
    stage.certificates.issue(NAME)
    stage.edge.failures = 1
    await stage.exposer.start()
    stage.edge.gate.clear()
    await until(lambda: stage.edge.waiting)
    stage.exposer.relay_changed("r")  # begins anew
    stage.edge.failures = 9
    stage.edge.gate.set()
    await stage.reaches(Phase.FAILED)
    job = stage.exposer._jobs["photos"]
    await stage.relay_comes()
    assert stage.exposer._jobs["photos"] is job


# --- failures -------------------------------------------------------------------------


async def test_a_renewed_certificate_that_the_edge_did_not_take_is_tried_again(
    stage: Stage,
) -> None:
    await live(stage)
    stage.retry_s[:] = [0.01]
    stage.edge.failures = 2
    renewed = stage.certificates.issue(NAME, not_after=9.5e9)
    await stage.exposer.renewed(renewed)
    await until(lambda: stage.edge.routes[NAME].certificate == renewed.path)
    await stage.reaches(Phase.LIVE)
    assert stage.exposer.status("photos").certificate_expires == 9.5e9


async def test_a_new_address_that_the_edge_did_not_take_is_tried_again(
    stage: Stage,
) -> None:
    await live(stage)
    stage.retry_s[:] = [0.01]
    stage.edge.failures = 2
    target = Target(Scheme.HTTP, "127.0.0.2", 2)
    stage.put(target=target)
    await stage.exposer.moved("photos")
    await until(lambda: stage.edge.routes[NAME].target == target)
    await stage.reaches(Phase.LIVE)


async def test_a_bug_on_the_way_is_shown_and_tried_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.visit_error = LookupError("a bug")
    stage.wish()
    await stage.reaches(Phase.FAILED)
    assert problem_of(stage) == "exposure_bug"
    assert "Traceback" in caplog.text
    stage.visit_error = None
    stage.retry_s[:] = [0.01]
    stage.relay_goes()
    await stage.relay_comes()
    await stage.reaches(Phase.LIVE)


# --- other hostnames ------------------------------------------------------------------


async def test_a_new_hostname_is_published_only_with_its_certificate(
    stage: Stage,
) -> None:
    """Another exposure publishes the whole set in between."""
    await live(stage)
    stage.edge.gate.clear()
    stage.wish(hostname=OTHER)
    assert stage.exposer.hostnames("r") == ()
    stage.certificates.gate.clear()
    stage.edge.gate.set()
    await until(lambda: stage.certificates.orders == 2)
    assert stage.public() == ()
    stage.certificates.gate.set()
    await stage.reaches(Phase.LIVE)
    assert stage.public() == (OTHER,)


async def test_off_and_on_with_another_hostname_takes_the_first_one_off(
    stage: Stage,
) -> None:
    """The job that switches off is ended before it has told the relay."""
    await live(stage)
    stage.edge.gate.clear()
    stage.tunnel.status.state = TunnelState.WAITING  # its word does not arrive
    stage.wish(enabled=False)
    await until(lambda: stage.edge.waiting)
    assert stage.public() == (NAME,)
    stage.tunnel.status.state = TunnelState.CONNECTED
    stage.certificates.error = LookupError("refused")
    stage.wish(enabled=True, hostname=OTHER)
    stage.edge.gate.set()
    await stage.reaches(Phase.FAILED)
    assert stage.public() == ()
    assert stage.edge.routes == {}


async def test_switching_on_does_not_wait_for_another_to_be_off(stage: Stage) -> None:
    await live(stage)
    stage.edge.gate.clear()
    stage.wish(enabled=False)
    await until(lambda: stage.edge.waiting)
    stage.certificates.gate.clear()
    stage.wish("tools", enabled=True, hostname=OTHER)
    await stage.reaches(Phase.ORDERING, "tools")
    stage.edge.gate.set()
    stage.certificates.gate.set()
    await stage.reaches(Phase.LIVE, "tools")
    await stage.reaches(Phase.OFF)
    assert stage.public() == (OTHER,)


def test_a_grant_is_checked_by_whole_labels() -> None:
    check_grant("home.example.com", ("home.example.com",))
    check_grant("a.b.home.example.com", ("x.example.com", "home.example.com"))
    with pytest.raises(HostnameNotGrantedError, match=r"It allows home\.example\.com"):
        check_grant("my-home.example.com", ("home.example.com",))
    with pytest.raises(NothingGrantedError, match="no hostname"):
        check_grant("home.example.com", ())


async def test_a_renewal_that_fails_is_shown_while_the_old_certificate_serves(
    stage: Stage,
) -> None:
    await live(stage)
    why = Problem("authority_refused", "No.", "Ask.", 1_800_000_000.0)
    stage.certificates.problems[NAME] = why
    stage.exposer.not_renewed(NAME)
    assert stage.exposer.status("photos").phase is Phase.LIVE
    assert stage.exposer.status("photos").problem == why
    del stage.certificates.problems[NAME]
    await stage.exposer.renewed(stage.certificates.issue(NAME, not_after=9.5e9))
    assert stage.exposer.status("photos").problem is None
    assert stage.exposer.status("photos").certificate_expires == 9.5e9
