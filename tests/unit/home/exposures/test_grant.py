"""What a home may call its services."""

import pytest

from hearthgate.home.exposures.grant import check_new
from hearthgate.wire.names import HostnameInvalidError

OLD = "xn--ls8h.example"  # an emoji, as version 0.1.0 took it


@pytest.mark.parametrize("name", [f"lamp.{OLD}", OLD, f"xn--strae-oqa.{OLD}"])
def test_a_new_name_may_be_below_a_domain_of_older_rules(name: str) -> None:
    check_new(name, ("home.example", OLD))


@pytest.mark.parametrize("name", [f"xn--a.{OLD}", "xn--ls8h.home.example"])
def test_a_new_name_follows_the_rules_itself(name: str) -> None:
    with pytest.raises(HostnameInvalidError):
        check_new(name, ("home.example", OLD))
    with pytest.raises(HostnameInvalidError):
        check_new(name, ())
