"""What `make` and the tests need themselves; nothing here tests Hearthgate."""
