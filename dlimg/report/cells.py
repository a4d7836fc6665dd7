"""Cells as rows, as text in full, and as data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Final

from dlimg.matrix.resolve import Resolution
from dlimg.model import Cell, Lock
from dlimg.render.docker_run import try_line
from dlimg.render.naming import cudnn_version, repository_name, tag
from dlimg.units import bytes_text

CELL_HEADINGS: Final = ("cell", "Python source", "moving tags", "locked")
GROUPED_HEADINGS: Final = ("cell", "moving tags", "locked")
DROPPED_HEADINGS: Final = ("dropped combination", "reason", "source")


def cell_row(cell: Cell, resolution: Resolution, locked: Mapping[str, str]) -> tuple[str, ...]:
    """Return a cell's row in the list."""
    python = f"uv {cell.managed_python}" if cell.managed_python else cell.os.name
    moving = ", ".join(resolution.aliases.get(cell.id, ())) or "-"
    return (cell.id, python, moving, locked.get(cell.id, "no"))


def grouped_rows(
    cells: Sequence[Cell], resolution: Resolution, locked: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the list on a terminal, under a row for each family and version.

    Below it, cells have the rest of their ids, and the Python that uv brings.
    """
    for (family, version), group in groupby(cells, key=lambda cell: (cell.family, cell.version)):
        yield (f"{family}-{version}-", "", "")
        for cell in group:
            name, _, moving, is_locked = cell_row(cell, resolution, locked)
            uv = f" (uv {cell.managed_python})" if cell.managed_python else ""
            rest = name.removeprefix(f"{family}-{version}-")
            # `here only` would make the table wider than 100 columns.
            yield (f"  {rest}{uv}", moving, is_locked.removesuffix(" only"))


def cell_json(cell: Cell, resolution: Resolution, locked: Mapping[str, str]) -> dict[str, object]:
    """Return a cell's axes and names as data."""
    return {
        "cell": cell.id,
        "family": cell.family,
        "package": cell.package,
        "version": cell.version,
        "accelerator": cell.accelerator,
        "cuda": cell.stack.cuda if cell.stack else None,
        "python": cell.python,
        "managed_python": cell.managed_python or None,
        "os": cell.os.name,
        "flavour": cell.flavour.value,
        "aliases": list(resolution.aliases.get(cell.id, ())),
        "locked": cell.id in locked,
        "notes": list(cell.notes),
    }


def locked_json(cell: Cell, resolution: Resolution, lock: Lock | None) -> dict[str, object]:
    """Return a cell's variables and, if it is locked, its names and wheels as data."""
    env = [asdict(variable) for variable in cell.env]
    if lock is None:
        return {"wheels": None, "env": env}
    return {
        "repository": repository_name(resolution.registry, cell),
        "tag": tag(cell, lock),
        "cudnn": cudnn_version(lock) or None,
        "download_bytes": lock.size,
        "wheels": [
            {
                "name": wheel.name,
                "version": wheel.version,
                "file": wheel.file,
                "size": wheel.size,
                "sha256": wheel.sha256,
            }
            for wheel in lock.wheels
        ],
        "env": env,
    }


def cell_lines(cell: Cell, resolution: Resolution, lock: Lock | None) -> Iterator[str]:
    """Yield the lines about one cell in full."""
    python = f"uv's CPython {cell.managed_python}" if cell.managed_python else cell.os.distribution
    yield cell.id
    yield f"  framework     {cell.package} {cell.version}"
    yield f"  CUDA          {cell.stack.cuda if cell.stack else 'none'}"
    yield f"  Python        {cell.python}, from {python}"
    yield f"  base          {cell.os.image}"
    yield f"  flavour       {cell.flavour}"
    yield f"  requirements  {', '.join(cell.requirements)}"
    for variable in cell.env:
        yield f"  variable      {variable.name}={variable.value}: {variable.why}"
    for note in cell.notes:
        yield f"  note          {note}"
    if lock is None:
        yield f"  not locked: `dlimg lock {cell.id}`"
        return
    name = f"{repository_name(resolution.registry, cell)}:{tag(cell, lock)}"
    aliases = resolution.aliases.get(cell.id, ())
    yield f"  cuDNN         {cudnn_version(lock) or 'none'}"
    yield f"  image         {name}"
    yield f"  moving tags   {', '.join(aliases) + ', once published' if aliases else '-'}"
    yield f"  wheels        {len(lock.wheels)}, {bytes_text(lock.size)} to download"
    for wheel in lock.wheels:
        yield f"    {wheel.name} {wheel.version}  {bytes_text(wheel.size)}"
    yield f"  run           {try_line(cell, name)}"
