"""The parts of the benchmark that judge: parsers, ratios, targets, chart."""

from xml.etree import ElementTree as ET

import pytest

from tests.bench.chart import draw
from tests.bench.loads import Measured, read_h2load, read_wrk
from tests.bench.memory import MemoryReport, Weight
from tests.bench.processes import BenchError
from tests.bench.results import Results
from tests.bench.ways import WayName

_WRK = """\
  2 threads and 50 connections
    Latency     1.25ms    0.91ms  25.12ms   95.42%
  Latency Distribution
     50%  980.00us
     75%    1.44ms
     99%    1.20s
  80469 requests in 2.00s, 56.79MB read
  Socket errors: connect 1, read 20, write 0, timeout 3
  Non-2xx or 3xx responses: 7
Requests/sec:  40203.32
"""
_H2LOAD = """\
finished in 2.01s, 23668.50 req/s, 1.2MB/s
requests: 47337 total, 47437 started, 47337 done, 47330 succeeded, 7 failed, 0 errored
status codes: 47328 2xx, 0 3xx, 0 4xx, 2 5xx
"""


def _two_ways(row: str, ours: list[float], theirs: list[float]) -> Results:
    results = Results()
    for mine, other in zip(ours, theirs, strict=True):
        results.add(WayName.HEARTHGATE, row, Measured({row: mine}))
        results.add(WayName.HAPROXY_TCP, row, Measured({row: other}))
    return results


def test_wrk_reports_in_any_unit_become_milliseconds_and_all_errors_count() -> None:
    found, errors = read_wrk(_WRK)
    assert found == {"requests_s": 40203.32, "p50_ms": 0.98, "p99_ms": 1200.0}
    assert errors == 31


def test_h2load_counts_answers_other_than_2xx_as_errors() -> None:
    assert read_h2load(_H2LOAD) == (23668.5, 9)


def test_a_report_that_is_not_understood_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(BenchError):
        read_wrk("unable to connect")


def test_the_ratio_is_the_median_of_the_rounds_and_not_of_all_values() -> None:
    results = _two_ways("download", [10.0, 90.0, 30.0], [20.0, 30.0, 10.0])
    ratio = results.ratio("download", WayName.HAPROXY_TCP)
    assert ratio is not None
    assert (ratio.low, ratio.median, ratio.high) == (0.5, 3.0, 3.0)


def test_a_round_that_failed_on_one_side_gives_no_ratio_but_an_error() -> None:
    results = _two_ways("upload", [10.0], [10.0])
    results.add(WayName.HEARTHGATE, "upload", None)
    results.add(WayName.HAPROXY_TCP, "upload", Measured({"upload": 1.0}))
    ratio = results.ratio("upload", WayName.HAPROXY_TCP)
    assert ratio is not None
    assert (ratio.low, ratio.high) == (1.0, 1.0)
    assert {
        (verdict.wanted, verdict.reached)
        for verdict in results.verdicts()
        if verdict.what.startswith("Uploads")
    } == {("0 errors", False)}


def test_a_download_slower_than_the_peer_misses_its_target() -> None:
    for ours, reached in ((99.0, False), (100.0, True)):
        results = _two_ways("download", [ours], [100.0])
        assert results.verdicts()[0].reached is reached


def test_the_relay_is_judged_by_growth_per_visitor() -> None:
    small, large = Weight(30_000, 20_000), Weight(80_000, 70_000)
    roles = ("relay", "agent", "edge")
    idle = dict.fromkeys(roles, small)
    report = MemoryReport(
        idle=idle,
        loaded={**idle, "relay": large},
        after=idle,
        asked=2000,
        opened=2000,
        errors=0,
    )
    results = Results(memory={WayName.HEARTHGATE: report})
    reached = [verdict.reached for verdict in results.verdicts()]
    assert reached == [True, False, True, True]  # 25 KiB each is more than 20 KB


def test_the_chart_is_well_formed_and_holds_the_absolute_values() -> None:
    results = _two_ways("download", [250.0], [100.0])
    ways = [WayName.HAPROXY_TCP, WayName.HEARTHGATE, WayName.SNITUN]
    words = "".join(ET.fromstring(draw(results, ways, "a & b")).itertext())
    for expected in ("250", "100", "a & b", "failed"):
        assert expected in words
