"""The public side of one service: where it is, and how it looks from there.

    exposure (live) ──▶ URL            visit ──relay──▶ edge ──▶ service ──▶ status

For parts that look after a service by its id. Changes nothing.
"""

from hearthgate.home.certificates import Certificates
from hearthgate.home.exposures.self_check import Connect, visit
from hearthgate.home.exposures.sites import Exposer
from hearthgate.home.model import Exposure, Phase
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.home.web.views import public_url


class PublicSide:
    """One service, seen from the Internet. Lives in one loop."""

    def __init__(
        self,
        service_id: str,
        store: HomeStore,
        exposer: Exposer,
        tunnels: Tunnels,
        certificates: Certificates,
        *,
        connect: Connect,
    ) -> None:
        """connect: how to visit, see home.visit."""
        self._service_id = service_id
        self._connect = connect
        self._store = store
        self._exposer = exposer
        self._tunnels = tunnels
        self._certificates = certificates

    @property
    def exposure(self) -> Exposure | None:
        """What the user wants of it, if it is to be public."""
        found = self._store.value.exposure(self._service_id)
        return found if found is not None and found.enabled else None

    @property
    def url(self) -> str | None:
        """Where it is public; None while it is not."""
        exposure = self.exposure
        if exposure is None:
            return None
        if self._exposer.status(self._service_id).phase is not Phase.LIVE:
            return None
        relay = self._store.value.relay(exposure.relay_id)
        return public_url(exposure.hostname, relay)

    async def visit(self, path: str) -> int | None:
        """Return the status of a page, as a visitor gets it.

        None: it is not public, or the edge asks visitors for a password first. Raises
        RelayAwayError, NotSeenFromOutsideError.
        """
        exposure = self.exposure
        if exposure is None or exposure.access is not None:
            return None
        tunnel = self._tunnels.get(exposure.relay_id)
        certificate = self._certificates.get(exposure.hostname)
        if tunnel is None or certificate is None:
            return None
        address, port = tunnel.peer
        return await visit(
            address,
            port,
            exposure.hostname,
            certificate.path,
            path,
            connect=self._connect,
        )
