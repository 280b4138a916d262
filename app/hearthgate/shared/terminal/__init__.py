"""Text of strangers shown to people, in the log and in a terminal, as text."""
