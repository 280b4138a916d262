"""The home's page and its API: REST, one WebSocket with live state, and the login.

    browser ──HTTP──▶ middleware ──▶ login ──▶ api ──▶ HomeApi (facade)
               WS   ◀── live ◀── Feed ◀───────────────── events

Decides nothing about services, relays and certificates: that is the home's. Never sees
a visitor's traffic.
"""
