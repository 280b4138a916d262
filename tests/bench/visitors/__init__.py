"""Visitors that no ready-made load generator plays. Each runs in its own process."""
