"""Tests of hearthgate.home.edge."""
