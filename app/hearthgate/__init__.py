"""Put chosen services of a home on public hostnames, through a relay that you own.

`wire` is what both sides agree on, `relay` runs on the user's VPS, `home` runs at
home. TLS ends at home: nothing in this package decrypts a visitor on the relay.
"""

__version__ = "0.1.0"
