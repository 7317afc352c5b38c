"""``python -m lazyrich.cli``: the same as the command ``lazyrich``."""

from . import main

main()
