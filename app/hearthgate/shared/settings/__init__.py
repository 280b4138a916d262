"""Settings: defaults < file < environment < flags, each of a kind that checks it.

Knows no setting by name.
"""
