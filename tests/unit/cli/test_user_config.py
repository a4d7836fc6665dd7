"""The user's settings: a file in the folder of XDG, and variables."""

import os
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.pipeline.user_config import UserConfig, read_user_config


def config(folder: Path, text: str | None = None, **variables: str) -> UserConfig:
    path = folder / "dlimg/config.yaml"
    path.parent.mkdir(exist_ok=True)
    if text is not None:
        path.write_text(text)
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), **variables}
    return read_user_config(Context.of(environment, print))


def test_without_a_file_and_variable_there_is_no_registry(tmp_path: Path) -> None:
    assert config(tmp_path) == UserConfig()
    assert config(tmp_path, "# nothing\n") == UserConfig()


def test_the_variable_stands_above_the_file(tmp_path: Path) -> None:
    text = "registry: ghcr.io/team\n"
    assert config(tmp_path, text).registry == "ghcr.io/team"
    assert config(tmp_path, text, DLIMG_REGISTRY="other.example/x").registry == "other.example/x"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("registri: a\n", 1, "unknown key 'registri'"),
        ("\nregistry: https://ghcr.io/team\n", 2, "is no prefix at a registry"),
        ("registry: [a]\n", 1, "registry must be"),
        ("- a\n", 1, "must be a mapping"),
    ],
)
def test_a_wrong_file_is_refused_by_its_place(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        config(tmp_path, text)
    assert caught.value.problems[0].where == f"{tmp_path}/dlimg/config.yaml:{line}"


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        config(tmp_path, DLIMG_REGISTRY="https://x")
    assert caught.value.problems[0].where == "DLIMG_REGISTRY"
