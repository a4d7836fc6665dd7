"""Every rule, in the order of its page; and the walk over them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from dlimg.errors import nearest
from dlimg.lint import aliases, end_of_life, gpu_coverage, online, stacks, wheels
from dlimg.lint.model import Finding, LintContext, LintRule, Severity
from dlimg.lint.stacks import lock_sets
from dlimg.matrix.model import IgnoredFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class LintResult:
    """What was found, worst first; what of it the matrix accepts; and what was not looked at."""

    findings: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, IgnoredFinding], ...]
    not_looked: tuple[str, ...]

    def count(self, severity: Severity) -> int:
        return sum(one.severity is severity for one in self.findings)


def lint(ground: LintContext) -> LintResult:
    """The findings of all rules, without those that the matrix accepts with a reason."""
    ground = replace(ground, lock_sets=lock_sets(ground.locks))
    every = [one for rule in RULES for one in rule.look(ground)]
    known = {one: _acceptance(one, ground.matrix.ignored) for one in every}
    used = {id(accepted) for accepted in known.values() if accepted}
    kept = [one for one, accepted in known.items() if accepted is None]
    dead = [one for one in ground.matrix.ignored if id(one) not in used]
    kept += _dead(ground, dead)
    order = list(Severity)
    return LintResult(
        findings=tuple(
            sorted(kept, key=lambda one: (order.index(one.severity), one.file, one.line))
        ),
        accepted=tuple((one, accepted) for one, accepted in known.items() if accepted),
        not_looked=tuple(_not_looked(ground)),
    )


def _acceptance(finding: Finding, accepted: Sequence[IgnoredFinding]) -> IgnoredFinding | None:
    fitting = (
        one for one in accepted if one.id == finding.id and fnmatchcase(finding.about, one.about)
    )
    return next(fitting, None)


def _dead(ground: LintContext, accepted: Sequence[IgnoredFinding]) -> Iterator[Finding]:
    """Entries that accept nothing: they would hide what comes later."""
    ids = {rule.id: rule for rule in RULES}
    for one in accepted:
        rule = ids.get(one.id)
        if rule and rule.online and (ground.asked is None or ground.asked.unanswered):
            continue
        message = (
            f"nothing is found any more that this accepts ({one.id} about {one.about}): remove it"
        )
        if rule is None:
            message = f"no finding is called {one.id!r}; {nearest(one.id, ids)}"
        yield Finding(
            id=DEAD.id,
            severity=Severity.ERROR,
            file=ground.matrix.source,
            line=one.line,
            about=one.id,
            message=message,
        )


def _not_looked(ground: LintContext) -> Iterator[str]:
    missing = len(ground.resolution.cells) - len(ground.locks)
    if missing:
        yield f"the wheels of {missing} cells: they have no lock here"
    if ground.asked is None:
        names = ", ".join(rule.id for rule in RULES if rule.online)
        yield f"the index and registries, so {names}: say --index"
    else:
        yield from ground.asked.unanswered


def _nothing(_ground: LintContext) -> Iterator[Finding]:
    """What is dead is seen only when all else has been looked at."""
    return iter(())


DEAD: Final = LintRule(
    id="dead-acceptance",
    title="An accepted finding that nobody finds",
    severity="an error",
    why="An entry under `lint` that accepts nothing would silently accept what somebody breaks "
    "next year.",
    example='lint:\n  - {id: os-end-of-life, about: debian11, why: "removed long ago"}',
    remedy="Remove the entry, or correct its id or its `about`.",
    look=_nothing,
)
RULES: Final[tuple[LintRule, ...]] = (
    gpu_coverage.NOT_POSSIBLE,
    gpu_coverage.DOUBTFUL,
    gpu_coverage.NOWHERE,
    gpu_coverage.GPU,
    gpu_coverage.UNKNOWN_GPU,
    gpu_coverage.NO_FACTS,
    end_of_life.PYTHON,
    end_of_life.SYSTEM,
    end_of_life.CUDA,
    aliases.DEPRECATED,
    aliases.BEHIND,
    wheels.CUDNNS,
    wheels.PATHS,
    wheels.ON_CPU,
    stacks.SHARED,
    online.NOT_PINNED,
    online.GONE,
    online.YANKED,
    online.MOVED,
    DEAD,
)
