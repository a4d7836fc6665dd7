"""Our side of `layers_cost.py`: the layers builder, and dlimg's own commands."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from place import ROOT, Place, system_image

from dlimg.builders.assemble import AssembleContext, BuildCallbacks, open_assembler
from dlimg.builders.executor import EngineExecutor
from dlimg.model import PlannedImage
from dlimg.publish.push import push_image
from dlimg.registry.http import Repository, open_registry
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store

NOT_RUN = 3  # the checks that need a GPU, where there is none


def systems(place: Place) -> Mapping[str, str]:
    """An image with the system of each cell, by its id; the engine builds no system afterwards."""
    store = Store(path=place.folder / "systems")
    return {one.image.cell.id: system_image(place, one, store) for one in place.planned}


def with_systems(place: Place, folder: Path) -> Store:
    """An empty store but for the systems' layers."""
    shutil.copytree(place.folder / "systems", folder)
    return Store(path=folder)


def pushed(place: Place, one: PlannedImage, store: Store, name: str) -> int:
    """The image assembled and at a registry under this name; the peak of our memory in bytes."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.partition(":")
    _forget_peak()
    image = assembled(place, one, store)
    with open_registry(host, place.environment) as registry:
        push_image(Repository(registry=registry, name=repository), tag, image, store, log=_hush)
    return _peak()


def assembled(place: Place, one: PlannedImage, store: Store) -> AssembledImage:
    context = AssembleContext(
        executor=EngineExecutor(engine=place.engine, secrets=place.secrets),
        environment=place.environment,
        store=store,
        find_links=[place.wheels],
    )
    with open_assembler([one], context) as assembler:
        return assembler.assemble(one, BuildCallbacks())


def command(place: Place, *words: str, state: str = "state") -> None:
    """One of dlimg's commands on the place's engine, as a user gives it."""
    environment = {
        **place.environment,
        "XDG_STATE_HOME": str(place.folder / state),
        "UV_FIND_LINKS": str(place.wheels),
        "PYTHONPATH": str(ROOT),
    }
    argv = [sys.executable, "-m", "dlimg", "--matrix", str(ROOT / "matrix.yaml"), *words]
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode not in {0, NOT_RUN}:
        raise SystemExit(f"{' '.join(words)} ended with {ended.returncode}\n{ended.stderr}")


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [one for one in lines if one.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def _hush(_: str) -> None:
    """Nothing is printed while it is measured."""
