"""`python -m hearthgate`."""

from hearthgate.cli import main

main()
