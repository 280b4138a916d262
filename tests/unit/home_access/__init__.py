"""Tests of hearthgate.home.access."""
