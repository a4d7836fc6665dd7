"""The cells of the matrix that run on a machine, best first, and why others do not."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from packaging.specifiers import SpecifierSet

from dlimg.compat.combination import Combination, combination_of
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult, refusals, refuse, warn
from dlimg.compat.rules_gpu import gpu_host
from dlimg.document.versions import driver_numbers, numbers
from dlimg.facts.gpus import GpuCode, code_for
from dlimg.facts.load import Facts
from dlimg.facts.model import GpuFact
from dlimg.model import CPU, Cell, Flavour, Lock

# How a GPU runs a wheel: by machine code for just this chip, for its major, by PTX, or unknown.
EXACT, MAJOR, PTX, UNKNOWN = range(4)
# The doubt about images whose framework the facts do not have.
_NO_FACTS = "no-facts"
LockOf = Callable[[str], Lock | None]
# The results of the rules for a cell, by GPU.
Reasons: TypeAlias = tuple[tuple[GpuFact | None, tuple[RuleResult, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PickRequest:
    """A user's hardware and wishes; an empty field is no wish.

    `versions` is a specifier such as `==2.9.0`, for the family's framework. `without_gpu` asks for
    CPU images. `arch` is the CPU architecture of the host (`x86_64`).
    """

    gpus: tuple[GpuFact, ...] = ()
    driver: str = ""
    python: str = ""
    family: str = ""
    versions: str = ""
    arch: str = ""
    without_gpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PickMatch:
    """A cell that runs on the hardware; `native` if the driver supports its CUDA natively.

    `match` is how well its `code` (one for each GPU of the request) fits.
    """

    cell: Cell
    native: bool
    match: int
    code: tuple[str, ...] = ()
    reasons: tuple[RuleResult, ...] = ()

    @property
    def doubts(self) -> tuple[RuleResult, ...]:
        """Unconfirmed reasons against it."""
        return tuple(
            reason for reason in self.reasons if reason.level == "warning" and not reason.certain
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Cells that one reason rules out; `on` is the GPU, if several were requested."""

    reason: RuleResult
    cells: tuple[Cell, ...]
    on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickResult:
    """The cells that run, best first, and the rejected ones."""

    matches: tuple[PickMatch, ...]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Cells in the matrix's order, with their locks and moving names.

    A stack's lock holds the cuDNN of all its cells. `is_locked` is cheaper than `lock_of`.
    """

    cells: Sequence[Cell]
    lock_of: LockOf
    is_locked: Callable[[str], bool]
    stack_lock_of: LockOf
    aliases: Mapping[str, Sequence[str]]


def pick(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> PickResult:
    """Judge every cell; within a family the newest framework comes first.

    A GPU or a driver in the request leaves out images without CUDA, and `without_gpu` leaves out
    images with CUDA. If the GPU's host has another architecture, images without CUDA do not run
    there either.
    """
    requested = [cell for cell in catalog.cells if is_requested(cell, request)]
    matches: list[PickMatch] = []
    rejected: dict[tuple[RuleResult, str], list[Cell]] = {}
    for cell in requested:
        reasons = tuple(_reasons(catalog, cell, request, engine))
        refusal = wrong_host(cell, request, engine.facts) or _first_refusal(reasons, request)
        if refusal:
            rejected.setdefault(refusal, []).append(cell)
        else:
            matches.append(_match(cell, reasons, request, engine.facts))
    for cell in catalog.cells:
        if is_requested(cell, request) or not is_requested(cell, for_cpu(request)):
            continue
        refusal = wrong_host(cell, request, engine.facts)
        if refusal:
            rejected.setdefault(refusal, []).append(cell)
    families = list(dict.fromkeys(cell.family for cell in requested))
    matches.sort(key=lambda match: (families.index(match.cell.family), _rank(match, catalog)))
    return PickResult(
        matches=tuple(matches),
        rejections=tuple(
            Rejection(reason=reason, cells=tuple(cells), on=on)
            for (reason, on), cells in rejected.items()
        ),
    )


def is_requested(cell: Cell, request: PickRequest) -> bool:
    if request.family and cell.family != request.family:
        return False
    if request.python and cell.python != request.python:
        return False
    if not SpecifierSet(request.versions).contains(cell.version, prereleases=True):
        return False
    if request.without_gpu:
        return cell.accelerator == CPU
    return cell.is_cuda or not (request.gpus or request.driver)


def for_cpu(request: PickRequest) -> PickRequest:
    """Return the request without its GPUs."""
    return replace(request, gpus=(), driver="", without_gpu=True)


def wrong_host(cell: Cell, request: PickRequest, facts: Facts) -> tuple[RuleResult, str] | None:
    """Return the refusal of a cell for another CPU architecture, with the GPU concerned."""
    combination = combination_of(cell, facts)
    if request.arch not in {"", combination.arch}:
        message = f"this machine is {request.arch}, and this is for {combination.arch}"
        return refuse("this-machine", "runtime", message, "`uname -m` on this machine"), ""
    hosts = ((gpu, gpu_host(facts, combination._replace(gpu=gpu))) for gpu in request.gpus)
    return _first_refusal(tuple((gpu, (host,)) for gpu, host in hosts if host), request)


def _reasons(
    catalog: Catalog, cell: Cell, request: PickRequest, engine: RuleEngine
) -> Iterator[tuple[GpuFact | None, tuple[RuleResult, ...]]]:
    """Yield the reasons for each GPU. The cell's wheels fit: they are locked."""
    lock = catalog.stack_lock_of(cell.stack.lock_name) if cell.stack else None
    for gpu in request.gpus or (None,):
        combination = combination_of(cell, engine.facts, lock, gpu=gpu, driver=request.driver)
        reasons = engine.reasons(combination._replace(wheels=None, python=cell.python))
        unknown = _unknown_code(cell, combination)
        yield gpu, (*reasons, unknown) if unknown else reasons


def _unknown_code(cell: Cell, combination: Combination) -> RuleResult | None:
    """Warn of an image on a GPU if no facts say which GPUs its release has code for."""
    if not cell.is_cuda or combination.gpu is None or combination.release is not None:
        return None
    message = f"no facts about {cell.package} {cell.version}: it may have no code for this GPU"
    return warn(_NO_FACTS, message, "dlimg facts", certain=False)


def _first_refusal(reasons: Reasons, request: PickRequest) -> tuple[RuleResult, str] | None:
    """Return the first refusal, with the GPU concerned if there are several."""
    for gpu, of_gpu in reasons:
        for refusal in refusals(of_gpu):
            return refusal, gpu.name if gpu and len(request.gpus) > 1 else ""
    return None


def _match(cell: Cell, reasons: Reasons, request: PickRequest, facts: Facts) -> PickMatch:
    codes = [code_for(cell.architectures, gpu.capability) for gpu in request.gpus]
    fits = (fit_of(code, gpu) for code, gpu in zip(codes, request.gpus, strict=True))
    return PickMatch(
        cell=cell,
        native=is_native(cell, request.driver, facts),
        match=max(fits, default=EXACT),
        code=tuple(code.name if code else "" for code in codes),
        reasons=tuple(dict.fromkeys(reason for _, of_gpu in reasons for reason in of_gpu)),
    )


def is_native(cell: Cell, driver: str, facts: Facts) -> bool:
    """Return whether the driver supports the cell's CUDA natively; without a driver it does."""
    fact = facts.cuda.get(cell.stack.cuda) if cell.stack else None
    if fact is None or not driver or not fact.native_driver:
        return True
    return driver_numbers(driver) >= numbers(fact.native_driver)


def fit_of(code: GpuCode | None, gpu: GpuFact) -> int:
    """Return how well code fits: for just this GPU, for its major, as PTX, or unknown."""
    if code is None:
        return UNKNOWN
    if code.is_ptx:
        return PTX
    return EXACT if code.name == gpu.sm else MAJOR


def _rank(match: PickMatch, catalog: Catalog) -> tuple[object, ...]:
    """Return a sort key, lowest for the best: fit to the machine, then the matrix's order."""
    cell = match.cell
    return (
        # An unlocked cell has no image here.
        not catalog.is_locked(cell.id),
        bool(match.doubts),
        tuple(-number for number in numbers(cell.version)),
        not match.native,
        match.match,
        cell.flavour is not Flavour.RUNTIME,
        tuple(-number for number in numbers(cell.stack.cuda)) if cell.stack else (0,),
        bool(cell.stack and cell.stack.other_cudnn),
        # The defaults of the family have short names that move.
        not catalog.aliases.get(cell.id),
        cell.id,
    )


def group_by_build(matches: Iterable[PickMatch]) -> tuple[tuple[PickMatch, ...], ...]:
    """Return matches by family, version, accelerator and cuDNN.

    Python, system and flavour differ in a group.
    """
    groups: dict[tuple[str, str, str, str], list[PickMatch]] = {}
    for match in matches:
        cell = match.cell
        cudnn = cell.stack.cudnn_part if cell.stack else ""
        groups.setdefault((cell.family, cell.version, cell.accelerator, cudnn), []).append(match)
    return tuple(tuple(group) for group in groups.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A change after which a cell runs, with that cell and the source."""

    change: str
    cell: Cell
    source: str = ""


def advise(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> tuple[Advice, ...]:
    """Return the least changes after which one of these cells runs, if any do."""
    advice = [
        _newer_driver(catalog, request, engine),
        *_one_gpu(catalog, request, engine),
        _another_python(catalog, request, engine),
        _another_version(catalog, request, engine),
        _another_family(catalog, request, engine),
        _no_gpu(catalog, request, engine),
    ]
    return tuple(filter(None, advice))


def _newer_driver(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> Advice | None:
    """Advise the oldest driver with which a cell runs, if these GPUs have one so new."""
    if not request.driver:
        return None
    facts = {
        cell.stack.cuda: engine.facts.cuda[cell.stack.cuda]
        for cell in catalog.cells
        if cell.stack and cell.stack.cuda in engine.facts.cuda
    }
    for fact in sorted(facts.values(), key=lambda fact: numbers(fact.min_driver)):
        if numbers(fact.min_driver) <= driver_numbers(request.driver):
            continue
        cell = _best(catalog, replace(request, driver=fact.min_driver), engine)
        if cell:
            change = f"update the driver to {fact.min_driver} or newer"
            return Advice(change=change, cell=cell, source=fact.origin.source_of("min_driver"))
    return None


def _one_gpu(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> Iterator[Advice]:
    """Advise an image for one of several kinds of GPU: no image may be for all of them."""
    for gpu in request.gpus if len(request.gpus) > 1 else ():
        cell = _best(catalog, replace(request, gpus=(gpu,)), engine)
        if cell:
            yield Advice(change=f"use only the {gpu.name}", cell=cell)


def _another_python(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> Advice | None:
    cell = _best(catalog, replace(request, python=""), engine) if request.python else None
    return Advice(change=f"take Python {cell.python}", cell=cell) if cell else None


def _another_version(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> Advice | None:
    cell = _best(catalog, replace(request, versions=""), engine) if request.versions else None
    return Advice(change=f"take {cell.package} {cell.version}", cell=cell) if cell else None


def _another_family(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> Advice | None:
    everywhere = replace(request, family="", versions="")
    cell = _best(catalog, everywhere, engine) if request.family else None
    is_other = cell and cell.family != request.family
    return Advice(change=f"take {cell.family}", cell=cell) if cell and is_other else None


def _best(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> Cell | None:
    """Return the best cell that runs without a doubt.

    Of a family of the request, one that the facts know nothing of counts, too.
    """
    for match in pick(catalog, request, engine).matches:
        doubts = {reason.rule for reason in match.doubts}
        if not doubts or (request.family and doubts == {_NO_FACTS}):
            return match.cell
    return None


def _no_gpu(catalog: Catalog, request: PickRequest, engine: RuleEngine) -> Advice | None:
    """Advise an image for the CPU: it runs slowly, on any host of its architecture."""
    if not (request.gpus or request.driver):
        return None
    cells = [cell for cell in catalog.cells if is_requested(cell, for_cpu(request))]
    cells = [cell for cell in cells if not wrong_host(cell, request, engine.facts)]
    best = min(
        cells,
        key=lambda cell: (catalog.lock_of(cell.id) is None, not catalog.aliases.get(cell.id)),
        default=None,
    )
    return Advice(change="do without the GPU", cell=best) if best else None
