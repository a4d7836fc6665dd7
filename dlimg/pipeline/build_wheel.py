"""A source distribution built to a wheel, once, in a container of a cell's system."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from dlimg import __version__
from dlimg.assembly.system import SystemBuildTools, bake_stage
from dlimg.builders.progress import BuildProgress, advance, failure_log
from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine.bases import find_base
from dlimg.engine.client import Engine, check_buildx
from dlimg.engine.discover import find_engine
from dlimg.errors import BadInput, Negative
from dlimg.lock.built_wheels import WheelRecord, keep_wheel, records
from dlimg.lock.store import read_bases
from dlimg.model import EPOCH, Base, Cell, Flavour, Image, Lock, PlannedImage
from dlimg.pipeline.images import check_architecture
from dlimg.pipeline.locks import PrivateEngine
from dlimg.pipeline.project import Project
from dlimg.pypi.index import open_index
from dlimg.pypi.mirrors import default_addresses, index_address
from dlimg.pypi.sources import SourceDistribution, download_source, find_source
from dlimg.render.dockerfile import interpreter_path, load_templates, render_dockerfile

_STAGE: Final = "wheel"
_PACKAGES: Final = "packages.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltWheel:
    """The path of a wheel with its record; `is_new` is false for one that was kept."""

    path: Path
    record: WheelRecord
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """A source distribution on disk, and the planned image whose system builds it."""

    source: SourceDistribution
    sha256: str
    folder: Path
    planned: PlannedImage


def build_wheel(
    project: Project,
    cell: Cell,
    requirement: Requirement,
    context: Context,
    *,
    private_engine: PrivateEngine,
) -> BuiltWheel:
    """Return a wheel of the newest source distribution that the requirement allows.

    Raises BadInput if the index has none, WheelExists if it has a wheel; Negative if it does not
    build.
    """
    index = open_index(context, context.cache / "wheels")
    addresses = _addresses(cell, requirement, context)
    source = find_source(index, addresses, requirement, python=cell.python, platform=cell.platform)
    engine = find_engine(context, private=private_engine)
    check_architecture([cell], engine.architecture, f"the engine at {engine.host}")
    base = find_base(
        engine, cell.os, choice="auto", pins=read_bases(project.locks), log=context.log
    )
    planned = _planned(project, cell, base, source)
    with tempfile.TemporaryDirectory(prefix="dlimg-wheel-") as name:
        folder = Path(name)
        (folder / "sources").mkdir()
        sha256 = download_source(index, source, folder / "sources" / source.file.file)
        earlier = _earlier_wheel(sha256, planned, context)
        if earlier:
            return earlier
        check_buildx(engine)
        context.log(f"building {source.name} {source.version} on {cell.os.distribution}")
        build = _Build(source=source, sha256=sha256, folder=folder, planned=planned)
        return _built(build, engine, context)


def _addresses(cell: Cell, requirement: Requirement, context: Context) -> tuple[str, ...]:
    for index in cell.indexes:
        if canonicalize_name(requirement.name) in index.packages:
            return (index_address(index.name, context),)
    return default_addresses(context)


def _planned(project: Project, cell: Cell, base: Base, source: SourceDistribution) -> PlannedImage:
    """Return an image of the cell's system with a compiler, with a stage that builds a wheel."""
    templates = load_templates(project.images)
    compiling = replace(cell, flavour=Flavour.COMPILE)
    lock = Lock(name=cell.id, inputs="", python=cell.python, platform=cell.platform, wheels=())
    stage = templates.get_template("_layout/build_wheel.j2").render(
        epoch=EPOCH, python=interpreter_path(cell), source=source.file.file
    )
    return PlannedImage(
        image=Image(
            cell=compiling,
            lock=lock,
            dockerfile=render_dockerfile(compiling, lock, templates) + stage,
            labels={},
            repository="",
            tag="",
        ),
        base=base,
        key="",
    )


def _earlier_wheel(sha256: str, planned: PlannedImage, context: Context) -> BuiltWheel | None:
    """Return the wheel that was built from this source for this system and Python."""
    cell = planned.image.cell
    for path, record in records(context):
        is_same = (record.source_sha256, record.python) == (sha256, cell.python)
        if is_same and record.system in {"", cell.os.suite}:
            return BuiltWheel(path=path, record=record, is_new=False)
    return None


def _built(build: _Build, engine: Engine, context: Context) -> BuiltWheel:
    cell = build.planned.image.cell
    target = build.folder / "out"
    progress = BuildProgress(cell=cell.id)

    def on_line(line: str) -> None:
        nonlocal progress
        progress = advance(progress, line)

    with secrets_from(context) as secrets:
        tools = SystemBuildTools(
            engine=engine,
            secrets=secrets.files,
            arguments=secrets.arguments,
            on_line=on_line,
            log=context.log,
        )
        _bake(build, tools, target, lambda: progress)
    (wheel,) = target.glob("*.whl")
    return _keep(build, wheel, (target / _PACKAGES).read_text(encoding="utf-8"), context)


def _bake(
    build: _Build, tools: SystemBuildTools, target: Path, progress: Callable[[], BuildProgress]
) -> None:
    source = build.source
    try:
        bake_stage(
            build.planned,
            _STAGE,
            tools,
            build.folder,
            output=f"type=local,dest={target}",
            wheels=str(build.folder / "sources"),
        )
    except Negative as error:
        log = "\n".join(f"    {line}" for line in failure_log(progress()))
        raise Negative(
            f"{source.name} {source.version} does not build on "
            f"{build.planned.image.cell.os.distribution}\n{log}",
            hint="what it needs besides a C compiler cannot be added here: build the wheel "
            "elsewhere, and name its folder with --find-links",
        ) from error


def _keep(build: _Build, wheel: Path, packages: str, context: Context) -> BuiltWheel:
    cell, source = build.planned.image.cell, build.source
    name, version, _, tags = parse_wheel_filename(wheel.name)
    if (name, str(version)) != (source.name, source.version):
        message = f"{source.file.file} built a wheel of {name} {version}"
        raise BadInput(message, hint="its metadata names another package or version")
    is_for_all = all(tag.platform == "any" for tag in tags)
    record = WheelRecord(
        file=wheel.name,
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        name=source.name,
        version=source.version,
        source=source.file.file,
        source_sha256=build.sha256,
        index=source.index,
        system="" if is_for_all else cell.os.suite,
        base=build.planned.base.identity,
        python=cell.python,
        packages=tuple(packages.splitlines()),
        dlimg=__version__,
    )
    return BuiltWheel(path=keep_wheel(record, wheel, context), record=record, is_new=True)
