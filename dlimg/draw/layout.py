"""Files of the layout's own, as data: which template or text each has, and where it lies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.model import Cell, Flavour, Lock

PLAIN_MODE: Final = "644"
PROGRAM_MODE: Final = "755"

# The parts of a framework's build that its requirement does not name: another version of one of
# these under the same framework breaks it, so users' pip must not bring one.
FRAMEWORK_PARTS: Final = ("cuda-", "jax-cuda", "jaxlib", "nvidia-", "triton")

EXACT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*==")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutFile:
    """A file of the system stage: a template under `images/_layout`, and its path in the image."""

    template: str
    path: str
    mode: str = PLAIN_MODE

    @property
    def name(self) -> str:
        """The name in the stage `files`, where no folders are."""
        return self.path.strip("/").replace("/", ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFile:
    """A file of the final stage, made from the cell and its lock."""

    path: str
    text: str
    mode: str = PLAIN_MODE

    @property
    def name(self) -> str:
        """The name in the stage `lock`, where no folders are."""
        return self.path.strip("/").replace("/", ".")


# For every command of Jupyter that serves: on all addresses, IPv6's too, in the working folder.
JUPYTER_SETTINGS: Final = CellFile(
    path="/etc/jupyter/jupyter_server_config.json",
    text="""\
{
  "ServerApp": {
    "ip": "*",
    "open_browser": false,
    "allow_root": true,
    "root_dir": "/code"
  }
}
""",
)

# apt reads this one, so it has to be there before packages are installed.
DPKG_SETTINGS: Final = LayoutFile(template="dpkg.cfg", path="/etc/dpkg/dpkg.cfg.d/dlimg")

LAYOUT_FILES: Final = (
    LayoutFile(template="entrypoint.sh", path="/usr/local/bin/dlimg-entrypoint", mode=PROGRAM_MODE),
    LayoutFile(
        template="healthcheck.py", path="/usr/local/bin/dlimg-healthcheck", mode=PROGRAM_MODE
    ),
    LayoutFile(template="overlay.sh", path="/usr/local/bin/dlimg-overlay", mode=PROGRAM_MODE),
    LayoutFile(template="profile.sh", path="/etc/profile.d/dlimg.sh"),
    LayoutFile(template="python3.sh", path="/usr/local/bin/python3", mode=PROGRAM_MODE),
)


def cell_files(cell: Cell, lock: Lock) -> tuple[CellFile, ...]:
    """The files that the final stage puts beside the wheels."""
    files = (
        CellFile(path="/etc/dlimg/requirements.txt", text=_lines(requirements(lock))),
        CellFile(path="/etc/dlimg/constraints.txt", text=_lines(constraints(cell, lock))),
    )
    return (*files, JUPYTER_SETTINGS) if cell.flavour is Flavour.NOTEBOOK else files


def requirements(lock: Lock) -> Iterator[str]:
    """The locked wheels as an installer reads them, one a line."""
    for wheel in lock.wheels:
        yield f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"


def constraints(cell: Cell, lock: Lock) -> Iterator[str]:
    """`name==version` of what users' pip must leave alone: the framework, its companions, CUDA.

    The rest of the lock may be replaced in front of the image's own, or little that wants an
    older `fsspec` could be installed at all.
    """
    matches = (EXACT.match(requirement) for requirement in cell.requirements)
    named = {match[1].lower().replace("_", "-") for match in matches if match}
    for wheel in lock.wheels:
        if wheel.name in named or wheel.name.startswith(FRAMEWORK_PARTS):
            yield f"{wheel.name}=={wheel.version}"


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
