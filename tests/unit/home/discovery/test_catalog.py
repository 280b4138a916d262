"""The table of service types keeps its own rules."""

import re

import pytest

from hearthgate.home.discovery.catalog import (
    CATALOG,
    NEVER_PROBED_PORTS,
    Kind,
    Role,
    guess_kind,
)

TYPE = re.compile(r"_[a-z0-9](?:[a-z0-9_-]{0,13}[a-z0-9])?\._tcp")


@pytest.mark.parametrize("service_type", CATALOG)
def test_each_type_is_one_that_can_be_browsed(service_type: str) -> None:
    assert TYPE.fullmatch(service_type)


@pytest.mark.parametrize("service_type", CATALOG)
def test_no_type_leads_to_a_port_where_a_request_does_harm(service_type: str) -> None:
    entry = CATALOG[service_type]
    assert entry.port not in NEVER_PROBED_PORTS
    assert all(path.startswith("/") for path in entry.paths)


def test_raw_printer_ports_are_never_probed() -> None:
    assert {515, 9100, 9101} <= NEVER_PROBED_PORTS


def test_a_hint_never_outranks_a_page() -> None:
    roles = [entry.role for entry in CATALOG.values()]
    assert all(role is Role.HINT for role in roles[roles.index(Role.HINT) :])


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (("FRITZ!Box", None), Kind.ROUTER),
        (("", "Home Assistant"), Kind.HOME_ASSISTANT),
        (("OctoPrint instance on pi",), Kind.PRINTER_3D),
        (("Bananas",), Kind.WEB),
        ((None, None), Kind.WEB),
    ],
)
def test_kinds_are_guessed_from_whole_words(
    texts: tuple[str | None, ...], kind: Kind
) -> None:
    assert guess_kind(*texts) is kind
