"""Totals over HAProxy processes that come and go."""

from hearthgate.home.edge.traffic import Meter, Reading, read_stat
from hearthgate.home.model import Bytes

STAT = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,
visitors,FRONTEND,,,3,9,4096,17,1000,2000,0,
wrong_passwords,BACKEND,0,0,0,0,1,0,0,0,0,
lamp.example.com,BACKEND,0,0,1,2,410,12,900,1800,0,
other,FRONTEND,,,100,100,1,1,1,1,0,
"""


def test_visitors_are_those_of_our_door() -> None:
    found = read_stat(STAT)
    assert found.visitors == 3
    assert found.backends["lamp.example.com"] == Bytes(900, 1800)


def test_an_answer_that_makes_no_sense_counts_nothing() -> None:
    for text in ("", "# pxname,svname", "Unknown command.", "# a,b\n1,2\n"):
        assert read_stat(text) == Reading(0, {})
    broken = "# pxname,svname,scur,bin,bout\nvisitors,FRONTEND,-1,x,y\nl,BACKEND"
    assert read_stat(broken) == Reading(0, {"l": Bytes(0, 0)})


def reading(received: int, sent: int, visitors: int = 1) -> Reading:
    return Reading(visitors, {"lamp": Bytes(received, sent)})


def test_a_total_is_what_every_generation_added() -> None:
    meter = Meter()
    meter.take(1, reading(10, 100))
    meter.take(1, reading(15, 200))
    meter.take(2, reading(1, 7, visitors=4))
    meter.take(1, reading(20, 250))  # it drains
    traffic = meter.traffic({1, 2})
    assert traffic.backends == {"lamp": Bytes(21, 257)}
    assert traffic.visitors == 5


def test_a_generation_that_is_gone_has_no_visitors_but_had_bytes() -> None:
    meter = Meter()
    meter.take(1, reading(10, 100))
    meter.take(2, reading(1, 1))
    meter.keep({2}, {"lamp"})
    traffic = meter.traffic({2})
    assert (traffic.visitors, traffic.backends["lamp"]) == (1, Bytes(11, 101))


def test_a_name_that_nobody_serves_is_forgotten() -> None:
    meter = Meter()
    meter.take(1, reading(10, 100))
    meter.keep({1}, set())
    assert meter.traffic({1}).backends == {}
    meter.take(1, reading(12, 100))
    assert meter.traffic({1}).backends == {"lamp": Bytes(2, 0)}
