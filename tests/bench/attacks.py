"""What visitors of a healthy home notice of an attack: p50 and p99, quiet and attacked.

    python -m tests.bench.attacks [--visits 200]

    attacker, a process of its own ──▶ relay ◀── one visitor after the other

Each visit is a new TLS connection and one small request. The attacker is as fast as one
Python process can be, with the lowest priority: a real one has a machine of its own. It
takes time from relay, edge and visitor all the same; the figures are an upper bound.
"""

import asyncio
import contextlib
import subprocess
import sys
import time

import click

from hearthgate.process import allow_many_descriptors
from tests.harness import attacks
from tests.harness.scene import Scene

LAMP = "lamp.home.example.com"
_ON_443 = (
    "slow_hellos",
    "one_address",
    "unknown_names",
    "port_scan",
    "truncated_preambles",
    "guessed_tickets",
    "dropped",
)
_ON_80 = ("slow_requests",)


async def _attack(name: str, port: int) -> None:
    while True:
        await getattr(attacks, name)(port)


async def _visit(scene: Scene) -> float:
    began = time.perf_counter()
    reader, writer = await scene.open(LAMP)
    try:
        request = f"GET /echo HTTP/1.1\r\nHost: {LAMP}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = await reader.read()
    finally:
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(answer[:40])
    return (time.perf_counter() - began) * 1000


async def _row(scene: Scene, what: str, visits: int) -> None:
    waits_ms, failed = [], 0
    for _ in range(visits):
        try:
            async with asyncio.timeout(30):
                waits_ms.append(await _visit(scene))
        except OSError:
            failed += 1
    waits_ms.sort()
    half, most = waits_ms[len(waits_ms) // 2], waits_ms[int(len(waits_ms) * 0.99)]
    print(f"{what:<22} {half:8.1f} {most:8.1f} {failed:7}", flush=True)


async def _measure(visits: int) -> None:
    async with Scene() as scene:
        await scene.expose(scene.web.url, "Lamp")
        await _row(scene, "(warm-up)", visits)
        print(f"{'':<22} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7}")
        await _row(scene, "quiet", visits)
        for name in (*_ON_443, *_ON_80):
            relay = scene.relay
            port = relay.http_port if name in _ON_80 else relay.https_port
            attacker = subprocess.Popen(
                [
                    *("nice", "-n", "19", sys.executable, "-m", __spec__.name),
                    *("--attack", name, str(port)),
                ]
            )
            try:
                await asyncio.sleep(3)
                await _row(scene, name, visits)
            finally:
                attacker.kill()
                attacker.wait()
        await _row(scene, "quiet again", visits)


@click.command()
@click.option("--visits", default=200, show_default=True)
@click.option("--attack", nargs=2, type=(str, int), hidden=True)
def main(visits: int, attack: tuple[str, int] | None) -> None:
    """Measure, or be the attacker."""
    allow_many_descriptors()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_attack(*attack) if attack else _measure(visits))


if __name__ == "__main__":
    main()
