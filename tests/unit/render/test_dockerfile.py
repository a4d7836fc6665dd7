"""Dockerfiles and labels: what every one of them has, what a field adds, how templates fail."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jinja2
import pytest

from dlimg.errors import BadInput
from dlimg.model import Cell, Flavour, Lock
from dlimg.render.dockerfile import (
    load_templates,
    render_dockerfile,
    system_packages,
    template_context,
)
from dlimg.render.image_config import image_environment
from dlimg.render.layout import cell_files, constraints, packages_folder
from dlimg.render.naming import cell_labels
from tests.support import samples
from tests.support.image_folders import files_in

IMAGES = Path(__file__).parents[3] / "images"
LAYOUT = IMAGES / "_layout"
FAMILIES = sorted(path.parent.name for path in IMAGES.glob("[!_]*/Dockerfile.j2"))


@pytest.fixture(scope="module")
def environment() -> jinja2.Environment:
    return load_templates(files_in(IMAGES))


def drawn(environment: jinja2.Environment, cell: Cell, lock: Lock | None = None) -> str:
    return render_dockerfile(cell, lock or samples.lock(cell.id), environment)


def stage(text: str, name: str) -> str:
    """The lines of one stage, from its FROM to the next one's."""
    return next(part for part in re.split(r"(?m)^(?=FROM )", text) if f"AS {name}\n" in part)


CELLS = {
    "runtime": samples.cell(),
    "cuda": samples.cell(accelerator="cuda13.2"),
    "devel": samples.cell(accelerator="cuda13.2", flavour=Flavour.DEVEL),
    "compile": samples.cell(flavour=Flavour.COMPILE, os="debian12"),
    "workspace": samples.cell(flavour=Flavour.WORKSPACE),
    "managed": samples.cell(managed_python="3.12.16", python="3.12"),
    "ubuntu": samples.cell(os="ubuntu24.04"),
}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_extends_the_layout(environment: jinja2.Environment, family: str) -> None:
    text = drawn(environment, samples.cell(family))
    assert text.startswith(f"# {family}-2.15.0-cpu-py3.13-debian13\n# Rendered by `dlimg render`")
    assert text.endswith('CMD ["bash"]\n')
    assert len(FAMILIES) >= 3


@every_cell
def test_every_script_stops_at_its_first_failure(
    environment: jinja2.Environment, cell: Cell
) -> None:
    shell = 'SHELL ["/bin/bash", "-euo", "pipefail", "-c"]'
    stopping = {"system", "tool"}
    for part in re.split(r"(?m)^(?=FROM )", drawn(environment, cell))[1:]:
        source = part.split()[1]
        assert "RUN " not in part or shell in part or source in stopping, part
        assert "\nRUN " not in part or all("<<'EOF'\n" in run for run in part.split("\nRUN ")[1:])


@every_cell
def test_a_dockerfile_stands_on_its_own(environment: jinja2.Environment, cell: Cell) -> None:
    text = drawn(environment, cell)
    mounts = [line for line in text.splitlines() if "--mount=type=secret" in line]
    assert mounts
    assert all("required=false" in line for line in mounts)
    assert re.findall(r"(?m)^ARG (\w+)", text) == (
        ["UV_PYTHON_INSTALL_MIRROR"] if cell.managed_python else []
    )
    assert "# syntax" not in text
    # The layout's scripts name addresses, the build asks none.
    assert "://" not in text.replace(stage(text, "files"), "")
    assert not re.search(r"\{\{|\{%", text)
    bases = [line.split()[1] for line in text.splitlines() if line.startswith("FROM ")]
    assert set(bases) <= {cell.os.image, "scratch", "system", "tool"}


def test_scripts_are_in_it_as_they_are(environment: jinja2.Environment) -> None:
    text = drawn(environment, samples.cell(flavour=Flavour.WORKSPACE))
    files = [path for path in LAYOUT.iterdir() if path.is_file() and path.suffix != ".j2"]
    assert len(files) >= 5
    for path in files:
        script = path.read_text().replace("{{ cell.user.home }}", "/home/user")
        script = script.replace("{{ cell.user.overlay }}", "/home/user/env")
        assert f"\n{script}EOF\n" in text
        assert "\nEOF\n" not in script


def test_uv_comes_by_its_hash() -> None:
    assert re.fullmatch(
        r"uv==\d+\.\d+\.\d+( \\\n    --hash=sha256:[0-9a-f]{64})+\n",
        (LAYOUT / "uv.txt").read_text(),
    )


def test_templates_compare_no_version() -> None:
    for path in IMAGES.rglob("*.j2"):
        for test in re.findall(r"\{%-? *(?:el)?if (.*?)%\}", path.read_text()):
            assert not re.search(r"[<>]|version|cuda *=|python *=", test), f"{path}: {test}"


def test_wheels_are_held_to_their_hashes(environment: jinja2.Environment) -> None:
    wheels = (samples.wheel("pip", "26.3"), samples.wheel("torch", "2.15.0", sha256="ab" * 32))
    text = drawn(environment, samples.cell(), samples.lock(wheels=wheels))
    assert f"\ntorch==2.15.0 --hash=sha256:{'ab' * 32}\n" in stage(text, "lock")
    assert "--require-hashes" in stage(text, "image")
    assert "/run/wheels" not in text


def test_local_wheels_come_from_a_named_context(environment: jinja2.Environment) -> None:
    wheels = (samples.wheel("torch", "2.13.0+cpu", local=True),)
    text = stage(drawn(environment, samples.cell(), samples.lock(wheels=wheels)), "image")
    assert "--mount=type=bind,from=wheels,target=/run/wheels" in text
    assert "--find-links /run/wheels" in text


def test_cells_of_one_system_share_its_stages(environment: jinja2.Environment) -> None:
    first = drawn(environment, samples.cell("pytorch", accelerator="cuda13.2"))
    second = drawn(environment, samples.cell("jax", "0.12.0.1"))
    third = drawn(environment, samples.cell("jax", "0.12.0.1", flavour=Flavour.WORKSPACE))
    for name in ("tool", "files", "system"):
        assert stage(first, name) == stage(second, name)
        assert stage(third, name) == stage(drawn(environment, CELLS["workspace"]), name)
    assert stage(first, "system") != stage(drawn(environment, CELLS["compile"]), "system")


@every_cell
def test_each_field_of_the_matrix_adds_its_lines(
    environment: jinja2.Environment, cell: Cell
) -> None:
    text = drawn(environment, cell)
    devel = cell.flavour is Flavour.DEVEL
    assert ("NVIDIA_VISIBLE_DEVICES=all" in text) == cell.is_cuda
    assert ("    CUDA_HOME=/opt/env/lib/python/site-packages/nvidia/cu13\n" in text) == devel
    assert ("/nvidia/cu13/bin:/usr/local/sbin" in text) == devel
    assert ("EXPOSE 2222\nEXPOSE 8888" in text) == (cell.flavour is Flavour.WORKSPACE)
    assert ('CMD ["jupyter"]' in text) == (cell.flavour is Flavour.WORKSPACE)
    assert ("/usr/local/lib/dlimg/serve\n" in text) == (cell.flavour is Flavour.WORKSPACE)
    assert ("uv python install" in text) == bool(cell.managed_python)
    python = "/opt/python/current/bin/python3.12" if cell.managed_python else "/usr/bin/python"
    assert f"\n{python}" in stage(text, "system")
    assert f"\nln -sf {python}" in stage(text, "image")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("runtime", "ca-certificates python3 python3-gdbm python3.13-venv tini"),
        (
            "workspace",
            (
                "ca-certificates curl g++ git less libpython3-dev nano openssh-server python3 "
                "python3-gdbm python3.13-venv rsync systemd-standalone-sysusers tini tmux"
            ),
        ),
        ("compile", "ca-certificates g++ libpython3-dev python3 python3-gdbm python3.11-venv tini"),
        (
            "devel",
            "ca-certificates g++ libpython3-dev make python3 python3-gdbm python3.13-venv tini",
        ),
        ("managed", "ca-certificates tini"),
    ],
)
def test_apt_packages_of_an_image(cell: str, expected: str) -> None:
    assert system_packages(CELLS[cell]) == expected.split()


def test_users_may_replace_all_but_framework_and_cuda() -> None:
    cell = samples.cell(
        "jax",
        "0.12.0.1",
        accelerator="cuda13.2",
        requirements=("jax[cuda13]==0.12.0.1", "Flax_X==1.0", "numpy", "jupyterlab", "pip"),
    )
    kept = ("cuda-bindings", "flax-x", "jax", "jax-cuda13-plugin", "jaxlib", "nvidia-cudnn-cu13")
    free = ("fsspec", "jaxtyping", "jupyterlab", "numpy", "pip")
    lock = samples.lock(wheels=tuple(samples.wheel(name, "1.0") for name in sorted(kept + free)))
    assert list(constraints(cell, lock)) == [f"{name}==1.0" for name in kept]


def test_what_has_all_of_another_package_provides_it() -> None:
    cell = samples.cell("tensorflow", "2.21.0", requirements=("tensorflow-cpu==2.21.0",))
    lock = samples.lock(
        wheels=(samples.wheel("tensorflow-cpu", "2.21.0"), samples.wheel("keras", "3.1"))
    )
    assert list(constraints(cell, lock)) == ["tensorflow-cpu==2.21.0", "tensorflow==2.21.0"]
    files = {file.path: file.text for file in cell_files(cell, lock)}
    (note,) = [path for path in files if path.endswith("/TENSORFLOW/TENSORFLOW.egg-info/PKG-INFO")]
    assert note.startswith(f"{packages_folder(lock)}/")
    assert "\nName: tensorflow\nVersion: 2.21.0\n" in files[note]
    assert tomllib.loads(files["/etc/uv/uv.toml"]) == {
        "constraint-dependencies": ["tensorflow-cpu==2.21.0", "tensorflow==2.21.0"]
    }


@pytest.mark.parametrize(
    ("family", "options", "names"),
    [
        ("jax", {}, set()),
        ("jax", {"accelerator": "cuda13.2"}, {"DLIMG_WITHOUT_GPU"}),
        ("jax", {"accelerator": "cuda13.2", "flavour": Flavour.DEVEL}, {"CUDA_HOME"}),
        ("pytorch", {"flavour": Flavour.WORKSPACE}, {"JUPYTER_PATH", "JUPYTER_CONFIG_PATH"}),
    ],
)
def test_sessions_get_what_the_image_sets(
    family: str, options: dict[str, Any], names: set[str], environment: jinja2.Environment
) -> None:
    cell = samples.cell(family, **options)
    lock = samples.lock()
    files = {file.path: file.text for file in cell_files(cell, lock)}
    assert files["/etc/environment"] == files["/etc/dlimg/environment"]
    told = dict(line.split("=", 1) for line in files["/etc/environment"].splitlines())
    assert names <= told.keys()
    assert render_dockerfile(cell, lock, environment)
    real = {name: variable.value for name, variable in image_environment(cell).items()}
    left_out = {"USER", "SHELL", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
    assert told == {name: value for name, value in real.items() if name not in left_out}


def test_notes_of_a_family_are_labels(environment: jinja2.Environment) -> None:
    text = drawn(environment, samples.cell(notes=("no torchaudio pairs with it",)))
    assert "\n# no torchaudio pairs with it\n" in text


def test_labels_say_every_axis() -> None:
    cell = samples.cell(accelerator="cuda13.2", flavour=Flavour.COMPILE)
    lock = samples.lock(wheels=(samples.wheel("nvidia-cudnn-cu13", "9.26.0.51"), samples.wheel()))
    result = cell_labels(cell, lock)
    assert list(result) == sorted(result)
    assert json.loads(result.pop("devcontainer.metadata"))
    assert result == {
        "io.dlimg.accelerator": "cuda13.2",
        "io.dlimg.cell": "pytorch-2.15.0-cuda13.2-py3.13-debian13-compile",
        "io.dlimg.cuda": "13.2",
        "io.dlimg.cudnn": "9.26.0.51",
        "io.dlimg.family": "pytorch",
        "io.dlimg.flavour": "compile",
        "io.dlimg.os": "debian13",
        "io.dlimg.package": "torch",
        "io.dlimg.python": "3.13",
        "io.dlimg.version": "2.15.0",
        "io.dlimg.wheels": "nvidia-cudnn-cu13==9.26.0.51 torch==2.15.0",
        "org.opencontainers.image.description": (
            "torch 2.15.0 for CUDA 13.2 with cuDNN 9.26.0.51, Python 3.13 on Debian 13 (compile)"
        ),
        "org.opencontainers.image.title": "pytorch-2.15.0-cuda13.2-py3.13-debian13-compile",
        "org.opencontainers.image.version": "2.15.0",
    }


def test_the_wheels_are_named_in_the_order_of_their_names() -> None:
    names = ("jaxlib", "jax-cuda13-plugin", "jax")
    lock = samples.lock(wheels=tuple(samples.wheel(name, "0.12.0.1") for name in names))
    expected = "jax==0.12.0.1 jax-cuda13-plugin==0.12.0.1 jaxlib==0.12.0.1"
    assert cell_labels(samples.cell("jax"), lock)["io.dlimg.wheels"] == expected


def test_a_cpu_image_has_no_cuda_label() -> None:
    result = cell_labels(
        samples.cell(), samples.lock(wheels=(samples.wheel("nvidia-cudnn-cu13", "9.26.0.51"),))
    )
    assert not {"io.dlimg.cuda", "io.dlimg.cudnn"} & set(result)
    assert "for CPU, Python 3.13" in result["org.opencontainers.image.description"]


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("FROM x\nRUN {{ pakages }}\n", "2", "'pakages' is undefined", "did you mean packages"),
        ("\n\n{{ cell.familly }}\n", "3", "no attribute 'familly'", "did you mean family"),
        ("FROM x\n{% if cell %}\nRUN y\n", "3", "not a template: Unexpected end", ""),
        ("{% include 'z.sh' %}\n", "", "no template images/z.sh", "dlimg list --templates"),
        ('{% include "_layout/x.sh" %}\n', "", "'nothing' is undefined", ""),
    ],
)
def test_a_wrong_template_is_shown_by_its_place(
    tmp_path: Path, text: str, where: str, message: str, hint: str
) -> None:
    path = tmp_path / "pytorch/Dockerfile.j2"
    for folder in (path.parent, tmp_path / "_layout"):
        folder.mkdir()
    path.write_text(text)
    (tmp_path / "_layout/x.sh").write_text("one\n{{ nothing }}\n")
    with pytest.raises(BadInput) as caught:
        drawn(load_templates(files_in(tmp_path)), samples.cell())
    (problem,) = caught.value.problems
    assert message in problem.message
    assert hint in problem.hint
    if where:
        assert problem.where == f"{path}:{where}"
    elif "nothing" in message:
        assert problem.where == f"{tmp_path / '_layout/x.sh'}:2"


def test_what_a_label_holds_is_not_expanded() -> None:
    cell = samples.cell(version='1"$x\\')
    known = template_context(cell, samples.lock(cell.id))
    assert r'io.dlimg.version="1\"\$x\\"' in known["labels"]  # type: ignore[operator]
