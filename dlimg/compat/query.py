"""A user's question in the facts' names, and the combinations that fit it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.end_of_life import last_day
from dlimg.compat.parse_names import CPU
from dlimg.compat.rules_image import image_word
from dlimg.compat.rules_wheel import pins_admit
from dlimg.document.versions import begins_with, major, numbers
from dlimg.facts.load import Facts
from dlimg.facts.model import (
    PYPI,
    X86_64,
    Distribution,
    FrameworkPackage,
    FrameworkRelease,
    GpuFact,
    ReleaseBuild,
)

# Pairs of system and Python that are tried for one build where the question leaves them open.
_MOST_PLACES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question; empty or None is open. `cuda` is `cpu`, a major or a minor.

    `package` is another package of the framework, such as tensorflow-gpu. `wants_cuda` leaves
    builds without CUDA out.
    """

    framework: str
    version: str
    package: FrameworkPackage | None = None
    wants_cuda: bool = False
    cuda: str = ""
    cudnn: str = ""
    python: str = ""
    system: Distribution | None = None
    gpu: GpuFact | None = None
    driver: str = ""
    arch: str = ""

    @property
    def on_gpu(self) -> bool:
        """True if the query names a GPU, a driver or something else that a CPU build lacks."""
        by_package = self.package is not None and self.package.builds == "cuda"
        by_name = by_package or self.wants_cuda
        return bool(self.gpu or self.driver or self.cudnn or by_name)


def arch_of(query: Query) -> str:
    """Return the CPU architecture asked for, or else that of the GPU's hosts."""
    return query.arch or (query.gpu.arch if query.gpu else "") or X86_64


class QueryContext:
    """Facts and a day, with the systems in the order in which they are suggested."""

    def __init__(self, facts: Facts, today: date) -> None:
        self.facts = facts
        self.today = today
        systems = [
            system
            for system in facts.distributions.values()
            if system.glibc
            and system.released
            and system.distribution.startswith(("Debian", "Ubuntu"))
        ]
        self.systems = sorted(
            systems, key=lambda system: (not _is_supported(system, today), _preference(system))
        )
        self.newest_first = sorted(systems, key=lambda system: system.released, reverse=True)


def completions(context: QueryContext, query: Query) -> Iterator[Combination]:
    """Yield the combinations that fit a question, the most usual first; at least one."""
    for combinations in completions_by_build(context, query):
        yield from combinations


def completions_by_build(context: QueryContext, query: Query) -> Iterator[Iterator[Combination]]:
    """Yield the completions of each build and CUDA together."""
    release = context.facts.releases.get(query.framework, {}).get(query.version)
    arch = arch_of(query)
    for build, cuda in builds(context.facts, query, release, arch):
        combination = Combination(
            framework=query.framework,
            version=query.version,
            package=query.package.package if query.package else "",
            release=release,
            build=build,
            cuda=cuda,
            cudnn=query.cudnn,
            gpu=query.gpu,
            driver=query.driver,
            arch=arch,
        )
        places = islice(_places(context, query, combination), _MOST_PLACES)
        yield (
            combination._replace(distribution=system, python=python) for system, python in places
        )


def builds(
    facts: Facts, query: Query, release: FrameworkRelease | None, arch: str
) -> Iterator[tuple[ReleaseBuild | None, str]]:
    """Yield builds, each with a CUDA; a build is None if the release has none for it.

    The package index's own builds come first, then the newest CUDA.
    """
    candidates = _of_arch(release, arch)
    if query.cuda == CPU:
        cpu_builds = [build for build in candidates if not build.cuda]
        yield from ((build, "") for build in cpu_builds) if cpu_builds else ((None, ""),)
        return
    cpu_build = next((build for build in candidates if not build.cuda), None)
    if not query.cuda and _is_all_of_pypi(cpu_build, candidates):
        # The plain requirement installs it; another index must be named.
        yield cpu_build, ""
        return
    matches = [
        (build, cuda)
        for build in sorted(candidates, key=_usual_first)
        for cuda in cudas(facts, build)
        if build.cuda and (not query.cuda or begins_with(cuda, query.cuda))
    ]
    if not matches and query.cuda:
        yield _near_miss(candidates, query), query.cuda
        return
    yield from matches
    if query.cuda:
        return
    wants_cpu = query.package is not None and query.package.builds == "cpu"
    if cpu_build and (not query.on_gpu or wants_cpu):
        yield cpu_build, ""
    elif not matches:
        yield None, ""


def _is_all_of_pypi(cpu_build: ReleaseBuild | None, candidates: list[ReleaseBuild]) -> bool:
    """Return whether the package index has this build without CUDA, and none with it."""
    on_pypi = [build for build in candidates if build.index == PYPI]
    return cpu_build in on_pypi and not any(build.cuda for build in on_pypi)


def _near_miss(candidates: list[ReleaseBuild], query: Query) -> ReleaseBuild | None:
    """Return a build that just does not take the CUDA asked for, to explain why.

    A build without CUDA wheels may load the libraries of the system.
    """
    cuda = query.cuda
    pinned = [build for build in candidates if build.cuda == major(cuda) and "." in cuda]
    linked = [build for build in candidates if build.uses_system_cuda and build.index == PYPI]
    return next(iter(pinned or linked), None)


def _of_arch(release: FrameworkRelease | None, arch: str) -> list[ReleaseBuild]:
    """Return a release's builds for an architecture, one for each CUDA, from PyPI if it has it."""
    candidates = [build for build in release.builds if build.arch == arch] if release else []
    indexed = {build.cuda for build in candidates if build.index == PYPI}
    return [build for build in candidates if build.index == PYPI or build.cuda not in indexed]


def _usual_first(build: ReleaseBuild) -> tuple[bool, tuple[int, ...]]:
    return build.index != PYPI, tuple(-number for number in numbers(build.cuda))


def cudas(facts: Facts, build: ReleaseBuild) -> tuple[str, ...]:
    """Return the CUDA minors that a build is for: the confirmed ones first, then the newest."""
    if not build.cuda or "." in build.cuda:
        return (build.cuda,)
    minors = [
        cuda for cuda in facts.cuda if begins_with(cuda, build.cuda) and pins_admit(build, cuda)
    ]
    minors.sort(key=lambda cuda: (facts.cuda[cuda].origin.certain, numbers(cuda)), reverse=True)
    return tuple(minors)


def _places(
    context: QueryContext, query: Query, combination: Combination
) -> Iterator[tuple[Distribution, str]]:
    """Yield systems with Pythons: the system's own first, then the newest that uv has."""
    build, release = combination.build, combination.release
    pythons = (build.pythons if build else ()) or (release.pythons if release else ())
    for system in [query.system] if query.system else _systems(context, combination):
        if query.python:
            yield system, query.python
            continue
        yield from ((system, python) for python in _pythons(context.facts, system, pythons))


def _pythons(facts: Facts, system: Distribution, pythons: tuple[str, ...]) -> tuple[str, ...]:
    ordered = sorted(pythons, key=numbers, reverse=True)
    available = [python for python in ordered if python in facts.managed or python == system.python]
    available = available or ordered[:1]
    own = [python for python in available if python == system.python]
    return tuple(dict.fromkeys([*own, *available])) or ("",)


def _systems(context: QueryContext, combination: Combination) -> list[Distribution]:
    """Return the systems, supported ones first, then Debian before Ubuntu and newer before older.

    For a build that needs the base's CUDA: the systems of nvidia/cuda images.
    """
    build, fact = combination.build, context.facts.cuda.get(combination.cuda)
    if build is not None and build.uses_system_cuda and fact and fact.image_os:
        return [system for system in context.newest_first if image_word(system) in fact.image_os]
    return context.systems


def _is_supported(system: Distribution, today: date) -> bool:
    end = last_day(system.extended_eol if system.extended == "LTS" else system.eol)
    return end is not None and end >= today and system.origin.sure_of("glibc")


def _preference(system: Distribution) -> tuple[bool, tuple[int, ...]]:
    newest_first = tuple(-number for number in numbers(system.released.replace("-", ".")))
    return system.distribution.startswith("Ubuntu"), newest_first
