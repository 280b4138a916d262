"""What the relay's owner sees and does: commands, tables, metrics."""
