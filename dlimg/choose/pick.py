"""Cells + a machine -> those that run there, best first, and why the others do not."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dlimg.choose.architectures import Code, runs
from dlimg.choose.cell_question import combination_of
from dlimg.choose.facts import Facts
from dlimg.choose.facts_nouns import Gpu
from dlimg.choose.judge import Judge
from dlimg.choose.numbered import driver_numbers, numbers
from dlimg.choose.reason import Reason, against, refusals
from dlimg.choose.rules_gpu import gpu_host
from dlimg.model import CPU, Cell, Flavour, Lock

# How a GPU runs a wheel: by machine code for just this chip, for its major, by PTX, or unknown.
EXACT, MAJOR, PTX, UNKNOWN = range(4)
LockOf = Callable[[str], Lock | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person has and wants; what is empty is open. No GPU is wanted where `without_gpu`.

    `machine` is that of the host where it shall run (`x86_64`).
    """

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    python: str = ""
    family: str = ""
    machine: str = ""
    without_gpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A cell that runs there: `native` when the driver knows its CUDA by itself.

    `match` says how well its `code` (one for each GPU that was asked for) fits.
    """

    cell: Cell
    native: bool
    match: int
    code: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def doubts(self) -> tuple[Reason, ...]:
        """What speaks against it, and nobody has confirmed."""
        return tuple(one for one in self.reasons if one.level == "warning" and not one.certain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallen:
    """Cells that do not, all for the same reason; `on` is the GPU, where there are several."""

    reason: Reason
    cells: tuple[Cell, ...]
    on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The answer: what runs, best first; what does not; how many were not asked for."""

    fits: tuple[Fit, ...]
    fallen: tuple[Fallen, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What there is to pick from: cells in the matrix's order, their locks, names that move.

    A stack's lock holds the cuDNN of all its cells. Whether there is a lock costs less to ask than
    what it holds.
    """

    cells: Sequence[Cell]
    lock_of: LockOf
    is_locked: Callable[[str], bool]
    stack_lock_of: LockOf
    aliases: Mapping[str, Sequence[str]]


def pick(shelf: Shelf, wish: Wish, judge: Judge) -> Picked:
    """Every cell judged; of one family the newest framework first.

    A GPU or a driver asks for CUDA: an image without it is left out, and the reverse. Where a
    GPU's host is of another machine, an image without CUDA does not run there either.
    """
    asked = [cell for cell in shelf.cells if is_asked(cell, wish)]
    fits: list[Fit] = []
    fallen: dict[tuple[Reason, str], list[Cell]] = {}
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
    return Picked(
        fits=tuple(fits),
        fallen=tuple(
            Fallen(reason=reason, cells=tuple(cells), on=on)
            for (reason, on), cells in fallen.items()
        ),
        left_out=len(shelf.cells) - len(asked) - elsewhere,
    )


def is_asked(cell: Cell, wish: Wish) -> bool:
    if wish.family and cell.family != wish.family:
        return False
    if wish.python and cell.python != wish.python:
        return False
    if wish.without_gpu:
        return cell.accelerator == CPU
    return cell.is_cuda or not (wish.gpus or wish.driver)


def plain(wish: Wish) -> Wish:
    """The same without a GPU: an image for the CPU."""
    return replace(wish, gpus=(), driver="", without_gpu=True)


def wrong_host(cell: Cell, wish: Wish, facts: Facts) -> tuple[Reason, str] | None:
    """Why it cannot start there, with or without CUDA: it is for another machine."""
    one = combination_of(cell, facts)
    if wish.machine not in {"", one.machine}:
        message = f"this machine is {wish.machine}, and this is for {one.machine}"
        return against("this-machine", "runtime", message, "`uname -m` on this machine"), ""
    said = ((gpu, gpu_host(facts, one._replace(gpu=gpu))) for gpu in wish.gpus)
    return _against(((gpu, (reason,)) for gpu, reason in said if reason), wish)


def _spoken(
    shelf: Shelf, cell: Cell, wish: Wish, judge: Judge
) -> Iterator[tuple[Gpu | None, tuple[Reason, ...]]]:
    """What the rules say of the cell, for each GPU. Its wheels fit: they are locked."""
    lock = shelf.stack_lock_of(cell.stack.name) if cell.stack else None
    for gpu in wish.gpus or (None,):
        one = combination_of(cell, judge.facts, lock, gpu=gpu, driver=wish.driver)
        yield gpu, judge.reasons(one._replace(wheels=None, python=cell.python))


def _against(
    spoken: Iterable[tuple[Gpu | None, tuple[Reason, ...]]], wish: Wish
) -> tuple[Reason, str] | None:
    """The first refusal, with the GPU that it is about where there are several."""
    for gpu, reasons in spoken:
        for reason in refusals(reasons):
            return reason, gpu.name if gpu and len(wish.gpus) > 1 else ""
    return None


def _fit(
    cell: Cell,
    spoken: Iterable[tuple[Gpu | None, tuple[Reason, ...]]],
    wish: Wish,
    facts: Facts,
) -> Fit:
    codes = [code_for(cell, gpu) for gpu in wish.gpus]
    return Fit(
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


def code_for(cell: Cell, gpu: Gpu) -> Code | None:
    """The framework's code that this GPU runs, where anybody has looked into the wheel."""
    return runs(cell.architectures, gpu.capability)


def match(code: Code | None, gpu: Gpu) -> int:
    """How well code fits: for just this GPU, for its kind, as PTX; or nobody knows."""
    if code is None:
        return UNKNOWN
    if code.is_ptx:
        return PTX
    return EXACT if code.name == gpu.sm else MAJOR


def _rank(fit: Fit, shelf: Shelf) -> tuple[object, ...]:
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


def builds(fits: Iterable[Fit]) -> tuple[tuple[Fit, ...], ...]:
    """The fits by family, version and accelerator: they differ in Python, system and flavour."""
    found: dict[tuple[str, str, str], list[Fit]] = {}
    for fit in fits:
        cell = fit.cell
        found.setdefault((cell.family, cell.version, cell.accelerator), []).append(fit)
    return tuple(tuple(group) for group in found.values())
