"""Additions for `dlimg add`: releases that run on a machine, by the facts."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from packaging.specifiers import SpecifierSet

from dlimg.compat.combination import Combination
from dlimg.compat.pick import PickRequest
from dlimg.compat.query import Query, QueryContext
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.suggest import first_valid, is_against
from dlimg.document.versions import numbers
from dlimg.facts.model import PYPI, X86_64, Distribution, GpuFact

# The base image of each vendor's systems, by codename; of no other vendor's are images made.
BASE_IMAGES: Final = {"debian": "debian:{codename}-slim", "ubuntu": "ubuntu:{codename}"}
# The name of a framework's folder of images, where it is another than the package's.
FOLDERS: Final = {"torch": "pytorch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A combination that no cell of the matrix has, and the arguments of `dlimg add` for it."""

    combination: Combination
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        return f"dlimg add {' '.join(self.arguments)}"


def addition_of(combination: Combination, default: Distribution) -> Addition | None:
    """Return the addition for a combination; None for what `dlimg add` cannot make images of.

    That is a build that is not on the package index, another architecture, and a system that is
    neither Debian nor Ubuntu. Python and operating system are named where they are not those of
    the `default` system.
    """
    build, system = combination.build, combination.distribution
    if system is None or combination.arch != X86_64:
        return None
    # A framework whose plain wheel is for the CPU has no build of its own for it.
    if build.index != PYPI if build else combination.cuda:
        return None
    if system.distribution.lower().partition(" ")[0] not in BASE_IMAGES:
        return None
    arguments = [FOLDERS.get(combination.framework, combination.framework), combination.version]
    arguments += ["--cuda", combination.cuda] if combination.cuda else ["--cpu"]
    is_default = system.distribution == default.distribution
    if combination.python != default.python:
        arguments += ["--python", combination.python]
    arguments += [] if is_default else ["--os", system.distribution.lower().replace(" ", "")]
    return Addition(combination=combination, arguments=tuple(arguments))


def additions(
    engine: RuleEngine, context: QueryContext, request: PickRequest, frameworks: Iterable[str]
) -> Iterator[Addition]:
    """Yield for each framework the newest release with CUDA that runs on the whole request.

    Of a request for certain versions, the newest of these.
    """
    if request.without_gpu or request.arch not in ("", X86_64):
        return
    for framework in frameworks:
        combination = _newest(engine, context, request, framework)
        addition = addition_of(combination, context.systems[0]) if combination else None
        if addition:
            yield addition


def _newest(
    engine: RuleEngine, context: QueryContext, request: PickRequest, framework: str
) -> Combination | None:
    releases = context.facts.releases.get(framework, {})
    wanted = SpecifierSet(request.versions)
    final = (
        version
        for version in releases
        if re.fullmatch(r"[0-9.]+", version) and wanted.contains(version)
    )
    for version in sorted(final, key=numbers, reverse=True):
        query = Query(
            framework=framework,
            version=version,
            python=request.python,
            driver=request.driver,
            gpu=request.gpus[0] if request.gpus else None,
        )
        combination = first_valid(engine, context, query)
        build = combination.build if combination else None
        if combination is None or build is None or build.index != PYPI or not combination.cuda:
            continue
        if _runs(engine, combination, request.gpus[1:]):
            return combination
    return None


def _runs(engine: RuleEngine, combination: Combination, gpus: Iterable[GpuFact]) -> bool:
    """Return whether nothing is known or doubted against it on any of the GPUs."""
    return not any(
        is_against(reason)
        for gpu in gpus
        for reason in engine.reasons(combination._replace(gpu=gpu))
    )
