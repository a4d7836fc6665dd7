"""Answers to `why` about several requirements: by the facts, and by a resolution with uv."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Final

import uv

from dlimg.compat.query import QueryContext, arch_of
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.several import (
    NamedRequirement,
    SeveralQuery,
    SeveralVerdict,
    changes_for_numpy,
    judge_several,
    nearest_releases,
    parse_requirements,
)
from dlimg.compat.several_answer import Resolved, SeveralAnswer, SeveralSuggestion
from dlimg.compat.suggest import version_cost
from dlimg.context import Context, Log, no_log
from dlimg.document.versions import numbers
from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.facts.load import Facts
from dlimg.host import process
from dlimg.lock.conflict import Conflict, conflict_of
from dlimg.lock.request import LockRequest
from dlimg.lock.solve import NoSolution, SolverResult, UvSolver, solve
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.why import WhyQuestion, surroundings
from dlimg.pypi.mirrors import uv_environment

# The minors of glibc 2 that uv has platforms for.
_GLIBC_MINORS: Final = (17, 28, *range(31, 41))
_USUAL_MINOR: Final = 28
SUGGESTED: Final = 2
# Resolutions, and combinations judged by the facts, of one search.
_RESOLUTIONS: Final = 16
_JUDGEMENTS: Final = 60
# Releases that are tried without an index.
_NEIGHBOURS: Final = 9
# A package that goes with a framework is rather changed than the framework itself.
_PACKAGE_COST: Final = 0.5


class Resolver:
    """Resolutions by uv, each made once; after a failure of the index it asks no more."""

    def __init__(self, solver: UvSolver | None, log: Log, *, note: str = "") -> None:
        self.solver = solver
        self.log = log
        self.note = note
        self.left = _RESOLUTIONS
        self.answers: dict[tuple[tuple[str, ...], str, str, bool], Resolved] = {}

    def resolve(
        self, requirements: tuple[str, ...], python: str, platform: str, *, lowest: bool = False
    ) -> Resolved:
        """Return uv's answer; with `lowest` it takes the lowest versions of the requirements."""
        key = (requirements, python, platform, lowest)
        if key not in self.answers:
            self.answers[key] = self._ask(requirements, python, platform, lowest=lowest)
        return self.answers[key]

    def _ask(
        self, requirements: tuple[str, ...], python: str, platform: str, *, lowest: bool
    ) -> Resolved:
        if self.solver is None or self.left <= 0:
            return Resolved(outcome="not asked", note=self.note)
        self.left -= 1
        self.log(f"resolving with uv: {' '.join(requirements)} for Python {python}")
        request = LockRequest(
            name="why",
            where="",
            requirements=requirements,
            constraints=(),
            cuda_rule=None,
            python=python,
            platform=platform,
        )
        try:
            wheels = solve(request, _lowest_first(self.solver) if lowest else self.solver)
        except NoSolution as error:
            return Resolved(outcome="refused", conflict=_conflict(error, requirements))
        except (NetworkFailure, Negative) as error:
            self.note = error.problems[0].message.partition(" cause:")[0]
            self.solver = None
            return Resolved(outcome="no answer", note=self.note)
        return Resolved(
            outcome="resolved", packages={wheel.name: wheel.version for wheel in wheels}
        )


def _lowest_first(solver: UvSolver) -> UvSolver:
    """Return the solver with the option of uv that takes the lowest versions first."""

    def run(
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float | None = None,
    ) -> SolverResult:
        options = [*argv, "--resolution", "lowest-direct"]
        return solver.run(options, env=env, cwd=cwd, stdin=stdin, timeout=timeout)

    return replace(solver, run=run)


def _conflict(error: NoSolution, requirements: tuple[str, ...]) -> Conflict:
    report = error.report or error.problems[0].message
    conflict = conflict_of(report, requirements)
    return conflict or Conflict(
        requirements=requirements, package="", message=report, source="uv's own words"
    )


def answer_several(
    engine: RuleEngine, query: SeveralQuery, today: date, resolver: Resolver
) -> SeveralAnswer:
    """Answer by the facts and, where the index answers, by a resolution; suggest what works.

    Raises BadInput or NetworkFailure where neither has anything to say.
    """
    search = _NearestSearch(engine, QueryContext(engine.facts, today), resolver)
    answer = search.judge(query)
    if answer.valid:
        _check_known(answer)
        return answer
    return replace(answer, nearest=tuple(search.nearest(query)))


def _check_known(answer: SeveralAnswer) -> None:
    """Refuse an answer without a reason: no framework in a known version, and no resolution."""
    if answer.verdict.answers or answer.resolved.outcome == "resolved":
        return
    message = f"no facts about {', '.join(answer.query.texts)}"
    if answer.resolved.outcome == "no answer":
        note = f"{message}, and the package index did not answer: {answer.resolved.note}"
        raise NetworkFailure(note, hint="check the network, the proxy and the index address")
    hint = "name versions of torch, tensorflow or jax, or ask the package index: without --offline"
    raise BadInput(f"{message}, and the package index was not asked", hint=hint)


class _NearestSearch:
    """A search for the nearest requirements that work, the least change first."""

    def __init__(self, engine: RuleEngine, context: QueryContext, resolver: Resolver) -> None:
        self.engine = engine
        self.context = context
        self.resolver = resolver

    def judge(self, query: SeveralQuery) -> SeveralAnswer:
        verdict = judge_several(self.engine, self.context, query)
        resolved = self._resolve(query, verdict)
        if resolved.outcome == "resolved":
            verdict = self._with_brought(query, verdict, resolved)
        return SeveralAnswer(query=query, verdict=verdict, resolved=resolved)

    def _resolve(self, query: SeveralQuery, verdict: SeveralVerdict) -> Resolved:
        local = [each.text for each in query.requirements if each.is_local]
        if local:
            note = f"{' and '.join(local)} is on an index of its own, which was not asked"
            return Resolved(outcome="not asked", note=note)
        python = verdict.python.removesuffix("t")
        return self.resolver.resolve(query.texts, python, self._platform(query, verdict))

    def _platform(self, query: SeveralQuery, verdict: SeveralVerdict) -> str:
        """Return uv's name for wheels that run on the operating system of the answer."""
        system = verdict.system or self.context.systems[0]
        own = numbers(system.glibc)[1] if system.glibc else _USUAL_MINOR
        fitting = [number for number in _GLIBC_MINORS if number <= own]
        return f"{arch_of(query.base)}-manylinux_2_{max(fitting, default=_GLIBC_MINORS[0])}"

    def _with_brought(
        self, query: SeveralQuery, verdict: SeveralVerdict, resolved: Resolved
    ) -> SeveralVerdict:
        """Return the verdict with the frameworks that other packages bring along."""
        facts = self.engine.facts
        pinned = {each.name for each in query.requirements if each.version}
        brought = tuple(
            NamedRequirement(
                name=name,
                extras=(),
                specifier=f"=={resolved.packages[name]}",
                version=resolved.packages[name],
                framework=name,
            )
            for name, framework in facts.frameworks.items()
            if not framework.extra and name in resolved.packages and name not in pinned
            if resolved.packages[name] in facts.releases[name]
        )
        if not brought:
            return verdict
        base = replace(query.base, python=verdict.python, system=verdict.system)
        brought_query = SeveralQuery(requirements=brought, base=base)
        judged = judge_several(self.engine, self.context, brought_query)
        return replace(verdict, answers=(*verdict.answers, *judged.answers))

    def nearest(self, query: SeveralQuery) -> Iterator[SeveralSuggestion]:
        """Yield up to SUGGESTED combinations that work, each judged like the question itself."""
        order, offered, judged = count(), 0, 0
        queue: list[tuple[float, int, SeveralQuery]] = [(0.0, next(order), query)]
        seen = {_key(query)}
        while queue and offered < SUGGESTED and judged < _JUDGEMENTS:
            cost, _, candidate = heappop(queue)
            judged += 1
            answer = self.judge(candidate)
            if answer.valid and (self.resolver.left > 0 or answer.resolved.packages):
                offered += 1
                yield _suggestion(query, answer)
                continue
            for price, changed in self._changes(answer):
                if _key(changed) not in seen:
                    seen.add(_key(changed))
                    heappush(queue, (cost + price, next(order), changed))

    def _changes(self, answer: SeveralAnswer) -> Iterator[tuple[float, SeveralQuery]]:
        """Yield queries with another release of something that stands in the way."""
        query, base = answer.query, answer.query.base
        for refused in answer.verdict.answers:
            if refused.answer.valid or refused.requirement.text not in query.texts:
                continue
            yield from changes_for_numpy(self.engine.facts, query, refused)
            for suggestion, new in nearest_releases(self.engine, self.context, refused):
                python = suggestion.combination.python
                moved = replace(base, python=python if base.python else "")
                changed = query.replaced(refused.requirement.name, new)
                yield suggestion.cost, replace(changed, base=moved)
        for conflict in answer.conflicts[:1]:
            for requirement in query.requirements:
                if requirement.text not in conflict.requirements or not requirement.version:
                    continue
                for version in self._other_versions(answer, conflict, requirement):
                    cost = version_cost(requirement.version, version)
                    cost *= 1.0 if requirement.framework else _PACKAGE_COST
                    yield cost, query.replaced(requirement.name, requirement.at(version))

    def _other_versions(
        self, answer: SeveralAnswer, conflict: Conflict, requirement: NamedRequirement
    ) -> Iterator[str]:
        """Yield versions of a package with which the conflict ends, the nearest on each side."""
        if conflict.package == requirement.name and conflict.fitting:
            yield conflict.fitting
        facts = self.engine.facts
        yield from _paired_versions(facts, answer.query, requirement)
        if answer.resolved.outcome in ("no answer", "not asked"):
            releases = facts.releases.get(requirement.framework, {})
            by_cost = sorted(releases, key=lambda other: version_cost(requirement.version, other))
            yield from by_cost[1:_NEIGHBOURS]
            return
        for bound, lowest in ((">", True), ("<", False)):
            relaxed = replace(requirement, specifier=f"{bound}{requirement.version}", version="")
            texts = answer.query.replaced(requirement.name, relaxed).texts
            python, platform = answer.verdict.python, self._platform(answer.query, answer.verdict)
            resolved = self.resolver.resolve(texts, python, platform, lowest=lowest)
            if requirement.name in resolved.packages:
                yield resolved.packages[requirement.name]


def _key(query: SeveralQuery) -> tuple[tuple[str, ...], str]:
    return query.texts, query.base.python


def _paired_versions(
    facts: Facts, query: SeveralQuery, requirement: NamedRequirement
) -> Iterator[str]:
    """Yield versions that the facts know to go with another of the requirements."""
    for other in query.requirements:
        release = facts.releases.get(other.framework, {}).get(other.version)
        if release and requirement.name in release.paired_packages:
            yield from release.paired_packages[requirement.name]
        for version, candidate in facts.releases.get(requirement.framework, {}).items():
            if other.version in candidate.paired_packages.get(other.name, ()):
                yield version


def _suggestion(query: SeveralQuery, answer: SeveralAnswer) -> SeveralSuggestion:
    changes = [
        f"{old.text} -> {new.text}"
        for old, new in zip(query.requirements, answer.query.requirements, strict=True)
        if old != new
    ]
    before, after = query.base.python, answer.verdict.python
    if before and before != after:
        changes.append(f"Python {before} -> {after}")
    return SeveralSuggestion(
        requirements=answer.query.texts,
        python=after,
        changes=tuple(changes),
        resolution=answer.resolved.outcome,
    )


def answer_requirements(
    question: WhyQuestion, texts: Sequence[str], today: date, resolver: Resolver
) -> SeveralAnswer:
    """Answer the command line's question about several requirements."""
    engine = RuleEngine(read_facts(), rules(today))
    query = SeveralQuery(
        requirements=parse_requirements(engine.facts, texts),
        base=surroundings(engine.facts, question),
    )
    return answer_several(engine, query, today, resolver)


def uv_resolver(context: Context) -> Resolver:
    """Return a resolver that asks the index of this environment, with a lock's settings."""
    solver = UvSolver(
        uv=uv.find_uv_bin(),
        interpreter=sys.executable,
        environment=uv_environment(context),
        folders=(),
        run=process.run,
        stop=process.end_children,
    )
    return Resolver(solver, context.log)


def offline_resolver() -> Resolver:
    """Return a resolver that asks nothing."""
    return Resolver(None, no_log, note="--offline")
