"""All rules in the order of their pages, and the run over them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from dlimg.errors import nearest
from dlimg.lint import aliases, end_of_life, gpu_coverage, online, system_libraries, wheels
from dlimg.lint.model import Finding, LintContext, LintRule, Severity
from dlimg.lint.wheels import lock_sets
from dlimg.matrix.model import IgnoredFinding
from dlimg.units import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class LintResult:
    """Findings, worst first, findings that the matrix ignores, and skipped parts."""

    findings: tuple[Finding, ...]
    ignored: tuple[tuple[Finding, IgnoredFinding], ...]
    skipped: tuple[str, ...]

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


def lint(context: LintContext) -> LintResult:
    """Return the findings of all rules, apart from those that the matrix ignores."""
    context = replace(context, lock_sets=lock_sets(context.locks))
    findings = [finding for rule in RULES for finding in rule.find(context)]
    entry_of = {finding: _ignoring(finding, context.matrix.ignored) for finding in findings}
    used = {id(entry) for entry in entry_of.values() if entry}
    unused = [entry for entry in context.matrix.ignored if id(entry) not in used]
    if unused and context.answers:
        # What is found by names alone may be no fault once the wheels were read.
        offline = [each for rule in RULES for each in rule.find(replace(context, answers=None))]
        used |= {id(_ignoring(finding, unused)) for finding in offline}
        unused = [entry for entry in unused if id(entry) not in used]
    shown = [finding for finding, entry in entry_of.items() if entry is None]
    shown += _unused_entries(context, unused)
    order = list(Severity)
    return LintResult(
        findings=tuple(
            sorted(
                shown,
                key=lambda finding: (order.index(finding.severity), finding.file, finding.line),
            )
        ),
        ignored=tuple((finding, entry) for finding, entry in entry_of.items() if entry),
        skipped=tuple(_skipped(context)),
    )


def _ignoring(finding: Finding, entries: Sequence[IgnoredFinding]) -> IgnoredFinding | None:
    """Return the first entry of the matrix that ignores this finding, or None."""
    matching = (
        entry
        for entry in entries
        if entry.id == finding.id and fnmatchcase(finding.about, entry.about)
    )
    return next(matching, None)


def _unused_entries(context: LintContext, entries: Sequence[IgnoredFinding]) -> Iterator[Finding]:
    """Yield a finding for each entry that ignores nothing: it would hide later faults."""
    rules = {rule.id: rule for rule in RULES}
    for entry in entries:
        rule = rules.get(entry.id)
        if rule and not rule.can_find_all(context):
            continue
        message = f"this ignores nothing any more ({entry.id} about {entry.about}): remove it"
        if rule is None:
            message = f"no finding is called {entry.id!r}; {nearest(entry.id, rules)}"
        yield Finding(
            id=UNUSED.id,
            severity=Severity.ERROR,
            file=context.matrix.source,
            line=entry.line,
            about=entry.id,
            message=message,
        )


def _skipped(context: LintContext) -> Iterator[str]:
    missing = len(context.resolution.cells) - len(context.locks)
    if missing:
        yield f"wheels of {counted(missing, 'unlocked cell')}"
    if context.unread_wheels:
        yield f"the libraries of {counted(context.unread_wheels, 'wheel')}, not read here so far"
    if context.answers is None:
        names = ", ".join(rule.id for rule in RULES if rule.online)
        yield f"the index and registries ({names}): use --online"
    else:
        yield from context.answers.unanswered


def _found_by_lint(_context: LintContext) -> Iterator[Finding]:
    """Yield nothing: `lint` finds unused entries after all other rules."""
    return iter(())


UNUSED: Final = LintRule(
    id="unused-ignore",
    title="An ignored finding that is not found",
    severity="an error",
    why="An entry under `lint: ignore:` without a finding would silently hide a fault that "
    "somebody adds next year.",
    example='lint:\n  ignore:\n    - {id: os-end-of-life, about: debian11, why: "long gone"}',
    remedy="Remove the entry, or correct its id or its `about`.",
    find=_found_by_lint,
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
    wheels.NUMPY_2,
    wheels.ON_CPU,
    wheels.SHARED,
    system_libraries.LIBRARIES,
    online.NOT_PINNED,
    online.GONE,
    online.YANKED,
    online.MOVED,
    UNUSED,
)
