"""``python -m rootstock``: the program."""

from .cli import main

main()
