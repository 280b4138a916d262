"""Files of our own: private, never through a link, written whole or not at all.

Knows nothing of what stands in them.
"""
