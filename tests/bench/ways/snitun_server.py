"""Run SniTun's single-port server: `python snitun_server.py SETTINGS.json`."""

import asyncio
import json
from pathlib import Path
import sys

from snitun.server.run import SniTunServerSingle
import uvloop


async def serve(settings: dict[str, str]) -> None:
    """Serve visitors and the client on one loopback port until ended."""
    server = SniTunServerSingle(
        [settings["fernet_key"]], host="127.0.0.1", port=int(settings["port"])
    )
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(json.loads(Path(sys.argv[1]).read_text())))
