"""Cells + a machine -> those that run there, best first, and why the others do not."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dlimg.compat.combination import combination_of
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult, against, refusals
from dlimg.compat.rules_gpu import gpu_host
from dlimg.document.versions import driver_numbers, numbers
from dlimg.facts.gpu_code import GpuCode, runs
from dlimg.facts.load import Facts
from dlimg.facts.model import GpuFact
from dlimg.model import CPU, Cell, Flavour, Lock

# How a GPU runs a wheel: by machine code for just this chip, for its major, by PTX, or unknown.
EXACT, MAJOR, PTX, UNKNOWN = range(4)
LockOf = Callable[[str], Lock | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PickRequest:
    """What a person has and wants; what is empty is open. No GPU is wanted where `without_gpu`.

    `machine` is that of the host where it shall run (`x86_64`).
    """

    gpus: tuple[GpuFact, ...] = ()
    driver: str = ""
    python: str = ""
    family: str = ""
    machine: str = ""
    without_gpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PickMatch:
    """A cell that runs there: `native` when the driver knows its CUDA by itself.

    `match` says how well its `code` (one for each GPU that was asked for) fits.
    """

    cell: Cell
    native: bool
    match: int
    code: tuple[str, ...] = ()
    reasons: tuple[RuleResult, ...] = ()

    @property
    def doubts(self) -> tuple[RuleResult, ...]:
        """What speaks against it, and nobody has confirmed."""
        return tuple(one for one in self.reasons if one.level == "warning" and not one.certain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Cells that do not, all for the same reason; `on` is the GPU, where there are several."""

    reason: RuleResult
    cells: tuple[Cell, ...]
    on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickResult:
    """The answer: what runs, best first; what does not; how many were not asked for."""

    fits: tuple[PickMatch, ...]
    fallen: tuple[Rejection, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What there is to pick from: cells in the matrix's order, their locks, names that move.

    A stack's lock holds the cuDNN of all its cells. Whether there is a lock costs less to ask than
    what it holds.
    """

    cells: Sequence[Cell]
    lock_of: LockOf
    is_locked: Callable[[str], bool]
    stack_lock_of: LockOf
    aliases: Mapping[str, Sequence[str]]


def pick(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> PickResult:
    """Every cell judged; of one family the newest framework first.

    A GPU or a driver asks for CUDA: an image without it is left out, and the reverse. Where a
    GPU's host is of another machine, an image without CUDA does not run there either.
    """
    asked = [cell for cell in shelf.cells if is_asked(cell, wish)]
    fits: list[PickMatch] = []
    fallen: dict[tuple[RuleResult, str], list[Cell]] = {}
    for cell in asked:
        spoken = tuple(_spoken(shelf, cell, wish, judge))
        wrong = wrong_host(cell, wish, judge.facts) or _against(spoken, wish)
        if wrong:
            fallen.setdefault(wrong, []).append(cell)
        else:
            fits.append(_fit(cell, spoken, wish, judge.facts))
    elsewhere = 0
    without_cuda = plain(wish)
    for cell in shelf.cells:
        if is_asked(cell, wish) or not is_asked(cell, without_cuda):
            continue
        wrong = wrong_host(cell, wish, judge.facts)
        if wrong:
            fallen.setdefault(wrong, []).append(cell)
            elsewhere += 1
    order = {name: number for number, name in enumerate(dict.fromkeys(c.family for c in asked))}
    fits.sort(key=lambda fit: (order[fit.cell.family], _rank(fit, shelf)))
    return PickResult(
        fits=tuple(fits),
        fallen=tuple(
            Rejection(reason=reason, cells=tuple(cells), on=on)
            for (reason, on), cells in fallen.items()
        ),
        left_out=len(shelf.cells) - len(asked) - elsewhere,
    )


def is_asked(cell: Cell, wish: PickRequest) -> bool:
    if wish.family and cell.family != wish.family:
        return False
    if wish.python and cell.python != wish.python:
        return False
    if wish.without_gpu:
        return cell.accelerator == CPU
    return cell.is_cuda or not (wish.gpus or wish.driver)


def plain(wish: PickRequest) -> PickRequest:
    """The same without a GPU: an image for the CPU."""
    return replace(wish, gpus=(), driver="", without_gpu=True)


def wrong_host(cell: Cell, wish: PickRequest, facts: Facts) -> tuple[RuleResult, str] | None:
    """Why it cannot start there, with or without CUDA: it is for another machine."""
    one = combination_of(cell, facts)
    if wish.machine not in {"", one.machine}:
        message = f"this machine is {wish.machine}, and this is for {one.machine}"
        return against("this-machine", "runtime", message, "`uname -m` on this machine"), ""
    said = ((gpu, gpu_host(facts, one._replace(gpu=gpu))) for gpu in wish.gpus)
    return _against(((gpu, (reason,)) for gpu, reason in said if reason), wish)


def _spoken(
    shelf: Catalog, cell: Cell, wish: PickRequest, judge: RuleEngine
) -> Iterator[tuple[GpuFact | None, tuple[RuleResult, ...]]]:
    """What the rules say of the cell, for each GPU. Its wheels fit: they are locked."""
    lock = shelf.stack_lock_of(cell.stack.lock_name) if cell.stack else None
    for gpu in wish.gpus or (None,):
        one = combination_of(cell, judge.facts, lock, gpu=gpu, driver=wish.driver)
        yield gpu, judge.reasons(one._replace(wheels=None, python=cell.python))


def _against(
    spoken: Iterable[tuple[GpuFact | None, tuple[RuleResult, ...]]], wish: PickRequest
) -> tuple[RuleResult, str] | None:
    """The first refusal, with the GPU that it is about where there are several."""
    for gpu, reasons in spoken:
        for reason in refusals(reasons):
            return reason, gpu.name if gpu and len(wish.gpus) > 1 else ""
    return None


def _fit(
    cell: Cell,
    spoken: Iterable[tuple[GpuFact | None, tuple[RuleResult, ...]]],
    wish: PickRequest,
    facts: Facts,
) -> PickMatch:
    codes = [code_for(cell, gpu) for gpu in wish.gpus]
    return PickMatch(
        cell=cell,
        native=is_native(cell, wish.driver, facts),
        match=max((match(*one) for one in zip(codes, wish.gpus, strict=True)), default=EXACT),
        code=tuple(one.name if one else "" for one in codes),
        reasons=tuple(dict.fromkeys(reason for _, found in spoken for reason in found)),
    )


def is_native(cell: Cell, driver: str, facts: Facts) -> bool:
    """Whether the driver knows the cell's CUDA by itself; where nothing is asked, it does."""
    fact = facts.cuda.get(cell.stack.cuda) if cell.stack else None
    if fact is None or not driver or not fact.native_driver:
        return True
    return driver_numbers(driver) >= numbers(fact.native_driver)


def code_for(cell: Cell, gpu: GpuFact) -> GpuCode | None:
    """The framework's code that this GPU runs, where anybody has looked into the wheel."""
    return runs(cell.architectures, gpu.capability)


def match(code: GpuCode | None, gpu: GpuFact) -> int:
    """How well code fits: for just this GPU, for its kind, as PTX; or nobody knows."""
    if code is None:
        return UNKNOWN
    if code.is_ptx:
        return PTX
    return EXACT if code.name == gpu.sm else MAJOR


def _rank(fit: PickMatch, shelf: Catalog) -> tuple[object, ...]:
    """The least is the best. After what is said of the machine, what the matrix itself prefers."""
    cell = fit.cell
    return (
        # Without a lock there can be no image of it here.
        not shelf.is_locked(cell.id),
        bool(fit.doubts),
        tuple(-number for number in numbers(cell.version)),
        not fit.native,
        fit.match,
        cell.flavour is not Flavour.RUNTIME,
        tuple(-number for number in numbers(cell.stack.cuda)) if cell.stack else (0,),
        # The defaults of the family have short names that move.
        not shelf.aliases.get(cell.id),
        cell.id,
    )


def builds(fits: Iterable[PickMatch]) -> tuple[tuple[PickMatch, ...], ...]:
    """The fits by family, version and accelerator: they differ in Python, system and flavour."""
    found: dict[tuple[str, str, str], list[PickMatch]] = {}
    for fit in fits:
        cell = fit.cell
        found.setdefault((cell.family, cell.version, cell.accelerator), []).append(fit)
    return tuple(tuple(group) for group in found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to change so that something runs: in words, with the cell that would, and the source."""

    change: str
    cell: Cell
    source: str = ""


def advice(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> tuple[Advice, ...]:
    """The least changes after which one of these cells runs, where there are any."""
    found = [
        _newer_driver(shelf, wish, judge),
        *_one_gpu(shelf, wish, judge),
        _another_python(shelf, wish, judge),
        _another_family(shelf, wish, judge),
        _no_gpu(shelf, wish, judge),
    ]
    return tuple(one for one in found if one)


def _newer_driver(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> Advice | None:
    """The oldest driver with which a cell runs, if these GPUs have one so new."""
    if not wish.driver:
        return None
    floors = {
        cell.stack.cuda: judge.facts.cuda[cell.stack.cuda]
        for cell in shelf.cells
        if cell.stack and cell.stack.cuda in judge.facts.cuda
    }
    for fact in sorted(floors.values(), key=lambda one: numbers(one.min_driver)):
        if numbers(fact.min_driver) <= driver_numbers(wish.driver):
            continue
        fits = _sure(shelf, replace(wish, driver=fact.min_driver), judge)
        if fits:
            change = f"update the driver to {fact.min_driver} or newer"
            source = fact.origin.source_of("min_driver")
            return Advice(change=change, cell=fits[0].cell, source=source)
    return None


def _one_gpu(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> Iterator[Advice]:
    """An image for one of several kinds of GPU: no image may be for all of them."""
    for gpu in wish.gpus if len(wish.gpus) > 1 else ():
        fits = _sure(shelf, replace(wish, gpus=(gpu,)), judge)
        if fits:
            yield Advice(change=f"use the {gpu.name} alone", cell=fits[0].cell)


def _another_python(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> Advice | None:
    if not wish.python:
        return None
    fits = _sure(shelf, replace(wish, python=""), judge)
    change = f"take Python {fits[0].cell.python}" if fits else ""
    return Advice(change=change, cell=fits[0].cell) if fits else None


def _sure(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> list[PickMatch]:
    """What runs there without a doubt: nothing else is worth a change."""
    return [fit for fit in pick(shelf, wish, judge).fits if not fit.doubts]


def _another_family(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> Advice | None:
    if not wish.family:
        return None
    fits = _sure(shelf, replace(wish, family=""), judge)
    change = f"take {fits[0].cell.family}" if fits else ""
    return Advice(change=change, cell=fits[0].cell) if fits else None


def _no_gpu(shelf: Catalog, wish: PickRequest, judge: RuleEngine) -> Advice | None:
    """An image for the CPU: it runs slowly, on any host of the machine that it is for."""
    if not (wish.gpus or wish.driver):
        return None
    cells = [cell for cell in shelf.cells if is_asked(cell, plain(wish))]
    cells = [cell for cell in cells if not wrong_host(cell, wish, judge.facts)]
    change = "do without the GPU"
    best = min(cells, key=lambda cell: _rank_plain(cell, shelf), default=None)
    return Advice(change=change, cell=best) if best else None


def _rank_plain(cell: Cell, shelf: Catalog) -> tuple[bool, bool]:
    return shelf.lock_of(cell.id) is None, not shelf.aliases.get(cell.id)
