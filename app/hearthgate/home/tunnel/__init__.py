"""The way from home to a relay: one control connection, and channels beside it.

    Tunnel ─┬─ ControlConnection   WebSocket over mutual TLS, pinned by the pairing code
            └─ ChannelPool         parked channels; an opened one goes to the edge

Carries no visitor's byte: an opened channel leaves as a socket. Decides nothing about
what is exposed.
"""
