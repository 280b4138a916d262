"""The services of a home, and where they come from."""
