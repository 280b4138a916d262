"""The first version of the protocol, frozen: what old agents and relays say and expect.

Nothing here imports hearthgate or changes with it. `messages.json` are recorded frames
and bytes; agent.py and relay.py speak them. Written after docs/protocol.md, version 1.
"""
