"""Numbers that the protocol fixes. Specification: docs/protocol.md.

What an implementation may choose (deadlines, bounds) is not here: see relay/limits.py
and home/settings.py.
"""

SUPPORTED_PROTOCOLS = (1,)  # the current version and the one before, newest first

DEFAULT_RELAY_PORT = 443
# §2: the SNI of the control endpoint, the same at every relay. The pinned key says
# which relay it is, so one that is known by an IP address or gets a new name stays
# reachable for the homes that it has.
CONTROL_NAME = "relay.hearthgate.internal"

CHANNEL_MAGIC = b"HGC1"  # §4: first bytes of a channel, agent to relay
OPENING_MAGIC = b"HGO1"  # §5: first bytes on a channel, relay to agent
SESSION_ID_BYTES = 16
CHANNEL_KEY_BYTES = 32
TAG_BYTES = 16  # §4: keyed BLAKE2b with a digest of 128 bits (RFC 7693)

CONTROL_PATH = "/v1/control"
DATAGRAM_PATH = "/v1/datagrams"  # §9: a stream in place of UDP
PAIR_PATH = "/v1/pair"
CONTROL_MESSAGE_MAX_BYTES = 64 * 1024  # §3: a longer message ends the session

PAIRING_SECRET_BYTES = 16
FINGERPRINT_BYTES = 32  # SHA-256 of the SubjectPublicKeyInfo
