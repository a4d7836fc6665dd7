"""The result of one image in a run, and the exit code that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dlimg.builders.build_failure import is_python_unreachable
from dlimg.checks.verdicts import exit_code_of, outcome_of, possible_verdicts
from dlimg.errors import DlimgError, NetworkFailure, NotRun, Problem
from dlimg.model import BuildFailure, BuiltImage, CheckStatus, Evidence, Image, Verdict
from dlimg.publish.promote import PublishedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """The outcome for one image: the build, the evidence, the publication, or the error.

    Checks on a host without an engine have evidence and no image. `skipped` is why an image was
    left out that nobody asked for by name: its index does not answer.
    """

    image: Image | None = None
    result: BuiltImage | BuildFailure | None = None
    evidence: Evidence | None = None
    published: PublishedImage | None = None
    error: DlimgError | None = None
    skipped: Problem | None = None

    @property
    def cell(self) -> str:
        """The cell's id, or the name that evidence from a host has instead."""
        if self.image:
            return self.image.cell.id
        return self.evidence.cell if self.evidence else ""

    @property
    def name(self) -> str:
        """The image's repository and tag, or the cell's id if there is no image."""
        return f"{self.image.repository}:{self.image.tag}" if self.image else self.cell

    @property
    def wants_gpu(self) -> bool:
        return self.image.cell.is_cuda if self.image else True

    @property
    def error_text(self) -> str:
        """The error's problems with their hints on one line, without the cell's id; or empty."""
        problems = self.error.problems if self.error else ()
        return "; ".join(
            str(
                replace(problem, where="" if problem.where == self.cell else problem.where, hint="")
            )
            + (f" (hint: {problem.hint})" if problem.hint else "")
            for problem in problems
        )

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self.evidence.verdicts if self.evidence else ()

    @property
    def vanished(self) -> tuple[str, ...]:
        return self.evidence.vanished if self.evidence else ()


def exit_code_of_results(results: Sequence[ImageResult]) -> int:
    """Return 1 when any image failed, else the first other code that is not 0, else 0.

    Where every image was skipped, nothing was done: that is a network failure.
    """
    if results and all(result.skipped for result in results):
        return NetworkFailure.exit_code
    codes = [image_exit_code(result) for result in results]
    return 1 if 1 in codes else next((code for code in codes if code), 0)


def image_exit_code(result: ImageResult) -> int:
    """Return the exit code for this image alone; a skipped one is no failure of others."""
    if isinstance(result.result, BuildFailure):
        return NotRun.exit_code if is_python_unreachable(result.result) else 1
    if result.error:
        return result.error.exit_code
    if result.published:
        return 0
    return exit_code_of(outcome_of(result.evidence.verdicts)) if result.evidence else 0


def required_not_run(result: ImageResult) -> tuple[Verdict, ...]:
    """Return the verdicts of required checks that were not run, and so keep the image from passing.

    Empty for an image that was published without them, which `--allow-untested-gpu` allows.
    """
    if result.published:
        return ()
    return tuple(
        verdict
        for verdict in possible_verdicts(result.verdicts)
        if verdict.required and verdict.status is CheckStatus.NOT_RUN
    )
