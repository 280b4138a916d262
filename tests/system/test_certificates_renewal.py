"""Renewals, refusals and limits against a scripted authority.

Pebble 2.4 has no renewal information (RFC 9773) and no rate limits, so these tests
use tests/support/fake_ca.py, which believes every proof.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
from dataclasses import replace
from pathlib import Path
import time

import pytest

from hearthgate.home.certificates import AcmeLimits, errors
from tests.support.certificate_parts import HOME, Clock, Home, settings_for
from tests.support.fake_ca import FakeCa, Refusal
from tests.support.port80 import Port80

DAY = 86400.0


@pytest.fixture
async def ca(tmp_path: Path) -> AsyncIterator[FakeCa]:
    fake = FakeCa(tmp_path)
    async with fake.serve():
        yield fake


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(ca: FakeCa, clock: Clock, tmp_path: Path) -> Home:
    return new_home(ca, clock, tmp_path)


def new_home(
    ca: FakeCa, clock: Clock, tmp_path: Path, limits: AcmeLimits | None = None
) -> Home:
    return Home(tmp_path / "state", settings_for(ca, limits), Port80(), clock)


@contextlib.asynccontextmanager
async def renewing(home: Home) -> AsyncIterator[None]:
    """Run the renewals of one hostname."""
    home.certificates.keep([HOME])
    running = asyncio.create_task(home.certificates.run())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def move(home: Home, ca: FakeCa, seconds: float) -> None:
    """Let time pass for both, and wake the renewer as a sleep would end."""
    home.clock.now += seconds
    ca.now += seconds
    home.certificates.keep([HOME])


async def test_a_suggested_window_decides_and_the_order_names_what_it_replaces(
    ca: FakeCa, home: Home
) -> None:
    await home.ensure()
    assert "replaces" not in ca.orders[0]
    # Long before the backstop, as an authority does that is about to revoke.
    ca.window = (home.clock.now + 5 * DAY, home.clock.now + 6 * DAY)
    async with renewing(home):
        move(home, ca, 4 * DAY)
        await until(lambda: ca.count("/renewal") >= 1)
        await until(lambda: "suggestion" in state_text(home))
        assert len(ca.orders) == 1
        move(home, ca, 2.1 * DAY)
        await asyncio.wait_for(home.renewed.get(), 30)
    key_id, serial = ca.orders[1]["replaces"].split(".")
    assert key_id
    assert serial
    assert ca.orders[1]["identifiers"] == [{"type": "dns", "value": HOME}]


def state_text(home: Home) -> str:
    folder = home.certificates._store._live.parent
    return (folder / "state.yaml").read_text()


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(kind="alreadyReplaced", status=409),
        Refusal(kind="alreadyReplaced", status=403),
        Refusal(kind="malformed"),
    ],
)
async def test_a_refused_replaces_is_ordered_again_without(
    refusal: Refusal, ca: FakeCa, home: Home
) -> None:
    await home.ensure()
    ca.window = (home.clock.now + DAY, home.clock.now + 2 * DAY)
    ca.refuse["/order"] = [refusal]
    async with renewing(home):
        move(home, ca, 3 * DAY)
        await asyncio.wait_for(home.renewed.get(), 30)
    assert len(ca.orders) == 3
    assert "replaces" in ca.orders[1]
    assert "replaces" not in ca.orders[2]
    assert home.certificates.problem(HOME) is None


async def test_a_renewal_that_takes_long_does_not_hold_up_who_has_a_certificate(
    ca: FakeCa, home: Home
) -> None:
    """A new password for an exposure once waited minutes for a renewal."""
    ca.suggests = False
    first = await home.ensure()
    ca.hang.add("/order")
    async with renewing(home):
        move(home, ca, 61 * DAY)
        await asyncio.wait_for(ca.reached.wait(), 30)
        assert await asyncio.wait_for(home.ensure(), 10) == first


async def test_without_renewal_information_the_backstop_decides(
    ca: FakeCa, home: Home
) -> None:
    ca.suggests = False
    await home.ensure()
    async with renewing(home):
        move(home, ca, 57 * DAY)
        await until(lambda: ca.count("/directory") >= 2)  # it asked, and heard nothing
        await until(lambda: home.certificates._next_at(HOME) > home.clock.now)
        assert len(ca.orders) == 1
        move(home, ca, 3 * DAY)
        await asyncio.wait_for(home.renewed.get(), 30)
    assert "replaces" not in ca.orders[1]
    assert ca.count("/renewal") == 0


async def test_a_week_of_looking_costs_two_questions_a_day(
    ca: FakeCa, home: Home
) -> None:
    await home.ensure()
    ca.window = (home.clock.now + 50 * DAY, home.clock.now + 51 * DAY)
    async with renewing(home):
        for _hour in range(7 * 24):
            move(home, ca, 3600)
            await until(lambda: home.certificates._next_at(HOME) > home.clock.now)
    assert 13 <= ca.count("/renewal") <= 16
    assert len(ca.orders) == 1


async def test_retry_after_of_renewal_information_is_honoured_within_reason(
    ca: FakeCa, home: Home
) -> None:
    await home.ensure()
    ca.window = (home.clock.now + 50 * DAY, home.clock.now + 51 * DAY)
    ca.window_headers = {"Retry-After": "0"}
    async with renewing(home):
        for _minute in range(60):
            move(home, ca, 10)
            await until(lambda: home.certificates._next_at(HOME) > home.clock.now)
        assert ca.count("/renewal") <= 10  # ten minutes, at most one a minute
        asked = ca.count("/renewal")
        ca.window_headers = {"Retry-After": "99999999"}
        move(home, ca, DAY)
        await until(lambda: ca.count("/renewal") == asked + 1)
        await until(lambda: home.certificates._next_at(HOME) > home.clock.now)
        move(home, ca, 1.1 * DAY)
        await until(lambda: ca.count("/renewal") == asked + 2)


async def test_nothing_to_do_asks_nobody(ca: FakeCa, home: Home) -> None:
    await home.ensure()
    ca.window = (home.clock.now + 50 * DAY, home.clock.now + 51 * DAY)
    async with renewing(home):
        for _time in range(200):
            home.certificates.keep([HOME])
            await asyncio.sleep(0)
        before = len(ca.requests)
        looks = 0
        real = home.certificates._renewer._next_at

        def counting(hostname: str) -> float:
            nonlocal looks
            looks += 1
            return real(hostname)

        home.certificates._renewer._next_at = counting
        await asyncio.sleep(0.5)
    assert len(ca.requests) == before
    assert looks < 5


async def test_failures_back_off_and_a_restart_does_not_forget(
    ca: FakeCa, home: Home, clock: Clock, tmp_path: Path
) -> None:
    ca.refuse_always["/order"] = Refusal(kind="unauthorized", detail="not today")
    tries = []
    async with renewing(home):
        await until(lambda: home.certificates.problem(HOME) is not None)
        tries.append(len(ca.orders))
        for wait in (50, 20, 600, 90, 6000, 700):
            move(home, ca, wait)
            await until(lambda: home.certificates._next_at(HOME) > home.clock.now)
            tries.append(len(ca.orders))
    assert tries == [1, 1, 2, 2, 3, 3, 4]
    problem = home.certificates.problem(HOME)
    assert problem is not None
    assert "not today (unauthorized)" in problem.message
    assert "not today (unauthorized)" in problem.fields["problem"]
    await until(lambda: str(problem.retry_at) in state_text(home))
    again = new_home(ca, clock, tmp_path)
    assert again.certificates.problem(HOME) == problem
    async with renewing(again):
        move(again, ca, 0.9 * DAY)
        await asyncio.sleep(0.2)
        assert len(ca.orders) == 4
        ca.refuse_always.clear()
        move(again, ca, 0.2 * DAY)
        await asyncio.wait_for(again.renewed.get(), 30)
    assert again.certificates.problem(HOME) is None


async def test_a_user_may_try_again_before_our_own_back_off_ends(
    ca: FakeCa, home: Home
) -> None:
    ca.refuse["/order"] = [Refusal(kind="serverInternal", status=500)]
    with pytest.raises(errors.CaBusyError):
        await home.ensure()
    assert await home.ensure()


async def test_a_rate_limit_holds_up_even_the_user_until_its_time(
    ca: FakeCa, home: Home, clock: Clock, tmp_path: Path
) -> None:
    words = "too many certificates (5) already issued for this exact set"
    ca.refuse["/order"] = [
        Refusal("rateLimited", words, 429, headers={"Retry-After": "7200"})
    ]
    with pytest.raises(errors.RateLimitedError) as caught:
        await home.ensure()
    assert words in str(caught.value)
    assert caught.value.retry_at == pytest.approx(clock.now + 7200, abs=1)
    before = len(ca.requests)
    for one in (home, new_home(ca, clock, tmp_path)):
        with pytest.raises(errors.PauseError) as held:
            await one.ensure()
        assert words in str(held.value)
        assert held.value.retry_at == caught.value.retry_at
    assert len(ca.requests) == before
    clock.now += 7201
    assert await home.ensure()


async def test_a_rate_limit_of_one_hostname_holds_up_no_other(
    ca: FakeCa, home: Home
) -> None:
    ca.refuse["/order"] = [
        Refusal("rateLimited", "slow", 429, headers={"Retry-After": "7200"})
    ]
    with pytest.raises(errors.RateLimitedError):
        await home.ensure()
    assert await home.ensure("other.example.com")


async def test_subproblems_are_quoted(ca: FakeCa, home: Home) -> None:
    parts = [
        {
            "type": "urn:ietf:params:acme:error:caa",
            "detail": "CAA says no",
            "identifier": {"type": "dns", "value": HOME},
        }
    ]
    ca.refuse["/order"] = [
        Refusal("compound", "see below", 403, extra={"subproblems": parts})
    ]
    with pytest.raises(errors.CaRefusesError) as caught:
        await home.ensure()
    text = str(caught.value)
    assert "see below (compound)" in text
    assert f"{HOME}: CAA says no (caa)" in text


@pytest.mark.parametrize(
    ("path", "refusal", "kind"),
    [
        ("/directory", Refusal(raw="<h1>Bad gateway</h1>", status=502), "ca_busy"),
        ("/directory", Refusal(raw="<h1>login</h1>", status=200), "ca_nonsense"),
        ("/order", Refusal(raw="{}", status=201), "ca_nonsense"),
        ("/finalize", Refusal("badCSR", "weak key", 400), "ca_refuses"),
        ("/account", Refusal("invalidContact", "no such host"), "ca_account_refused"),
        ("/account", Refusal("userActionRequired", "terms"), "ca_terms"),
        ("/cert", Refusal(raw="not a certificate", status=200), "certificate_unfit"),
        ("/order", Refusal("rejectedIdentifier", "policy"), "ca_refuses"),
    ],
)
async def test_each_refusal_has_its_own_error(
    path: str, refusal: Refusal, kind: str, ca: FakeCa, home: Home
) -> None:
    ca.refuse[path] = [refusal]
    with pytest.raises(errors.CertificateError) as caught:
        await home.ensure()
    assert caught.value.code == kind
    assert caught.value.advice
    assert home.certificates.problem(HOME) is not None
    assert await home.ensure()
    assert home.certificates.problem(HOME) is None


@pytest.mark.parametrize("path", ["/directory", "/nonce", "/order", "/finalize"])
async def test_an_authority_that_stops_answering_is_left_in_time(
    path: str, ca: FakeCa, clock: Clock, tmp_path: Path
) -> None:
    limits = AcmeLimits(call_s=1.0, silence_s=100.0, dns_s=0.1)
    home = new_home(ca, clock, tmp_path, limits)
    ca.hang.add(path)
    with pytest.raises(errors.CaSlowError):
        await home.ensure()
    ca.hang.clear()
    patient = tmp_path / "patient"
    patient.mkdir()
    assert await new_home(ca, clock, patient).ensure()


async def test_cancelling_during_a_request_ends_its_thread(
    ca: FakeCa, home: Home
) -> None:
    ca.hang.add("/order")
    task = asyncio.create_task(home.ensure())
    await asyncio.wait_for(ca.reached.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ca.hang.clear()
    # The default executor would wait here for a thread that still hangs.
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 5)
    assert await home.ensure()


async def test_a_clock_that_is_wrong_cannot_start_a_loop_of_orders(
    ca: FakeCa, home: Home
) -> None:
    """80 of 90 days ahead, each new certificate looks as if it were due at once."""
    home.clock.now += 80 * DAY
    await home.ensure()
    ca.window = (ca.now + DAY, ca.now + 2 * DAY)
    async with renewing(home):
        for _time in range(20):
            home.certificates.keep([HOME])
            await asyncio.sleep(0.02)
    assert len(ca.orders) == 1


async def test_a_long_failure_ends_with_a_new_certificate_after_the_old_expired(
    ca: FakeCa, home: Home
) -> None:
    first = await home.ensure()
    ca.refuse_always["/order"] = Refusal(kind="serverInternal", status=500)
    async with renewing(home):
        for _day in range(95):
            move(home, ca, DAY)
            await until(lambda: home.certificates._next_at(HOME) > home.clock.now)
            alive = home.clock.now < first.not_after
            assert (home.certificates.get(HOME) is not None) == alive
        assert len(ca.orders) < 45
        ca.refuse_always.clear()
        move(home, ca, 1.2 * DAY)
        await asyncio.wait_for(home.renewed.get(), 30)
    assert home.certificates.get(HOME) is not None


async def test_a_failing_edge_does_not_end_the_renewals(ca: FakeCa, home: Home) -> None:
    await home.ensure()

    told = asyncio.Event()

    async def fail(_certificate: object) -> None:
        told.set()
        raise RuntimeError("edge")

    home.certificates._on_renewed = fail
    ca.suggests = False
    async with renewing(home):
        move(home, ca, 61 * DAY)
        await asyncio.wait_for(told.wait(), 30)
        told.clear()
        move(home, ca, 61 * DAY)
        await asyncio.wait_for(told.wait(), 30)
    assert len(ca.orders) == 3


async def test_caa_of_the_authority_is_asked_for_by_its_own_name(
    ca: FakeCa, home: Home
) -> None:
    """No DNS answers here: what cannot be found out must not stop an order."""
    ca.meta = {"caaIdentities": ["fake.test", "other.test"]}
    assert await home.ensure()


async def test_a_profile_is_asked_for(ca: FakeCa, clock: Clock, tmp_path: Path) -> None:
    settings = replace(settings_for(ca), profile="shortlived")
    home = Home(tmp_path / "state", settings, Port80(), clock)
    await home.ensure()
    assert ca.orders[0]["profile"] == "shortlived"


async def test_orders_at_the_same_time_register_one_account_and_stay_bounded(
    ca: FakeCa, home: Home
) -> None:
    names = [f"h{number}.example.com" for number in range(8)]
    await asyncio.gather(*(home.ensure(name) for name in names))
    assert ca.count("/account") == 1
    assert {one["identifiers"][0]["value"] for one in ca.orders} == set(names)
    assert ca.most_at_once <= AcmeLimits().orders
