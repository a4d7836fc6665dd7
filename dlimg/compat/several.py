"""Several requirements in one environment, judged by the facts alone."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import combinations
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from dlimg.compat import parse_names
from dlimg.compat.combination import Combination
from dlimg.compat.parse_names import CPU
from dlimg.compat.query import Query, QueryContext, arch_of, completions
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import confirm, refuse
from dlimg.compat.rules_numpy import NUMPY, NUMPY_1, NUMPY_RELEASE, built_for_numpy_1
from dlimg.compat.suggest import Suggestion, suggest, version_cost
from dlimg.compat.wheel_tags import admits
from dlimg.compat.why import WhyAnswer, judge, least_refused
from dlimg.document.versions import numbers
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, Distribution
from dlimg.lock.conflict import Conflict, exclude

# What people call a package whose name on the index is another.
_NICKNAMES: Final = {"pytorch": "torch", "tf": "tensorflow"}
_SUGGESTIONS: Final = 4
# As much as another minor release of a framework.
_NUMPY_1_COST: Final = 1.5
# From this likeness on a name is taken for a misspelling of a framework's.
_MISSPELT: Final = 0.75
_ONE_REQUIREMENT: Final = (
    r"[A-Za-z][A-Za-z0-9._-]*(?P<extras>\[[^\]]*\])?(?P<specifier>(?:[=<>~!]=?=?)[^=<>~!].*)?"
)
# Where people put spaces into one requirement: `numpy >= 1.26, <2`, `jax [cuda12, k8s]`.
_SPACED: Final = re.compile(r"\s*(?:\[[^\]]*\]|[=<>~!]=?=?|,)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRequirement:
    """A requirement; `version` is the only one it admits, else empty.

    `framework` is empty for a package without facts.
    """

    name: str
    extras: tuple[str, ...]
    specifier: str
    version: str
    framework: str

    @property
    def text(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.name}{extras}{self.specifier}"

    @property
    def is_local(self) -> bool:
        """True for a build of an index of its own: `2.6.0+cu126`."""
        return "+" in self.version

    def at(self, version: str) -> "NamedRequirement":
        return replace(self, specifier=f"=={version}", version=version)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralQuery:
    """Requirements with their surroundings; `base` has what all frameworks share."""

    requirements: tuple[NamedRequirement, ...]
    base: Query

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(requirement.text for requirement in self.requirements)

    def replaced(self, old: str, new: NamedRequirement) -> "SeveralQuery":
        """Return the query with another requirement for the package `old`."""
        requirements = tuple(
            new if requirement.name == old else requirement for requirement in self.requirements
        )
        return replace(self, requirements=requirements)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkAnswer:
    """The facts' answer for one requirement."""

    requirement: NamedRequirement
    query: Query
    answer: WhyAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralVerdict:
    """The facts' answers for several requirements, and the Python chosen for all."""

    python: str
    system: Distribution | None
    answers: tuple[FrameworkAnswer, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def valid(self) -> bool:
        return not self.conflicts and all(each.answer.valid for each in self.answers)


def split_requirements(subjects: Sequence[str]) -> tuple[str, ...]:
    """Return the requirements if these arguments are several of them, else none.

    `torch 2.6` and `torch == 2.6` are one; a name alone counts beside one with a version.
    Raises BadInput for an address and a marker.
    """
    for subject in subjects:
        parse_names.refuse_marker(subject)
    without_spaces = (_SPACED.sub(_joined, subject) for subject in subjects)
    texts = [text for subject in without_spaces for text in subject.split()]
    matches = [re.fullmatch(_ONE_REQUIREMENT, text) for text in texts]
    if len(texts) < 2 or not all(matches):
        return ()
    if not any(match and (match["extras"] or match["specifier"]) for match in matches):
        return ()
    return tuple(texts)


def _joined(spaced: re.Match[str]) -> str:
    return "".join(spaced[0].split())


def other_requirement(facts: Facts, text: str) -> tuple[str, ...]:
    """Return a requirement of a package without facts; nothing for a misspelt framework."""
    match = re.fullmatch(_ONE_REQUIREMENT, text.strip())
    if not match or not match["specifier"]:
        return ()
    written = re.match(r"[A-Za-z0-9._-]+", text.strip())
    name: str = canonicalize_name(written[0] if written else "")
    names = [*facts.framework_names, *_NICKNAMES]
    if name in names or text.strip() in facts.legacy:
        return ()
    is_longer = any(name.startswith(other) for other in names)
    if not is_longer and get_close_matches(name, names, n=1, cutoff=_MISSPELT):
        return ()
    return (text.strip(),)


def parse_requirements(facts: Facts, texts: Sequence[str]) -> tuple[NamedRequirement, ...]:
    """Parse requirements of any packages. Raises BadInput for what is none, and for repeats."""
    parsed = tuple(_parse(facts, text) for text in texts)
    names = [requirement.name for requirement in parsed]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{name} is named twice", hint="name each package once")
    return parsed


def _parse(facts: Facts, text: str) -> NamedRequirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        hint = "write e.g. torch==2.14.1"
        raise BadInput(f"{text!r} is no requirement", hint=hint) from error
    if requirement.url or requirement.marker:
        raise BadInput(f"{text!r} has a URL or a marker", hint="name a version, e.g. torch==2.14.1")
    canonical: str = canonicalize_name(requirement.name)
    name = _NICKNAMES.get(canonical, canonical)
    framework = facts.framework_names.get(name, "") if name != "jaxlib" else ""
    pins = [spec for spec in requirement.specifier if spec.operator in ("==", "===")]
    version = pins[0].version if pins and "*" not in pins[0].version else ""
    specifier = str(requirement.specifier)
    if framework and version and "+" not in version:
        version = parse_names.parse_version(facts, framework, version)
        specifier = f"=={version}"
    return NamedRequirement(
        name=name,
        extras=tuple(sorted(requirement.extras)),
        specifier=specifier,
        version=version,
        framework=framework,
    )


def framework_query(facts: Facts, requirement: NamedRequirement, base: Query) -> Query:
    """Return the query about one framework, as its requirement would be installed.

    Where an extra brings CUDA and none is named, that is the build without CUDA.
    """
    version, _, local = requirement.version.partition("+")
    framework = facts.frameworks[requirement.framework]
    extra = ",".join(requirement.extras)
    text = f"{requirement.name}[{extra}]" if extra else requirement.name
    named = parse_names.parse_requirement(facts, f"{text}=={version}")
    cuda = parse_names.parse_cuda(facts, local or named.cuda) if local or named.cuda else ""
    release = facts.releases[requirement.framework].get(version)
    by_extra = bool(framework.extra and release and release.pins)
    if not cuda and by_extra and not named.wants_cuda and not named.package:
        cuda = CPU
    return replace(
        base,
        framework=requirement.framework,
        package=named.package,
        version=version,
        cuda=cuda or base.cuda,
        wants_cuda=named.wants_cuda,
    )


def judge_several(engine: RuleEngine, context: QueryContext, query: SeveralQuery) -> SeveralVerdict:
    """Judge each framework on one Python and system, and the pins of each pair."""
    facts = engine.facts
    pinned = [each for each in query.requirements if each.framework and each.version]
    python, system = query.base.python, query.base.system
    if not python:
        python, system = _shared_python(facts, context, query, pinned)
    base = replace(query.base, python=python, system=system)
    answers = tuple(
        FrameworkAnswer(requirement=each, query=asked, answer=_judge(engine, context, asked, each))
        for each in pinned
        for asked in [framework_query(facts, each, base)]
    )
    conflicts = (*_unpaired(facts, query.requirements), *_pins_apart(answers))
    answers = tuple(_with_numpy(facts, each, query.requirements) for each in answers)
    return SeveralVerdict(python=python, system=system, answers=answers, conflicts=conflicts)


def _judge(
    engine: RuleEngine, context: QueryContext, query: Query, requirement: NamedRequirement
) -> WhyAnswer:
    """Judge what the requirement can install: builds of the package index, unless it is local."""
    every = list(completions(context, query))
    indexed = [each for each in every if each.build is None or each.build.index == PYPI]
    return judge(engine, least_refused(engine, every if requirement.is_local else indexed or every))


def _shared_python(
    facts: Facts, context: QueryContext, query: SeveralQuery, pinned: Sequence[NamedRequirement]
) -> tuple[str, Distribution | None]:
    """Return the first Python, with its system, that all frameworks have wheels for."""
    pythons = [_pythons_of(facts, each) for each in pinned]
    common = set.intersection(*map(set, pythons)) if pythons else set(facts.managed)
    wanted = common or set(pythons[0])
    systems = [query.base.system] if query.base.system else context.systems
    for system in systems:
        if system.python in wanted:
            return system.python, system
    newest = max(wanted & facts.managed.keys() or wanted, key=numbers)
    return newest, systems[0]


def _pythons_of(facts: Facts, requirement: NamedRequirement) -> tuple[str, ...]:
    version = requirement.version.partition("+")[0]
    release = facts.releases[requirement.framework].get(version)
    return release.pythons if release else tuple(facts.managed)


def _unpaired(facts: Facts, requirements: Iterable[NamedRequirement]) -> Iterator[Conflict]:
    """Yield packages, such as torchvision, in a version that fits another release."""
    by_name = {each.name: each for each in requirements if each.version}
    for each in by_name.values():
        version = each.version.partition("+")[0]
        release = facts.releases.get(each.framework, {}).get(version)
        for name, versions in release.paired_packages.items() if release else ():
            other = by_name.get(name)
            if other is None or other.version.partition("+")[0] in versions:
                continue
            fitting = (
                f"{name} {' or '.join(versions)} is" if versions else f"no {name} is known to be"
            )
            message = f"{other.text} is for another {each.name} than {each.text}: {fitting} for it"
            yield Conflict(
                requirements=(other.text, each.text),
                package=each.name,
                message=message,
                source=release.source if release else "",
            )


def _with_numpy(
    facts: Facts, answer: FrameworkAnswer, requirements: Sequence[NamedRequirement]
) -> FrameworkAnswer:
    """Return the answer with the rule's result about the required NumPy, for an old framework."""
    requirement = answer.requirement
    version = requirement.version.partition("+")[0]
    old = built_for_numpy_1(facts, requirement.framework, version)
    numpy = next((each for each in requirements if each.name == NUMPY), None)
    if old is None or numpy is None:
        return answer
    if exclude(numpy.specifier, "<2"):
        since = f"{old.since} is the first for NumPy 2"
        message = f"{old.message} ({since}), and {numpy.text} is asked for"
        result = refuse(NUMPY_RELEASE, "runtime", message, old.source, certain=old.certain)
    elif exclude(numpy.specifier, ">=2"):
        message = f"{old.message}; {numpy.text} is asked for"
        result = confirm(NUMPY_RELEASE, message, old.source, certain=old.certain)
    else:
        return answer
    judged = answer.answer
    others = tuple(reason for reason in judged.reasons if reason.rule != NUMPY_RELEASE)
    fails_at = judged.fails_at or ("runtime" if result.level == "refusal" else None)
    return replace(answer, answer=replace(judged, fails_at=fails_at, reasons=(result, *others)))


def changes_for_numpy(
    facts: Facts, query: SeveralQuery, refused: FrameworkAnswer
) -> Iterator[tuple[float, SeveralQuery]]:
    """Yield queries with NumPy 1, and with the first release for NumPy 2, where that refuses."""
    rules = {reason.rule for reason in refused.answer.reasons if reason.level == "refusal"}
    numpy = next((each for each in query.requirements if each.name == NUMPY), None)
    asked = refused.requirement
    old = built_for_numpy_1(facts, asked.framework, asked.version.partition("+")[0])
    if NUMPY_RELEASE not in rules or numpy is None or old is None:
        return
    older = replace(numpy, specifier=NUMPY_1.removeprefix(NUMPY), version="")
    yield _NUMPY_1_COST, query.replaced(NUMPY, older)
    newer = asked.at(old.since)
    yield version_cost(asked.version, old.since), query.replaced(asked.name, newer)


def _pins_apart(answers: Sequence[FrameworkAnswer]) -> Iterator[Conflict]:
    """Yield pairs of frameworks whose builds pin different versions of one package."""
    for first, second in combinations(answers, 2):
        builds = [each.answer.combination.build for each in (first, second)]
        if not builds[0] or not builds[1]:
            continue
        for name, pin in builds[0].pins.items():
            other = builds[1].pins.get(name)
            if other is None or not _apart(pin, other):
                continue
            texts = (first.requirement.text, second.requirement.text)
            needs = (
                f"{text} needs {name}{_spec(each)}"
                for text, each in zip(texts, (pin, other), strict=True)
            )
            yield Conflict(
                requirements=texts,
                package=name,
                message=", and ".join(needs),
                source=builds[0].origin.source,
            )
            break


def _spec(pin: str) -> str:
    return pin if pin[0] in "<>=!~" else f"=={pin}"


def _apart(first: str, second: str) -> bool:
    """Return whether no version fits both pins; two ranges may overlap."""
    ranges = [pin[0] in "<>=!~" for pin in (first, second)]
    if all(ranges):
        return False
    if not any(ranges):
        return first != second
    exact, bound = (second, first) if ranges[0] else (first, second)
    return not admits(bound, exact)


def nearest_releases(
    engine: RuleEngine, context: QueryContext, refused: FrameworkAnswer
) -> Iterator[tuple[Suggestion, NamedRequirement]]:
    """Yield what works instead of a refused framework, where no other hardware is needed."""
    for suggestion in suggest(engine, context, refused.query, _SUGGESTIONS):
        combination = suggestion.combination
        build = combination.build
        if not _keeps_hardware(refused.query, combination) or build is None:
            continue
        version = combination.version
        if build.index != PYPI:
            version = f"{version}+{build.variant}"
        requirement = _parse(engine.facts, f"{build.package}=={version}")
        yield suggestion, requirement


def _keeps_hardware(query: Query, combination: Combination) -> bool:
    gpu = combination.gpu.name if combination.gpu else ""
    wanted = query.gpu.name if query.gpu else ""
    return (gpu, combination.driver, combination.arch) == (wanted, query.driver, arch_of(query))
