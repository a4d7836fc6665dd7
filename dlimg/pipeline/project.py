"""A project's files, read: the matrix, the facts, and what they come to."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dlimg.errors import BadInput
from dlimg.facts.load import Facts, facts_of
from dlimg.facts.parse import Rows, uncompiled
from dlimg.matrix.parse import asked, parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.matrix.select import in_group, select
from dlimg.model import NOTHING, Cell

FACTS: Final = Path(__file__).parent.parent / "facts"


def read_facts(*subjects: str) -> Facts:
    """The facts about these subjects; about all of them where none is named.

    Raises BadInput where a file is not as it should be.
    """
    names = subjects or [path.stem for path in sorted(FACTS.glob("*.yaml"))]
    return facts_of({f"{name}.yaml": read_rows(name) for name in names})


def read_rows(subject: str) -> Rows:
    """The rows of one subject: from its JSON, unless somebody has changed the YAML since."""
    text = read_text(FACTS / f"{subject}.yaml")
    kept = FACTS / "compiled" / f"{subject}.json"
    rows = uncompiled(read_text(kept), text) if kept.exists() else None
    if rows is None:
        from dlimg.facts.parse import rows_of  # noqa: PLC0415 - seldom, and slow

        rows = rows_of(text, f"{subject}.yaml")
    return rows


def read_text(path: Path) -> str:
    """The text of a file. Raises BadInput where there is none, or where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = "run in the project's folder, or name the file with --matrix"
        raise BadInput("there is no such file", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 text: {error.reason}", where=str(path)) from error
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error


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
