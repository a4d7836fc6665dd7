"""Dockerfiles of images with system packages, ports, files and shared paths."""

import json
import shutil
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.additions import Additions, CheckException, ProjectFile
from dlimg.checks.inputs import exceptions_json, framework_packages, lock_json
from dlimg.errors import BadInput
from dlimg.model import Cell, Flavour, Image, Lock, SharedPath
from dlimg.render.dockerfile import (
    layers_obstacle,
    load_templates,
    render_dockerfile,
    shared_obstacle,
    system_packages,
)
from dlimg.render.image_config import image_config
from dlimg.render.layout import project_file
from dlimg.render.layout_tree import layout_tree
from tests.support import samples
from tests.support.image_folders import files_in

IMAGES = Path(__file__).parents[3] / "images"
BINARY = bytes(range(256))


def with_additions(additions: Additions, flavour: Flavour = Flavour.RUNTIME) -> Cell:
    return replace(samples.cell("jax", flavour=flavour), additions=additions)


def rendered(cell: Cell, lock: Lock | None = None, images: Path = IMAGES) -> str:
    return render_dockerfile(cell, lock or samples.lock(cell.id), load_templates(files_in(images)))


def test_nothing_is_added_where_nothing_is_stated() -> None:
    assert rendered(samples.cell("jax")) == rendered(with_additions(Additions()))


def test_system_packages_are_installed_in_the_system_stage() -> None:
    cell = with_additions(Additions(apt=("libgl1", "tini")))
    assert system_packages(cell).count("tini") == 1
    system = rendered(cell).partition(" AS system")[2].partition("\nFROM ")[0]
    assert " libgl1 " in system
    assert layers_obstacle("jax", load_templates(files_in(IMAGES))) == ""


def test_ports_are_in_the_config() -> None:
    cell = with_additions(Additions(ports=("53/udp", "8000/tcp")))
    assert image_config(cell, {}).exposed == ("53/udp", "8000/tcp")
    text = rendered(cell)
    assert "\nEXPOSE 53/udp\nEXPOSE 8000\n" in text
    workspace = with_additions(Additions(ports=("8000/tcp",)), Flavour.WORKSPACE)
    assert image_config(workspace, {}).exposed == ("2222/tcp", "8000/tcp", "8888/tcp")
    assert "\nEXPOSE 8000\nEXPOSE 8888\n" in rendered(workspace)


@pytest.mark.parametrize(
    ("content", "is_encoded"),
    [
        (b"a = 1\n", False),
        ("name = 'Zoë'\n\ttab $HOME \\ `x`\n".encode(), False),
        (b"", True),
        (b"no newline at the end", True),
        (b"a\nEOF\nb\n", True),
        (b"windows\r\n", True),
        (BINARY, True),
    ],
)
def test_a_file_comes_to_the_image_as_it_is(content: bytes, *, is_encoded: bool) -> None:
    file = ProjectFile(source="a", path="/etc/team/a", mode="755", content=content)
    made = project_file(file)
    assert (made.encoded, made.content, made.mode) == (is_encoded, content, "755")
    if is_encoded:
        assert b64decode(made.text) == content
    text = rendered(with_additions(Additions(files=(file,))))
    assert made.text in text
    assert ("base64 --decode /run/locked/etc.team.a" in text) is is_encoded
    assert "install -D --mode=755" in text


def test_another_content_is_another_dockerfile() -> None:
    texts = {
        rendered(
            with_additions(
                Additions(
                    files=(ProjectFile(source="a", path="/etc/a", mode="644", content=content),)
                )
            )
        )
        for content in (b"a\n", b"b\n", b"\0")
    }
    assert len(texts) == 3


def test_the_check_of_sources_knows_a_file_by_its_digest() -> None:
    file = ProjectFile(source="a", path="/opt/team/a", mode="644", content=BINARY)
    cell = with_additions(Additions(files=(file,)))
    nodes = {
        node.path: node
        for node in layout_tree(cell, samples.lock(cell.id), load_templates(files_in(IMAGES)))
    }
    assert nodes["opt/team"].kind == "folder"
    assert nodes["opt/team/a"].sha256 == (
        "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880"
    )


SYSTEM = """\
{% extends "_layout/Dockerfile.j2" %}
{% block system_commands %}
echo hello > /etc/hello
{% endblock %}
"""


def test_commands_of_the_system_stage_leave_an_image_to_the_layers_builder(
    tmp_path: Path,
) -> None:
    images = tmp_path / "images"
    shutil.copytree(IMAGES, images)
    (images / "jax/Dockerfile.j2").write_text(SYSTEM)
    assert layers_obstacle("jax", load_templates(files_in(images))) == ""
    system = rendered(samples.cell("jax"), images=images).partition(" AS system")[2]
    assert "echo hello > /etc/hello" in system.partition("\nFROM ")[0]
    (images / "jax/Dockerfile.j2").write_text(SYSTEM.replace("system_commands", "framework"))
    assert "has its own block `framework`" in layers_obstacle(
        "jax", load_templates(files_in(images))
    )


SHARED = SharedPath(path="a/__init__.py", owner="a", replaced=("b",), why="comments alone")


def shared_lock(*shared: SharedPath, index: str = "") -> Lock:
    wheels = tuple(
        replace(samples.wheel(name, "1.0"), index=index) for name in ("a", "b", "c", "jax")
    )
    return replace(samples.lock(wheels=wheels), shared_paths=shared)


def test_owners_of_shared_paths_are_installed_last_the_first_by_name_at_the_end() -> None:
    other = SharedPath(path="b.py", owner="b", replaced=("c",), why="a licence")
    text = rendered(samples.cell("jax"), shared_lock(SHARED, other))
    assert "# a/__init__.py: a; comments alone\n# b.py: b; a licence\nfor name in b a; do\n" in text
    assert (
        "for name in"
        not in rendered(samples.cell("jax"), shared_lock())
        .partition("uv pip")[2][:800]
        .partition("# Where every")[0]
    )


def test_only_python_files_are_shared_in_layers() -> None:
    assert shared_obstacle(shared_lock(SHARED)) == ""
    data = replace(SHARED, path="a/x.json")
    assert shared_obstacle(shared_lock(SHARED, data)) == "several wheels fill a/x.json"


def test_an_owner_from_an_index_of_its_own_is_refused() -> None:
    with pytest.raises(BadInput, match="a comes from an index of its own"):
        rendered(samples.cell("jax"), shared_lock(SHARED, index="pytorch-cpu"))


def test_checks_are_told_of_exceptions_and_of_the_frameworks_packages() -> None:
    exception = CheckException(check="libraries_load", about="a/*", why="b")
    cell = replace(
        with_additions(Additions(check_exceptions=(exception,))),
        package="jax",
        paired_packages=("flax",),
    )
    assert json.loads(exceptions_json(cell)) == [
        {"check": "libraries_load", "about": "a/*", "why": "b"}
    ]
    names = ("flax", "jax", "jaxlib", "numpy")
    lock = samples.lock(wheels=tuple(samples.wheel(name, "1.0") for name in names))
    image = Image(cell=cell, lock=lock, dockerfile="", labels={}, repository="team/jax", tag="1.0")
    assert framework_packages(image) == ["flax", "jax", "jaxlib"]
    rows = {row["name"]: row for row in json.loads(lock_json(shared_lock(SHARED)))}
    assert rows["b"]["replaced"] == ["a/__init__.py"]
    assert "replaced" not in rows["a"]
