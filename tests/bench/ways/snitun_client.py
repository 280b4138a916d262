"""Run SniTun's client in front of an edge: `python snitun_client.py SETTINGS.json`.

Prints "connected" once visitors can be served and ends when the connection does.
"""

from datetime import UTC, datetime, timedelta
import json
from pathlib import Path
import sys
from typing import Any

from cryptography.fernet import Fernet
from snitun.client import connector
from snitun.client.client_peer import ClientPeer
from snitun.utils import server
import uvloop

# 0.41 brought protocol versions with flow control, 0.46 split the connector in two.
_PROTOCOL = getattr(server, "PROTOCOL_VERSION", None)
_EndpointConnector = getattr(connector, "EndpointConnector", connector.Connector)


def _protocol() -> dict[str, int]:
    return {} if _PROTOCOL is None else {"protocol_version": _PROTOCOL}


def token(settings: dict[str, Any]) -> bytes:
    """Return the token that lets a client claim its hostname and its alias."""
    hostname, *alias = settings["hostnames"]
    valid = datetime.now(tz=UTC) + timedelta(days=1)
    claims = {
        "valid": valid.timestamp(),
        "hostname": hostname,
        "alias": alias,
        "aes_key": settings["aes_key"],
        "aes_iv": settings["aes_iv"],
        **_protocol(),
    }
    return Fernet(settings["fernet_key"]).encrypt(json.dumps(claims).encode())


async def hold(settings: dict[str, Any]) -> None:
    """Connect and stay connected."""
    client = ClientPeer("127.0.0.1", settings["port"])
    await client.start(
        _EndpointConnector("127.0.0.1", settings["edge_port"]),
        token(settings),
        bytes.fromhex(settings["aes_key"]),
        bytes.fromhex(settings["aes_iv"]),
        **_protocol(),
    )
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await client.wait()


if __name__ == "__main__":
    uvloop.run(hold(json.loads(Path(sys.argv[1]).read_text())))
