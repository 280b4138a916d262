"""Find web services on the home network, and look at them.

    mdns ─▶ sighting ─▶ table ─▶ watcher ─▶ probe ─▶ Service
      │        │          │         │         ├ fetch (bounded GETs)
      │     catalog    merging   schedule     ├ page (title, icon links)
    zeroconf addresses                        └ icons, images (what may be shown)

Shows only: it exposes nothing, follows no address on behalf of an exposure, asks no
Supervisor, and stores nothing but icons. All that comes in is a stranger's.
"""

from hearthgate.home.discovery.discovery import Discovery
from hearthgate.home.discovery.limits import DiscoveryLimits, DiscoverySettings
from hearthgate.home.discovery.probe import Probe

__all__ = ["Discovery", "DiscoveryLimits", "DiscoverySettings", "Probe"]
