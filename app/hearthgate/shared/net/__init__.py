"""Sockets below both sides: the poller, UDP, sealed channels, an HTTP server.

Knows no hostnames, no homes and no messages.
"""
