"""What a person asks, in the facts' names; and the combinations that it leaves open."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.end_of_life import last_day
from dlimg.compat.parse_names import CPU
from dlimg.compat.rules_image import image_word, takes_cuda_from_base
from dlimg.compat.rules_wheel import pins_admit
from dlimg.document.versions import begins, numbers
from dlimg.facts.load import Facts
from dlimg.facts.model import (
    PYPI,
    X86_64,
    Distribution,
    FrameworkRelease,
    GpuFact,
    ReleaseBuild,
    major,
)

# How many systems and Pythons are tried for one build where the question leaves them open.
_TRIED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Everything empty or None is open. `cuda` is `cpu`, a major or a minor."""

    framework: str
    version: str
    package: str = ""
    cuda: str = ""
    cudnn: str = ""
    python: str = ""
    system: Distribution | None = None
    gpu: GpuFact | None = None
    driver: str = ""
    machine: str = ""

    @property
    def on_gpu(self) -> bool:
        """Whether it speaks of something that a CPU build has no use for."""
        return bool(self.gpu or self.driver or self.cudnn or self.package == "tensorflow-gpu")


def machine_of(question: Query) -> str:
    """The machine that is meant: that of the GPU's hosts where nothing was said."""
    return question.machine or (question.gpu.machine if question.gpu else "") or X86_64


class QueryContext:
    """Facts and a day, with the systems in the order in which they are offered."""

    def __init__(self, facts: Facts, today: date) -> None:
        self.facts = facts
        known = [one for one in facts.distributions.values() if one.glibc and one.released]
        known = [one for one in known if one.distribution.startswith(("Debian", "Ubuntu"))]
        self.systems = sorted(known, key=lambda one: (not _good(one, today), _usual(one)))
        self.newest_first = sorted(known, key=lambda one: one.released, reverse=True)


def completions(ground: QueryContext, question: Query) -> Iterator[Combination]:
    """The combinations that answer a question, the most usual first; never none."""
    for of_one_build in by_build(ground, question):
        yield from of_one_build


def by_build(ground: QueryContext, question: Query) -> Iterator[Iterator[Combination]]:
    """The same, those of each build and CUDA together."""
    release = ground.facts.releases.get(question.framework, {}).get(question.version)
    machine = machine_of(question)
    for build, cuda in builds(ground.facts, question, release, machine):
        one = Combination(
            framework=question.framework,
            version=question.version,
            package=question.package,
            release=release,
            build=build,
            cuda=cuda,
            cudnn=question.cudnn,
            gpu=question.gpu,
            driver=question.driver,
            machine=machine,
        )
        places = islice(_places(ground, question, one), _TRIED)
        yield (one._replace(distribution=system, python=python) for system, python in places)


def builds(
    facts: Facts, question: Query, release: FrameworkRelease | None, machine: str
) -> Iterator[tuple[ReleaseBuild | None, str]]:
    """Builds, and the CUDA that each is meant with; None where there is no build.

    The package index's own come first, then the newest CUDA.
    """
    here = _of_machine(release, machine)
    wanted = question.cuda
    if wanted == CPU:
        plain = [one for one in here if not one.cuda]
        yield from ((one, "") for one in plain) if plain else ((None, ""),)
        return
    found = [
        (build, cuda)
        for build in sorted(here, key=_usual_first)
        for cuda in cudas(facts, build)
        if build.cuda and (not wanted or begins(cuda, wanted))
    ]
    if not found and wanted:
        yield _near_miss(here, question), wanted
        return
    yield from found
    if wanted:
        return
    plain = [one for one in here if not one.cuda]
    if plain and (not question.on_gpu or question.package == "tensorflow-cpu"):
        yield plain[0], ""
    elif not found:
        yield None, ""


def _near_miss(here: list[ReleaseBuild], question: Query) -> ReleaseBuild | None:
    """A build that just does not take the CUDA asked for, to say why it does not.

    TensorFlow without CUDA wheels loads whatever the system has.
    """
    wanted = question.cuda
    pinned = [one for one in here if one.cuda == major(wanted) and "." in wanted]
    linked = [one for one in here if one.cuda and not one.pins and one.index == PYPI]
    found = pinned or (linked if question.framework == "tensorflow" else [])
    return found[0] if found else None


def _of_machine(release: FrameworkRelease | None, machine: str) -> list[ReleaseBuild]:
    """Its builds for a machine; of two for one CUDA that of the package index."""
    here = [one for one in release.builds if one.machine == machine] if release else []
    indexed = {one.cuda for one in here if one.index == PYPI}
    return [one for one in here if one.index == PYPI or one.cuda not in indexed]


def _usual_first(build: ReleaseBuild) -> tuple[bool, tuple[int, ...]]:
    return build.index != PYPI, tuple(-number for number in numbers(build.cuda))


def cudas(facts: Facts, build: ReleaseBuild) -> tuple[str, ...]:
    """The minors of CUDA that a build is for: those that are confirmed first, then the newest."""
    if not build.cuda or "." in build.cuda:
        return (build.cuda,)
    found = [cuda for cuda in facts.cuda if begins(cuda, build.cuda) and pins_admit(build, cuda)]
    sure = facts.cuda
    return tuple(sorted(found, key=lambda one: (sure[one].origin.certain, numbers(one)))[::-1])


def _places(
    ground: QueryContext, question: Query, one: Combination
) -> Iterator[tuple[Distribution, str]]:
    """Systems with Pythons: the system's own first, then the newest that is managed."""
    pythons = one.build.pythons if one.build else ()
    pythons = pythons or (one.release.pythons if one.release else ())
    for system in [question.system] if question.system else _systems(ground, one):
        if question.python:
            yield system, question.python
            continue
        yield from ((system, python) for python in _pythons(ground.facts, system, pythons))


def _pythons(facts: Facts, system: Distribution, known: tuple[str, ...]) -> tuple[str, ...]:
    ordered = sorted(known, key=numbers, reverse=True)
    had = [one for one in ordered if one in facts.managed or one == system.python]
    had = had or ordered[:1]
    own = [one for one in had if one == system.python]
    return tuple(dict.fromkeys([*own, *had])) or ("",)


def _systems(ground: QueryContext, one: Combination) -> list[Distribution]:
    """Those that still get updates, Debian's and the newest first.

    Where CUDA must come with the base: those that its images are on.
    """
    fact = ground.facts.cuda.get(one.cuda)
    if takes_cuda_from_base(one) and fact and fact.image_os:
        known = ground.newest_first
        return [one for one in known if image_word(one) in fact.image_os]
    return ground.systems


def _good(one: Distribution, today: date) -> bool:
    end = last_day(one.extended_eol if one.extended == "LTS" else one.eol)
    return end is not None and end >= today and one.origin.sure_of("glibc")


def _usual(one: Distribution) -> tuple[bool, tuple[int, ...]]:
    newest_first = tuple(-number for number in numbers(one.released.replace("-", ".")))
    return one.distribution.startswith("Ubuntu"), newest_first
