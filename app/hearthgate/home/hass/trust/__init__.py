"""Let Core accept what the edge says of visitors, and check that it does."""
