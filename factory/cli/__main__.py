"""`python -m factory.cli`."""

from factory.cli.main import main

main()
