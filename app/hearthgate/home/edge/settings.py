"""The numbers of the edge, each with the reason for its default."""

from dataclasses import dataclass, field
import os

from hearthgate.home.edge.user import EdgeUser


def _threads() -> int:
    """Return one thread per processor that we may use, at most four."""
    return min(4, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """How HAProxy is run and how patient it is. Times are in seconds."""

    program: str = "haproxy"  # looked up in PATH
    user: EdgeUser | None = None  # None: as the agent's

    # A visitor costs two descriptors and with TLS 20 to 40 KiB, or 140 to 280 while a
    # download stalls: half a GiB if all do at once, on machines that start at 1 GiB.
    maxconn: int = 2000
    # Requests at a time in one HTTP/2 connection. Each that stalls holds buffers, which
    # is 8 to 10 MiB for all. Tabs of a dashboard with cameras need some tens.
    h2_streams: int = 64
    # Four threads carry more than a home's uplink; more only take memory and cores
    # that Home Assistant wants.
    threads: int = field(default_factory=_threads)
    # 200 bytes each, allocated at start by every generation. Browsers resume with
    # tickets, which need no room here; this is for the few visitors without them.
    tls_sessions: int = 20_000
    # One upload may have this much in flight. 64 KiB, the default, is 5 Mbit/s over a
    # round trip of 100 ms; this is 80. It reserves no memory.
    h2_window_bytes: int = 1024 * 1024

    # A service on the LAN answers at once or is off; two tries fit in ten seconds.
    connect_s: float = 4.0
    # A whole request header. Slow phones need seconds, slowloris wants minutes.
    request_s: float = 15.0
    # A visitor that stalls while the edge waits for it: handshake, body, reading.
    visitor_s: float = 60.0
    # A service that is silent while a visitor waits. Event streams (SSE) are silent
    # for minutes by nature, and backups take minutes to begin.
    service_s: float = 900.0
    # Browsers keep a connection for five minutes; each new one costs a handshake over
    # the relay, each idle one about 30 KiB.
    keep_alive_s: float = 120.0
    # WebSockets may be silent for hours. Dead visitors are found by TCP keep-alive.
    tunnel_s: float = 24 * 3600.0

    # WebSockets on an old generation live this long after a change. Long enough that
    # nobody notices, short enough that an old process does not stay for days.
    hard_stop_after_s: int = 3600
    # A process is about 20 MiB; a user who flips switches must not collect them.
    max_draining: int = 4
    # Names as targets are resolved while HAProxy starts, and a dead DNS server takes
    # 10 seconds for each.
    start_deadline_s: float = 45.0
    # How long the old generation may take to accept what already lies in its door.
    door_deadline_s: float = 2.0
    stop_deadline_s: float = 3.0  # between SIGTERM and SIGKILL

    # Visitors that wait while HAProxy starts again. The relay holds a visitor for a
    # few seconds; a browser's first page opens about six connections.
    queue_max: int = 256
    queue_deadline_s: float = 10.0
    # Starting again: at once, then doubling, and forgiven after a quiet minute.
    restart_first_s: float = 0.25
    restart_max_s: float = 30.0
    restart_forgiven_s: float = 60.0

    # A credential that was right is remembered for this long, by a digest, for the
    # address from which it came; then the agent is asked again.
    credential_s: int = 300
    # Ten wrong passwords in five minutes are more than a person types and 2,880 a day
    # are too few to guess. Counted for each policy, and per IPv4 address or /64.
    wrong_passwords_max: int = 10
    wrong_passwords_s: int = 300
    # Who is wrong at this many hostnames waits at all of them: people use a password
    # more than once.
    wrong_passwords_hostnames: int = 3
    # One or two hashes at a time leave visitors a core. 64 wait for half a second.
    password_checks_max: int = 2
    password_queue_max: int = 64
    # Questions to the agent in ten seconds from one address: a program that opens
    # dozens of connections at once is right with all of them. A question is about
    # 0.23 ms of the agent's time, so those of all addresses may take 5 % of it.
    password_asks_max: int = 100
    password_asks_per_second: int = 200
    password_wait_s: int = 10  # for the agent's answer
