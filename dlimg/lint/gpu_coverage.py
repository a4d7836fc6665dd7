"""What runs where: cells that cannot work, cells without any GPU, GPUs without any cell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dlimg.compat.combination import combination_of
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.rule_result import RuleResult, refusals
from dlimg.errors import BadInput
from dlimg.facts.model import GpuFact
from dlimg.lint.model import Finding, LintContext, LintRule, Severity, axis_line, shorten_list
from dlimg.model import Cell

_NAMES: Final = "name it as `dlimg facts gpus` does"
# They have findings of their own, which also look ahead.
_OTHERS: Final = frozenset({"python-life", "system-life"})


def _judged(context: LintContext) -> Iterator[Finding]:
    """What rules say against cells, on no GPU in particular: in one pass for both ids."""
    for reason, cells in _against(context):
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


def _against(context: LintContext) -> Iterator[tuple[RuleResult, list[Cell]]]:
    """Each refusal, and each warning that nobody has confirmed, with the cells it speaks of."""
    judge = RuleEngine(context.facts, rules(context.today))
    # A judge knows a lock by its identity: those that hold the same are one for it.
    locks = {cell: one.lock for one in context.lock_sets for cell in one.cells}
    found: dict[tuple[str, RuleResult], list[Cell]] = {}
    for cell in context.resolution.cells:
        for reason in judge.reasons(combination_of(cell, context.facts, locks.get(cell.id))):
            doubtful = reason.level == "warning" and not reason.certain
            if (reason.level == "refusal" or doubtful) and reason.rule not in _OTHERS:
                found.setdefault((cell.family, reason), []).append(cell)
    for (_, reason), cells in found.items():
        yield reason, cells


def _found_above(_context: LintContext) -> Iterator[Finding]:
    """Nothing more: `cannot-work` and `may-not-work` are found together."""
    return iter(())


def _nowhere(context: LintContext) -> Iterator[Finding]:
    judge = RuleEngine(context.facts, rules(context.today))
    gpus = _kinds(context)
    for cells in _builds(context).values():
        if not gpus or any(not _refused(context, judge, cells[0], gpu) for gpu in gpus):
            continue
        first = _refused(context, judge, cells[0], gpus[-1])[0]
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
    judge = RuleEngine(context.facts, rules(context.today))
    for promise in context.matrix.gpus:
        try:
            gpu = context.facts.gpu(promise.name)
        except BadInput:
            continue
        missing = dict(_families_without(context, judge, gpu))
        families = {cells[0].family for cells in _builds(context).values()}
        for family, reason in missing.items():
            everywhere = missing.keys() == families
            who = "no image at all" if everywhere else f"no image of {family}"
            yield Finding(
                id=GPU.id,
                severity=Severity.ERROR if everywhere else Severity.WARNING,
                file=context.matrix.source,
                line=promise.line,
                about=f"{family}: {promise.name}",
                message=f"{who} runs on the promised {promise.name} ({gpu.sm}): {reason.message}",
                source=reason.source,
            )


def _families_without(
    context: LintContext, judge: RuleEngine, gpu: GpuFact
) -> Iterator[tuple[str, RuleResult]]:
    """Families with CUDA images of which none runs on this GPU, with what the newest says."""
    families: dict[str, list[Sequence[RuleResult]]] = {}
    for cells in _builds(context).values():
        families.setdefault(cells[0].family, []).append(_refused(context, judge, cells[0], gpu))
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
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in context.resolution.cells:
        framework = context.matrix.families[cell.family].framework
        if cell.version not in context.facts.releases.get(framework, {}):
            found.setdefault((cell.family, cell.version), []).append(cell)
    for (family, version), cells in found.items():
        yield Finding(
            id=NO_FACTS.id,
            severity=Severity.NOTE,
            file=context.matrix.source,
            line=axis_line(context.matrix.families[family], "version"),
            about=f"{family} {version}",
            message=f"no facts about {family} {version}, so nothing of it was checked "
            f"({_cells(cells)}): `nox -s facts` reads what the index knows",
        )


def _builds(context: LintContext) -> Mapping[tuple[str, str, str], list[Cell]]:
    """CUDA cells by what decides on which GPU they run: family, version, accelerator."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in context.resolution.cells:
        if cell.stack:
            found.setdefault((cell.family, cell.version, cell.accelerator), []).append(cell)
    return found


def _kinds(context: LintContext) -> tuple[GpuFact, ...]:
    """One GPU of each compute capability, the newest last."""
    found = {gpu.capability: gpu for gpu in context.facts.gpus.values() if gpu.arch != "aarch64"}
    order = sorted(found, key=lambda text: tuple(int(part) for part in text.split(".")))
    return tuple(found[one] for one in order)


def _refused(
    context: LintContext, judge: RuleEngine, cell: Cell, gpu: GpuFact
) -> tuple[RuleResult, ...]:
    lock = context.locks.get(cell.id)
    return refusals(judge.reasons(combination_of(cell, context.facts, lock, gpu=gpu)))


def _cells(cells: Sequence[Cell]) -> str:
    return shorten_list([cell.id for cell in cells], most=1)


NOT_POSSIBLE: Final = LintRule(
    id="cannot-work",
    title="A cell that cannot work",
    severity="an error",
    why=(
        "What cannot be installed drops from the matrix by itself. This one resolves, and fails "
        "later: its locked cuDNN is not the one that the framework was built for, its wheels want "
        "another glibc, or the like. The wheel outranks the table: what the lock says is used."
    ),
    example="stacks:\n"
    '  cuda12.6: {cuda: "12.6", leader: torch==2.6.0, cudnn: "8.9"}   # it was built for 9',
    remedy="Change the version, or take the pin away that is in the way; `dlimg why CELL` says "
    "which rule spoke and what is nearest.",
    find=_judged,
)
DOUBTFUL: Final = LintRule(
    id="may-not-work",
    title="A cell that rests on what nobody has confirmed",
    severity="a warning",
    why="A rule speaks against this cell, and the fact behind it is unverified. Such facts warn, "
    "and never forbid.",
    example="facts/*.yaml: `verified: false` in the row that the message names as its source",
    remedy="Test the image on the machine in question, or confirm the fact at its source and take "
    "its `verified: false` away.",
    find=_found_above,
)
NOWHERE: Final = LintRule(
    id="runs-nowhere",
    title="A CUDA image that no GPU runs",
    severity="an error",
    why="The wheels of a release have code for some GPUs, a CUDA for some, and a driver keeps "
    "some: where these do not meet, the image builds, starts, and computes on nothing.",
    example='axes: {version: ["1.13.0"], accelerator: [cuda13.2]}',
    remedy="Put the version on a stack whose CUDA its wheels are built for.",
    find=_nowhere,
)
GPU: Final = LintRule(
    id="promise-not-kept",
    title="A promised GPU that nobody's wheel has code for",
    severity="an error when no image runs on it, a warning when a family has none that does",
    why="`gpus` in matrix.yaml says what the images are meant for. A new framework or CUDA drops "
    "old GPUs without a word, and new GPUs need newer wheels.",
    example='gpus: [T4, "RTX 5090", GTX 1080]   # CUDA 13 has no code for sm_61',
    remedy="Keep an older version or CUDA in the matrix for this GPU, or promise it no longer.",
    find=_promised,
)
UNKNOWN_GPU: Final = LintRule(
    id="unknown-gpu",
    title="A promised GPU that the facts do not know",
    severity="an error",
    why="A promise that nobody can check is none.",
    example="gpus: [RTX 4900]   # RTX 4090",
    remedy="Write it as `dlimg facts gpus` does, or as an architecture such as sm_89.",
    find=_unknown,
)
NO_FACTS: Final = LintRule(
    id="no-facts",
    title="A version without facts",
    severity="a note",
    why="Every corner of a release that the facts do not have counts as possible: nothing drops, "
    "and no rule speaks.",
    example='axes: {version: ["2.16.0"]}',
    remedy="Run `nox -s facts`, review what it adds, and look again.",
    find=_no_facts,
)
