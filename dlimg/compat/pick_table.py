"""The best cell for each kind of GPU and driver branch, and what the package index could offer."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeVar

from dlimg.compat.combination import Combination
from dlimg.compat.pick import Catalog, PickRequest, PickResult, Rejection, pick
from dlimg.compat.query import cudas
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult, refusals
from dlimg.document.versions import numbers
from dlimg.facts.gpus import capability_of
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, X86_64, FrameworkRelease, GpuFact
from dlimg.model import Cell

# The driver branches in use; a branch stands for its newest driver.
BRANCHES: Final = ("470", "525", "535", "550", "570", "580", "595", "610")
_OLDEST: Final = (6, 0)  # Pascal
# Rules whose unconfirmed facts leave open whether a GPU runs an image at all.
_HARDWARE: Final = frozenset(
    {"gpu-code", "gpu-cuda", "gpu-driver", "gpu-host", "driver-cuda", "driver-jit", "cudnn-gpu"}
)
# Rules that an image has no part in.
ABOUT_GPU: Final = frozenset({"gpu-host", "gpu-driver"})
Item = TypeVar("Item", bound=Hashable)
Choice = TypeVar("Choice", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """GPUs that run the same images: equal in capability, drivers, CUDAs and hosts."""

    gpus: tuple[GpuFact, ...]

    @property
    def first(self) -> GpuFact:
        return self.gpus[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PickTableEntry:
    """The best cell of a family for a kind of GPU on a driver branch, or the reason for none.

    `doubt` is an unconfirmed reason against the cell, if there is one.
    """

    family: str
    kind: GpuKind
    branch: str
    cell: Cell | None = None
    doubt: RuleResult | None = None
    reason: RuleResult | None = None


def gpu_kinds(facts: Facts) -> tuple[GpuKind, ...]:
    """Return the GPUs of the facts from Pascal on, by kind, the oldest first."""
    kinds: dict[tuple[object, ...], list[GpuFact]] = {}
    for gpu in facts.gpus.values():
        if capability_of(gpu.capability) >= _OLDEST:
            bounds = (gpu.first_cuda, gpu.last_cuda, gpu.first_driver, gpu.last_driver)
            key = (gpu.capability, *bounds, gpu.arch, gpu.kind == "jetson")
            kinds.setdefault(key, []).append(gpu)
    ordered = sorted(kinds.values(), key=lambda gpus: capability_of(gpus[0].capability))
    return tuple(GpuKind(gpus=tuple(gpus)) for gpus in ordered)


def pick_table(catalog: Catalog, engine: RuleEngine) -> Iterator[PickTableEntry]:
    """Yield an entry for each family, kind of GPU and driver branch.

    Families without facts are left out: which GPUs they have code for is not known.
    """
    known = (
        cell.family
        for cell in catalog.cells
        if engine.facts.framework_names.get(cell.package, cell.package) in engine.facts.releases
    )
    for family in dict.fromkeys(known):
        for kind in gpu_kinds(engine.facts):
            for branch in BRANCHES:
                request = PickRequest(gpus=(kind.first,), driver=branch, family=family)
                result = pick(catalog, request, engine)
                best = next(iter(result.matches), None)
                doubts = _hardware_doubts(best.reasons) if best else ()
                yield PickTableEntry(
                    family=family,
                    kind=kind,
                    branch=branch,
                    cell=best.cell if best else None,
                    doubt=doubts[0] if doubts else None,
                    reason=None if best else _decisive(result),
                )


def _decisive(result: PickResult) -> RuleResult:
    """Return the reason that holds for every image, or else that against the oldest CUDA."""
    about_gpu = (each.reason for each in result.rejections if each.reason.rule in ABOUT_GPU)
    return next(about_gpu, None) or min(result.rejections, key=_oldest_cuda).reason


def _oldest_cuda(rejection: Rejection) -> tuple[int, ...]:
    return min((numbers(cell.stack.cuda) for cell in rejection.cells if cell.stack), default=())


def _hardware_doubts(reasons: Iterable[RuleResult]) -> tuple[RuleResult, ...]:
    """Return the doubts about hardware, those that no image has a part in first."""
    doubts = (
        reason
        for reason in reasons
        if reason.rule in _HARDWARE and reason.level == "warning" and not reason.certain
    )
    return tuple(sorted(doubts, key=lambda reason: reason.rule not in ABOUT_GPU))


def index_builds(
    facts: Facts, releases: Iterable[FrameworkRelease]
) -> Iterator[tuple[FrameworkRelease, Combination]]:
    """Yield the CUDA builds of these releases on the package index, on every CUDA they take.

    A cuDNN is named only where the build pins one.
    """
    for release in releases:
        for build in release.builds:
            if build.index != PYPI or build.arch != X86_64 or not build.cuda:
                continue
            exact = build.cudnn if build.cudnn[:1].isdigit() else ""
            for cuda in cudas(facts, build):
                yield (
                    release,
                    Combination(
                        framework=release.framework,
                        version=release.version,
                        release=release,
                        build=build,
                        cuda=cuda,
                        cudnn=exact,
                        compat="absent",
                    ),
                )


def verdict_on(
    engine: RuleEngine, build: Combination, kind: GpuKind, branch: str
) -> tuple[bool, bool]:
    """Return whether no rule refuses the build there, and whether that is beyond doubt."""
    reasons = engine.reasons(build._replace(gpu=kind.first, driver=branch))
    runs = not any(reason.rule in _HARDWARE for reason in refusals(reasons))
    return runs, runs and not _hardware_doubts(reasons)


def smallest_cover(
    covers: Mapping[Choice, frozenset[Item]], rank: Callable[[Choice], object]
) -> tuple[Choice, ...]:
    """Return the fewest choices that together cover what all of them cover.

    Of choices that cover the same, and of sets of one size, those of the highest rank are taken.
    """
    ordered = sorted(covers, key=rank, reverse=True)  # type: ignore[arg-type]
    useful = [
        choice
        for position, choice in enumerate(ordered)
        if covers[choice]
        and not any(
            covers[choice] < covers[other] or (covers[choice] == covers[other] and index < position)
            for index, other in enumerate(ordered)
        )
    ]
    everything = frozenset().union(*covers.values())
    for size in range(len(useful) + 1):
        for chosen in combinations(useful, size):
            if frozenset().union(*(covers[choice] for choice in chosen)) == everything:
                return chosen
    return tuple(useful)
