"""uv's answer: which wheel of a package is the one that gets installed."""

import pytest

from dlimg.errors import BadInput, Negative
from dlimg.lock.pylock import compatible_tag_ranks, file_name_of, parse_pylock
from tests.support import lock_fakes

PLATFORM = "x86_64-manylinux_2_28"


@pytest.mark.parametrize(
    ("python", "files", "chosen"),
    [
        ("3.13", ["a-1-py3-none-any.whl", "a-1-cp313-cp313-manylinux_2_28_x86_64.whl"], 1),
        ("3.13", ["a-1-cp312-abi3-manylinux_2_28_x86_64.whl", "a-1-py3-none-any.whl"], 0),
        (
            "3.13",
            [
                "a-1-cp37-abi3-manylinux_2_28_x86_64.whl",
                "a-1-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            ],
            1,
        ),
        ("3.11", ["a-1-cp313-cp313-manylinux1_x86_64.whl", "a-1-py2.py3-none-any.whl"], 1),
        (
            "3.13",
            ["a-1-py3-none-manylinux_2_17_x86_64.whl", "a-1-py3-none-manylinux_2_27_x86_64.whl"],
            1,
        ),
        (
            "3.13",
            ["a-1-py3-none-manylinux_2_34_x86_64.whl", "a-1-py3-none-manylinux_2_5_x86_64.whl"],
            1,
        ),
        ("3.13", ["a-1-py3-none-any.whl", "a-1-2-py3-none-any.whl", "a-1-1-py3-none-any.whl"], 1),
        ("3.13", ["a-1-cp313-cp313t-linux_x86_64.whl", "a-1-cp313-cp313-linux_x86_64.whl"], 1),
        ("3.13", ["a-1-py3-none-musllinux_1_2_x86_64.whl", "a-1-py3-none-any.whl"], 1),
        ("3.13", ["not-a-wheel.tar.gz", "a-1-py3-none-any.whl"], 1),
    ],
)
def test_the_most_specific_wheel_is_chosen(python: str, files: list[str], chosen: int) -> None:
    text = lock_fakes.package("a", "1", *files)
    (wheel,) = parse_pylock(text, python=python, platform=PLATFORM)
    assert wheel.file == files[chosen]
    assert wheel.sha256 == lock_fakes.digest(files[chosen])
    assert wheel.address.endswith(files[chosen])


def test_a_package_without_a_wheel_that_fits_is_an_error() -> None:
    text = lock_fakes.package("torch", "2.15.0", "torch-2.15.0-cp311-cp311-win_amd64.whl")
    with pytest.raises(Negative, match=r"torch 2\.15\.0 has no wheel for Python 3\.13"):
        parse_pylock(text, python="3.13", platform=PLATFORM)


@pytest.mark.parametrize("text", ["[[", "", "packages = 3", '[[packages]]\nname = "a"\n'])
def test_answers_that_are_no_pylock(text: str) -> None:
    with pytest.raises(Negative, match="answer cannot be read"):
        parse_pylock(text, python="3.13", platform=PLATFORM)


def test_wheels_come_by_name_and_know_whether_they_are_local() -> None:
    text = lock_fakes.pylock({"torch": "2.13.0+cpu", "numpy": "2.5.0"})
    numpy, torch = parse_pylock(text, python="3.11", platform=PLATFORM)
    assert (numpy.name, numpy.local) == ("numpy", False)
    assert (torch.name, torch.local) == ("torch", True)


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("https://h.test/a/b-1-py3-none-any.whl", "b-1-py3-none-any.whl"),
        ("https://h.test/t-2%2Bcpu-py3-none-any.whl#sha256=00", "t-2+cpu-py3-none-any.whl"),
        ("file:///w/t-2+cpu-py3-none-any.whl", "t-2+cpu-py3-none-any.whl"),
        ("https://h.test/a.whl?token=1/2", "a.whl"),
    ],
)
def test_file_names(address: str, file: str) -> None:
    assert file_name_of(address) == file


def test_tags_begin_with_the_most_specific_and_end_with_any() -> None:
    ranks = compatible_tag_ranks("3.13", PLATFORM)
    ordered = [str(tag) for tag in sorted(ranks, key=lambda tag: ranks[tag])]
    assert ordered[0] == "cp313-cp313-manylinux_2_28_x86_64"
    assert ordered[-1] == "py30-none-any"
    assert not any("manylinux_2_29" in tag for tag in ordered)
    assert "cp313-cp313-manylinux2014_x86_64" in ordered


@pytest.mark.parametrize(
    ("python", "platform"),
    [("3", PLATFORM), ("2.7", PLATFORM), ("3.13", "windows"), ("3.13", "linux")],
)
def test_packages_that_cannot_be_locked(python: str, platform: str) -> None:
    with pytest.raises(BadInput):
        compatible_tag_ranks(python, platform)
