"""What several kinds of tests share. Nothing outside tests/unit imports from there."""
