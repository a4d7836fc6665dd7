"""The real CPU image of JAX, containers of it that are spoilt, and verdicts of checks in them.

`judged` takes it that a GPU was given: no verdict is not-run because the runner says so.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlimg.checks.container_setup import prepare_check, scripts_archive
from dlimg.checks.discover import checks_for, read_scripts
from dlimg.checks.execute import RunningContainer, run_check
from dlimg.checks.image_inputs import read_wheel_records
from dlimg.checks.inputs import ReferenceData, make_inputs
from dlimg.checks.verdicts import verdict_of
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.model import Base, BaseSource, BuiltImage, Image, PlannedImage, Verdict
from dlimg.pipeline.images import current_images
from dlimg.pipeline.project import read_project
from dlimg.render.content_key import with_key
from dlimg.render.dockerfile import load_templates
from dlimg.render.layout_tree import Node, layout_tree
from dlimg.store.store import layer_store
from dlimg.store.systems import load_system, system_source
from tests.support.image_folders import checks_in, files_in

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "images"
CELL = "jax-0.12.0.1-cpu-py3.13-debian13"
CUDA_CELL = "jax-0.12.0.1-cuda13.2-py3.13-debian13"
DEVICE = "example.com/gpu=0"
PACKAGES = "/opt/env/lib/python/site-packages"
OVERLAY = "/home/user/env/lib/python3.13/site-packages"
Edit = tuple[str, str, str]


def image(cell: str) -> Image:
    project = read_project(str(ROOT / "matrix.yaml"))
    (result,) = current_images(project, [one for one in project.resolution.cells if one.id == cell])
    return result


def jax(engine: Engine) -> BuiltImage:
    """The real image, built by `dlimg build` if it is missing."""
    ended = subprocess.run(
        [sys.executable, "-m", "dlimg", "build", CELL, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    engine.sdk.images.get(line["digest"])
    made = image(CELL)
    base = Base(
        os=made.cell.os.name,
        source=BaseSource(line["base"]["source"]),
        identity=line["base"]["identity"],
        reference="",
    )
    unknown = PlannedImage(image=made, base=base, key="")
    system = load_system(layer_store(Context.of(os.environ, print)), system_source(unknown))
    assert system
    planned = with_key(unknown, system.packages_digest)
    return BuiltImage(planned=planned, digest=line["digest"], size=0, seconds=0, cached=True)


@contextlib.contextmanager
def spoilt_container(
    engine: Engine, built: BuiltImage, script: str = "", *, user: str = "", **options: Any
) -> Iterator[RunningContainer]:
    """A container of the image, made with these options, in which root has run a script."""
    config = engine.sdk.images.get(built.digest).attrs["Config"]
    facts = make_inputs(built.planned, config["Labels"], config)
    container = engine.sdk.containers.create(
        built.digest,
        entrypoint=["sleep", "infinity"],
        environment={**facts.environment, "DLIMG_GPU": "none"},
        network_mode="none",
        user=user,
        **options,
    )
    try:
        container.start()
        ended = container.exec_run(["bash", "-euc", script], user="0")
        assert ended.exit_code == 0, ended.output.decode()
        yield RunningContainer(
            container=container, api=engine.sdk.api, environment={}, memory=0, grace=15.0
        )
    finally:
        container.remove(force=True)


def layout_of(built: BuiltImage) -> tuple[Node, ...]:
    """The layout's own paths, by the project's templates."""
    image = built.planned.image
    return layout_tree(image.cell, image.lock, load_templates(files_in(IMAGES)))


def slowness(there: RunningContainer) -> float:
    """The time that a command takes now, as a multiple of the time on a quiet machine."""
    began = time.monotonic()
    for _ in range(3):
        there.container.exec_run(["python", "-c", ""])
    return max(1.0, (time.monotonic() - began) / 0.3)


def check_verdict(
    there: RunningContainer, of: BuiltImage, name: str, *edits: Edit, **environment: str
) -> Verdict:
    """The verdict of a check in a container, after edits of the scripts: path, old, new text."""
    result = read_scripts(files_in(IMAGES), "jax")
    for path, old, new in edits:
        text = result[path].decode()
        assert text.count(old) == 1, f"{path} does not hold once: {old}"
        result[path] = text.replace(old, new).encode()
    records = read_wheel_records(of.planned.image.lock, layer_store(Context.of(os.environ, print)))
    facts = make_inputs(
        of.planned, {}, reference=ReferenceData(layout=layout_of(of), records=records)
    )
    there.container.put_archive("/", scripts_archive({**result, **facts.files}))
    (check,) = [
        check
        for check in checks_for(of.planned.image.cell, checks_in(IMAGES))
        if check.name == name
    ]
    ran = run_check(
        replace(there, environment=environment), prepare_check(check, files_in(IMAGES), result)
    )
    return verdict_of(check, ran, device=DEVICE)
