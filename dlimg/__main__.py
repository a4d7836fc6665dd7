"""`python -m dlimg` is the command `dlimg`."""

from dlimg.cli import entry

entry()
