"""How soon HAProxy is started again."""

from hearthgate.home.edge import EdgeSettings
from hearthgate.home.edge.restart import Restart


def test_first_time_at_once_then_doubling_to_a_bound() -> None:
    restart = Restart(EdgeSettings(), clock=lambda: 0.0)
    delays = [restart.delay() for _ in range(12)]
    assert delays[:4] == [0.0, 0.25, 0.5, 1.0]
    assert delays[-1] == 30.0
    assert delays == sorted(delays)


def test_running_shortly_is_not_forgiven_and_running_long_is() -> None:
    now = [0.0]
    restart = Restart(EdgeSettings(restart_forgiven_s=60.0), clock=lambda: now[0])
    for _ in range(3):
        restart.started()
        now[0] += 59.0
        last = restart.delay()
    assert last == 0.5
    restart.started()
    now[0] += 60.0
    assert restart.delay() == 0.0


def test_thousands_of_failures_do_not_overflow() -> None:
    restart = Restart(EdgeSettings(), clock=lambda: 0.0)
    assert max(restart.delay() for _ in range(5000)) == 30.0
