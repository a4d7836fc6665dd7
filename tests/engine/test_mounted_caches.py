"""Model caches, settings and volumes that are mounted below the home, for every user."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host_container import named_volume
from tests.support.layout_image import LayoutImage
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

CACHE = "/home/user/.cache/huggingface"
WRITES = "touch ~/.cache/huggingface/x ~/.cache/x ~/.config/x ~/.local/x ~/.local/share/x ~/x"
# The folder on the host is everybody's, so that only the folders above it decide.
OPEN = 0o777


@pytest.fixture
def volume(layout_image: LayoutImage) -> Iterator[str]:
    with named_volume(layout_image.engine) as name:
        yield name


def test_a_folder_of_the_host_leaves_those_above_to_the_user(
    layout_image: LayoutImage, tmp_path: Path
) -> None:
    tmp_path.chmod(OPEN)
    deep = ("--volume", f"{tmp_path}:/home/user/.config/tool/deep")
    layout_image.says(WRITES, "--volume", f"{tmp_path}:{CACHE}", *deep)
    assert (tmp_path / "x").stat().st_uid == 1000


@pytest.mark.parametrize(
    "place",
    first_values(
        [CACHE, "/home/user/.cache", "/home/user/.keras", "/home/user/.cache/torch/hub"],
        1,
        pytest.mark.slow,
    ),
)
def test_a_named_volume_is_the_users(layout_image: LayoutImage, volume: str, place: str) -> None:
    mount = ("--volume", f"{volume}:{place}")
    script = f"stat -c %U:%G {place}; touch {place}/x; {WRITES}"
    assert layout_image.says(script, *mount) == "user:users"


@pytest.mark.parametrize(
    "entry",
    first_values([("--entrypoint", "env"), ()], 1, pytest.mark.slow),
    ids=["without", "entrypoint"],
)
def test_another_user_finds_what_is_mounted_below_the_images_home(
    layout_image: LayoutImage, tmp_path: Path, entry: tuple[str, ...]
) -> None:
    tmp_path.chmod(OPEN)
    (tmp_path / "model").write_text("weights")
    mount = ("--volume", f"{tmp_path}:{CACHE}", "--user", "12345:12345", *entry)
    python = (
        "import pathlib; cache = pathlib.Path.home() / '.cache/huggingface'; "
        "(cache / 'more').touch(); print((cache / 'model').read_text(), cache)"
    )
    printed = layout_image.says(f'python -c "{python}"', *mount)
    assert printed == "weights /tmp/home-12345/.cache/huggingface"
    assert (tmp_path / "more").stat().st_uid == 12345
