"""Every release that the package index serves, resolved, locked and rendered: a verdict for each.

A release is tried as a project would use it: a matrix of one cell, whose stack it leads itself,
under facts without releases, so that no fact decides beforehand.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from dlimg.compat.rules_bounds import bound_texts
from dlimg.document.versions import major, minor, numbers
from dlimg.errors import BadInput, DlimgError, Negative, NetworkFailure
from dlimg.facts.load import Facts
from dlimg.facts.model import FrameworkFact, FrameworkRelease
from dlimg.image_files import ImageFiles
from dlimg.lock.lock_all import Locker, lock_cell, lock_stack
from dlimg.lock.request import LockRequest
from dlimg.lock.solve import solve
from dlimg.lock.store import read_lock
from dlimg.matrix.model import Matrix
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.model import CPU, CUDNN_PACKAGES, EMPTY_MAPPING, Cell, Framework, Lock
from dlimg.render.dockerfile import load_templates, render_image

PLATFORM: Final = "x86_64-manylinux_2_28"
# The Debian releases that the catalogue is for, each with its own Python.
SYSTEMS: Final[Mapping[str, tuple[str, str]]] = {
    "debian12": ("Debian 12", "debian:bookworm-slim"),
    "debian13": ("Debian 13", "debian:trixie-slim"),
}
_CUDA: Final = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")
_CUBLAS: Final = ("nvidia-cublas-cu12",)  # those of CUDA 11 and 13 have numbers of their own
# Python packages that are numbered by themselves; torch 2.10.0 pins one of another CUDA minor.
_EXCEPTIONS: Final = tuple(
    {"package": name, "why": "numbered by itself"} for name in ("cuda-pathfinder", "cuda-bindings")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueQuestion:
    """A release on one accelerator (`cpu`, `cuda`, `cuda12`), Python and operating system."""

    framework: str
    version: str
    accelerator: str
    requirement: str
    python: str
    os: str

    @property
    def name(self) -> str:
        return f"{self.requirement} py{self.python} {self.os}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRow:
    """The verdict about a question; `stage` is where it failed: resolve, lock or render.

    `cuda` and `cudnn` are those that it resolved to, `size` the bytes of its `wheels` wheels.
    """

    framework: str
    version: str
    accelerator: str
    requirement: str
    python: str
    os: str
    works: bool
    stage: str = ""
    cuda: str = ""
    cudnn: str = ""
    wheels: int = 0
    size: int = 0
    reason: str = ""


def index_versions(files: Sequence[str], oldest: str) -> tuple[str, ...]:
    """Return the final releases that have any of these files, from `oldest` on, in order."""
    versions = set()
    for file in files:
        try:
            version = (
                parse_wheel_filename(file)[1]
                if file.endswith(".whl")
                else parse_sdist_filename(file)[1]
            )
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        if not version.is_prerelease and version >= Version(oldest):
            versions.add(version)
    return tuple(str(version) for version in sorted(versions))


def questions(
    facts: Facts, framework: FrameworkFact, versions: Sequence[str]
) -> Iterator[CatalogueQuestion]:
    """Yield the questions about these releases of a framework."""
    for version in versions:
        for accelerator, requirement in _requirements(facts, framework):
            for name, (distribution, _) in SYSTEMS.items():
                yield CatalogueQuestion(
                    framework=framework.name,
                    version=version,
                    accelerator=accelerator,
                    requirement=f"{requirement}=={version}",
                    python=facts.distributions[distribution].python,
                    os=name,
                )


def _requirements(facts: Facts, framework: FrameworkFact) -> Iterator[tuple[str, str]]:
    """Yield accelerators with the package that the index has for them."""
    cpu_packages = [
        package.package
        for package in facts.packages.values()
        if package.framework == framework.name and package.builds == CPU
    ]
    if framework.plain_runs_on_cpu:
        # Old releases have the library in this extra only, later ones ignore it.
        yield CPU, f"{framework.name}[cpu]"
    elif cpu_packages:
        yield CPU, cpu_packages[0]
    if "{cuda}" not in framework.extra:
        extra = f"[{framework.extra}]" if framework.extra else ""
        yield "cuda", f"{framework.name}{extra}"
        return
    releases = facts.releases[framework.name].values()
    for cuda in sorted({cuda for release in releases for cuda in release.cuda}):
        yield f"cuda{cuda}", f"{framework.name}[{framework.extra.format(cuda=cuda)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueTrial:
    """The means to try a release: a locker, facts, frameworks and the folder of templates."""

    locker: Locker
    facts: Facts
    frameworks: Mapping[str, Framework]
    images: ImageFiles


def try_release(question: CatalogueQuestion, trial: CatalogueTrial) -> CatalogueRow:
    """Resolve, lock and render a release, and return the verdict. Raises NetworkFailure."""
    stage = "resolve"
    try:
        resolved = _resolve(question, trial)
        stage = "lock"
        cell, resolution = cell_of(question, resolved, trial)
        with tempfile.TemporaryDirectory(prefix="dlimg-catalogue-") as folder:
            lock = _lock(cell, replace(trial.locker, folder=Path(folder)))
        stage = "render"
        render_image(cell, lock, resolution, load_templates(trial.images))
    except NetworkFailure:
        raise
    except DlimgError as error:
        return _row(question, works=False, stage=stage, reason=short_reason(error))
    return _row(
        question,
        works=True,
        cuda=minor(lock.version_of(*_CUDA)),
        cudnn=lock.version_of(*CUDNN_PACKAGES),
        wheels=len(lock.wheels),
        size=lock.size,
    )


def _row(question: CatalogueQuestion, **verdict: Any) -> CatalogueRow:  # noqa: ANN401 - fields
    fields = {name: getattr(question, name) for name in CatalogueQuestion.__slots__}
    return CatalogueRow(**fields, **verdict)


def _resolve(question: CatalogueQuestion, trial: CatalogueTrial) -> str:
    """Return the CUDA minor that a requirement resolves to, empty for the CPU.

    Raises BadInput if nothing fits together, or if it brings no CUDA.
    """
    request = LockRequest(
        name=question.name,
        where=question.name,
        requirements=(question.requirement,),
        constraints=bound_texts(trial.facts, question.framework, question.version),
        cuda_rule=None,
        python=question.python,
        platform=PLATFORM,
    )
    wheels = {wheel.name: wheel for wheel in solve(request, trial.locker.solver)}
    if question.accelerator == CPU:
        return ""
    if not any(name in wheels for name in _CUDA):
        raise BadInput("no CUDA libraries come with it", where=question.name)
    # The oldest minor: some releases hold cuBLAS below that of the newest runtime.
    numbered = (wheels[name].version for name in (*_CUDA, *_CUBLAS) if name in wheels)
    return minor(min(numbered, key=numbers))


def cell_of(
    question: CatalogueQuestion, cuda: str, trial: CatalogueTrial
) -> tuple[Cell, Resolution]:
    """Return the cell of a release in a matrix of its own, under facts without releases."""
    releases: Mapping[str, Mapping[str, FrameworkRelease]]
    releases = {name: {} for name in trial.facts.releases}
    matrix = matrix_of(question, cuda, trial.facts, trial.frameworks)
    resolution = resolve(
        matrix, replace(trial.facts, releases=releases), EMPTY_MAPPING, trial.frameworks
    )
    return resolution.cells[0], resolution


def matrix_of(
    question: CatalogueQuestion, cuda: str, facts: Facts, frameworks: Mapping[str, Framework]
) -> Matrix:
    """Return a matrix of this release alone, on a stack of this CUDA that it leads itself."""
    accelerator = f"cuda{cuda}" if cuda else CPU
    kind = f"cuda{major(cuda)}" if cuda else CPU
    distribution, image = SYSTEMS[question.os]
    template = question.requirement.replace(f"=={question.version}", "=={version}")
    stack = {"cuda": cuda, "leader": template, "python": question.python}
    tree = {
        "registry": "catalogue",
        "platform": PLATFORM,
        "operating_systems": {question.os: {"distribution": distribution, "image": image}},
        **({"stacks": {accelerator: {**stack, "exceptions": _EXCEPTIONS}}} if cuda else {}),
        "families": {
            _folder(question.framework, facts, frameworks): {
                "framework": question.framework,
                "axes": {
                    "version": [question.version],
                    "accelerator": [accelerator],
                    "python": [question.python],
                    "os": [question.os],
                    "flavour": ["runtime"],
                },
                "packages": {kind: [template]},
                "defaults": {"python": question.python, "os": question.os},
            }
        },
        "groups": {"default": [{}]},
    }
    return parse_matrix(json.dumps(tree), question.name)


def _folder(framework: str, facts: Facts, frameworks: Mapping[str, Framework]) -> str:
    """Return the folder of a framework's template: `pytorch` of torch."""
    names = (framework, *facts.frameworks[framework].aliases)
    return next((name for name in names if name in frameworks), framework)


def _lock(cell: Cell, locker: Locker) -> Lock:
    """Return the lock of a cell, after that of its stack."""
    if cell.stack:
        lock_stack(cell.stack, locker)
    lock_cell(cell, locker)
    lock = read_lock(cell.id, locker.folder)
    if lock is None:
        raise Negative("no lock was written", where=cell.id)
    return lock


def short_reason(error: DlimgError) -> str:
    """Return the first sentence of uv's explanation, or else the error's message."""
    message = error.problems[0].message
    explanation = message.partition("uv says: ")[2] or message
    first = re.split(r", we can conclude|\. |  +hint:| hint:", explanation, maxsplit=1)[0]
    return " ".join(first.removeprefix("Because ").split())
