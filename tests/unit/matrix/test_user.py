"""The user of images in the matrix: what it may be, and where its name and numbers are used."""

import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.model import DEFAULT_USER, Cell, ImageUser
from dlimg.pipeline.facts_files import read_facts
from dlimg.render.dockerfile import load_templates, render_dockerfile, system_packages
from dlimg.render.image_config import image_config
from dlimg.render.layout import session_environment
from dlimg.render.layout_tree import layout_tree
from tests.support import samples
from tests.support.image_folders import files_in
from tests.unit.matrix.test_matrix_file import GOOD, VALIDATOR

FACTS = read_facts()
IMAGES = Path(__file__).parents[3] / "images"
JOVYAN = ImageUser(name="jovyan", number=1000, group=100, home="/home/jovyan")


def user_of(matrix: str = "", family: str = "") -> ImageUser:
    """Return the user of a matrix with these two entries, which its schema takes as well."""
    text = matrix + GOOD.replace("    framework: jax\n", f"    framework: jax\n{family}")
    VALIDATOR.validate(yaml.load(text, Loader=yaml.BaseLoader))  # noqa: S506  # nothing but text
    (user,) = {cell.user for cell in resolve(parse_matrix(text, "matrix.yaml"), FACTS).cells}
    return user


def test_the_default_user_has_the_group_users() -> None:
    assert user_of() == DEFAULT_USER == ImageUser()
    assert (DEFAULT_USER.numbers, DEFAULT_USER.overlay) == ("1000:100", "/home/user/env")
    assert DEFAULT_USER.own_group == ""


@pytest.mark.parametrize(
    ("matrix", "family", "user"),
    [
        ("user: {name: jovyan}\n", "", JOVYAN),
        ("", "    user: {name: jovyan}\n", JOVYAN),
        ("user: {name: jovyan, home: /workspace}\n", "", replace(JOVYAN, home="/workspace")),
        ("user: {name: jovyan, number: 2000}\n", "    user: {}\n", replace(JOVYAN, number=2000)),
        (
            "user: {name: jovyan, number: 2000}\n",
            "    user: {group: 3000}\n",
            replace(JOVYAN, number=2000, group=3000),
        ),
        ("user: {home: /home/me}\n", "    user: {name: jovyan}\n", JOVYAN),
        ("user: {number: 60000, group: 1000}\n", "", ImageUser(number=60000, group=1000)),
    ],
)
def test_a_family_changes_the_user_of_the_matrix(matrix: str, family: str, user: ImageUser) -> None:
    assert user_of(matrix, family) == user


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("{name: root}", "root is an account or a group of the system"),
        ("{name: users}", "users is an account or a group of the system"),
        ("{name: Jovyan}", "'Jovyan' is not the name of an account"),
        ("{name: '-x'}", "'-x' is not the name of an account"),
        ("{name: 'a;b'}", "'a;b' is not the name of an account"),
        ("{number: 0}", "'0' is none for a user"),
        ("{number: 999}", "'999' is none for a user"),
        ("{number: 65536}", "'65536' is none for a user"),
        ("{number: 1e3}", "'1e3' is none for a user"),
        ("{number: '1000:100'}", "'1000:100' is none for a user"),
        ("{group: 0}", "'0' is none for a user"),
        ("{group: users}", "'users' is none for a user"),
        ("{home: home/me}", "'home/me' is not a home"),
        ("{home: /}", "'/' is not a home"),
        ("{home: /home}", "/home is a folder of the system"),
        ("{home: /code}", "/code is a folder of the system or of the layout"),
        ("{home: /root}", "/root is a folder of the system"),
        ("{home: /opt/env}", "'/opt/env' is not a home"),
        ("{home: /home/..}", "'/home/..' is not a home"),
        ("{home: /home/a b}", "'/home/a b' is not a home"),
        ("{uid: 1000}", "unknown key 'uid'"),
        ("jovyan", "the user of the matrix must be a mapping"),
    ],
)
def test_a_user_that_cannot_be_made_is_refused(entry: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve(parse_matrix(f"user: {entry}\n{GOOD}", "matrix.yaml"), FACTS)
    assert reason in str(caught.value)
    assert "matrix.yaml:1" in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_schema_refuses_what_has_another_form() -> None:
    tree = yaml.safe_load(GOOD)
    for entry in ({"name": "a b"}, {"number": "-1"}, {"home": "home"}, {"uid": 1000}):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate({**tree, "user": entry})


OTHER = ImageUser(name="jovyan", number=2000, group=3000, home="/workspace")


def cell_of(user: ImageUser) -> Cell:
    return replace(
        samples.cell("jax", accelerator="cpu", requirements=("six==1.0", "pip")), user=user
    )


def test_everything_of_an_image_follows_the_user() -> None:
    cell, templates = cell_of(OTHER), load_templates(files_in(IMAGES))
    text = render_dockerfile(cell, samples.lock(), templates)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["2000:3000"]
    assert "groupadd --gid 3000 jovyan\n" in text
    assert re.search(r"useradd .*--uid 2000 --gid 3000", text)
    assert "/home/user" not in text
    config = image_config(cell, {})
    assert config.user == "2000:3000"
    assert {"USER=jovyan", "DLIMG_OVERLAY=/workspace/env"} < set(config.env)
    assert "/home/user" not in f"{config} {session_environment(cell)}"
    nodes = {node.path: node for node in layout_tree(cell, samples.lock(), templates)}
    assert nodes["workspace"].owner == nodes["workspace/.cache/huggingface"].owner == "user"
    assert "home/user" not in nodes
    assert system_packages(cell) == system_packages(cell_of(DEFAULT_USER))


def test_the_distributions_group_is_not_made_again() -> None:
    text = render_dockerfile(
        cell_of(DEFAULT_USER), samples.lock(), load_templates(files_in(IMAGES))
    )
    assert "groupadd" not in text
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["1000:100"]
