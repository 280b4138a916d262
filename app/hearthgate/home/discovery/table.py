"""Join what was sighted into services: one per address, each under a lasting id.

    Sighting _http "Attic"     192.0.2.7:80 ┐
    Sighting _wled "Attic"     192.0.2.7:80 ┴▶ Found(id of _wled, kind light)
    Sighting _smb  "Attic NAS" 192.0.2.9    ──▶ kind nas for all at 192.0.2.9

The id is that of the best ranked sighting. Once shown, it stays as long as its sighting
does, so a better one that comes late changes nothing until the next start. Pure state,
no clock and no network. Does not know whether anything answers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hearthgate.home.discovery.catalog import Kind, Role, guess_kind
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.sighting import Sighting
from hearthgate.home.model import Target

__all__ = ["Found", "Table"]


@dataclass(frozen=True, slots=True)
class Found:
    """One address with a page, or maybe one."""

    id: str
    name: str  # may be empty
    target: Target
    kind: Kind
    certain: bool  # shown even if it doesn't answer
    paths: tuple[str, ...]


class Table:
    """The sightings at hand. Bounded; what does not fit is refused by `put`."""

    def __init__(self, limits: DiscoveryLimits) -> None:
        """Start empty."""
        self._limits = limits
        self._sightings: dict[str, Sighting] = {}
        self._per_address: Counter[str] = Counter()
        self._shown: set[str] = set()  # ids that `found` gave out last

    def __contains__(self, sighting_id: object) -> bool:
        return sighting_id in self._sightings

    def __iter__(self) -> Iterator[str]:
        return iter(self._sightings)

    def __len__(self) -> int:
        return len(self._sightings)

    def put(self, sighting: Sighting) -> bool:
        """Add or replace a sighting; False if there is no room for it."""
        old = self._sightings.get(sighting.id)
        moved = old is None or old.target.host != sighting.target.host
        full = old is None and len(self._sightings) >= self._limits.instances
        crowd = self._per_address[sighting.target.host]
        if full or (moved and crowd >= self._limits.instances_per_address):
            return False
        if old is not None:
            self.drop(old.id)
        self._sightings[sighting.id] = sighting
        self._per_address[sighting.target.host] += 1
        return True

    def drop(self, sighting_id: str) -> None:
        """Forget a sighting; unknown ones are fine."""
        sighting = self._sightings.pop(sighting_id, None)
        if sighting is not None:
            self._per_address[sighting.target.host] -= 1
            self._per_address += Counter()  # drops the zeros

    def found(self) -> dict[str, Found]:
        """Return the services by id."""
        groups: dict[tuple[str, int], list[Sighting]] = defaultdict(list)
        hints: dict[str, set[Kind]] = defaultdict(set)
        for sighting in self._sightings.values():
            if sighting.role is Role.HINT:
                hints[sighting.target.host].add(sighting.kind)
            else:
                groups[sighting.target.host, sighting.target.port].append(sighting)
        found = (
            self._join(group, hints.get(host, ()))
            for (host, _), group in groups.items()
        )
        services = {each.id: each for each in found}
        self._shown = set(services)
        return services

    def _join(self, group: list[Sighting], hints: Iterable[Kind]) -> Found:
        group.sort(key=lambda each: each.rank)
        best = group[0]
        speaker = next((each for each in group if each.id in self._shown), best)
        named = (each.name for each in (speaker, *group) if each.name)
        name = next(named, "")
        return Found(
            id=speaker.id,
            name=name,
            target=best.target,
            kind=_kind(group, hints, name),
            certain=any(each.role is Role.PAGE for each in group),
            paths=best.paths,
        )


def _kind(group: list[Sighting], hints: Iterable[Kind], name: str) -> Kind:
    """Return the first that says something: a type, the name, what else runs there."""
    said = [each.kind for each in group] + [guess_kind(name)]
    said += sorted(hints, key=list(Kind).index)
    return next((kind for kind in said if kind is not Kind.WEB), Kind.WEB)
