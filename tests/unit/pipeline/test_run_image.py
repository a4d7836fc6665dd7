"""The image of a run: by framework, version, tag, cell, or the folder's imports."""

from datetime import date
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput, Negative
from dlimg.model import DetectedGpu, LocalMachine
from dlimg.pipeline.pick import read_pick_context, with_user_registry
from dlimg.pipeline.run_image import ImageRequest, choose_image, nearest_version
from dlimg.run.model import ImageChoice, Mode

MATRIX = str(Path(__file__).parents[3] / "matrix.yaml")
NOTEBOOK = """{"cells": [
 {"cell_type": "markdown", "source": ["import torch"]},
 {"cell_type": "code", "source": ["%pip list\\n", "if 1: import os, jax"]}]}"""
TODAY = date(2026, 11, 29)
H200 = LocalMachine(
    gpus=(DetectedGpu(name="NVIDIA H200", capability="9.0"),), driver="580.65.06", arch="x86_64"
)
OLD = LocalMachine(
    gpus=(DetectedGpu(name="Tesla K80", capability="3.7"),), driver="470.82.01", arch="x86_64"
)


def choose(
    env: str, folder: Path, *, machine: LocalMachine | None = None, mode: Mode = "command"
) -> ImageChoice:
    image_request = ImageRequest(
        env=env,
        mode=mode,
        gpu=machine is not None,
        machine=machine,
        architecture="amd64",
        folder=folder,
    )
    context = Context.of({"HOME": str(folder)}, print)
    return choose_image(image_request, MATRIX, context)


@pytest.mark.parametrize(
    ("env", "cell"),
    [
        ("tensorflow-2.21", "tensorflow-2.21.0-cpu-"),
        ("tensorflow==2.21.0", "tensorflow-2.21.0-cpu-"),
        ("TensorFlow 2.21", "tensorflow-2.21.0-cpu-"),
        ("tensorflow", "tensorflow-2.21.0-cpu-"),
        ("tf", "tensorflow-2.21.0-cpu-"),
        ("jax", "jax-0.12.0.1-cpu-"),
        ("Torch", "pytorch-2.13.0-cpu-"),
        ("jax-0.12.0.1-cpu-py3.13-debian13", "jax-0.12.0.1-cpu-py3.13-debian13"),
    ],
)
def test_a_framework_a_version_or_a_cell_names_an_image(
    env: str, cell: str, tmp_path: Path
) -> None:
    choice = choose(env, tmp_path)
    assert choice.cell.startswith(cell)
    assert not choice.is_cuda
    assert choice.names


def test_a_tag_of_the_matrix_names_its_cell(tmp_path: Path) -> None:
    tag = choose("jax-0.12.0.1-cpu-py3.13-debian13", tmp_path).names[0].partition(":")[2]
    assert choose(tag, tmp_path).cell == "jax-0.12.0.1-cpu-py3.13-debian13"


def test_any_reference_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("ghcr.io/team/jax:1", "mine:latest", "a/b@sha256:00"):
        assert choose(name, tmp_path).names == (name,)


def test_a_version_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no tensorflow 1\.0 in this matrix") as error:
        choose("tensorflow-1.0", tmp_path)
    assert "--env tensorflow-2." in error.value.problems[0].hint


@pytest.mark.parametrize("env", ["tensorflo", "tensorflo-2.21", "$x", "你好", "a b", "9.9"])
def test_an_unknown_framework_is_refused(env: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--env"):
        choose(env, tmp_path)


@pytest.mark.parametrize(
    ("wanted", "nearest"), [("2.1", "2.0.1"), ("2.8", "2.9"), ("1.0", "2.15"), ("9", "2.15")]
)
def test_the_nearest_version_differs_least(wanted: str, nearest: str) -> None:
    assert nearest_version(wanted, ["2.15", "2.9", "2.0.1"]) == nearest


@pytest.mark.parametrize(
    ("file", "text", "family"),
    [
        ("train.py", "import os\nimport torch.nn as nn\n", "pytorch"),
        ("train.py", "from tensorflow import keras\n", "tensorflow"),
        ("a.ipynb", '{"source": ["import numpy\\n",\n "import jax\\n"]}', "jax"),
        ("pkg/model.py", "    from jax import numpy\n", "jax"),
        ("train.py", "import os, jax\n", "jax"),
        ("train.py", "import numpy as np, jax.numpy as jnp\n", "jax"),
        ("train.py", "if True: import jax\n", "jax"),
        ("train.py", "try:\n    from jax import numpy\nexcept ImportError: pass\n", "jax"),
        ("train.py", '"""\nimport torch\n"""\nimport jax\n', "jax"),
        ("train.py", "from .torch import x\nimport flax\n", "jax"),
        ("train.py", "import optax\n", "jax"),
        ("train.py", "import keras\n", "tensorflow"),
        ("train.py", "import keras\nimport jax\n", "jax"),
        ("train.py", "import os, jax\nprint 'old'\n", "jax"),
        ("train.py", "print 'old'\nimport .own, .\nimport os, jax\n", "jax"),
        ("b.ipynb", NOTEBOOK, "jax"),
    ],
)
def test_without_env_the_imports_of_the_code_decide(
    file: str, text: str, family: str, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    choice = choose("", tmp_path)
    assert choice.cell.startswith(f"{family}-")
    assert f"{path.name} imports" in choice.reason


def test_a_second_framework_of_the_code_is_named_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch, jax\n")
    choice = choose("", tmp_path)
    assert choice.cell.startswith("pytorch-")
    assert choice.reason.endswith("train.py imports torch; train.py imports jax, too: --env jax")


def test_a_gpu_gets_a_cuda_image_that_runs_on_it(tmp_path: Path) -> None:
    choice = choose("pytorch", tmp_path, machine=H200)
    assert choice.is_cuda
    assert choice.cell.startswith("pytorch-2.15.0-cuda")


def test_a_gpu_for_which_there_is_no_image_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(Negative, match="no image of jax runs on a GPU here: ") as error:
        choose("jax", tmp_path, machine=OLD)
    assert "dlimg pick --here" in error.value.problems[0].hint


@pytest.mark.parametrize(
    ("name", "capability", "driver", "family", "cell"),
    [
        ("Tesla P4", "6.1", "535.183.01", "jax", "jax-0.12.0.1-cuda12.9-cudnn9.10-"),
        ("Tesla P4", "6.1", "535.183.01", "tensorflow", "tensorflow-2.21.0-cuda12.9-cudnn9.10-"),
        ("Tesla P4", "6.1", "535.183.01", "pytorch", "pytorch-2.7.1-cuda12.6-"),
        ("Tesla V100", "7.0", "570.86.15", "pytorch", "pytorch-2.9.1-cuda12.8-"),
    ],
)
def test_old_gpus_have_a_workspace_of_the_release_that_serves_them(
    name: str, capability: str, driver: str, family: str, cell: str, tmp_path: Path
) -> None:
    gpu = DetectedGpu(name=name, capability=capability)
    machine = LocalMachine(gpus=(gpu,), driver=driver, arch="x86_64")
    choice = choose(family, tmp_path, machine=machine, mode="jupyter")
    assert choice.cell == f"{cell}py3.13-debian13-workspace"
    assert choice.names


def test_a_mode_without_a_workspace_for_the_gpu_names_the_image_that_runs(tmp_path: Path) -> None:
    gpu = DetectedGpu(name="Tesla P4", capability="6.1")
    machine = LocalMachine(gpus=(gpu,), driver="470.82.01", arch="x86_64")
    with pytest.raises(Negative, match="of which no image runs here") as error:
        choose("tensorflow", tmp_path, machine=machine, mode="jupyter")
    assert "tensorflow-2.14.1-cuda11.8-py3.10-debian13 runs here" in error.value.problems[0].hint


def test_modes_take_the_flavour_workspace(tmp_path: Path) -> None:
    assert choose("jax", tmp_path, mode="jupyter").cell.endswith("-workspace")
    with pytest.raises(BadInput, match="needs the flavour workspace, which rapids lacks"):
        choose("rapids", tmp_path, mode="jupyter")


@pytest.mark.parametrize(
    ("matrix", "registry"),
    [("", "ghcr.io/me"), (MATRIX, "ghcr.io/me"), ("own/matrix.yaml", "dlimg")],
)
def test_run_and_pick_take_the_users_registry_for_dlimgs_own_matrix(
    matrix: str, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "matrix.yaml").write_text(Path(MATRIX).read_text(encoding="utf-8"), encoding="utf-8")
    (own / "locks").symlink_to(Path(MATRIX).parent / "locks")
    monkeypatch.chdir(tmp_path)
    context = Context.of({"HOME": str(tmp_path), "DLIMG_REGISTRY": "ghcr.io/me"}, print)
    image_request = ImageRequest(
        env="jax", mode="command", gpu=False, machine=None, architecture="amd64", folder=tmp_path
    )
    choice = choose_image(image_request, matrix, context)
    assert choice.names[0].startswith(f"{registry}/jax:0.12.0.1-cpu-")
    picked = with_user_registry(read_pick_context(matrix or MATRIX, TODAY), context)
    cells = {cell.id: cell for cell in picked.catalog.cells}
    assert picked.image_name(cells[choice.cell]) == choice.names[0]
