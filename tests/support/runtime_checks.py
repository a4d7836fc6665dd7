"""The runtime checks in containers of the small image with the layout, where things are spoilt."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from docker.models.containers import Container
from docker.types import Mount

from dlimg.checks.container_setup import (
    ROOT,
    ContainerKind,
    container_options,
    prepare_check,
    scripts_archive,
)
from dlimg.checks.discover import checks_for, read_scripts
from dlimg.checks.execute import RunningContainer, run_check
from dlimg.checks.inputs import cell_json, make_inputs
from dlimg.checks.verdicts import NO_DEVICE, verdict_of
from dlimg.model import Verdict
from tests.support.image_folders import checks_in, files_in
from tests.support.layout_image import IMAGES, LayoutImage

SITE: Final = "/home/user/env/lib/python3.13/site-packages"
ENTRY: Final = "/usr/local/bin/dlimg-entrypoint"
# There is no framework in the small image: this one knows the slope of a sum of squares.
JAX: Final = f"""cat > {SITE}/jax.py <<'END'
from types import SimpleNamespace

__version__ = "0.12.0.1"
numpy = SimpleNamespace(ones=lambda count: [1.0] * count)


def grad(_):
    return lambda ones: SimpleNamespace(sum=lambda: 2.0 * len(ones))
END"""
# What is stuck is not waited for as long as in earnest.
SHORT_LIMITS: Final = (
    "sed -i 's/^LIMIT = 120 /LIMIT = 1 /; s/^PATIENCE = 5 /PATIENCE = 1 /'"
    " /tmp/dlimg/common/checks/runtime_*.py"  # in a container
)


@contextlib.contextmanager
def spoilt_container(
    image: LayoutImage, script: str = "", user: str = "", **variables: str
) -> Iterator[RunningContainer]:
    """A container of the image in which root has run a script."""
    config = image.engine.sdk.images.get(image.built.digest).attrs["Config"]
    inputs = make_inputs(image.built.planned, {}, config).environment
    container = image.engine.sdk.containers.create(
        image.built.digest,
        entrypoint=["sleep", "infinity"],
        environment={
            **{name: inputs[name] for name in ("DLIMG_CELL", "DLIMG_START")},
            "DLIMG_GPU": "none",
            **variables,
        },
        network_mode="none",
        user=user,
    )
    try:
        container.start()
        container.put_archive("/", scripts_archive(read_scripts(files_in(IMAGES), "jax")))
        ended = container.exec_run(["bash", "-euc", f"{JAX}\n{script}"], user="0")
        assert ended.exit_code == 0, ended.output.decode()
        yield _running(image, container)
    finally:
        container.remove(force=True)


@contextlib.contextmanager
def confined_container(
    image: LayoutImage, kind: ContainerKind, script: str = ""
) -> Iterator[RunningContainer]:
    """A confined container of an image that is made of the image by a script of root's."""
    with spoilt_container(image, script) as running:
        spoilt = str(running.container.commit().id)
    container = image.engine.sdk.containers.create(
        spoilt,
        entrypoint=["sleep", "infinity"],
        environment={"DLIMG_CELL": cell_json(image.built.planned)},
        mounts=[Mount(ROOT, None, type="volume")],
        **container_options(kind),
    )
    try:
        container.start()
        container.put_archive(ROOT, scripts_archive(read_scripts(files_in(IMAGES), "jax"), ROOT))
        yield _running(image, container)
    finally:
        container.remove(force=True, v=True)
        image.engine.sdk.images.remove(spoilt)


def _running(image: LayoutImage, container: Container) -> RunningContainer:
    return RunningContainer(
        container=container, api=image.engine.sdk.api, environment={}, memory=0, grace=15.0
    )


def check_verdict(
    running: RunningContainer, image: LayoutImage, name: str, **environment: str
) -> Verdict:
    """Return the verdict of the check of this name in a container, with more variables."""
    checks = checks_for(image.built.planned.image.cell, checks_in(IMAGES))
    (check,) = [check for check in checks if check.name == name]
    prepared = prepare_check(check, files_in(IMAGES), read_scripts(files_in(IMAGES), "jax"))
    result = run_check(replace(running, environment=environment), prepared)
    return verdict_of(check, result, device=NO_DEVICE)
