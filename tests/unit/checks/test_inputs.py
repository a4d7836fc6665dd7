"""What checks are told from outside of an image: every axis, its labels, its lock."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.checks.container_setup import ROOT
from dlimg.checks.inputs import (
    HISTORY_PATH,
    LAYOUT_PATH,
    LOCK_PATH,
    ReferenceData,
    cell_json,
    make_inputs,
    paired_packages_of,
)
from dlimg.engine import bases
from dlimg.errors import BadInput
from dlimg.model import BaseSource, Flavour, Image, PlannedImage, Wheel
from dlimg.pipeline.project import read_project
from dlimg.render.bake import final_labels
from dlimg.render.image_config import image_config
from dlimg.render.layout_tree import Node
from tests.support import samples
from tests.support.facts import parse_facts

ROOT_FOLDER = Path(__file__).parents[3]
CUDNN = samples.wheel("nvidia-cudnn-cu13", "9.26.0.51")
NCCL = samples.wheel("nvidia-nccl-cu13", "2.30.7")


def planned(accelerator: str = "cuda13.2", *wheels: Wheel, **fields: object) -> PlannedImage:
    cell = replace(samples.cell(accelerator=accelerator), **fields)  # type: ignore[arg-type]
    held = wheels or (samples.wheel(), CUDNN, NCCL, samples.wheel("pip", "26.3"))
    return samples.planned(
        samples.image(cell, locked=samples.lock(cell.id, wheels=held)),
        key="a1b2",
        packages="sha256:1",
    )


def axes(of: PlannedImage) -> Mapping[str, str]:
    answer = json.loads(cell_json(of))
    assert all(isinstance(value, str) for value in answer.values())
    return dict(answer)


def test_cell_json_of_a_cuda_image() -> None:
    system = replace(samples.system("debian13"), glibc="2.41")
    assert axes(planned(os=system, architectures=("sm_90", "compute_120"))) == {
        "cell": "pytorch-2.15.0-cuda13.2-py3.13-debian13",
        "framework_packages": "torch",
        "family": "pytorch",
        "framework": "pytorch",
        "module": "torch",
        "package": "torch",
        "version": "2.15.0",
        "accelerator": "cuda13.2",
        "cuda": "13.2",
        "cudnn": "9.26.0.51",
        "nccl": "2.30.7",
        "python": "3.13",
        "os": "debian13",
        "glibc": "2.41",
        "platform": "x86_64-manylinux_2_28",
        "flavour": "runtime",
        "paired_packages": "",
        "companions": "",
        "architectures": "sm_90 compute_120",
        "user": "user",
        "uid": "1000",
        "gid": "100",
        "home": "/home/user",
        "key": "a1b2",
        "base": samples.base("debian13").identity,
        "base-source": "bootstrap",
        "packages": "sha256:1",
    }


def test_cell_json_of_a_cpu_image() -> None:
    plan = axes(planned("cpu"))
    assert {plan[name] for name in ("cuda", "cudnn", "nccl", "architectures")} == {""}


def test_nccl_of_cuda_12_is_read_from_the_lock() -> None:
    wheels = (samples.wheel(), samples.wheel("nvidia-nccl-cu12", "2.32.3"))
    assert axes(planned("cuda12.9", *wheels))["nccl"] == "2.32.3"


@pytest.mark.parametrize(
    ("package", "requirements", "locked", "expected"),
    [
        ("torch", ("torch==2.15.0", "pip"), ("torch", "pip", "numpy"), ""),
        ("torch", ("torch==2.15.0", "numpy", "pip"), ("torch", "pip", "numpy"), "numpy==1.0"),
        ("torch", ("torch==2.15.0", "pip"), ("torch", "torchvision"), "torchvision==1.0"),
        ("torch", ("Torch_Audio>=2", "torch"), ("torch", "torch-audio"), "torch-audio==1.0"),
        ("torch", ("jupyterlab[x]~=4;a<1",), ("jupyterlab", "torch"), "jupyterlab==1.0"),
        (
            "jax",
            ("jax[cuda13]==0.12.0.1", "pip"),
            ("jaxlib", "jax", "jax-cuda13-plugin", "pip", "scipy"),
            "jax-cuda13-plugin==1.0 jaxlib==1.0",
        ),
    ],
)
def test_paired_packages_come_from_the_lock(
    package: str, requirements: tuple[str, ...], locked: tuple[str, ...], expected: str
) -> None:
    cell = samples.cell(package=package, requirements=requirements, flavour=Flavour.WORKSPACE)
    wheels = tuple(samples.wheel(name, "1.0") for name in locked)
    image: Image = samples.image(cell, locked=samples.lock(cell.id, wheels=wheels))
    assert paired_packages_of(image) == expected


def test_actual_labels_are_an_input() -> None:
    real = {"io.dlimg.os": "plan9", "maintainer": "somebody"}
    assert json.loads(make_inputs(planned(), real).environment["DLIMG_LABELS"]) == real


def config_of(of: PlannedImage) -> dict[str, object]:
    """The config of the image that this plan comes to, in an engine's words."""
    config = image_config(of.image.cell, of.image.labels)
    below = bases.base_labels(of.image.cell.os, of.base.identity)
    return {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "WorkingDir": config.workdir,
        "User": config.user,
        "Env": list(config.env),
        "ExposedPorts": {port: {} for port in config.exposed},
        "Shell": list(config.shell),
        "Healthcheck": dict(config.healthcheck),
        "Labels": {**below, **final_labels(of, "buildkit")},
        "ArgsEscaped": True,
        "Hostname": "0123456789ab",
    }


def started(of: PlannedImage, config: Mapping[str, object]) -> dict[str, dict[str, object]]:
    return dict(json.loads(make_inputs(of, {}, config).environment["DLIMG_START"]))


WORKSPACE = planned("cpu", flavour=Flavour.WORKSPACE)


def test_actual_and_expected_config_are_equal() -> None:
    config = started(WORKSPACE, config_of(WORKSPACE))
    assert config["actual"] == config["expected"]
    assert config["expected"]["Entrypoint"] == ["/usr/bin/tini", "-s", "--", "dlimg-entrypoint"]
    assert config["expected"]["ExposedPorts"] == ["2222/tcp", "8888/tcp"]
    assert config["expected"]["Volumes"] is None
    environment = config["expected"]["Env"]
    assert isinstance(environment, dict)
    assert environment["SHELL"] == "/bin/bash"


def test_the_expected_config_does_not_depend_on_the_dockerfile() -> None:
    lying = replace(WORKSPACE.image, dockerfile=WORKSPACE.image.dockerfile + "ENV LD_PRELOAD=/x\n")
    config = config_of(WORKSPACE)
    config["Env"] = [*config["Env"], "LD_PRELOAD=/x"]  # type: ignore[misc]
    found = started(replace(WORKSPACE, image=lying), config)
    assert "LD_PRELOAD" not in found["expected"]["Env"]  # type: ignore[operator]
    assert "LD_PRELOAD" in found["actual"]["Env"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cmd", ["sh"]),
        ("Entrypoint", ["/wrapper", "/usr/bin/tini", "-s", "--", "dlimg-entrypoint"]),
        ("Env", ["PATH=/a"]),
        ("Env", None),
        ("ExposedPorts", None),
        ("ExposedPorts", {"8888/tcp": {}, "22/tcp": {}}),
        ("Healthcheck", {"Test": ["CMD", "true"]}),
        ("Healthcheck", None),
        ("Shell", ["/bin/sh", "-c"]),
        ("User", "0"),
        ("WorkingDir", "/"),
        ("OnBuild", ["RUN true"]),
        ("Volumes", {"/data": {}}),
        ("StopSignal", "SIGKILL"),
        ("StopTimeout", 1),
        ("NetworkDisabled", True),
        ("SomethingNew", "x"),
        ("Labels", {}),
    ],
)
def test_any_other_setting_differs(name: str, value: object) -> None:
    config = started(WORKSPACE, {**config_of(WORKSPACE), name: value})
    assert config["actual"] != config["expected"]


def test_a_variable_that_is_set_twice_differs() -> None:
    config = config_of(WORKSPACE)
    first = "PATH=/tmp/bin"
    found = started(WORKSPACE, {**config, "Env": [first, *config["Env"]]})  # type: ignore[misc]
    assert found["actual"]["Env"] != found["expected"]["Env"]


@pytest.mark.parametrize(
    ("name", "value", "agrees"),
    [
        ("io.dlimg.builder", "layers/2", True),
        ("io.dlimg.builder", "docker", False),
        ("io.dlimg.gpu-tested", "no", True),
        ("io.dlimg.gpu-tested", "yes", False),
        ("io.dlimg.tested-digest", f"sha256:{'0' * 64}", True),
        ("io.dlimg.base-recipe", "of another dlimg", True),
        ("io.dlimg.base-os", "debian12", False),
        ("io.dlimg.key", "other", False),
        ("io.dlimg.wheels", "", False),
        ("io.dlimg.more", "x", False),
        ("org.opencontainers.image.vendor", "NVIDIA", False),
        ("org.opencontainers.image.base.name", "debian:trixie-slim", False),
        ("maintainer", "somebody", False),
    ],
)
def test_expected_labels(name: str, value: str, *, agrees: bool) -> None:
    config = config_of(WORKSPACE)
    config["Labels"] = {**config["Labels"], name: value}  # type: ignore[dict-item]
    found = started(WORKSPACE, config)
    assert (found["actual"] == found["expected"]) is agrees


def test_labels_of_a_registry_base_are_expected() -> None:
    base = replace(
        samples.base("ubuntu24.04"), source=BaseSource.REGISTRY, identity=f"sha256:{'1' * 64}"
    )
    of = replace(planned("cpu", os=samples.system("ubuntu24.04")), base=base)
    config = config_of(of)
    ours = final_labels(of, "buildkit")
    assert ours["org.opencontainers.image.base.digest"] == base.identity
    assert ours["org.opencontainers.image.base.name"] == "ubuntu:noble"
    reference = {"org.opencontainers.image.ref.name": "ubuntu"}
    theirs = {"maintainer": "a company"}
    config["Labels"] = {**ours, **reference, **theirs}
    for below, agrees in ((theirs, True), ({}, False), ({"maintainer": "another"}, False)):
        text = make_inputs(of, {}, config, (), ReferenceData(base_labels=below)).environment[
            "DLIMG_START"
        ]
        answer = json.loads(text)
        assert (answer["actual"] == answer["expected"]) is agrees


def test_the_history_is_an_input_file() -> None:
    inputs = make_inputs(planned(), {}, {}, ("CMD", "RUN"))
    assert inputs.environment["DLIMG_HISTORY"] == HISTORY_PATH == f"{ROOT}/history.json"
    assert json.loads(inputs.files["history.json"]) == ["CMD", "RUN"]


def test_the_lock_is_an_input_file() -> None:
    inputs = make_inputs(planned(), {})
    assert inputs.environment["DLIMG_LOCK"] == LOCK_PATH == f"{ROOT}/lock.json"
    assert json.loads(inputs.files["lock.json"])[1] == {
        "name": "nvidia-cudnn-cu13",
        "version": "9.26.0.51",
        "file": CUDNN.file,
        "sha256": CUDNN.sha256,
        "record": "",
    }
    assert inputs.environment["DLIMG_CELL"] == cell_json(planned())


def test_the_lock_has_known_record_digests() -> None:
    inputs = make_inputs(planned(), {}, reference=ReferenceData(records={CUDNN.name: "a" * 64}))
    rows = {row["name"]: row["record"] for row in json.loads(inputs.files["lock.json"])}
    assert rows.pop(CUDNN.name) == "a" * 64
    assert set(rows.values()) == {""}


def test_the_layout_is_an_input_file() -> None:
    node = Node(path="code", kind="folder", mode="775", owner="user")
    inputs = make_inputs(planned(), {}, reference=ReferenceData(layout=(node,)))
    assert inputs.environment["DLIMG_LAYOUT"] == LAYOUT_PATH == f"{ROOT}/layout.json"
    assert json.loads(inputs.files["layout.json"])["nodes"] == [
        {"path": "code", "kind": "folder", "mode": "775", "owner": "user"}
    ]


FACT = """\
framework:
  name: {framework}
  unpinned_cuda: bundled
  source: made up
  checked: "2026-11-21"
releases:
  - version: "1.0"
    pythons: ["3.13"]
    cuda: ["12", "13.2"]
    architectures:
      "12": [sm_50]
      "13.2": [sm_75, compute_120]
{source}    source: made up
    checked: "2026-11-21"
"""


@pytest.mark.parametrize(
    ("cuda", "held"),
    [("13.2", ("sm_75", "compute_120")), ("12.9", ("sm_50",)), ("13.0", ()), ("11.8", ())],
)
def test_architectures_follow_the_cuda_version(cuda: str, held: tuple[str, ...]) -> None:
    text = FACT.format(framework="torch", source="    architectures_source: somebody looked\n")
    release = parse_facts({"torch.yaml": text}).releases["torch"]["1.0"]
    assert release.architectures_for(cuda) == held


def test_architectures_need_a_source() -> None:
    with pytest.raises(BadInput, match="architectures_source"):
        parse_facts({"torch.yaml": FACT.format(framework="torch", source="")})


@pytest.mark.parametrize(
    ("cell", "glibc", "held"),
    [
        ("pytorch-2.15.0-cuda13.2-py3.11-debian12", "2.36", "sm_75 sm_80 sm_86 sm_90 sm_100"),
        ("tensorflow-2.21.0-cuda12.9-py3.13-debian13", "2.41", "sm_60 sm_70 sm_80 sm_89 sm_90 com"),
        ("jax-0.12.0.1-cuda12.9-py3.12-ubuntu24.04", "2.39", "sm_50 sm_60 sm_70 sm_80 sm_90 sm_1"),
        ("jax-0.12.0.1-cuda13.2-py3.13-debian13", "2.41", "sm_75 sm_80 sm_90 sm_100 sm_110 sm_12"),
        ("jax-0.12.0.1-cpu-py3.13-debian13", "2.41", ""),
    ],
)
def test_cells_have_glibc_and_architectures_from_facts(cell: str, glibc: str, held: str) -> None:
    project = read_project(str(ROOT_FOLDER / "matrix.yaml"))
    (result,) = [one for one in project.resolution.cells if one.id == cell]
    assert result.os.glibc == glibc
    assert " ".join(result.architectures).startswith(held)
    assert bool(result.architectures) is result.is_cuda
