"""The relay: the only process with a public address.

Reads names, pumps encrypted bytes. Never imports `hearthgate.home`, never holds a key
or a certificate of a published hostname.
"""
