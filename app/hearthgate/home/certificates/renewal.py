"""When to renew. Pure functions over times, all in Unix seconds.

    issued ─────────────────────────▶ backstop ──────▶ latest ──▶ expires
       └ floor: nothing earlier   └ the authority's window, if it suggests one

Knows no files, no network and no clock.
"""

from dataclasses import replace
import random

from hearthgate.home.certificates.pem import Leaf
from hearthgate.home.certificates.state import HostState, Suggestion, Window

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Let's Encrypt's integration guide: a third of the life left, half below ten days.
SHORT_LIFE = 10 * DAY
# All certificates that an outage let us order at once must not come back at once.
SPREAD = 0.02
# A suggestion counts for this long; then the backstop decides alone.
SUGGESTION_LASTS = 2 * DAY
ASK_EVERY = 12 * HOUR
# RFC 9773 §4.3: clip what Retry-After says to sane limits.
ASK_AT_LEAST, ASK_AT_MOST = MINUTE, DAY
# After failures; the last one repeats.
BACK_OFF = (MINUTE, 10 * MINUTE, 100 * MINUTE, DAY)
# An authority asking for more has a broken clock, or means never. Let's Encrypt's
# longest limit counts over seven days.
HOLD_AT_MOST = 8 * DAY


def planned(state: HostState, leaf: Leaf, rng: random.Random) -> HostState:
    """Return the state with a plan for this certificate; the same if it has one.

    A certificate that the state does not know (restored from a backup) starts anew.
    """
    if state.serial == leaf.serial and state.renew_at is not None:
        return state
    life = leaf.not_after - leaf.not_before
    left = life / 2 if life < SHORT_LIFE else life / 3
    return replace(
        state,
        serial=leaf.serial,
        issued_at=leaf.not_before,
        renew_at=leaf.not_after - left - rng.uniform(0, life * SPREAD),
        suggestion=None,
        ask_at=None,
    )


def issued(leaf: Leaf, now: float, rng: random.Random) -> HostState:
    """Return the state of a hostname that just got this certificate."""
    fresh = planned(HostState(), leaf, rng)
    return replace(fresh, issued_at=now, ask_at=now + rng.uniform(HOUR, ASK_EVERY))


def due(state: HostState, leaf: Leaf | None, now: float) -> float:
    """Return when to order. leaf None: there is no usable certificate, so at once.

    A pause after failures holds in both cases. With a certificate there is a floor
    too: if our clock is wrong, every certificate looks old, and an order per minute
    would use up the authority's weekly limit within the hour.
    """
    pause = max(back_off_until(state, now), held_until(state, now))
    if leaf is None or state.renew_at is None:
        return pause
    life = leaf.not_after - leaf.not_before
    floor = (state.issued_at or leaf.not_before) + min(DAY, life / 10)
    return max(_wanted(state, state.renew_at, leaf, now), floor, pause)


def held_until(state: HostState, now: float) -> float:
    """Return until when the authority wants silence; 0 if it does not."""
    return _believable(state.held_until, now + HOLD_AT_MOST)


def back_off_until(state: HostState, now: float) -> float:
    """Return until when we ourselves wait after a failure; 0 if we do not."""
    return _believable(state.retry_at, now + 2 * DAY)


def _believable(until: float | None, most: float) -> float:
    """Drop a time that we would never have chosen: our clock was wrong back then."""
    return 0.0 if until is None or until > most else until


def _wanted(state: HostState, backstop: float, leaf: Leaf, now: float) -> float:
    suggestion = state.suggestion
    if suggestion is None or now - suggestion.heard_at > SUGGESTION_LASTS:
        return backstop
    # The window of Let's Encrypt lies around the backstop, so a suggestion may be
    # later, but never so late that a week of failures would be an outage.
    latest = (backstop + leaf.not_after) / 2
    return min(suggestion.renew_at, latest)


def suggested(
    old: Suggestion | None,
    window: Window,
    now: float,
    rng: random.Random,
) -> Suggestion:
    """Return the suggestion for a window, with the old moment if the window is too.

    Choosing anew at every question would pull the moment towards the start.
    """
    if old is not None and (old.start, old.end) == (window.start, window.end):
        return replace(old, heard_at=now, reason_url=window.reason_url)
    renew_at = rng.uniform(window.start, window.end)
    return Suggestion(window.start, window.end, renew_at, now, window.reason_url)


def ask_again(now: float, retry_after_s: float | None, rng: random.Random) -> float:
    """Return when to ask for a suggestion again; Retry-After is clipped."""
    if retry_after_s is None:
        return now + ASK_EVERY * rng.uniform(0.95, 1.0)
    wait = min(max(retry_after_s, ASK_AT_LEAST), ASK_AT_MOST)
    return now + wait + rng.uniform(0, MINUTE)


def failed(
    state: HostState, now: float, asked_for: float | None, rng: random.Random
) -> HostState:
    """Return the state after one more failure. asked_for: the authority's own time."""
    step = BACK_OFF[min(state.failures, len(BACK_OFF) - 1)]
    held = None if asked_for is None else min(asked_for, now + HOLD_AT_MOST)
    return replace(
        state,
        failures=state.failures + 1,
        retry_at=now + step * rng.uniform(1.0, 1.1),
        held_until=held,
    )
