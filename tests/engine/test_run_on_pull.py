"""The way of a published image onto a machine that has ssh, an empty engine, and nothing else."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base, BuiltImage, CheckStatus
from dlimg.publish.attach import AttachSettings
from dlimg.publish.promote import PublishedImage, publish
from tests.engine.test_cli import CELL, dlimg
from tests.engine.test_publishing import (
    docker_compose_command,
    docker_compose_file,
    docker_setup,
    evidence,
    registry,
    request_to,
    sources,
)
from tests.support.engine_machine import engine_machine, loopback_there
from tests.support.made_up_gpu import write_smi
from tests.support.ssh_machine import SshMachine

__all__ = ["docker_compose_command", "docker_compose_file", "docker_setup", "registry"]

pytestmark = [pytest.mark.engine, pytest.mark.remote]

Laptop = Callable[..., subprocess.CompletedProcess[str]]
TRAINING = """\
import os, pathlib
import jax.numpy as jnp
print("sum", jnp.arange(4).sum())
pathlib.Path("/output/result").write_text(os.environ["DLIMG_RUN"])
"""


@pytest.fixture(scope="module")
def machine(
    engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SshMachine]:
    folder = tmp_path_factory.mktemp("machine")
    gpu = {write_smi(folder): "/usr/bin/nvidia-smi"}
    with engine_machine(engine, base, folder / "vm", gpu=gpu) as machine:
        yield machine


@pytest.fixture(scope="module")
def published(
    engine: Engine,
    registry: str,
    jax_image: BuiltImage,
    tmp_path_factory: pytest.TempPathFactory,
) -> PublishedImage:
    """The image for the CPU, published with evidence of a check that passed."""
    passed = evidence(jax_image, CheckStatus.PASSED)
    attach = AttachSettings(evidence=tmp_path_factory.mktemp("evidence"))
    request = request_to(registry, attach)
    return publish(jax_image, passed, sources(engine), request=request)


@pytest.fixture
def laptop(machine: SshMachine, registry: str, tmp_path: Path) -> Laptop:
    """A dlimg command on a laptop without an engine, in a folder `code` with a script."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text(TRAINING)
    variables = {
        **os.environ,
        **machine.variables,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "DOCKER_HOST": "unix:///nothing/here.sock",
        "DLIMG_REGISTRY": f"{registry}/team",
    }

    return partial(dlimg, cwd=tmp_path / "code", variables=variables)


def images(machine: SshMachine) -> list[str]:
    """The name and digest of each image in the machine's engine."""
    listed = machine.inside(
        "docker image ls --digests --format '{{.Repository}}:{{.Tag}} {{.Digest}}'"
    )
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.splitlines()


def port_of(registry: str) -> int:
    return int(registry.rpartition(":")[2])


def test_a_published_image_is_pulled_there_runs_and_gives_its_result_back(
    laptop: Laptop, machine: SshMachine, registry: str, published: PublishedImage, tmp_path: Path
) -> None:
    assert images(machine) == []
    with loopback_there(machine, port_of(registry)):
        ended = laptop("run", "--on", "vm", "--cpu", "--env", "jax")
    assert (ended.returncode, ended.stdout) == (0, "sum 6\n"), ended.stderr
    assert (tmp_path / "code/output/1/result").read_text() == "code:1"
    forecast = (
        rf"pulling {registry}/team/jax:\S+: [\d.]+ MB to fetch at [\d.]+ [MG]B/s, about \S+ s;"
    )
    assert re.search(forecast, ended.stderr), ended.stderr
    (image,) = images(machine)
    assert image.endswith(published.digest)
    # The second time nothing is pulled: the registry is not even reached from there.
    again = laptop("run", "--on", "vm", "--cpu", "--env", "jax", "--", "dlimg-info", "--json")
    assert "pulling" not in again.stderr
    info = json.loads(again.stdout)["image"]
    assert info["digest"] == published.digest
    assert info["evidence"].startswith("passed: 1 of 1 passed")


def test_a_gpu_there_is_given_to_the_image(
    laptop: Laptop, machine: SshMachine, registry: str, published: PublishedImage
) -> None:
    name = published.reference
    with loopback_there(machine, port_of(registry)):
        ended = laptop("run", "--on", "vm", "--gpu", "--env", name, "--", "nvidia-smi", "-L")
    assert ended.stdout.startswith("GPU 0: Tesla T4"), ended.stderr


def test_a_registry_that_the_machine_does_not_reach_is_named(
    laptop: Laptop, machine: SshMachine, registry: str, published: PublishedImage
) -> None:
    assert published.cell == CELL
    machine.inside("docker ps --all --quiet | xargs -r docker rm --force")
    machine.inside("docker image ls --quiet | xargs -r docker rmi --force")
    ended = laptop("run", "--on", "vm", "--cpu", "--env", CELL)
    assert ended.returncode == 5
    assert f"the engine of vm cannot pull {registry}/team/jax:" in ended.stderr
    assert "connection refused" in ended.stderr
    assert f"check that vm reaches {registry} (`dlimg doctor --on vm`)" in ended.stderr
    doctor = laptop("doctor", "--on", "vm", "--cpu", "--env", CELL, "--format", "json")
    rows = {row["check"]: row for row in json.loads(doctor.stdout)["findings"]}
    assert rows["network"]["message"].startswith(f"{registry} does not answer there: curl: (7)")


def test_an_image_that_the_registry_lacks_has_to_be_published(
    laptop: Laptop, machine: SshMachine, registry: str
) -> None:
    other = CELL.replace("py3.13", "py3.12")
    with loopback_there(machine, port_of(registry)):
        ended = laptop("run", "--on", "vm", "--cpu", "--env", other)
    assert ended.returncode == 1
    places = f"neither {registry}/team nor the engine of vm has an image of {other}"
    assert places in ended.stderr
    assert f"`dlimg publish {other} --to REGISTRY`" in ended.stderr
