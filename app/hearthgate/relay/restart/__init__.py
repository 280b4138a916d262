"""A new process takes over from the one that runs, without losing a visitor."""
