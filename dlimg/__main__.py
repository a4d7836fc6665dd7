"""`python -m dlimg` is the command `dlimg`."""

from dlimg.cli.main import entry

entry()
