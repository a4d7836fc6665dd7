"""`render` and `plan`: images as text and as data; nothing is built."""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dlimg.atomic_write import atomic_write
from dlimg.cli.printing import out, print_json, print_table, say
from dlimg.errors import BadInput, Negative, Problem
from dlimg.lock.check import check_locks
from dlimg.lock.store import read_bases, read_lock
from dlimg.model import Base, BaseSource, Cell, Image, PlannedImage
from dlimg.pipeline.project import Project, chosen, read_project
from dlimg.render.bake import TARGETS_PER_FILE, bake_files
from dlimg.render.dockerfile import image, templates
from dlimg.render.naming import repository, shared_names, tag
from dlimg.render.plan import PlanEntry, entries, github_jobs, plan_json
from dlimg.units import bytes_text


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """The exit code of either command."""
    project = read_project(arguments.matrix)
    cells = chosen(project, arguments)
    if arguments.command == "plan":
        _plan(project, cells, arguments, environment)
        return 0
    images = tuple(locked_images(project, cells))
    skipped = len(cells) - len(images)
    if skipped:
        say(f"{skipped} cells are not locked here and have no Dockerfile; `dlimg list` shows which")
    files = {_place(project, one): one.dockerfile for one in images}
    everything = not (arguments.patterns or arguments.group)
    strangers = tuple(_strangers(project, frozenset(files))) if everything else ()
    return _compare(files, strangers) if arguments.check else _write(files, strangers)


def _place(project: Project, one: Image) -> Path:
    """Where its Dockerfile goes; what was locked from an extra folder is not committed."""
    folder = project.rendered / "local" if one.lock.local else project.rendered
    return folder / one.cell.id / "Dockerfile"


def locked_images(project: Project, cells: Sequence[Cell]) -> Iterator[Image]:
    """The images of those cells that have a committed or local lock."""
    drawing = templates(str(project.images))
    for cell in cells:
        lock = read_lock(cell.id, project.locks)
        if lock is not None:
            yield image(cell, lock, project.resolution, drawing)


def current_images(project: Project, cells: Sequence[Cell]) -> tuple[Image, ...]:
    """The images of cells, all of which must be locked. Raises BadInput where one is not."""
    problems = check_locks(cells, project.locks, everything=project.resolution.cells)
    names = {cell.id for cell in cells} | {
        f"stack {cell.stack.name}" for cell in cells if cell.stack
    }
    concerning = [problem for problem in problems if problem.where in names]
    found = tuple(locked_images(project, cells))
    locked = {one.cell.id for one in found}
    concerning += [
        Problem(message="there is no lock", where=cell.id, hint=f"run `dlimg lock {cell.id}`")
        for cell in cells
        if cell.id not in locked and cell.id not in {problem.where for problem in concerning}
    ]
    concerning += _shared_names(project)
    if concerning:
        raise BadInput.of(concerning)
    return found


def _shared_names(project: Project) -> Iterator[Problem]:
    """Names that two cells of the whole matrix would have: one image would hide the other."""
    registry, aliases = project.resolution.registry, project.resolution.aliases
    locked = ((cell, read_lock(cell.id, project.locks)) for cell in project.resolution.cells)
    named = {
        cell.id: [
            f"{repository(registry, cell)}:{name}"
            for name in (tag(cell, lock), *aliases.get(cell.id, ()))
        ]
        for cell, lock in locked
        if lock
    }
    for name, cells in shared_names(named).items():
        hint = "give the alias another name, or tell the cells apart"
        yield Problem(message=f"{' and '.join(cells)} would both be {name}", hint=hint)


def _strangers(project: Project, current: frozenset[Path]) -> Iterator[Path]:
    """Rendered files whose cell, or whose lock, is gone."""
    for folder in (project.rendered, project.rendered / "local"):
        for path in sorted(folder.glob("*/Dockerfile")):
            if path not in current:
                yield path


def _compare(files: Mapping[Path, str], strangers: Sequence[Path]) -> int:
    hint = "run `dlimg render` and review the change"
    problems = [
        Problem(message="is not what would be rendered now", where=str(path), hint=hint)
        for path, text in files.items()
        if _text_of(path) != text
    ]
    problems += [
        Problem(message="no locked cell has this Dockerfile any more", where=str(path), hint=hint)
        for path in strangers
    ]
    if problems:
        raise Negative.of(problems)
    say(f"all {len(files)} Dockerfiles are current")
    return 0


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _write(files: Mapping[Path, str], strangers: Sequence[Path]) -> int:
    changed = 0
    for path, text in files.items():
        if _text_of(path) != text:
            _replace(path, text)
            changed += 1
    for path in strangers:
        path.unlink()
        path.parent.rmdir()
    say(f"{len(files)} Dockerfiles: {changed} written, {len(strangers)} removed")
    return 0


def _replace(path: Path, text: str) -> None:
    try:
        atomic_write(path, text)
    except OSError as error:
        hint = "make the folder writable; `dlimg build` needs no rendered files"
        raise BadInput(
            f"cannot be written: {error.strerror}", where=str(path), hint=hint
        ) from error


def _plan(
    project: Project, cells: Sequence[Cell], arguments: Namespace, environment: Mapping[str, str]
) -> None:
    from dlimg.builders.choose import (  # noqa: PLC0415 - loaded only when needed
        against_assembling,
        choice,
    )

    images = tuple(locked_images(project, cells))
    missing = len(cells) - len(images)
    if missing and (arguments.patterns or arguments.group):
        current_images(project, cells)  # says which, and how to lock them
    if missing:
        say(f"{missing} cells are not locked here and not in the plan")
    pins = read_bases(project.locks)
    against = against_assembling(environment)

    def builder(one: Image) -> tuple[str, str]:
        found = choice(arguments.builder, one, against)
        return found.builder, found.why

    plan = entries(images, arguments.base, pins, builder)
    match arguments.format:
        case "json":
            print_json(plan_json(plan))
        case "github":
            out(json.dumps(github_jobs(plan)) + "\n")
        case "bake":
            compression = project.resolution.compression
            _print_bake([_from_registry(one, pins, compression) for one in images])
        case _:
            _plan_table(plan, environment)


def _print_bake(planned: Sequence[PlannedImage]) -> None:
    local = [one.image.cell.id for one in planned if one.image.lock.local]
    if local:
        hint = "build them with `dlimg build`, which brings the wheels along"
        raise BadInput(f"{', '.join(local)}: wheels come from an extra folder", hint=hint)
    files = bake_files(planned)
    if len(files) != 1:
        message = f"a bake file holds 1 to {TARGETS_PER_FILE} targets, not {len(planned)}"
        raise BadInput(message, hint="choose cells by pattern or --group")
    say("immutable names come with the packages that a build installs: `dlimg build` gives them")
    print_json(files[0])


def _from_registry(one: Image, pins: Mapping[str, str], compression: str) -> PlannedImage:
    """An image as any buildx builder can make it: its base from where FROM says.

    It has no key: which packages that builder installs is not known before it has.
    """
    system = one.cell.os
    identity = pins.get(system.name, "")
    name = f"{system.image}@{identity}" if identity else system.image
    base = Base(
        os=system.name,
        source=BaseSource.REGISTRY,
        identity=identity or name,
        reference=f"docker-image://{name}",
    )
    return PlannedImage(image=one, base=base, key="", compression=compression)


def _plan_table(plan: Sequence[PlanEntry], environment: Mapping[str, str]) -> None:
    headings = ("image", "base", "builder", "wheels", "download", "checks")
    rows = [
        (
            f"{entry.image.repository}:{entry.image.tag}",
            entry.base,
            f"{entry.builder}: {entry.why}",
            str(len(entry.image.lock.wheels)),
            bytes_text(entry.image.lock.size),
            "need a GPU" if entry.needs_gpu else "need no GPU",
        )
        for entry in plan
    ]
    print_table(headings, rows, environment)
