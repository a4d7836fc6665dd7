"""Two wheels and one path."""

import pytest

from dlimg.errors import BadInput
from dlimg.lock.file_conflicts import check_file_conflicts, find_file_conflicts, installed_paths
from dlimg.lock.pylock import ResolvedWheel, WheelContents
from tests.support import lock_fakes

CUDNN = "nvidia/cudnn/lib/libcudnn.so.9"
LIBRARY = "lib/python3.13/site-packages"


def contents(**records: str) -> dict[ResolvedWheel, WheelContents]:
    return {
        lock_fakes.resolved_wheel(name.replace("_", "-"), "1.0"): WheelContents(
            size=1, record=record
        )
        for name, record in records.items()
    }


def test_the_cudnn_of_two_cudas() -> None:
    wheels = contents(
        nvidia_cudnn_cu12=f"{CUDNN},sha256=aa,100\nnvidia/cudnn/include/cudnn.h,sha256=aa,5\n",
        nvidia_cudnn_cu13=f"{CUDNN},sha256=bb,101\nnvidia/cudnn/include/cudnn.h,sha256=bb,5\n",
        numpy="numpy/__init__.py,sha256=cc,1\n",
    )
    with pytest.raises(BadInput) as caught:
        check_file_conflicts(wheels, python="3.13", where="a-cell")
    (problem,) = caught.value.problems
    assert problem.message == (
        "wheels nvidia-cudnn-cu12 1.0 and nvidia-cudnn-cu13 1.0 fill nvidia/cudnn/include/cudnn.h "
        "with different content, and 1 more path"
    )
    assert problem.where == "a-cell"


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("nvidia/__init__.py,sha256=aa,0", "nvidia/__init__.py,sha256=aa,0", False),
        ("nvidia/__init__.py,sha256=aa,0", "nvidia/__init__.py,sha256=bb,9", True),
        ("x.py,sha256=aa,1", "b-1.0.data/purelib/x.py,sha256=bb,1", True),
        ("x.py,sha256=aa,1", "b-1.0.data/platlib/x.py,sha256=aa,1", False),
        ("a-1.0.data/scripts/tool,sha256=aa,1", "b-1.0.data/scripts/tool,sha256=bb,1", True),
        ("a-1.0.data/data/bin/tool,sha256=aa,1", "b-1.0.data/scripts/tool,sha256=bb,1", True),
        ("a-1.0.data/headers/x.h,sha256=aa,1", "b-1.0.data/headers/x.h,sha256=bb,1", False),
        (f"x.py,sha256=aa,1\na.data/data/{LIBRARY}/y.py,sha256=aa,1", "y.py,sha256=bb,1", True),
        ("a-1.0.dist-info/METADATA,sha256=aa,1", "b-1.0.dist-info/METADATA,sha256=bb,1", False),
        ("a-1.0.dist-info/RECORD,,", "b-1.0.dist-info/RECORD,,", False),
        ("sub/../x.py,sha256=aa,1", "x.py,sha256=bb,1", True),
        ('"x,y.py",sha256=aa,1', '"x,y.py",sha256=bb,1', True),
        ("share/,,", "share/,,", False),
        ("x.py,,", "x.py,sha256=bb,1", True),
    ],
)
def test_wheels_that_fill_one_path(first: str, second: str, *, clash: bool) -> None:
    assert bool(find_file_conflicts(contents(a=first, b=second), python="3.13")) is clash


def test_every_pair_is_named() -> None:
    wheels = contents(a="x,sha256=aa,1\ny,sha256=aa,1", b="x,sha256=bb,1", c="y,sha256=cc,1")
    conflicts = find_file_conflicts(wheels, python="3.13")
    assert [(conflict.first, conflict.second, len(conflict.paths)) for conflict in conflicts] == [
        ("a 1.0", "b 1.0", 1),
        ("a 1.0", "c 1.0", 1),
    ]


def test_places_are_those_of_a_virtual_environment() -> None:
    record = (
        "a/__init__.py,sha256=0,1\na-1.data/scripts/run,sha256=1,1\n"
        "a-1.data/data/share/doc,sha256=2,1\na-1.data/headers/a.h,sha256=3,1\n"
    )
    assert list(installed_paths(record, name="a", python="3.13")) == [
        f"{LIBRARY}/a/__init__.py",
        "bin/run",
        "share/doc",
        "include/site/python3.13/a/a.h",
    ]
