"""The page's requests: what they may say, and what is done about each."""
