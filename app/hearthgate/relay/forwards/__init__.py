"""Ports instead of hostnames: TCP, UDP, and the flows of UDP."""
