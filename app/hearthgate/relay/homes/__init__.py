"""Who may what, and who is here: the registry, keys, sessions, budgets.

Opens no socket.
"""
