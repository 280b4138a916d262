"""The page's WebSocket: the state, and each change of it."""
