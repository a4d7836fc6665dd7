"""The libraries that a wheel's libraries need."""

from pathlib import Path

import numpy as np
import pytest

from dlimg.wheel.elf import WheelNeeds, is_library, needed_libraries
from tests.support import elf_files


def test_what_a_library_needs_is_read() -> None:
    content = elf_files.needing("libGL.so.1", "libc.so.6")
    assert needed_libraries(content) == ("libGL.so.1", "libc.so.6")
    assert needed_libraries(elf_files.needing()) == ()


def test_a_real_module_needs_the_c_library() -> None:
    (module,) = Path(np.__file__).parent.glob("_core/_multiarray_umath.*.so")
    assert "libc.so.6" in needed_libraries(module.read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"\x7fELF",
        b"\x7fELF\x02\x01" + b"\xff" * 90,
        elf_files.needing("libGL.so.1")[:150],
        elf_files.library(b""),
    ],
)
def test_other_and_damaged_files_need_nothing(content: bytes) -> None:
    assert needed_libraries(content) == ()


def test_damage_anywhere_is_no_error() -> None:
    content = elf_files.needing("libGL.so.1")
    for place in range(len(content)):
        assert isinstance(needed_libraries(content[:place] + b"\xff" + content[place + 1 :]), tuple)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("cv2/cv2.abi3.so", True),
        ("x.libs/libQt5Core-1f2e.so.5.15.0", True),
        ("a/b.so.txt", False),
        ("a/lib.py", False),
        ("a-1.0.dist-info/x.so", False),
    ],
)
def test_libraries_are_known_by_name(path: str, *, is_one: bool) -> None:
    assert is_library(path) is is_one


NEEDS = WheelNeeds(
    needed={
        "cv2/cv2.abi3.so": ("libQt5Gui.so.5", "libc.so.6"),
        "cv2/qt/plugins/libqxcb.so": ("libSM.so.6", "libQt5Gui.so.5"),
        "opencv.libs/libQt5Gui.so.5": ("libGL.so.1",),
    },
    unread=("opencv.libs/libhuge.so",),
)


def test_what_modules_need_is_told_from_the_rest() -> None:
    assert NEEDS.of_modules() == {"libQt5Gui.so.5", "libc.so.6", "libGL.so.1"}
    assert NEEDS.of_all() == {*NEEDS.of_modules(), "libSM.so.6"}
    assert NEEDS.own() == {"cv2.abi3.so", "libqxcb.so", "libQt5Gui.so.5", "libhuge.so"}


def test_without_modules_what_all_libraries_need_counts() -> None:
    needs = WheelNeeds(
        needed={
            "torchcodec/libcore4.so": ("libavutil.so.56", "libz.so.1"),
            "torchcodec/libcore5.so": ("libavutil.so.57", "libz.so.1"),
        }
    )
    assert needs.of_modules() == {"libz.so.1"}
    assert WheelNeeds(needed={}).of_modules() == set()
