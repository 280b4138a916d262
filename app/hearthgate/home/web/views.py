"""How the home's values look in the API: plain JSON, as openapi.yaml describes it."""

from dataclasses import asdict

from hearthgate.home.discovery.local_trust import known_app
from hearthgate.home.model import Exposure, Problem, Service, Status
from hearthgate.home.state.state import Membership
from hearthgate.home.tunnel.tunnel import TunnelStatus
from hearthgate.shared.storage.yaml_store import Damage
from hearthgate.wire.constants import DEFAULT_RELAY_PORT
from hearthgate.wire.names import format_address, show_hostname
from hearthgate.wire.ports import Protocol

Json = dict[str, object]


def damage_view(damage: Damage | None) -> Json | None:
    """Return what had to be set aside at the start, None if nothing."""
    if damage is None:
        return None
    return {"path": str(damage.kept_as or damage.path), "reason": damage.reason}


def relay_view(
    relay: Membership,
    status: TunnelStatus,
    *,
    rtt_ms: float | None,
    parked: int,
    sealed: bool,
) -> Json:
    """Return a relay as the API shows it."""
    return {
        "id": relay.id,
        "name": relay.name,
        "host": relay.host,
        "port": relay.port,
        "state": status.state.value,
        "since": status.since,
        "rtt_ms": None if rtt_ms is None else round(rtt_ms, 2),
        "parked": parked,
        "sealed": sealed,
        "domains": list(status.domains),
        "domains_shown": [show_hostname(one) for one in status.domains],
        "addresses": list(status.addresses),
        "ports": {
            one.value: [str(each) for each in status.ports.of(one)] for one in Protocol
        },
        "problem": problem_view(status.problem),
    }


def service_view(
    service: Service,
    exposure: Json | None,
    *,
    present: bool,
    suggested_hostname: str | None,
    suggested_port: int | None,
) -> Json:
    """Return a service as the API shows it."""
    moved_from = service.moved_from
    return {
        "id": service.id,
        "name": service.name,
        "origin": service.origin.value,
        "kind": service.kind,
        "url": service.target.url,
        "scheme": service.target.scheme.value,
        "host": service.target.host,
        "port": service.target.port,
        "title": service.title,
        "icon": service.icon,
        "reachable": service.reachable,
        "problem": service.problem,
        "moved_from": None if moved_from is None else moved_from.url,
        "local_trust": _local_trust(service),
        "present": present,
        "exposure": exposure,
        "suggested_hostname": suggested_hostname,
        "suggested_port": suggested_port,
    }


def _local_trust(service: Service) -> Json | None:
    """Return why visitors could be taken for somebody at home, None if nothing says."""
    app = known_app(service)
    if app is None and not service.tells_apart:
        return None
    return {
        "app": None if app is None else app.id,
        "name": None if app is None else app.name,
        "tells_apart": service.tells_apart,
    }


def exposure_view(exposure: Exposure, status: Status, relay: Membership | None) -> Json:
    """Return an exposure as the API shows it."""
    access = exposure.access
    return {
        "enabled": exposure.enabled,
        "hostname": exposure.hostname or None,
        "hostname_shown": show_hostname(exposure.hostname) or None,
        "public_port": exposure.public_port or None,
        "proxy_protocol": exposure.tells_visitor,
        "hass_may_switch": exposure.hass_may_switch,
        "was_public": exposure.was_public,
        "protocols": list(exposure.protocols),
        "url": _where(exposure, relay),
        "relay_id": exposure.relay_id,
        "access": None if access is None else {"username": access.username},
        "status": {
            "phase": status.phase.value,
            "since": status.since,
            "problem": problem_view(status.problem),
            "certificate_expires": status.certificate_expires,
        },
    }


def _where(exposure: Exposure, relay: Membership | None) -> str:
    """Return where visitors come to."""
    if exposure.public_port:
        host = relay.host if relay else "relay"
        where = f"[{host}]" if ":" in host else host
        return f"{exposure.target.scheme}://{where}:{exposure.public_port}"
    return public_url(exposure.hostname, relay)


def public_url(hostname: str, relay: Membership | None) -> str:
    """Return where a hostname is visited, given its relay."""
    port = relay.port if relay else DEFAULT_RELAY_PORT
    return f"https://{format_address(hostname, port)}/"


def problem_view(problem: Problem | None) -> Json | None:
    """Return a problem as the API shows it."""
    return None if problem is None else asdict(problem)
