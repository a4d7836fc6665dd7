"""Frameworks of a project, read from images/<framework>/framework.yaml."""

from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.model import Cell, EnvVar, Framework
from dlimg.render.dockerfile import (
    layers_obstacle,
    load_templates,
    render_dockerfile,
    template_folder,
)
from dlimg.render.frameworks import read_frameworks
from dlimg.render.image_config import image_environment
from dlimg.render.layout import cell_files
from tests.support import samples
from tests.support.check_scripts import IMAGES
from tests.support.image_folders import files_in

WHOLE = """\
module: torch
fixed_packages: [triton]
provides: {torch-cpu: torch}
variables: [TORCH_]
compiler: true
trains: false
cuda_env:
  A: {value: b, why: for a reason}
"""


def write(images: Path, text: str) -> Path:
    folder = images / "pytorch"
    folder.mkdir(parents=True)
    (folder / "framework.yaml").write_text(text)
    return images


def test_every_key_is_read(tmp_path: Path) -> None:
    assert read_frameworks(files_in(write(tmp_path, WHOLE))) == {
        "pytorch": Framework(
            folder="pytorch",
            module="torch",
            fixed_packages=("triton",),
            provides=(("torch-cpu", "torch"),),
            variables=("TORCH_",),
            cuda_env=(EnvVar(name="A", value="b", why="for a reason"),),
            needs_compiler=True,
            trains=False,
        )
    }


def test_a_project_without_frameworks_has_none(tmp_path: Path) -> None:
    assert read_frameworks(files_in(tmp_path)) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modul: torch\n", "unknown key 'modul'"),
        ("compiler: true\n", "needs the key 'module'"),
        ("module: [a]\n", "module"),
        ("module: torch\ncuda_env: {a b: {value: c}}\n", "the name in cuda_env"),
        ("module: torch\ncuda_env: {A: {valu: c}}\n", "unknown key 'valu'"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read_frameworks(files_in(write(tmp_path, text)))
    assert "pytorch/framework.yaml:" in caught.value.problems[0].where


def test_variables_of_a_framework_are_for_cuda_images() -> None:
    name = "DLIMG_WITHOUT_GPU"
    assert name in image_environment(samples.cell("jax", accelerator="cuda13.2"))
    assert name not in image_environment(samples.cell("jax"))
    assert name not in image_environment(samples.cell("pytorch", accelerator="cuda13.2"))


def test_a_second_family_of_a_framework_needs_no_template() -> None:
    cell = replace(samples.cell("jax"), family="jax-nlp")
    templates = load_templates(files_in(IMAGES))
    assert template_folder(cell, templates) == "jax"
    text = render_dockerfile(cell, samples.lock(cell.id), templates)
    assert "from images/jax/Dockerfile.j2" in text


def test_a_family_without_template_and_framework_has_the_layout_alone() -> None:
    cell = samples.cell("sklearn")
    templates = load_templates(files_in(IMAGES))
    assert template_folder(cell, templates) == "_layout"
    assert "from images/_layout/Dockerfile.j2" in render_dockerfile(
        cell, samples.lock(cell.id), templates
    )
    assert layers_obstacle("_layout", templates) == ""


def checks_of(cell: Cell) -> dict[str, bytes]:
    files = {file.path: file.content for file in cell_files(cell, samples.lock(cell.id))}
    folder = "/usr/local/lib/dlimg/checks/"
    return {path: content for path, content in files.items() if path.startswith(folder)}


def test_an_image_has_the_checks_of_its_framework() -> None:
    folder = "/usr/local/lib/dlimg/checks"
    both = {f"{folder}/framework.py", f"{folder}/gpu.py"}
    assert checks_of(samples.cell("jax", accelerator="cuda13.2")).keys() == both
    assert checks_of(samples.cell("jax")).keys() == both - {f"{folder}/gpu.py"}
    assert checks_of(samples.cell("sklearn")) == {}


@pytest.mark.parametrize("text", ["print(1)\n", "print(1)", "a = 1\nEOF\n", ""])
def test_a_check_is_in_the_image_as_it_is(tmp_path: Path, text: str) -> None:
    images = write(tmp_path, WHOLE)
    (images / "pytorch/image_checks").mkdir()
    (images / "pytorch/image_checks/own.py").write_text(text)
    framework = read_frameworks(files_in(images))["pytorch"]
    assert framework.image_checks == (("own", text),)
    cell = replace(samples.cell(), framework=framework)
    assert checks_of(cell) == {"/usr/local/lib/dlimg/checks/own.py": text.encode()}


def test_a_framework_shares_the_checks_of_another_and_its_own_come_first(tmp_path: Path) -> None:
    images = write(tmp_path, WHOLE)
    for folder, names in (("pytorch", ("gpu", "framework")), ("mine", ("framework",))):
        (images / folder / "image_checks").mkdir(parents=True)
        for name in names:
            (images / folder / f"image_checks/{name}.py").write_text(f"# {folder}\n")
    (images / "mine/framework.yaml").write_text("module: mine\nimage_checks_of: pytorch\n")
    framework = read_frameworks(files_in(images))["mine"]
    assert framework.image_checks == (("framework", "# mine\n"), ("gpu", "# pytorch\n"))


def test_shared_checks_of_an_unknown_framework_are_refused(tmp_path: Path) -> None:
    images = write(tmp_path, f"{WHOLE}\nimage_checks_of: pytorhc\n")
    with pytest.raises(BadInput) as caught:
        read_frameworks(files_in(images))
    (problem,) = caught.value.problems
    assert "pytorhc" in problem.message
    assert "pytorch" in problem.hint


def test_vllm_has_the_gpu_check_of_pytorch() -> None:
    frameworks = read_frameworks(files_in(IMAGES))
    vllm, pytorch = (dict(frameworks[name].image_checks) for name in ("vllm", "pytorch"))
    assert vllm["gpu"] == pytorch["gpu"]
    assert vllm["framework"] != pytorch["framework"]


def test_a_check_that_is_no_text_is_refused(tmp_path: Path) -> None:
    images = write(tmp_path, WHOLE)
    (images / "pytorch/image_checks").mkdir()
    (images / "pytorch/image_checks/own.py").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="cannot be read") as caught:
        read_frameworks(files_in(images))
    assert "image_checks/own.py" in caught.value.problems[0].where
