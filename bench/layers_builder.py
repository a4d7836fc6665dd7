"""dlimg's side of `layers_cost.py`: the layers builder, and dlimg's commands."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench_engine import ROOT, Bench, system_image

from dlimg.builders.assemble import AssembleContext, BuildCallbacks, open_assembler
from dlimg.builders.executor import EngineExecutor
from dlimg.context import Context
from dlimg.model import PlannedImage
from dlimg.publish.push import push_image
from dlimg.registry.http import Repository, open_registry
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store

NOT_RUN = 3  # the exit code where checks need a GPU and there is none


def systems(bench: Bench) -> Mapping[str, str]:
    """Load an image with each cell's system; return the names by cell id."""
    store = Store(path=bench.folder / "systems")
    return {planned.image.cell.id: system_image(bench, planned, store) for planned in bench.planned}


def with_systems(bench: Bench, folder: Path) -> Store:
    """Return a new store with the systems' layers alone."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bench.folder / "systems", folder)
    return Store(path=folder)


def push(bench: Bench, planned: PlannedImage, store: Store, name: str) -> int:
    """Assemble the image and push it under this name; return the peak memory in bytes."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.partition(":")
    _reset_peak()
    image = assemble(bench, planned, store)
    with open_registry(host, Context.of(bench.environment, _discard)) as registry:
        push_image(Repository(registry=registry, name=repository), tag, image, store, log=_discard)
    return _peak()


def assemble(bench: Bench, planned: PlannedImage, store: Store) -> AssembledImage:
    context = AssembleContext(
        executor=EngineExecutor(engine=bench.engine, secrets=bench.secrets),
        context=Context.of(bench.environment, print),
        store=store,
        find_links=[bench.wheels],
    )
    with open_assembler([planned], context) as assembler:
        return assembler.assemble(planned, BuildCallbacks())


def run_dlimg(bench: Bench, *arguments: str, state: str = "state") -> None:
    """Run a command of dlimg on the bench's engine."""
    environment = {
        **bench.environment,
        "XDG_STATE_HOME": str(bench.folder / state),
        "UV_FIND_LINKS": str(bench.wheels),
        "PYTHONPATH": str(ROOT),
    }
    argv = [sys.executable, "-m", "dlimg", "--matrix", str(ROOT / "matrix.yaml"), *arguments]
    result = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if result.returncode not in {0, NOT_RUN}:
        message = f"{' '.join(arguments)} ended with {result.returncode}\n{result.stderr}"
        raise SystemExit(message)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def _discard(_: str) -> None:
    """Print nothing while it is measured."""
