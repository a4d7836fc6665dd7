"""What checks are told from outside of an image: every axis, its labels, its lock."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import make
import pytest

from dlimg.choose.facts import parse_facts
from dlimg.commands.project import read_project
from dlimg.draw.layout_tree import Node
from dlimg.errors import BadInput
from dlimg.model import Flavour, Image, Planned, Wheel
from dlimg.smoke.scripts import ROOT
from dlimg.smoke.told import HISTORY_PATH, LAYOUT_PATH, LOCK_PATH, cell_text, companions, told

ROOT_FOLDER = Path(__file__).parents[2]
CUDNN = make.wheel("nvidia-cudnn-cu13", "9.26.0.51")
NCCL = make.wheel("nvidia-nccl-cu13", "2.30.7")


def planned(accelerator: str = "cuda13.2", *wheels: Wheel, **fields: object) -> Planned:
    cell = replace(make.cell(accelerator=accelerator), **fields)  # type: ignore[arg-type]
    held = wheels or (make.wheel(), CUDNN, NCCL, make.wheel("pip", "26.3"))
    return make.planned(make.image(cell, locked=make.lock(cell.id, wheels=held)), key="a1b2")


def axes(of: Planned) -> Mapping[str, str]:
    found = json.loads(cell_text(of))
    assert all(isinstance(value, str) for value in found.values())
    return dict(found)


def test_every_axis_of_a_cuda_image_is_told() -> None:
    system = replace(make.system("debian13"), glibc="2.41")
    assert axes(planned(os=system, architectures=("sm_90", "compute_120"))) == {
        "cell": "pytorch-2.15.0-cuda13.2-py3.13-debian13",
        "family": "pytorch",
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
        "companions": "",
        "architectures": "sm_90 compute_120",
        "user": "user",
        "uid": "1000",
        "gid": "100",
        "home": "/home/user",
        "key": "a1b2",
        "base": make.base("debian13").identity,
        "base-source": "bootstrap",
    }


def test_a_cpu_image_has_nothing_of_cuda() -> None:
    found = axes(planned("cpu"))
    assert {found[name] for name in ("cuda", "cudnn", "nccl", "architectures")} == {""}


def test_nccl_of_cuda_12_is_told() -> None:
    wheels = (make.wheel(), make.wheel("nvidia-nccl-cu12", "2.32.3"))
    assert axes(planned("cuda12.9", *wheels))["nccl"] == "2.32.3"


@pytest.mark.parametrize(
    ("package", "requirements", "locked", "said"),
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
def test_companions_come_from_the_lock(
    package: str, requirements: tuple[str, ...], locked: tuple[str, ...], said: str
) -> None:
    cell = make.cell(package=package, requirements=requirements, flavour=Flavour.NOTEBOOK)
    wheels = tuple(make.wheel(name, "1.0") for name in locked)
    image: Image = make.image(cell, locked=make.lock(cell.id, wheels=wheels))
    assert companions(image) == said


def test_the_labels_that_the_image_really_has_are_passed_on() -> None:
    labels = {"io.dlimg.os": "plan9", "maintainer": "somebody"}
    assert json.loads(told(planned(), labels).environment["DLIMG_LABELS"]) == labels


OURS = """FROM x AS system
FROM system AS image
RUN true
ENV PATH=/a B='b c'
EXPOSE 8888
WORKDIR /code
USER user
ENTRYPOINT ["tini"]
CMD ["bash"]
"""
CONFIG = {
    "Entrypoint": ["tini"],
    "Cmd": ["bash"],
    "WorkingDir": "/code",
    "User": "user",
    "Env": ["PATH=/a", "B=b c"],
    "ExposedPorts": {"8888/tcp": {}},
    "Labels": {"a": "b"},
    "Shell": ["/bin/bash"],
    "ArgsEscaped": True,
}


def started(dockerfile: str, config: Mapping[str, object]) -> Mapping[str, object]:
    of = planned()
    of = replace(of, image=replace(of.image, dockerfile=dockerfile))
    return dict(json.loads(told(of, {}, config).environment["DLIMG_START"]))


def test_how_the_image_is_started_and_is_to_be_is_passed_on() -> None:
    found = started(OURS, CONFIG)
    assert found["is"] == found["said"]
    assert found["is"] == {
        "Entrypoint": ["tini"],
        "Cmd": ["bash"],
        "WorkingDir": "/code",
        "User": "user",
        "Env": {"PATH": "/a", "B": "b c"},
        "ExposedPorts": ["8888/tcp"],
        "Healthcheck": None,
        "OnBuild": None,
        "Volumes": None,
        "StopSignal": None,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cmd", ["sh"]),
        ("Env", ["PATH=/a", "B=b"]),
        ("Env", ["PATH=/a", "B=b c", "CUDA_VISIBLE_DEVICES=-1"]),
        ("Env", None),
        ("ExposedPorts", None),
        ("Healthcheck", {"Test": ["CMD", "true"]}),
        ("OnBuild", ["RUN true"]),
        ("Volumes", {"/data": {}}),
        ("StopSignal", "SIGKILL"),
    ],
)
def test_what_the_dockerfile_does_not_say_differs(name: str, value: object) -> None:
    found = started(OURS, {**CONFIG, name: value})
    assert found["is"] != found["said"]


def test_a_dockerfile_that_has_to_be_executed_says_nothing() -> None:
    assert started(OURS + "VOLUME /data\n", CONFIG)["said"] is None


def test_the_history_is_a_file_beside_the_scripts() -> None:
    found = told(planned(), {}, {}, ("CMD", "RUN"))
    assert found.environment["DLIMG_HISTORY"] == HISTORY_PATH == f"{ROOT}/history.json"
    assert json.loads(found.files["history.json"]) == ["CMD", "RUN"]


def test_the_lock_is_a_file_beside_the_scripts() -> None:
    found = told(planned(), {})
    assert found.environment["DLIMG_LOCK"] == LOCK_PATH == f"{ROOT}/lock.json"
    assert json.loads(found.files["lock.json"])[1] == {
        "name": "nvidia-cudnn-cu13",
        "version": "9.26.0.51",
        "file": CUDNN.file,
        "sha256": CUDNN.sha256,
        "record": "",
    }
    assert found.environment["DLIMG_CELL"] == cell_text(planned())


def test_what_a_records_digest_is_known_of_is_in_the_lock() -> None:
    found = told(planned(), {}, records={CUDNN.name: "a" * 64})
    rows = {row["name"]: row["record"] for row in json.loads(found.files["lock.json"])}
    assert rows.pop(CUDNN.name) == "a" * 64
    assert set(rows.values()) == {""}


def test_the_layout_is_a_file_beside_the_scripts() -> None:
    node = Node(path="code", kind="folder", mode="775", owner="user")
    found = told(planned(), {}, layout=(node,))
    assert found.environment["DLIMG_LAYOUT"] == LAYOUT_PATH == f"{ROOT}/layout.json"
    assert json.loads(found.files["layout.json"])["nodes"] == [
        {"path": "code", "kind": "folder", "mode": "775", "owner": "user"}
    ]


FACT = """\
framework: {framework}
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
def test_architectures_are_those_of_the_cuda(cuda: str, held: tuple[str, ...]) -> None:
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
def test_the_cells_know_what_the_facts_say(cell: str, glibc: str, held: str) -> None:
    project = read_project(str(ROOT_FOLDER / "matrix.yaml"))
    (found,) = [one for one in project.resolution.cells if one.id == cell]
    assert found.os.glibc == glibc
    assert " ".join(found.architectures).startswith(held)
    assert bool(found.architectures) is found.is_cuda
