"""The image of a run: named by framework, version, tag or cell, or picked for the machine."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Final

from dlimg.compat.pick import PickMatch, PickRequest, PickResult
from dlimg.context import Context, no_log
from dlimg.document.versions import numbers
from dlimg.errors import BadInput, Negative, nearest
from dlimg.image_files import shipped_root
from dlimg.model import OCI_ARCHITECTURES, Cell, Flavour, LocalMachine
from dlimg.pipeline.pick import (
    PickContext,
    family_of,
    framework_of,
    pick_images,
    read_pick_context,
    request_on_machine,
    with_user_registry,
)
from dlimg.pipeline.shipped import MATRIX
from dlimg.render.naming import repository_name, tag
from dlimg.run.imports import imported_modules
from dlimg.run.model import ImageChoice, Mode

# Also as pip and people write it: jax==0.12, "jax 0.12".
_ENV: Final = re.compile(r"(?P<family>[a-zA-Z][\w-]*?)(?:(?:-|==| )(?P<version>\d[\w.]*))?")
# Where the code imports no framework itself, a library tells which is meant.
_LIBRARIES: Final = {
    "jax": "chex diffrax distrax equinox flax haiku jaxtyping numpyro optax orbax",
    "tensorflow": "keras keras_hub tensorflow_datasets tensorflow_hub tensorflow_probability",
    "torch": "accelerate diffusers lightning pytorch_lightning timm torchaudio torchvision vllm",
    "rapids": "cudf cugraph cuml",
}
_BUILT_ON: Final = {name: key for key, names in _LIBRARIES.items() for name in names.split()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """The criteria for the image of a run.

    `env` is the value of `--env`. `gpu` says that the container gets GPUs; `machine` has those that
    were detected, or is None. `architecture` is the engine's, by OCI's name. The code in `folder`
    decides the framework if `env` is empty.
    """

    env: str
    mode: Mode
    gpu: bool
    machine: LocalMachine | None
    architecture: str
    folder: Path


def choose_image(request: ImageRequest, matrix: str, context: Context) -> ImageChoice:
    """Return the image for a run. Raises BadInput or Negative with the images there are instead."""
    if any(character in request.env for character in ":/@"):
        return ImageChoice(names=(request.env,), reason="as named", is_cuda=request.gpu)
    pick_context = _pick_context(matrix, context)
    exact = _cell_named(request.env, pick_context) if request.env else None
    if exact is not None:
        return _choice([exact], pick_context, f"{exact.id}, as named")
    family, version = _family_and_version(request.env, pick_context)
    family, why = (family, "as named") if family else _imported_family(request.folder, pick_context)
    cells = _cells(family, version, request, pick_context)
    picked = _pick(cells, family, request, pick_context, context)
    if not picked.matches and request.mode != "command":
        plain = replace(request, mode="command")
        cells = _cells(family, version, plain, pick_context)
        for match in _pick(cells, family, plain, pick_context, context).matches[:1]:
            raise _no_workspace(match.cell, request)
    if not picked.matches:
        raise _no_image(picked, family, request, pick_context)
    matches = _of_first_family(picked.matches)
    return _choice([match.cell for match in matches], pick_context, why)


def _pick_context(matrix: str, context: Context) -> PickContext:
    chosen = matrix or (MATRIX if Path(MATRIX).exists() else str(shipped_root() / MATRIX))
    pick_context = read_pick_context(chosen, datetime.now(tz=UTC).date())
    return with_user_registry(pick_context, context)


def _cell_named(text: str, pick_context: PickContext) -> Cell | None:
    """Return the cell whose id or full tag this is."""
    catalog = pick_context.catalog
    for cell in catalog.cells:
        if cell.id == text:
            return cell
    if not text[:1].isdigit():
        return None
    for cell in catalog.cells:
        lock = catalog.lock_of(cell.id) if text.startswith(cell.version) else None
        if lock and text in (tag(cell, lock), *catalog.aliases.get(cell.id, ())):
            return cell
    hint = "write a framework and version (pytorch-2.15), a cell (`dlimg list`), or NAME:TAG"
    raise BadInput(f"no image has the tag {text!r}", where="--env", hint=hint)


def _family_and_version(env: str, pick_context: PickContext) -> tuple[str, str]:
    """Return the family and version that `tensorflow-2.21` means. Raises BadInput."""
    if not env:
        return "", ""
    match = _ENV.fullmatch(env)
    names = {*pick_context.families, *pick_context.facts.framework_names}
    name, version = (match["family"], match["version"] or "") if match else (env, "")
    family = family_of(name.lower(), pick_context)
    if family not in pick_context.families:
        hint = f"{nearest(name, names)} (a cell of `dlimg list` or NAME:TAG will do, too)"
        raise BadInput(f"no framework is called {name!r}", where="--env", hint=hint)
    return family, version


def _cells(
    family: str, version: str, request: ImageRequest, pick_context: PickContext
) -> tuple[Cell, ...]:
    """Return the cells of the family, version and flavour. Raises BadInput with the nearest."""
    cells = [cell for cell in pick_context.catalog.cells if family in ("", cell.family)]
    if version:
        versions = tuple(dict.fromkeys(cell.version for cell in cells))
        cells = [cell for cell in cells if is_version(cell.version, version)]
        if not cells:
            close = nearest_version(version, versions)
            message = f"there is no {family} {version} in this matrix"
            others = ", ".join(sorted(versions, key=numbers, reverse=True))
            hint = f"the nearest is --env {family}-{close}; it has {others}"
            raise BadInput(message, where="--env", hint=hint)
    flavour = Flavour.RUNTIME if request.mode == "command" else Flavour.WORKSPACE
    of_flavour = [cell for cell in cells if cell.flavour is flavour]
    if not of_flavour and flavour is Flavour.WORKSPACE:
        names = sorted({c.family for c in pick_context.catalog.cells if c.flavour is flavour})
        message = f"--mode {request.mode} needs the flavour workspace, which {family} lacks here"
        raise BadInput(message, hint=f"with it: {', '.join(names) or 'no family'}")
    cells = of_flavour or cells
    return tuple(cell for cell in cells if cell.is_cuda or not request.gpu)


def is_version(version: str, wanted: str) -> bool:
    """Return whether `2.21` means this version: 2.21.0 and 2.21.1, but not 2.2."""
    return version == wanted or version.startswith(f"{wanted}.")


def nearest_version(wanted: str, versions: Iterable[str]) -> str:
    """Return the nearest version of the same major, or else the newest of the nearest major."""
    ordered = sorted(versions, key=numbers, reverse=True)

    def difference(version: str) -> list[int]:
        pairs = list(zip_longest(numbers(wanted), numbers(version), fillvalue=0))
        major = abs(pairs[0][0] - pairs[0][1])
        # In another major, minors do not compare, and the newest version is first.
        return [major, *(abs(first - second) for first, second in pairs if not major)]

    return min(ordered, key=difference)


def _imported_family(folder: Path, pick_context: PickContext) -> tuple[str, str]:
    """Return the family of the framework that the folder's code imports, and the reason."""
    imports = [(path.name, module) for path in _sources(folder) for module in _modules(path)]
    reasons: dict[str, str] = {}
    for file, module in imports:
        family = family_of(module, pick_context)
        if family in pick_context.families:
            reasons.setdefault(family, f"{file} imports {module}")
    if reasons:
        family, why = next(iter(reasons.items()))
        others = [f"; {reasons[other]}, too: --env {other}" for other in list(reasons)[1:]]
        return family, "".join([why, *others])
    for file, module in imports:
        family = family_of(_BUILT_ON.get(module, ""), pick_context)
        if family in pick_context.families:
            return family, f"{file} imports {module}"
    return "", "the first of the matrix that runs here"


def _modules(path: Path) -> list[str]:
    try:
        return list(imported_modules(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return []


def _sources(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.py"))
    yield from sorted(folder.glob("*.ipynb"))
    yield from sorted(folder.glob("*/*.py"))[:50]


def _pick(
    cells: Sequence[Cell],
    family: str,
    request: ImageRequest,
    pick_context: PickContext,
    context: Context,
) -> PickResult:
    architectures = {oci: arch for arch, oci in OCI_ARCHITECTURES.items()}
    arch = architectures.get(request.architecture, "")
    pick_request = PickRequest(family=family, arch=arch, without_gpu=not request.gpu)
    if request.gpu and request.machine and request.machine.gpus:
        quiet = replace(context, log=no_log)
        facts, today = pick_context.facts, pick_context.today
        pick_request = request_on_machine(pick_request, request.machine, facts, today, quiet)
    catalog = replace(pick_context.catalog, cells=cells)
    picked, _ = pick_images(pick_request, replace(pick_context, catalog=catalog))
    return picked


def _no_image(
    picked: PickResult, family: str, request: ImageRequest, pick_context: PickContext
) -> Negative:
    """Return the error that no image runs here, with the versions for such a machine."""
    reasons = dict.fromkeys(rejection.reason.message for rejection in picked.rejections[:3])
    cells = [c for c in pick_context.catalog.cells if family in ("", c.family)]
    versions = {cell.version for cell in cells if cell.is_cuda is request.gpu}
    kind = "a GPU" if request.gpu else "the CPU"
    others = ", ".join(sorted(versions, key=numbers, reverse=True)) or "none"
    message = f"no image of {request.env or 'this matrix'} runs on {kind} here"
    return Negative(
        f"{message}: {'; '.join(reasons)}" if reasons else message,
        hint=f"versions for {kind}: {others}; `dlimg pick --here` says what runs, and why not",
    )


def _no_workspace(cell: Cell, request: ImageRequest) -> Negative:
    """Return why a mode is refused on a machine where another flavour of the cell runs."""
    message = f"--mode {request.mode} needs the flavour workspace, of which no image runs here"
    hint = (
        f"{cell.id} runs here, without --mode; a matrix of your own may have its workspace: "
        "`dlimg init`, and `flavour` in docs/matrix.md"
    )
    return Negative(message, hint=hint)


def _of_first_family(matches: Sequence[PickMatch]) -> list[PickMatch]:
    """Return the matches in the family of the best one, as no other framework replaces it."""
    return [match for match in matches if match.cell.family == matches[0].cell.family]


def _choice(cells: Sequence[Cell], pick_context: PickContext, reason: str) -> ImageChoice:
    names = dict.fromkeys(name for cell in cells for name in _names(cell, pick_context))
    first = cells[0]
    framework = framework_of(pick_context.facts, first)
    lock = pick_context.catalog.lock_of(first.id)
    return ImageChoice(
        names=tuple(names),
        cell=first.id,
        is_cuda=first.is_cuda,
        driver=first.driver_floor.version if first.driver_floor else "",
        driver_source=first.driver_floor.source if first.driver_floor else "",
        download=sum(wheel.size for wheel in lock.wheels) if lock else 0,
        reason=f"{framework} {first.version}: {reason}",
    )


def _names(cell: Cell, pick_context: PickContext) -> Iterator[str]:
    """Yield the image's names: at the user's registry, and as `dlimg build` names it."""
    lock = pick_context.catalog.lock_of(cell.id)
    if lock is None:
        return
    registries = (pick_context.registry, pick_context.project.resolution.registry)
    for registry in dict.fromkeys(filter(None, registries)) or ("",):
        yield f"{repository_name(registry, cell)}:{tag(cell, lock)}"
