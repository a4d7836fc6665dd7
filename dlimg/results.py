"""One image's way through the walk, and what it means: for tables, JSON, JUnit and GitHub alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dlimg.builders.build_failure import is_out_of_reach
from dlimg.checks.verdicts import exit_code, outcome, possible_here
from dlimg.errors import DlimgError, NotRun
from dlimg.model import BuildFailure, BuiltImage, CheckStatus, Evidence, Image, Verdict
from dlimg.publish.promote import PublishedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """One image's way: what was built, what the checks said, where it went, or what stopped it.

    Checks that ran on a machine without an engine have evidence and no image.
    """

    image: Image | None = None
    result: BuiltImage | BuildFailure | None = None
    evidence: Evidence | None = None
    published: PublishedImage | None = None
    error: DlimgError | None = None

    @property
    def cell(self) -> str:
        """The cell's id, or what stands in its place in evidence."""
        if self.image:
            return self.image.cell.id
        return self.evidence.cell if self.evidence else ""

    @property
    def name(self) -> str:
        """What people know it by: repository and tag."""
        return f"{self.image.repository}:{self.image.tag}" if self.image else self.cell

    @property
    def wants_gpu(self) -> bool:
        return self.image.cell.is_cuda if self.image else True

    @property
    def trouble(self) -> str:
        """What stopped it, for where the cell is named already; empty where nothing did."""
        problems = self.error.problems if self.error else ()
        return "; ".join(
            str(replace(one, where=one.where if one.where != self.cell else "", hint=""))
            + (f" (hint: {one.hint})" if one.hint else "")
            for one in problems
        )

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self.evidence.verdicts if self.evidence else ()

    @property
    def vanished(self) -> tuple[str, ...]:
        return self.evidence.vanished if self.evidence else ()


def exit_code_of(lines: Sequence[ImageResult]) -> int:
    """1 when anything failed, else the first other code that is not 0, else 0."""
    codes = [code_of(line) for line in lines]
    return 1 if 1 in codes else next((code for code in codes if code), 0)


def code_of(line: ImageResult) -> int:
    """The exit code that this image alone would end with."""
    if isinstance(line.result, BuildFailure):
        return NotRun.exit_code if is_out_of_reach(line.result) else 1
    if line.error:
        return line.error.exit_code
    if line.published:
        return 0
    return exit_code(outcome(line.evidence.verdicts)) if line.evidence else 0


def hindering(line: ImageResult) -> tuple[Verdict, ...]:
    """The checks without which the image has not passed, and that were not run.

    None for an image that was published without them, which somebody has asked for.
    """
    if line.published:
        return ()
    return tuple(
        verdict
        for verdict in possible_here(line.verdicts)
        if verdict.required and verdict.status is CheckStatus.NOT_RUN
    )
