"""Findings about GPUs: cells that cannot work, cells without a GPU, GPUs without a cell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dlimg.compat.combination import combination_of
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.rule_result import RuleResult, refusals
from dlimg.document.versions import numbers
from dlimg.errors import BadInput
from dlimg.facts.model import GpuFact
from dlimg.lint.model import Finding, LintContext, LintRule, Severity, axis_line, shorten_list
from dlimg.matrix.model import NO_FACTS as UNCHECKED
from dlimg.model import Cell

_NAMES: Final = "name it as `dlimg facts gpus` does"
# Rules with findings of their own, which also look ahead.
_OTHER_FINDINGS: Final = frozenset({"python-life", "system-life"})


def _rule_findings(context: LintContext) -> Iterator[Finding]:
    """Yield refusals (`cannot-work`) and doubts (`may-not-work`) of rules, for any GPU."""
    for reason, cells in _rule_results(context):
        family = context.matrix.families[cells[0].family]
        is_refusal = reason.level == "refusal"
        yield Finding(
            id=NOT_POSSIBLE.id if is_refusal else DOUBTFUL.id,
            severity=Severity.ERROR if is_refusal else Severity.WARNING,
            file=context.matrix.source,
            line=axis_line(family, "version"),
            about=f"{family.name}: {reason.rule}",
            message=f"{reason.message} ({_cells(cells)})",
            source=reason.source,
        )


def _rule_results(context: LintContext) -> Iterator[tuple[RuleResult, list[Cell]]]:
    """Yield each refusal and each unconfirmed warning with its cells."""
    engine = RuleEngine(context.facts, rules(context.today))
    # The engine caches by a lock's identity, so cells with equal locks share one object.
    locks = {cell: same.lock for same in context.lock_sets for cell in same.cells}
    cells_of: dict[tuple[str, RuleResult], list[Cell]] = {}
    for cell in context.resolution.cells:
        for reason in engine.reasons(combination_of(cell, context.facts, locks.get(cell.id))):
            doubtful = reason.level == "warning" and not reason.certain
            if (reason.level == "refusal" or doubtful) and reason.rule not in _OTHER_FINDINGS:
                cells_of.setdefault((cell.family, reason), []).append(cell)
    for (_, reason), cells in cells_of.items():
        yield reason, cells


def _found_with_refusals(_context: LintContext) -> Iterator[Finding]:
    """Yield nothing: `cannot-work` finds the findings of `may-not-work` too."""
    return iter(())


def _nowhere(context: LintContext) -> Iterator[Finding]:
    engine = RuleEngine(context.facts, rules(context.today))
    gpus = _gpus_by_capability(context)
    for cells in _builds(context).values():
        if not gpus or any(not _refused(context, engine, cells[0], gpu) for gpu in gpus):
            continue
        first = _refused(context, engine, cells[0], gpus[-1])[0]
        family = context.matrix.families[cells[0].family]
        yield Finding(
            id=NOWHERE.id,
            severity=Severity.ERROR,
            file=context.matrix.source,
            line=axis_line(family, "accelerator"),
            about=f"{family.name} {cells[0].version} {cells[0].accelerator}",
            message=f"none of the {len(gpus)} kinds of GPU in the facts runs {family.name} "
            f"{cells[0].version} on {cells[0].accelerator} ({_cells(cells)}); of the newest: "
            f"{first.message}",
            source=first.source,
        )


def _promised(context: LintContext) -> Iterator[Finding]:
    engine = RuleEngine(context.facts, rules(context.today))
    for promise in context.matrix.gpus:
        try:
            gpu = context.facts.gpu(promise.name)
        except BadInput:
            continue
        missing = dict(_families_without(context, engine, gpu))
        families = {cells[0].family for cells in _builds(context).values()}
        for family, reason in missing.items():
            everywhere = missing.keys() == families
            subject = "no image" if everywhere else f"no image of {family}"
            yield Finding(
                id=GPU.id,
                severity=Severity.ERROR if everywhere else Severity.WARNING,
                file=context.matrix.source,
                line=promise.line,
                about=f"{family}: {promise.name}",
                message=f"{subject} runs on the promised {promise.name} ({gpu.sm}): "
                f"{reason.message}",
                source=reason.source,
            )


def _families_without(
    context: LintContext, engine: RuleEngine, gpu: GpuFact
) -> Iterator[tuple[str, RuleResult]]:
    """Yield families without an image for this GPU, with the reason of the newest."""
    families: dict[str, list[Sequence[RuleResult]]] = {}
    for cells in _builds(context).values():
        families.setdefault(cells[0].family, []).append(_refused(context, engine, cells[0], gpu))
    for family, refused in families.items():
        if all(refused):
            yield family, refused[0][0]


def _unknown(context: LintContext) -> Iterator[Finding]:
    for promise in context.matrix.gpus:
        try:
            context.facts.gpu(promise.name)
        except BadInput as error:
            problem = error.problems[0]
            yield Finding(
                id=UNKNOWN_GPU.id,
                severity=Severity.ERROR,
                file=context.matrix.source,
                line=promise.line,
                about=promise.name,
                message=f"{problem.message}: {problem.hint or _NAMES}",
            )


def _no_facts(context: LintContext) -> Iterator[Finding]:
    cells_of: dict[tuple[str, str], list[Cell]] = {}
    for cell in context.resolution.cells:
        framework = context.matrix.families[cell.family].framework
        if framework == UNCHECKED:
            continue  # the matrix itself says so
        if cell.version not in context.facts.releases.get(framework, {}):
            cells_of.setdefault((cell.family, cell.version), []).append(cell)
    for (family, version), cells in cells_of.items():
        yield Finding(
            id=NO_FACTS.id,
            severity=Severity.NOTE,
            file=context.matrix.source,
            line=axis_line(context.matrix.families[family], "version"),
            about=f"{family} {version}",
            message=f"no facts about {family} {version}, so nothing was checked "
            f"({_cells(cells)}): `nox -s facts` reads what the index knows",
        )


def _builds(context: LintContext) -> Mapping[tuple[str, str, str], list[Cell]]:
    """Return CUDA cells by family, version and stack; CUDA and cuDNN decide where they run."""
    builds: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in context.resolution.cells:
        if cell.stack:
            builds.setdefault((cell.family, cell.version, cell.stack.lock_name), []).append(cell)
    return builds


def _gpus_by_capability(context: LintContext) -> tuple[GpuFact, ...]:
    """Return one GPU of each compute capability, the newest last."""
    gpus = {gpu.capability: gpu for gpu in context.facts.gpus.values() if gpu.arch != "aarch64"}
    capabilities = sorted(gpus, key=numbers)
    return tuple(gpus[capability] for capability in capabilities)


def _refused(
    context: LintContext, engine: RuleEngine, cell: Cell, gpu: GpuFact
) -> tuple[RuleResult, ...]:
    lock = context.locks.get(cell.id)
    return refusals(engine.reasons(combination_of(cell, context.facts, lock, gpu=gpu)))


def _cells(cells: Sequence[Cell]) -> str:
    return shorten_list([cell.id for cell in cells], most=1)


NOT_POSSIBLE: Final = LintRule(
    id="cannot-work",
    title="A cell that cannot work",
    severity="an error",
    why=(
        "Cells that cannot be installed drop from the matrix by themselves. This one resolves, and "
        "fails later: its locked cuDNN is not the one that the framework was built for, its wheels "
        "want another glibc, or the like. Locked wheels outrank the facts."
    ),
    example="stacks:\n"
    '  cuda12.6: {cuda: "12.6", leader: torch==2.6.0, cudnn: "8.9"}   # it was built for 9',
    remedy="Change the version, or remove the pin that is in the way; `dlimg why CELL` names "
    "the rule and the nearest working combination.",
    find=_rule_findings,
)
DOUBTFUL: Final = LintRule(
    id="may-not-work",
    title="A cell that depends on an unconfirmed fact",
    severity="a warning",
    why="A rule is against this cell, and the fact behind it is unverified. Such facts warn, "
    "and never forbid.",
    example="facts/*.yaml: `verified: false` in the row that the message names as its source",
    remedy="Test the image on the machine in question, or confirm the fact at its source and take "
    "its `verified: false` away.",
    find=_found_with_refusals,
)
NOWHERE: Final = LintRule(
    id="runs-nowhere",
    title="A CUDA image that no GPU runs",
    severity="an error",
    why="The wheels of a release, its CUDA and the drivers each support some GPUs. Where they have "
    "none in common, the image builds and starts, and no GPU can run it.",
    example='axes: {version: ["1.13.0"], accelerator: [cuda13.2]}',
    remedy="Put the version on a stack whose CUDA its wheels are built for.",
    find=_nowhere,
)
GPU: Final = LintRule(
    id="promise-not-kept",
    title="A promised GPU that no wheel has code for",
    severity="an error when no image runs on it, a warning when a family has none that does",
    why="`gpus` in matrix.yaml says what the images are meant for. A new framework or CUDA drops "
    "old GPUs silently, and new GPUs need newer wheels.",
    example='gpus: [T4, "RTX 5090", GTX 1080]   # CUDA 13 has no code for sm_61',
    remedy="Keep an older version or CUDA in the matrix for this GPU, or promise it no longer.",
    find=_promised,
)
UNKNOWN_GPU: Final = LintRule(
    id="unknown-gpu",
    title="A promised GPU that the facts do not know",
    severity="an error",
    why="A GPU that the facts do not have cannot be checked.",
    example="gpus: [RTX 4900]   # RTX 4090",
    remedy="Write it as `dlimg facts gpus` does, or as an architecture such as sm_89.",
    find=_unknown,
)
NO_FACTS: Final = LintRule(
    id="no-facts",
    title="A version without facts",
    severity="a note",
    why="Every cell of a release without facts counts as possible: nothing drops, and no rule "
    "applies.",
    example='axes: {version: ["2.16.0"]}',
    remedy="Run `nox -s facts`, review what it adds, and run lint again.",
    find=_no_facts,
)
