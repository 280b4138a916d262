"""Sightings become services: merged, bounded, and with lasting ids."""

from dataclasses import replace
import itertools

from hearthgate.home.discovery.catalog import CATALOG, Kind
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.sighting import Sighting
from hearthgate.home.discovery.table import Table
from hearthgate.home.discovery.text import service_id
from hearthgate.home.model import Scheme, Target

LIMITS = DiscoveryLimits(instances=10, instances_per_address=4)


def sight(
    service_type: str, name: str, host: str = "192.168.7.30", port: int = 80
) -> Sighting:
    entry = CATALOG[service_type]
    return Sighting(
        id=service_id(name, service_type),
        service_type=service_type,
        name=name,
        target=Target(Scheme.HTTP, host, port),
        role=entry.role,
        kind=entry.kind,
    )


def table(*sightings: Sighting) -> Table:
    made = Table(LIMITS)
    assert all([made.put(each) for each in sightings])  # noqa: C419 - put them all
    return made


def test_types_at_one_address_are_one_service_in_any_order_of_arrival() -> None:
    parts = [
        sight("_http._tcp", "attic-http"),
        sight("_wled._tcp", "Attic"),
        sight("_esphomelib._tcp", "attic-esp"),
    ]
    for order in itertools.permutations(parts):
        (found,) = table(*order).found().values()
        assert found.id == service_id("Attic", "_wled._tcp")
        assert (found.name, found.kind, found.certain) == ("Attic", Kind.LIGHT, True)


def test_another_port_is_another_service() -> None:
    made = table(sight("_http._tcp", "a"), sight("_http._tcp", "b", port=81))
    assert len(made.found()) == 2


def test_a_shown_id_stays_when_a_better_announcement_comes_late() -> None:
    made = table(sight("_http._tcp", "Attic"))
    (before,) = made.found()
    made.put(sight("_wled._tcp", "Attic"))
    (after,) = made.found()
    assert after == before


def test_an_id_survives_a_new_address_and_a_restart() -> None:
    made = table(sight("_http._tcp", "Attic"))
    (before,) = made.found()
    made.put(sight("_http._tcp", "Attic", host="192.168.7.31", port=8080))
    ((after, found),) = made.found().items()
    assert after == before
    assert found.target.authority == "192.168.7.31:8080"
    assert set(table(sight("_http._tcp", "Attic")).found()) == {before}


def test_a_file_share_makes_its_device_a_nas_but_is_no_service() -> None:
    made = table(sight("_http._tcp", "box"), sight("_smb._tcp", "box", port=445))
    (found,) = made.found().values()
    assert found.kind is Kind.NAS
    made.drop(service_id("box", "_smb._tcp"))
    (found,) = made.found().values()
    assert found.kind is Kind.WEB


def test_what_may_have_a_page_is_not_certain() -> None:
    (found,) = table(sight("_esphomelib._tcp", "sensor")).found().values()
    assert not found.certain


def test_one_device_can_not_fill_the_table() -> None:
    made = table(*(sight("_http._tcp", str(n), port=n) for n in range(1, 5)))
    assert not made.put(sight("_http._tcp", "5", port=5))
    assert made.put(sight("_http._tcp", "5", host="192.168.7.31"))
    made.drop(service_id("1", "_http._tcp"))
    assert made.put(sight("_http._tcp", "6", port=6))


def test_moving_to_a_crowded_address_is_refused_and_keeps_the_old_one() -> None:
    made = table(*(sight("_http._tcp", str(n), port=n) for n in range(1, 5)))
    made.put(sight("_http._tcp", "5", host="192.168.7.31"))
    assert not made.put(sight("_http._tcp", "5"))
    hosts = [found.target.host for found in made.found().values()]
    assert hosts.count("192.168.7.31") == 1


def test_a_full_table_still_takes_changes() -> None:
    made = Table(LIMITS)
    put = [made.put(sight("_http._tcp", str(n), f"10.0.0.{n}")) for n in range(1, 30)]
    assert put.count(True) == len(made) == 10
    assert made.put(sight("_http._tcp", "3", "10.0.0.3", port=99))
    assert made.put(replace(sight("_http._tcp", "3", "10.0.9.9")))
    assert len(made) == 10
