"""A socket comes in: listeners, and who may still connect. Reads nothing."""
