"""Every bound of the relay, with the reason beside it.

Reaching one is counted, logged once per period and costs whoever reached it, never
another home. All are settings (`limits:`), explained for users in docs/limits.md.
The limits object is passed in, so that a test can use small ones.
"""

from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers and homes may use of one relay. Times are in seconds."""

    # A browser's post-quantum hello is about 1.8 KiB. Seventeen times that leaves
    # room, and 1,000 stalled visitors cost at most 32 MiB, of the kernel's memory.
    hello_max_bytes: int = 32 * KIB
    # A hello is one flight: even over a satellite and with a lost packet it is there
    # within three seconds. Whoever needs longer is no browser.
    hello_deadline_s: float = 5.0
    # Two descriptors and about 4 KiB each; leaves half of the usual 65,536 descriptors.
    visitors_max: int = 16_000
    # Browsers open 6 to 30; an office or a mobile carrier behind one IPv4 address some
    # hundreds. An IPv6 /64, one household, counts as one address.
    visitors_per_address_max: int = 512
    # Visitors of one home that wait for a channel. One second of a busy home; more
    # would only wait in vain.
    waiting_per_home_max: int = 1024
    # How long one of them waits, also while its home is reconnecting. Longer than one
    # reconnect, shorter than a person's patience.
    waiting_deadline_s: float = 10.0
    # A channel that the home's kernel did not acknowledge after so long is dead: its
    # NAT mapping is gone. Longer than any round trip, one TCP retransmission included.
    unacknowledged_deadline_s: float = 1.0
    # A home that acknowledged but answers nobody is not there any more.
    silent_home_deadline_s: float = 3.0
    # A home that answers others may be slow with this one; then the channel is given
    # up too, and the visitor gets its one replay.
    first_byte_deadline_s: float = 8.0
    # An exposed SSH session or push service may be silent for long; its own keep-alive
    # is at most two hours. Half-open leftovers go after that.
    pair_idle_max_s: float = 2.2 * 3600
    # What the design's pool needs at most. Costs one descriptor each.
    channels_per_home_max: int = 64
    # A mutual TLS handshake and one request over a bad line.
    control_handshake_deadline_s: float = 15.0
    # The agent and the relay both ping: 15 s without an answer after 15 s of silence
    # means that a dead connection is noticed within 30 s on either side.
    control_ping_s: float = 15.0
    control_pong_deadline_s: float = 15.0
    # A home sends one message per toggle and two per certificate.
    control_messages_per_minute: int = 600
    # The pairing secret has 128 bits, so this is against load, not against guessing.
    pairing_attempts_per_minute: int = 30
    # More than any home has services; one message carries them all.
    hostnames_per_home_max: int = 200
    # Let's Encrypt asks from five places within a minute; twenty orders at once are a
    # whole home after a restore.
    answers_per_home_max: int = 100
    answer_lifetime_s: float = 600.0
    # While a home reconnects, its visitors wait instead of failing.
    reconnect_grace_s: float = 30.0
    # Port 80 answers one small request and closes.
    plain_request_max_bytes: int = 8 * KIB
    plain_deadline_s: float = 5.0
    plain_connections_max: int = 2_000
    # Nothing is logged more often than this for one cause.
    log_period_s: float = 60.0
    # What one relay of the smallest VPS holds with an idle agent each: 250 MB.
    homes_max: int = 1_000
    # Codes that nobody has used yet.
    invites_max: int = 1_000
