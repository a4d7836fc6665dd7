"""Findings about Pythons, distributions and CUDAs past or near their end of life."""

from collections.abc import Iterator
from typing import Final

from dlimg.compat.end_of_life import SupportEnd, cuda_end, python_end, system_end
from dlimg.lint.model import Finding, LintContext, LintRule, Severity, axis_line
from dlimg.model import Cell


def support_ends(context: LintContext, cell: Cell) -> tuple[tuple[str, SupportEnd], ...]:
    """Return the parts of a cell (Python, system, CUDA) whose support has ended or ends soon."""
    ends = (
        ("Python", python_end(context.facts, cell.python, context.today)),
        ("system", system_end(context.facts, cell.os.distribution, context.today)),
        ("CUDA", cuda_end(context.facts, cell.stack.cuda) if cell.stack else None),
    )
    return tuple((part, end) for part, end in ends if end)


def _severity(end: SupportEnd) -> Severity:
    is_over = end.stage == "over" and end.certain
    return Severity.ERROR if is_over else Severity.WARNING


def _pythons(context: LintContext) -> Iterator[Finding]:
    families = context.matrix.families
    pythons = dict.fromkeys((cell.family, cell.python) for cell in context.resolution.cells)
    for family, python in pythons:
        end = python_end(context.facts, python, context.today)
        if end:
            yield Finding(
                id=PYTHON.id,
                severity=_severity(end),
                file=context.matrix.source,
                line=axis_line(families[family], "python"),
                about=f"{family}: {python}",
                message=f"{end.message}: take it out of {family}'s `python`",
                source=end.source,
            )
    for stack in context.matrix.stacks.values():
        end = python_end(context.facts, stack.python, context.today)
        if end:
            yield Finding(
                id=PYTHON.id,
                severity=_severity(end),
                file=context.matrix.source,
                line=stack.python_line,
                about=f"{stack.name}: {stack.python}",
                message=f"{end.message}: give the stack {stack.name} a newer `python`",
                source=end.source,
            )


def _systems(context: LintContext) -> Iterator[Finding]:
    for system in context.matrix.operating_systems.values():
        end = system_end(context.facts, system.distribution, context.today)
        if end:
            yield Finding(
                id=SYSTEM.id,
                severity=_severity(end),
                file=context.matrix.source,
                line=system.line,
                about=system.name,
                message=f"{end.message}: move the cells on {system.name} to a newer release",
                source=end.source,
            )


def _cudas(context: LintContext) -> Iterator[Finding]:
    for stack in context.matrix.stacks.values():
        end = cuda_end(context.facts, stack.cuda)
        if end:
            yield Finding(
                id=CUDA.id,
                severity=Severity.WARNING,
                file=context.matrix.source,
                line=stack.line,
                about=stack.name,
                message=f"{end.message}: put its families on a newer stack",
                source=end.source,
            )


PYTHON: Final = LintRule(
    id="python-end-of-life",
    title="A Python that gets no security fixes",
    severity="an error once it has ended, a warning in the 90 days before",
    why=(
        "A Python past its end of life gets no security fixes, and package maintainers drop it: "
        "locked packages can then no longer be upgraded."
    ),
    example='families: {jax: {axes: {python: ["3.10", "3.13"]}}}   # 3.10 ended on 2026-10-31',
    remedy="Take the Python out of the family's `python`, or give a stack a newer `python`.",
    find=_pythons,
)
SYSTEM: Final = LintRule(
    id="os-end-of-life",
    title="A distribution that gets no security fixes",
    severity="an error once support is over, a warning in long-term support and in the 90 days "
    "before the end",
    why=(
        "The base image is as safe as its distribution. In Debian's long-term support only a part "
        "of the packages gets fixes; support that is for paying subscribers only (ESM) counts as "
        "none."
    ),
    example="operating_systems:\n"
    '  debian12: {distribution: Debian 12, image: "debian:bookworm-slim"}   # LTS since 2026-07-11',
    remedy="Move the cells to a newer release, and remove the operating system.",
    find=_systems,
)
CUDA: Final = LintRule(
    id="cuda-end-of-life",
    title="A CUDA that NVIDIA no longer supports",
    severity="a warning",
    why=(
        "NVIDIA publishes no end of life for a CUDA release. When its images are no longer "
        "supported, or are deleted, its libraries get no fixes either."
    ),
    example='stacks:\n  cuda11.8: {cuda: "11.8", leader: torch==2.7.1, python: "3.12"}',
    remedy="Put the families on a newer stack, as far as the GPUs that you need allow it.",
    find=_cudas,
)
