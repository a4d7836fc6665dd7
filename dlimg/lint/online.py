"""Findings that need the package index and registries: missing wheels, moved base images."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from dlimg.lint.model import Finding, LintContext, LintRule, Severity, lock_file, lock_line


def _not_offered(
    context: LintContext, state: Literal["yanked", "gone"]
) -> Iterator[tuple[Finding, str]]:
    """Yield a finding for each wheel in this state, and a text about further locks with it."""
    offers = context.answers.offers if context.answers else {}
    findings: dict[str, Finding] = {}
    more: dict[str, int] = {}
    for cell, lock in context.locks.items():
        for wheel in lock.wheels:
            offer = offers.get(wheel.file)
            if offer is None or offer.state != state:
                continue
            if wheel.file in findings:
                more[wheel.file] = more.get(wheel.file, 0) + 1
                continue
            reason = f" ({offer.reason})" if offer.reason else ""
            findings[wheel.file] = Finding(
                id=GONE.id if state == "gone" else YANKED.id,
                severity=Severity.ERROR if state == "gone" else Severity.WARNING,
                file=lock_file(context, cell),
                line=lock_line(lock, wheel.name),
                about=f"{wheel.name} {wheel.version}",
                message=f"{wheel.name} {wheel.version}{reason}",
                source="the package index",
            )
    for file, finding in findings.items():
        others = more.get(file, 0)
        yield (
            finding,
            f"; so in {others} more {'lock' if others == 1 else 'locks'}" if others else "",
        )


def _gone(context: LintContext) -> Iterator[Finding]:
    for finding, more in _not_offered(context, "gone"):
        message = f"the index no longer has the wheel of {finding.message}{more}: run `dlimg lock`"
        yield replace(finding, message=message)


def _yanked(context: LintContext) -> Iterator[Finding]:
    for finding, more in _not_offered(context, "yanked"):
        message = (
            f"{finding.message} was withdrawn by its authors{more}: run `dlimg lock --upgrade`"
        )
        yield replace(finding, message=message)


def _moved(context: LintContext) -> Iterator[Finding]:
    digests = context.answers.digests if context.answers else {}
    pinned = {cell.os.name: cell.os.digest for cell in context.resolution.cells}
    for system in context.matrix.operating_systems.values():
        pin, now = pinned.get(system.name, ""), digests.get(system.name)
        if not pin or now is None or now == pin:
            continue
        change = f"{system.image} is at {now[:19]} now, and {pin[:19]} is pinned"
        if not now:
            change = f"the registry no longer has {system.image}"
        yield Finding(
            id=MOVED.id,
            severity=Severity.WARNING,
            file=context.matrix.source,
            line=system.line,
            about=system.name,
            message=f"{change}: run `dlimg lock --bases` for its security fixes",
            source="the registry",
        )


def _not_pinned(context: LintContext) -> Iterator[Finding]:
    pinned = {cell.os.name: cell.os.digest for cell in context.resolution.cells}
    for system in context.matrix.operating_systems.values():
        if not pinned.get(system.name):
            yield Finding(
                id=NOT_PINNED.id,
                severity=Severity.NOTE,
                file=context.matrix.source,
                line=system.line,
                about=system.name,
                message=f"no digest of {system.image} is pinned, so the base image may change: "
                "run `dlimg lock --bases` where a registry can be reached",
            )


GONE: Final = LintRule(
    id="wheel-gone",
    title="A locked wheel that the index no longer has",
    severity="an error; only with `--online`",
    why="A cell whose wheel was removed from the index cannot be built any more: a lock names "
    "exact files, and no other file takes their place.",
    example='{"name": "numpy", "version": "2.4.0", "file": "numpy-2.4.0-cp313-...whl", ...}',
    remedy="Lock anew, or put the wheel into an extra folder (`--find-links`).",
    find=_gone,
    online=True,
)
YANKED: Final = LintRule(
    id="wheel-yanked",
    title="A locked wheel that its authors withdrew",
    severity="a warning; only with `--online`",
    why="A yanked release stays downloadable for those who pin it, and is withdrawn for a reason: "
    "a fault, a broken file, a security hole.",
    example='{"name": "jax", "version": "0.4.32", "file": "jax-0.4.32-py3-none-any.whl", ...}',
    remedy="Lock anew with `dlimg lock --upgrade`, or change the version in the matrix.",
    find=_yanked,
    online=True,
)
MOVED: Final = LintRule(
    id="base-moved",
    title="A base image whose digest moved",
    severity="a warning; only with `--online`",
    why="A tag such as debian:trixie-slim moves with every fix of its distribution. The pin "
    "keeps builds the same, and keeps the fixes out.",
    example='locks/bases.json: {"debian13": "sha256:..."}',
    remedy="Pin anew with `dlimg lock --bases`; the images get another content key, and are built "
    "and tested again.",
    find=_moved,
    online=True,
)
NOT_PINNED: Final = LintRule(
    id="base-not-pinned",
    title="A base image without a digest",
    severity="a note",
    why="Without a pinned digest two builds of one cell may stand on different base images. Their "
    "content keys tell them apart, but the build cannot be repeated.",
    example="locks/bases.json does not name debian13",
    remedy="Run `dlimg lock --bases` on a machine that reaches the registry.",
    find=_not_pinned,
)
