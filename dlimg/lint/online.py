"""What only an index and registries know: wheels that are gone, base images that moved."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from dlimg.lint.model import Finding, LintContext, LintRule, Severity, lock_file, lock_line


def _not_offered(
    ground: LintContext, state: Literal["yanked", "gone"]
) -> Iterator[tuple[str, Finding]]:
    offers = ground.asked.offers if ground.asked else {}
    found: dict[str, Finding] = {}
    more: dict[str, int] = {}
    for cell, lock in ground.locks.items():
        for wheel in lock.wheels:
            offer = offers.get(wheel.file)
            if offer is None or offer.state != state:
                continue
            if wheel.file in found:
                more[wheel.file] = more.get(wheel.file, 0) + 1
                continue
            reason = f" ({offer.reason})" if offer.reason else ""
            found[wheel.file] = Finding(
                id=GONE.id if state == "gone" else YANKED.id,
                severity=Severity.ERROR if state == "gone" else Severity.WARNING,
                file=lock_file(ground, cell),
                line=lock_line(lock, wheel.name),
                about=f"{wheel.name} {wheel.version}",
                message=f"{wheel.name} {wheel.version}{reason}",
                source="the package index",
            )
    for file, one in found.items():
        others = more.get(file, 0)
        words = f"; so in {others} more {'lock' if others == 1 else 'locks'}" if others else ""
        yield words, one


def _gone(ground: LintContext) -> Iterator[Finding]:
    for more, one in _not_offered(ground, "gone"):
        message = f"the index no longer has the wheel of {one.message}{more}: run `dlimg lock`"
        yield replace(one, message=message)


def _yanked(ground: LintContext) -> Iterator[Finding]:
    for more, one in _not_offered(ground, "yanked"):
        message = f"{one.message} was withdrawn by its authors{more}: run `dlimg lock --upgrade`"
        yield replace(one, message=message)


def _moved(ground: LintContext) -> Iterator[Finding]:
    there = ground.asked.digests if ground.asked else {}
    pinned = {cell.os.name: cell.os.digest for cell in ground.resolution.cells}
    for system in ground.matrix.operating_systems.values():
        pin, now = pinned.get(system.name, ""), there.get(system.name)
        if not pin or now is None or now == pin:
            continue
        words = f"{system.image} is at {now[:19]} now, and {pin[:19]} is pinned"
        if not now:
            words = f"the registry no longer has {system.image}"
        yield Finding(
            id=MOVED.id,
            severity=Severity.WARNING,
            file=ground.matrix.source,
            line=system.line,
            about=system.name,
            message=f"{words}: run `dlimg lock --bases` for its security fixes",
            source="the registry",
        )


def _not_pinned(ground: LintContext) -> Iterator[Finding]:
    pinned = {cell.os.name: cell.os.digest for cell in ground.resolution.cells}
    for system in ground.matrix.operating_systems.values():
        if not pinned.get(system.name):
            yield Finding(
                id=NOT_PINNED.id,
                severity=Severity.NOTE,
                file=ground.matrix.source,
                line=system.line,
                about=system.name,
                message=f"no digest of {system.image} is pinned, so FROM names what may move: "
                "run `dlimg lock --bases` where a registry is in reach",
            )


GONE: Final = LintRule(
    id="wheel-gone",
    title="A locked wheel that the index no longer has",
    severity="an error; looked for with `--index`",
    why="What the index has removed cannot be built any more: the lock is exact, and nothing else "
    "takes its place.",
    example='{"name": "numpy", "version": "2.4.0", "file": "numpy-2.4.0-cp313-...whl", ...}',
    remedy="Lock anew, or put the wheel into an extra folder (`--find-links`).",
    look=_gone,
    online=True,
)
YANKED: Final = LintRule(
    id="wheel-yanked",
    title="A locked wheel that its authors withdrew",
    severity="a warning; looked for with `--index`",
    why="A yanked release stays downloadable for those who pin it, and is withdrawn for a reason: "
    "a fault, a broken file, a security hole.",
    example='{"name": "jax", "version": "0.4.32", "file": "jax-0.4.32-py3-none-any.whl", ...}',
    remedy="Lock anew with `dlimg lock --upgrade`, or change the version in the matrix.",
    look=_yanked,
    online=True,
)
MOVED: Final = LintRule(
    id="base-moved",
    title="A base image whose digest moved",
    severity="a warning; looked for with `--index`",
    why="A tag such as debian:trixie-slim moves whenever its distribution fixes something. The pin "
    "keeps builds the same, and keeps the fixes out.",
    example='locks/bases.json: {"debian13": "sha256:..."}',
    remedy="Pin anew with `dlimg lock --bases`; the images get another content key, and are built "
    "and tested again.",
    look=_moved,
    online=True,
)
NOT_PINNED: Final = LintRule(
    id="base-not-pinned",
    title="A base image without a digest",
    severity="a note",
    why="Without a pinned digest two builds of one cell may stand on different base images. Their "
    "content keys tell them apart, and nothing is mixed up: it is only not repeatable.",
    example="locks/bases.json does not name debian13",
    remedy="Run `dlimg lock --bases` on a machine that reaches the registry.",
    look=_not_pinned,
)
