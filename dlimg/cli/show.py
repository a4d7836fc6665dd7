"""`show` and `checks`: one cell in full, and what is proved about cells."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from dlimg.checks.evidence import evidence_folder, last_evidence
from dlimg.cli.check_selection import checks_of, own_folder
from dlimg.cli.list import cell_json
from dlimg.cli.printing import out, print_json, print_table, say
from dlimg.pipeline.project import (Project, chosen, read_project)
from dlimg.errors import BadInput
from dlimg.lock.store import read_lock
from dlimg.matrix.select import select
from dlimg.model import Cell, Lock
from dlimg.render.docker_run import try_line
from dlimg.render.naming import cudnn_version, repository, tag
from dlimg.report.checks import OF_MANY, OF_ONE, check_json, check_row, check_rows
from dlimg.report.evidence_text import tested_json, tested_text
from dlimg.units import bytes_text


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0; nothing is changed and no engine is asked."""
    project = read_project(arguments.matrix)
    if arguments.command == "show":
        _show(project, arguments, environment)
    else:
        _checks(project, arguments, environment)
    return 0


def _show(project: Project, arguments: Namespace, environment: Mapping[str, str]) -> None:
    found = select(project.resolution.cells, [arguments.cell])
    if len(found) > 1:
        raise BadInput(
            f"{arguments.cell!r} fits {len(found)} cells, show takes one",
            hint=f"e.g. {found[0].id}",
        )
    cell = found[0]
    lock = read_lock(cell.id, project.locks)
    tested = last_evidence(evidence_folder(environment), cell.id, say=say)
    if arguments.format == "json":
        about = cell_json(project, cell, project.locked()) | _lock_json(project, cell, lock)
        about["env"] = [asdict(variable) for variable in cell.env]
        print_json(about | {"tested": [tested_json(one) for one in tested]})
        return
    texts = [tested_text(one, is_cuda=cell.is_cuda) for one in tested] or ["not here"]
    lines = [*_lines(project, cell, lock), *(f"  tested     {text}" for text in texts)]
    out("\n".join(lines) + "\n")


def _lock_json(project: Project, cell: Cell, lock: Lock | None) -> dict[str, object]:
    if lock is None:
        return {"wheels": None}
    return {
        "repository": repository(project.resolution.registry, cell),
        "tag": tag(cell, lock),
        "cudnn": cudnn_version(lock) or None,
        "download_bytes": lock.size,
        "wheels": [
            {
                "name": w.name,
                "version": w.version,
                "file": w.file,
                "size": w.size,
                "sha256": w.sha256,
            }
            for w in lock.wheels
        ],
    }


def _lines(project: Project, cell: Cell, lock: Lock | None) -> Sequence[str]:
    python = f"uv's CPython {cell.managed_python}" if cell.managed_python else cell.os.distribution
    lines = [
        cell.id,
        f"  framework  {cell.package} {cell.version}",
        f"  CUDA       {cell.stack.cuda if cell.stack else 'none'}",
        f"  Python     {cell.python}, from {python}",
        f"  base       {cell.os.image}",
        f"  flavour    {cell.flavour}",
        f"  asked for  {', '.join(cell.requirements)}",
        *(f"  variable   {one.name}={one.value}: {one.why}" for one in cell.env),
        *(f"  note       {note}" for note in cell.notes),
    ]
    if lock is None:
        return [*lines, f"  not locked: `dlimg lock {cell.id}`"]
    name = f"{repository(project.resolution.registry, cell)}:{tag(cell, lock)}"
    aliases = project.resolution.aliases.get(cell.id, ())
    lines += [
        f"  cuDNN      {cudnn_version(lock) or 'none'}",
        f"  image      {name}",
        f"  moving     {', '.join(aliases) + ', once published' if aliases else '-'}",
        f"  wheels     {len(lock.wheels)}, {bytes_text(lock.size)} to download",
        *(f"    {wheel.name} {wheel.version}  {bytes_text(wheel.size)}" for wheel in lock.wheels),
        f"  run        {try_line(cell, name)}",
    ]
    return lines


def _checks(project: Project, arguments: Namespace, environment: Mapping[str, str]) -> None:
    own = own_folder(arguments)
    cells = chosen(project, arguments)
    pairs = [(cell, check) for cell in cells for check in checks_of(project, cell, own)]
    if arguments.format == "json":
        print_json([check_json(cell, check) for cell, check in pairs])
    elif len(cells) == 1:
        print_table(OF_ONE, [check_row(check) for _, check in pairs], environment)
    else:
        print_table(OF_MANY, check_rows(pairs, len(cells)), environment)
