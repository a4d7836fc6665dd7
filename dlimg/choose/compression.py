"""How a matrix and a command line call the compression of layers, to what keys call it."""

import re
from typing import Final

from dlimg.choose.shapes import COMPRESSION
from dlimg.errors import BadInput

_LEVEL: Final = 3  # zstd's own default


def named(text: str) -> str:
    """`gzip`, or `zstd` with its level: `zstd:9` is `zstd9`, and `zstd` alone `zstd3`."""
    return f"zstd{_LEVEL}" if text == "zstd" else text.replace(":", "")


def spelled(name: str) -> str:
    """The word for `--compression` that `named` makes this name from."""
    return name.replace("zstd", "zstd:") if name != "zstd" else name


def asked(text: str) -> str:
    """The same for a word of the command line; raises BadInput for one that names none."""
    if re.fullmatch(COMPRESSION.pattern, text):
        return named(text)
    raise BadInput(f"--compression {text!r} is not {COMPRESSION.called}", hint=COMPRESSION.hint)
