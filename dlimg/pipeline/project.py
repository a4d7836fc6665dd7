"""A project: its matrix with the facts and pins, resolved to cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dlimg.context import Log
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.image_files import ImageFiles, image_files, is_installed
from dlimg.lock.store import read_bases
from dlimg.matrix.dropped import join_reasons
from dlimg.matrix.parse import compression_from_option, parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.matrix.select import in_group, select
from dlimg.model import DEFAULT_COMPRESSION, EMPTY_MAPPING, Cell, CellSelection
from dlimg.pipeline.facts_files import read_facts, read_text
from dlimg.pipeline.project_files import read_project_files
from dlimg.render.frameworks import read_frameworks

DEFAULT_GROUP: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with a matrix, images, locks and rendered files; and the resolved matrix."""

    root: Path
    images: ImageFiles
    resolution: Resolution

    @property
    def is_shipped(self) -> bool:
        """Return whether this is the matrix in the installed package."""
        return is_installed(self.root)

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def rendered(self) -> Path:
        return self.root / "rendered"

    def locked(self) -> Mapping[str, str]:
        """Return `yes`, or `here only` for a lock that is not committed, by locked cell's id."""
        local = {path.stem: "here only" for path in (self.locks / "local").glob("*.json")}
        return {path.stem: "yes" for path in self.locks.glob("*.json")} | local


def read_project(
    matrix: str,
    *,
    pins: Literal["read", "ignore"] = "read",
    cells: Literal["some", "any"] = "some",
    facts: Facts | None = None,
    log: Log | None = None,
) -> Project:
    """Return the project of this matrix file. Raises BadInput for anything wrong in it.

    `cells="any"` also takes a matrix whose every combination drops. `pins="ignore"` skips
    `locks/bases.json` (for `lock --bases`, which rewrites it). Pass `facts` to reuse loaded ones.
    `log` gets a sentence for each old key in the matrix.
    """
    path = Path(matrix)
    choices = read_project_files(parse_matrix(read_text(path), matrix), path.parent)
    digests = _base_digests(path.parent / "locks") if pins == "read" else EMPTY_MAPPING
    images = image_files(path.parent)
    resolution = resolve(choices, facts or read_facts(), digests, read_frameworks(images))
    if cells == "some":
        refuse_empty(resolution, matrix)
    if log:
        for notice in resolution.notices:
            log(str(notice))
    return Project(root=path.parent, images=images, resolution=resolution)


def refuse_empty(resolution: Resolution, matrix: str) -> None:
    """Raise BadInput with the reasons if every combination of the matrix drops."""
    if resolution.cells or not resolution.dropped:
        return
    count, reasons = len(resolution.dropped), join_reasons(c.reason for c in resolution.dropped)
    subject = "the only combination drops" if count == 1 else f"all {count} combinations drop"
    hint = "`dlimg list --dropped` names each, and `dlimg why CELL` what works instead"
    raise BadInput(f"no cell is left, {subject}: {reasons}", where=matrix, hint=hint)


def _base_digests(locks: Path) -> Mapping[str, str]:
    """Return the pinned digests of base images; empty if nothing is pinned."""
    if not (locks / "bases.json").exists():
        return EMPTY_MAPPING
    return read_bases(locks)


def select_cells(
    project: Project, selection: CellSelection, *, otherwise: str = "", log: Log | None = None
) -> tuple[Cell, ...]:
    """Return the selected cells; without any selection, those of the group `otherwise`."""
    resolution = project.resolution
    group = selection.group or ("" if selection.patterns else otherwise)
    cells = in_group(resolution.cells, resolution.groups, group) if group else resolution.cells
    return select(cells, selection.patterns, log)


def stated_compression(project: Project, method: str = "") -> str:
    """Return the compression of layers: this method, or else the matrix's; empty without either."""
    return compression_from_option(method) if method else project.resolution.compression


def compression_of(project: Project, method: str = "") -> str:
    """Return the stated compression of layers, or else the default."""
    return stated_compression(project, method) or DEFAULT_COMPRESSION
