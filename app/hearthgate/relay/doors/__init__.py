"""Whose is it? The front door (443), port 80, pairing and control sessions.

Reads first bytes and messages; carries no visitor.
"""
