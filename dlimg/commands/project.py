"""A project's files, read: the matrix, the facts, and what they come to."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dlimg.choose.compression import asked
from dlimg.choose.facts import Facts
from dlimg.choose.read_matrix import parse_matrix
from dlimg.choose.resolve import Resolution, resolve
from dlimg.choose.select import in_group, select
from dlimg.commands.reading import read_facts, read_text
from dlimg.model import NOTHING, Cell

# What a matrix is resolved with.
RESOLVING: Final = ("cuda", "distributions", "jax", "pythons", "tensorflow", "torch")
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with a matrix, images, locks and rendered files; and the resolved matrix."""

    root: Path
    resolution: Resolution

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    def locked(self) -> Mapping[str, str]:
        """Cell ids that have a lock: `yes`, or `here only` where it is not to be committed."""
        local = {path.stem: "here only" for path in (self.locks / "local").glob("*.json")}
        return {path.stem: "yes" for path in self.locks.glob("*.json")} | local

    @property
    def rendered(self) -> Path:
        return self.root / "rendered"


def read_project(
    matrix: str, *, pins: Literal["read", "ignore"] = "read", facts: Facts | None = None
) -> Project:
    """The project whose matrix this is. Raises BadInput for whatever is wrong with it.

    Who is about to write the pins of base images ignores the file that holds them; who has read
    the facts already gives them.
    """
    path = Path(matrix)
    choices = parse_matrix(read_text(path), matrix)
    digests = _digests(path.parent / "locks") if pins == "read" else NOTHING
    resolution = resolve(choices, facts or read_facts(*RESOLVING), digests)
    return Project(root=path.parent, resolution=resolution)


def _digests(locks: Path) -> Mapping[str, str]:
    """The pinned digests of base images, where there are any."""
    if not (locks / "bases.json").exists():
        return NOTHING
    from dlimg.lock.store import read_bases  # noqa: PLC0415 - `list` is fast without it

    return read_bases(locks)


def chosen(project: Project, arguments: Namespace, *, otherwise: str = "") -> tuple[Cell, ...]:
    """The cells that the command line names; without any words, those of group `otherwise`."""
    resolution = project.resolution
    group = arguments.group or ("" if arguments.patterns else otherwise)
    cells = in_group(resolution.cells, resolution.groups, group) if group else resolution.cells
    return select(cells, arguments.patterns)


def compression_of(project: Project, arguments: Namespace) -> str:
    """The compression of layers: the command line's, or else the matrix's."""
    if not arguments.compression:
        return project.resolution.compression
    return asked(arguments.compression)


def private_engine(arguments: Namespace) -> Literal["allow", "refuse"]:
    """Whether this command line lets dlimg start an engine of its own."""
    return "refuse" if arguments.no_private_engine else "allow"
