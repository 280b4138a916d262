"""One household's installation: the agent, and the edge that it supervises.

Never imports `hearthgate.relay`. Never carries a visitor's bytes: the agent hands
sockets to the edge and closes its own copy.
"""
