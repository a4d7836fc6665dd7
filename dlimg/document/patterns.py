"""Patterns of texts in a matrix: each text is safe in the file names and tags that contain it.

They are matched in full.
"""

from typing import Final, NamedTuple


class Pattern(NamedTuple):
    """A regular expression, the name of a text that matches it, and how to write one."""

    pattern: str
    called: str
    hint: str


# A tag has three names, a Python and a flavour, and at most 128 characters.
LONGEST: Final = 30

_PART: Final = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PLACE: Final = rf"{_PART}(?::[0-9]{{1,5}})?(?:/{_PART})*"
_PACKAGE: Final = r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*"

TAG: Final = Pattern(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
    "a tag",
    "use letters, digits, '.', '_' or '-', 128 at most",
)
REGISTRY: Final = Pattern(
    rf"(?:\[[0-9a-f:]+\]:[0-9]{{1,5}}(?:/{_PART})*|{_PLACE})/?",
    "a place for images",
    "write name, host[:port] or host[:port]/path, in small letters, without https://",
)
IMAGE: Final = Pattern(
    rf"{_PLACE}(?::{TAG.pattern})?",
    "the name of an image",
    "write e.g. debian:trixie-slim; `dlimg lock --bases` pins the digest",
)
PLATFORM: Final = Pattern(
    r"(?:x86_64|aarch64)-manylinux_2_[0-9]{1,2}",
    "a platform of wheels",
    "write e.g. x86_64-manylinux_2_28, or aarch64-manylinux_2_28 for ARM hosts",
)
NAME: Final = Pattern(
    rf"(?=.{{1,{LONGEST}}}\Z)[a-z0-9]+(?:[._-][a-z0-9]+)*",
    "fit to be part of a tag",
    f"use small letters and digits, with single '.', '_' or '-' between them, {LONGEST} at most",
)
# PEP 440, without the parts that a tag cannot have (epoch, local part) and without dashes.
VERSION: Final = Pattern(
    rf"(?=.{{1,{LONGEST}}}\Z)[0-9]+(?:\.[0-9]+)*"
    r"(?:[._]?(?:a|b|c|rc|alpha|beta|pre|preview)(?:[._]?[0-9]+)?)?"
    r"(?:[._]?(?:post|rev|r)(?:[._]?[0-9]+)?)?"
    r"(?:[._]?dev(?:[._]?[0-9]+)?)?",
    "a version",
    "write it as the package index does, without an epoch or a local part, e.g. 2.15.0 or 3.0rc1",
)
PYTHON: Final = Pattern(r"3\.[0-9]{1,2}", "a minor version", "write e.g. 3.13")
# The free-threaded build is known to the facts, which refuse it.
PYTHON_BUILD: Final = Pattern(
    r"3\.[0-9]{1,2}t?", "a minor version", "write e.g. 3.13; 3.13t is the free-threaded build"
)
CUDA: Final = Pattern(r"[0-9]{1,3}\.[0-9]{1,3}", "a minor version", "write e.g. 13.2")
CUDNN: Final = Pattern(r"[0-9]+(?:\.[0-9]+){0,3}", "a version of cuDNN", "write e.g. 9.26")
KIND: Final = Pattern(
    r"any|cpu|cuda[0-9]{1,3}",
    "a kind of accelerator",
    "use any, cpu, or cuda with its major, e.g. cuda13",
)
CHECK: Final = Pattern(
    r"[A-Za-z0-9_.*?-]{1,100}",
    "the name of a check",
    "write e.g. pip_check, or a pattern such as runtime_*",
)
FINDING: Final = Pattern(
    r"[a-z]+(?:-[a-z]+)*",
    "the id of a finding",
    "write it as `dlimg lint` does, e.g. os-end-of-life",
)
# Levels of zstd that need no more memory to decompress than readers allow by default.
COMPRESSION: Final = Pattern(
    r"gzip|zstd(?::(?:[1-9]|1[0-9]))?",
    "a compression of layers",
    "write gzip, zstd, or zstd with a level from 1 to 19, e.g. zstd:9",
)
VARIABLE: Final = Pattern(
    r"[A-Za-z_][A-Za-z0-9_]{0,99}",
    "the name of a variable",
    "use letters, digits and '_', e.g. XLA_FLAGS",
)
# A web address without a name or a password.
URL: Final = Pattern(
    r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~:/?#%&=+-]*)?",
    "an address",
    "write e.g. https://example.com/images, without a name or a password",
)
LICENSES: Final = Pattern(
    r"[A-Za-z0-9.+:()-]+(?: [A-Za-z0-9.+:()-]+)*",
    "an SPDX license expression",
    "write e.g. Apache-2.0 AND LicenseRef-NVIDIA-SLA",
)
APT_PACKAGE: Final = Pattern(
    r"[a-z0-9][a-z0-9+.-]{1,99}",
    "the name of a package of Debian or Ubuntu",
    "write the name alone, e.g. libgl1: its version is that of the distribution's release",
)
PORT: Final = Pattern(r"[0-9]{1,5}(?:/(?:tcp|udp))?", "a port", "write e.g. 8080 or 53/udp")
IMAGE_PATH: Final = Pattern(
    r"(?:/[A-Za-z0-9._+@-]+)+", "a path in an image", "write e.g. /etc/team/settings.toml"
)
FILE_MODE: Final = Pattern(
    r"0?[4-7][0-7][0-7]", "the mode of a file", 'write it in quotes, e.g. "644" or "755"'
)
ACCOUNT: Final = Pattern(
    r"[a-z][a-z0-9_-]{0,31}",
    "the name of an account",
    "use small letters, digits, '_' or '-', 32 at most, a letter first",
)
HOME: Final = Pattern(
    r"(?:/home)?/[A-Za-z0-9_][A-Za-z0-9._-]{0,63}",
    "a home",
    "write /home/NAME, or a folder of its own such as /workspace",
)
PACKAGE: Final = Pattern(_PACKAGE, "the name of a package", "")
# dlimg needs the name; the solver checks the rest when the cell is locked.
REQUIREMENT: Final = Pattern(
    rf"{_PACKAGE} *(?:\[[A-Za-z0-9._, -]*\])? *(?:[<>=!~;(][^{{}}]*)?",
    "a requirement",
    "write e.g. jax[cuda13]==0.12.0.1; a wheel of one's own comes from a folder (--find-links) or "
    "an index (`indexes`)",
)
