"""Every bound of the relay, with the reason beside it.

Reaching one is counted, logged once per period and costs whoever reached it, never
another home. All are settings (`limits:`), explained for users in docs/limits.md.
The limits object is passed in, so that a test can use small ones.
"""

from dataclasses import dataclass

from hearthgate.shared.settings.kinds import duration, integer, size
from hearthgate.shared.settings.loader import setting

KIB = 1024
MIB = 1024 * KIB
_COUNT = integer(1, 1_000_000)
_SECONDS = duration(0.05, 86_400.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers and homes may use of one relay. Times are in seconds."""

    # A browser's post-quantum hello is about 1.8 KiB. Seventeen times that leaves
    # room, and 1,000 stalled visitors cost at most 32 MiB, of the kernel's memory.
    hello_max_bytes: int = setting(size(1 * KIB, 64 * KIB), 32 * KIB)
    # A hello is one flight: even over a satellite and with a lost packet it is there
    # within three seconds. Whoever needs longer is no browser.
    hello_deadline_s: float = setting(_SECONDS, 5.0)
    # Connections of which nobody knows yet what they are, visitors or not. They say so
    # in one flight or go after hello_deadline_s, so this is 800 a second at the worst.
    arrivals_max: int = setting(_COUNT, 4_000)
    # A home dials up to 128 channels at once, perhaps from behind the address of some
    # of its visitors.
    arrivals_per_address_max: int = setting(_COUNT, 1_000)
    # Two descriptors and about 4 KiB each, and at the worst 128 KiB of bytes that a
    # slow reader has not taken yet. Fewer if the system allows fewer descriptors.
    visitors_max: int = setting(_COUNT, 12_000)
    # Browsers open 6 to 30; an office or a mobile carrier behind one IPv4 address some
    # hundreds. An IPv6 /64, one household, counts as one address.
    visitors_per_address_max: int = setting(_COUNT, 512)
    # Visitors of one home that wait for a channel. One second of a busy home; more
    # would only wait in vain.
    waiting_per_home_max: int = setting(_COUNT, 1024)
    # How long one of them waits, also while its home is reconnecting. Longer than one
    # reconnect, shorter than a person's patience.
    waiting_deadline_s: float = setting(_SECONDS, 10.0)
    # A channel that the home's kernel did not acknowledge after so long is dead: its
    # NAT mapping is gone. Longer than any round trip, one TCP retransmission included.
    unacknowledged_deadline_s: float = setting(_SECONDS, 1.0)
    # A home that acknowledged but answers nobody is not there any more.
    silent_home_deadline_s: float = setting(_SECONDS, 3.0)
    # A home that answers others may be slow with this one; then the channel is given
    # up too, and the visitor gets its one replay.
    first_byte_deadline_s: float = setting(_SECONDS, 8.0)
    # An exposed SSH session or push service may be silent for long; its own keep-alive
    # is at most two hours. Half-open leftovers go after that.
    pair_idle_max_s: float = setting(_SECONDS, 2.2 * 3600)
    # What the design's pool needs at most. Costs one descriptor each.
    channels_per_home_max: int = setting(_COUNT, 64)
    # A sealed channel that no visitor of a forward has used for so long. A page or a
    # chat opens its connections within seconds; a quiet home need not keep any.
    sealed_idle_s: float = setting(_SECONDS, 60.0)
    # A router forgets a mapping after a minute at the earliest, and a home that was
    # heard so lately is not gone: it gets a visitor's bytes without being asked.
    sealed_trust_s: float = setting(_SECONDS, 10.0)
    # Of homes that have proved who they are: two for each, and some that have a stream
    # for datagrams as well.
    control_connections_max: int = setting(_COUNT, 2_500)
    # A control connection and a stream, both twice while the old ones are found to be
    # dead, and the same for a second machine with the same keys. The oldest goes.
    control_connections_per_home_max: int = setting(_COUNT, 8)
    # Each costs about 5 ms with its handshake. A home that finds no way tries every
    # half second at first, and less often from then on.
    control_connections_per_minute: int = setting(_COUNT, 60)
    # Who has connected to the control endpoint and not proved to be a home. A TLS
    # handshake in the middle takes about 60 KiB; a home is through in a round trip.
    control_newcomers_max: int = setting(_COUNT, 600)
    # Homes behind one carrier's address come all at once after a restart of the relay:
    # 200 in a round trip, the others right behind them.
    control_newcomers_per_address_max: int = setting(_COUNT, 200)
    # Who waits for that, with nothing read: a descriptor and half a kilobyte each.
    control_waiting_max: int = setting(_COUNT, 2_000)
    # What one address has of them is through in 4 s, even if all of it is silent.
    control_waiting_per_address_max: int = setting(_COUNT, 400)
    # How long a newcomer keeps its place while others wait for it: two round trips of
    # a bad line, and a lost packet.
    control_newcomer_patience_s: float = setting(_SECONDS, 2.0)
    # A mutual TLS handshake and one request over a bad line.
    control_handshake_deadline_s: float = setting(_SECONDS, 15.0)
    # The agent and the relay both ping; an answer must come within half of this, so
    # that a dead connection is noticed within 30 s on either side.
    control_ping_s: float = setting(_SECONDS, 20.0)
    # A home sends one message per toggle and two per certificate.
    control_messages_per_minute: int = setting(_COUNT, 600)
    # A message is one frame; a home pings three times a minute and answers as often.
    control_frames_per_minute: int = setting(_COUNT, 1_200)
    # Whole sets of 200 long names for 80 toggles. Reading takes about 1 s for all.
    control_bytes_per_minute: int = setting(size(64 * KIB, 1024 * 1024 * KIB), 2 << 20)
    # Hostnames and forwards in messages: 60 whole sets of 200, 5 µs each.
    control_names_per_minute: int = setting(_COUNT, 12_000)
    # A port is a listening socket for each address, 0.1 ms each, and a line in the log.
    ports_opened_per_minute: int = setting(_COUNT, 300)
    # A home moves a few times in its life, some more while somebody tries out a backup.
    # Each time the registry is written: 0.7 s of computing with 1,000 homes.
    moves_per_hour: int = setting(_COUNT, 6)
    # The pairing secret has 128 bits, so this is against load, not against guessing.
    pairing_attempts_per_minute: int = setting(_COUNT, 30)
    # More than any home has services; one message carries them all.
    hostnames_per_home_max: int = setting(_COUNT, 200)
    # Each is one or two listening sockets, and one message carries them all.
    forwards_per_home_max: int = setting(_COUNT, 100)
    # A game server has tens of players, a WireGuard hub tens of peers. About 600 bytes
    # each, and two descriptors at home.
    flows_per_home_max: int = setting(_COUNT, 1_024)
    # A household behind one address, some with several games at once.
    flows_per_address_max: int = setting(_COUNT, 64)
    # Who is heard so lately is in the middle of something and makes no room for others.
    # WireGuard's keep-alive, which nobody misses, comes every 25 s.
    flow_spared_s: float = setting(_SECONDS, 20.0)
    # RFC 4787 §4.3 asks NATs for two minutes.
    flow_idle_s: float = setting(_SECONDS, 180.0)
    # Somebody who never went on after our answer may be a forged address.
    unproven_flow_idle_s: float = setting(_SECONDS, 30.0)
    # Bytes that such an address gets, at all its ports together and within a window,
    # beyond three times what it sent (RFC 9000 §8.1): three answers of a whole
    # datagram, or one of DNS with 4,096 bytes. 150 bytes a second at an address that
    # never asked are less than the noise of the Internet.
    unproven_reply_max: int = setting(integer(0, 65_535), 4_416)
    unproven_reply_window_s: float = setting(_SECONDS, 30.0)
    # The same for all such addresses of one home together: 250 honest newcomers within
    # a window get a first answer of 1 kB, and who forges the addresses of a whole
    # network gets 70 kbit/s out of it.
    unproven_replies_per_home_max_bytes: int = setting(
        size(64 * KIB, 64 * MIB), 256 * KIB
    )
    # About 300 bytes each, so 5 MiB at the worst.
    unproven_addresses_max: int = setting(_COUNT, 16_384)
    # Homes say hello every 15 s; without two of them UDP is not used towards a home.
    datagram_path_s: float = setting(_SECONDS, 45.0)
    # Datagrams without a way to their home wait in the kernel's buffer, at most 4 MiB
    # for each port: longer than a reconnect takes, not longer than they are worth.
    datagram_wait_s: float = setting(_SECONDS, 5.0)
    # Let's Encrypt asks from five places within a minute; twenty orders at once are a
    # whole home after a restore.
    answers_per_home_max: int = setting(_COUNT, 100)
    answer_lifetime_s: float = setting(_SECONDS, 600.0)
    # While a home reconnects, its visitors wait instead of failing.
    reconnect_grace_s: float = setting(_SECONDS, 30.0)
    # Port 80 answers one small request and closes.
    plain_request_max_bytes: int = setting(size(1 * KIB, 64 * KIB), 8 * KIB)
    plain_deadline_s: float = setting(_SECONDS, 5.0)
    plain_connections_max: int = setting(_COUNT, 2_000)
    # Nothing is logged more often than this for one cause.
    log_period_s: float = setting(_SECONDS, 60.0)
    # What one relay of the smallest VPS holds with an idle agent each: 250 MB.
    homes_max: int = setting(_COUNT, 1_000)
    # Codes that nobody has used yet.
    invites_max: int = setting(_COUNT, 1_000)
