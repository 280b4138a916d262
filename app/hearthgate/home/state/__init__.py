"""What a home keeps on disk, and what of it is the case now."""
