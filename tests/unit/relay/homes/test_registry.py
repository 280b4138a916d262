"""Who may join, with which name and domains; nothing counts before it is kept."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hearthgate.errors import HearthgateError
from hearthgate.relay.errors import (
    DomainIsRelayError,
    DomainPromisedError,
    DomainTakenError,
    GrantTooLargeError,
    HomeUnknownError,
    InviteExpiredError,
    InviteUnknownError,
    InviteUsedError,
    NameInvalidError,
    NameTakenError,
    TooManyError,
)
from hearthgate.relay.homes.registry import Home, Registered, Registry
from hearthgate.shared.storage.private_files import StateNotWritableError
from hearthgate.wire.names import HostnameInvalidError
from hearthgate.wire.ports import NO_PORTS
from tests.support.relay_parts import SMALL, Clock, open_registry, open_store

DAY_S = 86400


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.yaml"


@pytest.fixture
def registry(path: Path, clock: Clock) -> Registry:
    return open_registry(path, clock)


def an_id(name: str) -> str:
    return (name.encode().hex() * 64)[:64]


async def join(registry: Registry, name: str, *domains: str) -> Home:
    secret = await registry.invite(name, domains, DAY_S)
    return await registry.join(secret, an_id)


async def test_an_invite_becomes_a_home_that_survives_a_restart(
    registry: Registry, path: Path, clock: Clock
) -> None:
    home = await join(registry, "cottage", "Cottage.Example.com.")
    assert home == Home(
        an_id("cottage"), "cottage", ("cottage.example.com",), int(clock.now)
    )
    again = open_registry(path, clock)
    assert again.homes == (home,)
    assert again.home(home.id) == again.named("cottage") == home
    assert again.invites == ()


async def test_the_secret_is_in_no_file(registry: Registry, path: Path) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    assert secret.hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_code_works_once(registry: Registry) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    await registry.join(secret, an_id)
    with pytest.raises(InviteUsedError, match="cottage"):
        await registry.join(secret, an_id)
    assert len(registry.homes) == 1


async def test_two_homes_with_one_code_at_the_same_time_are_one_home(
    registry: Registry,
) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    ends = await asyncio.gather(
        *(registry.join(secret, an_id) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(end, Home) for end in ends) == 1
    assert sum(isinstance(end, InviteUsedError) for end in ends) == 7
    assert len(registry.homes) == 1


async def test_many_edits_at_the_same_time_all_count(
    registry: Registry, path: Path, clock: Clock
) -> None:
    names = ["cottage", "barn", "villa"]
    await asyncio.gather(*(join(registry, one, f"{one}.example.com") for one in names))
    assert {home.name for home in registry.homes} == set(names)
    assert open_registry(path, clock).homes == registry.homes


async def test_an_unknown_code_is_refused(registry: Registry) -> None:
    with pytest.raises(InviteUnknownError):
        await registry.join(b"x" * 16, an_id)


async def test_a_code_works_until_it_expires(registry: Registry, clock: Clock) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), 60)
    clock.now += 59
    assert [one.name for one in registry.invites] == ["cottage"]
    clock.now += 1
    assert registry.invites == ()
    with pytest.raises(InviteExpiredError):
        await registry.join(secret, an_id)


async def test_an_expired_code_frees_its_name_and_domain(
    registry: Registry, clock: Clock
) -> None:
    await registry.invite("cottage", ("cottage.example.com",), 60)
    clock.now += 60
    assert (await join(registry, "cottage", "cottage.example.com")).name == "cottage"


async def test_a_used_code_is_told_from_an_unknown_one_for_a_month(
    registry: Registry, clock: Clock
) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), 60)
    await registry.join(secret, an_id)
    clock.now += 29 * DAY_S
    await registry.invite("barn", ("barn.example.com",), 60)
    with pytest.raises(InviteUsedError):
        await registry.join(secret, an_id)
    clock.now += 2 * DAY_S
    await registry.invite("villa", ("villa.example.com",), 60)
    with pytest.raises(InviteUnknownError):
        await registry.join(secret, an_id)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a b", "ä", "a.b", "x" * 41, "a\n", "../a"]
)
async def test_a_name_is_letters_digits_and_hyphens(
    registry: Registry, name: str
) -> None:
    with pytest.raises(NameInvalidError):
        await registry.invite(name, ("cottage.example.com",), DAY_S)


@pytest.mark.parametrize("name", ["a", "9", "a-b", "x" * 40])
async def test_a_good_name_is_taken(registry: Registry, name: str) -> None:
    await registry.invite(name, ("cottage.example.com",), DAY_S)


@pytest.mark.parametrize("paired", [True, False])
async def test_a_name_belongs_to_one_home(registry: Registry, paired: bool) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    if paired:
        await registry.join(secret, an_id)
    with pytest.raises(NameTakenError):
        await registry.invite("cottage", ("other.example.com",), DAY_S)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    "domain",
    [
        "cottage.example.com",
        "a.cottage.example.com",
        "example.com",
        "COTTAGE.example.com.",
    ],
)
async def test_domains_of_homes_do_not_overlap(
    registry: Registry, domain: str, paired: bool
) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    if paired:
        await registry.join(secret, an_id)
    refused = DomainTakenError if paired else DomainPromisedError
    with pytest.raises(refused, match="cottage"):
        await registry.invite("barn", ("barn.example.com", domain), DAY_S)
    await registry.invite("barn", ("barn.example.com", "xcottage.example.com"), DAY_S)


async def test_a_grant_never_covers_the_relay_itself(registry: Registry) -> None:
    for domain in ("relay.example.com", "example.com", "com.", "RELAY.example.com"):
        with pytest.raises((DomainIsRelayError, HostnameInvalidError)):
            await registry.invite("cottage", (domain,), DAY_S)
    await registry.invite("cottage", ("home.relay.example.com",), DAY_S)


async def test_a_domain_is_read_by_idna_2008(registry: Registry) -> None:
    await registry.invite("cottage", ("Straße.example",), DAY_S)
    assert registry.invites[0].domains == ("xn--strae-oqa.example",)
    for domain in ("💩.example", "xn--ls8h.example", "xn--a.example"):
        with pytest.raises(HostnameInvalidError):
            await registry.invite("barn", (domain,), DAY_S)


async def test_a_domain_of_older_rules_stays_and_can_be_taken_away(
    path: Path, clock: Clock
) -> None:
    old = ("xn--ls8h.example", "strasse.example")
    home = Home("0" * 64, "cottage", old, 0)
    open_store(path).write(Registered((home,)))
    registry = open_registry(path, clock)
    assert registry.holder("a.xn--ls8h.example") == home
    kept = await registry.grant("cottage", (old[0],), NO_PORTS, remove=True)
    assert kept.domains == (old[1],)


@pytest.mark.parametrize("domain", ["", "localhost", "203.0.113.5", "*.example.com"])
async def test_a_domain_is_a_hostname(registry: Registry, domain: str) -> None:
    with pytest.raises(HostnameInvalidError):
        await registry.invite("cottage", (domain,), DAY_S)


async def test_there_are_no_more_homes_than_allowed(registry: Registry) -> None:
    spare = await registry.invite("spare", ("spare.example.com",), DAY_S)
    for number in range(SMALL.homes_max):
        await join(registry, f"home{number}", f"home{number}.example.com")
    with pytest.raises(TooManyError):
        await registry.invite("more", ("more.example.com",), DAY_S)
    with pytest.raises(TooManyError):
        await registry.join(spare, an_id)
    await registry.revoke("home0")
    assert (await registry.join(spare, an_id)).name == "spare"


async def test_there_are_no_more_codes_than_allowed(
    registry: Registry, clock: Clock
) -> None:
    for number in range(SMALL.invites_max):
        await registry.invite(f"home{number}", (f"home{number}.example.com",), 60)
    with pytest.raises(TooManyError):
        await registry.invite("more", ("more.example.com",), 60)
    clock.now += 32 * DAY_S
    await registry.invite("more", ("more.example.com",), 60)


async def test_revoking_a_home_frees_name_and_domain(registry: Registry) -> None:
    home = await join(registry, "cottage", "cottage.example.com")
    assert await registry.revoke("cottage") == home
    assert registry.home(home.id) is None
    with pytest.raises(HomeUnknownError):
        registry.named("cottage")
    with pytest.raises(HomeUnknownError):
        await registry.revoke("cottage")
    await registry.invite("cottage", ("cottage.example.com",), DAY_S)


async def test_revoking_a_code_makes_it_unknown(registry: Registry) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    assert await registry.revoke("cottage") is None
    with pytest.raises(InviteUnknownError):
        await registry.join(secret, an_id)


async def test_revoking_while_a_home_joins_returns_that_home(
    registry: Registry,
) -> None:
    """The home used to be looked up too early, so that nobody cut it."""
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    joining = asyncio.create_task(registry.join(secret, an_id))
    await asyncio.sleep(0)
    gone = await registry.revoke("cottage")
    assert await joining == gone
    assert registry.homes == ()


async def test_a_request_that_cannot_be_signed_leaves_the_code_unused(
    registry: Registry,
) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)

    def refuse(_name: str) -> str:
        raise HearthgateError

    with pytest.raises(HearthgateError):
        await registry.join(secret, refuse)
    assert (await registry.join(secret, an_id)).name == "cottage"


async def test_what_cannot_be_written_is_not_believed(
    registry: Registry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), DAY_S)
    before = path.read_bytes()

    def fail(_value: Registered) -> None:
        raise StateNotWritableError(path=path, reason="the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(registry._store, "write", fail)
        with pytest.raises(StateNotWritableError):
            await registry.join(secret, an_id)
        with pytest.raises(StateNotWritableError):
            await registry.invite("barn", ("barn.example.com",), DAY_S)
        with pytest.raises(StateNotWritableError):
            await registry.revoke("cottage")
    assert registry.homes == ()
    assert [one.name for one in registry.invites] == ["cottage"]
    assert path.read_bytes() == before
    assert (await registry.join(secret, an_id)).name == "cottage"


async def test_a_home_covers_its_domains_and_names_below(registry: Registry) -> None:
    home = await join(registry, "cottage", "cottage.example.com", "example.net")
    assert home.covers("cottage.example.com")
    assert home.covers("a.b.example.net")
    assert not home.covers("barn.example.com")
    assert not home.covers("xexample.net")


def test_an_empty_store_has_nobody(path: Path) -> None:
    assert open_store(path).read() == Registered()


async def test_a_home_that_moves_leaves_its_machines_behind(
    registry: Registry, path: Path, clock: Clock
) -> None:
    home = await join(registry, "cottage", "cottage.example.com")
    await join(registry, "barn", "barn.example.com")
    for machine in ("a", "b", "c", "b"):
        assert await registry.move(home.id, machine) == registry.home(home.id)
    moved = open_registry(path, clock).home(home.id)
    assert moved == replace(home, machine="b", left=("a", "c"))
    assert registry.named("barn").machine == ""
    assert await registry.move("no home", "d") is None


async def test_only_so_many_machines_are_remembered(registry: Registry) -> None:
    home = await join(registry, "cottage", "cottage.example.com")
    for number in range(20):
        await registry.move(home.id, str(number))
    left = registry.named("cottage").left
    assert left == tuple(str(number) for number in range(3, 19))


async def test_a_registry_of_before_machines_is_read(
    registry: Registry, path: Path, clock: Clock
) -> None:
    home = await join(registry, "cottage", "cottage.example.com")
    lines = path.read_text().replace("version: 4\n", "version: 2\n").splitlines()
    later = ("machine:", "left:", "seen:")
    older = [one for one in lines if not any(key in one for key in later)]
    path.write_text("\n".join(older) + "\n")
    found = open_registry(path, clock)
    assert found.homes == (home,)
    assert found._store.damage is None


# --- a clock that is set back ---------------------------------------------------------


async def test_a_clock_that_is_set_back_makes_no_code_good_again(
    registry: Registry, clock: Clock
) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), 60)
    clock.now += 61.0
    assert registry.invites == ()
    clock.now -= 3600.0
    with pytest.raises(InviteExpiredError):
        await registry.join(secret, lambda _name: "c" * 64)


async def test_a_code_that_has_expired_stays_so_over_a_restart(
    registry: Registry, path: Path, clock: Clock
) -> None:
    secret = await registry.invite("cottage", ("cottage.example.com",), 60)
    clock.now += 61.0
    await registry.mark_time()
    clock.now -= 3600.0
    again = open_registry(path, clock)
    assert again.invites == ()
    with pytest.raises(InviteExpiredError):
        await again.join(secret, lambda _name: "c" * 64)


async def test_the_time_is_stored_once_an_hour_and_only_while_a_code_waits(
    registry: Registry, path: Path, clock: Clock
) -> None:
    async def stored() -> int:
        await registry.mark_time()
        return int(open_store(path).read().seen)

    await registry.invite("cottage", ("cottage.example.com",), 7200)
    begun = int(clock.now)
    clock.now += 3599.0
    assert await stored() == begun
    clock.now += 1.0
    assert await stored() == begun + 3600
    clock.now += 3600.0
    assert await stored() == begun + 7200  # it has expired
    clock.now += 100_000.0
    assert await stored() == begun + 7200


async def test_a_clock_that_ran_ahead_keeps_nobody_from_pairing(
    registry: Registry, path: Path, clock: Clock
) -> None:
    clock.now += 30 * 365 * 86400.0
    await registry.invite("early", ("early.example.com",), 60)
    clock.now -= 30 * 365 * 86400.0
    again = open_registry(path, clock)
    secret = await again.invite("cottage", ("cottage.example.com",), 60)
    assert (await again.join(secret, lambda _name: "c" * 64)).name == "cottage"


# --- a file that was edited by hand ---------------------------------------------------

BY_HAND = [
    (
        {"domains": ["barn.example.com"]},
        {"domains": ["barn.example.com"]},
        "barn and cottage both hold barn.example.com",
    ),
    (
        {"domains": ["example.com"]},
        {"domains": ["a.b.example.com"]},
        "barn holds a.b.example.com, which cottage holds with example.com",
    ),
    ({"name": "barn"}, {}, "two homes have the name barn"),
    ({"id": "b" * 64}, {}, "barn and cottage have the same certificate"),
    (
        {"tcp": ["20000-20010"]},
        {"tcp": ["20010"]},
        "cottage and barn both hold TCP ports: 20000-20010 and 20010",
    ),
]


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: case[2])
def test_a_file_in_which_two_homes_hold_the_same_is_refused_with_the_reason(
    path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    case: tuple[dict[str, object], dict[str, object], str],
) -> None:
    one, other, why = case

    def home(name: str, changes: dict[str, object]) -> dict[str, object]:
        return {
            "id": name[0] * 64,
            "name": name,
            "domains": [f"{name}.example.org"],
            "paired_at": 1,
            "machine": "",
            "left": [],
            "tcp": [],
            "udp": [],
            **changes,
        }

    homes = [home("cottage", one), home("barn", other)]
    data = {"version": 4, "homes": homes, "invites": [], "seen": 0}
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    registry = open_registry(path, clock)
    assert registry.homes == ()
    damage = registry._store.damage
    assert damage is not None
    assert why in damage.reason
    assert damage.kept_as is not None
    assert damage.kept_as.exists()
    assert why in caplog.text


async def test_a_home_may_hold_a_domain_and_one_below(
    registry: Registry, path: Path, clock: Clock
) -> None:
    await join(registry, "cottage", "example.net", "a.example.net")
    assert open_registry(path, clock).homes == registry.homes


async def test_a_grant_that_a_home_could_not_be_told_is_refused(
    registry: Registry,
) -> None:
    await join(registry, "cottage", "cottage.example.com")
    many = tuple(f"{n}.{'x' * 60}.example.com" for n in range(800))
    with pytest.raises(GrantTooLargeError):
        await registry.grant("cottage", many, NO_PORTS)
    with pytest.raises(GrantTooLargeError):
        await registry.invite("barn", many, 60)
