"""Paths that wheels may fill differently: comments alone, or excepted in the matrix."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.additions import Additions, PathException
from dlimg.context import Context
from dlimg.errors import BadInput, Negative
from dlimg.lock.check import stale_reasons, unused_path_exceptions
from dlimg.lock.file_conflicts import COMMENTS, NAMESPACE, check_file_conflicts, shared_paths
from dlimg.lock.lockfile import lock_text, parse_lock
from dlimg.lock.pylock import ResolvedWheel, WheelContents
from dlimg.lock.request import cell_request
from dlimg.lock.store import cell_path, write_lock
from dlimg.model import SharedPath
from dlimg.pypi.index import open_index
from tests.support import lock_fakes, samples, wheel_files

PATH = "nvidia/__init__.py"
LICENCE = b"# Copyright of somebody\n"
ReadMember = Callable[[ResolvedWheel, str], bytes]


def contents(**records: str) -> dict[ResolvedWheel, WheelContents]:
    return {
        lock_fakes.resolved_wheel(name.replace("_", "-"), "1.0"): WheelContents(
            size=1, record=record
        )
        for name, record in records.items()
    }


TWO = contents(
    nvjpeg2k=f"{PATH},sha256=bb,9\n", nvimgcodec=f"{PATH},sha256=aa,5\nother.py,sha256=aa,1\n"
)


def reader(**sources: bytes) -> ReadMember:
    return lambda wheel, _: sources[wheel.name]


def shared(
    wheels: dict[ResolvedWheel, WheelContents],
    read_member: ReadMember | None,
    *exceptions: PathException,
) -> tuple[SharedPath, ...]:
    return shared_paths(wheels, python="3.13", exceptions=exceptions, read_member=read_member)


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        (LICENCE, b"", True),
        (LICENCE, b"\n\n# another licence\n", True),
        (b"x = 1  # one\n", b"x   =  1\n", True),
        (b"x = 1\n", b"x = 2\n", False),
        (b'"""A text."""\n', b'"""Another."""\n', False),
        (b"# coding: latin-1\nx = '\xe4'\n", b"x = '\xc3\xa4'\n", True),
        (b"print 1\n", b"print 1 # x\n", False),
        (b"\0", b"\0\0", False),
    ],
)
def test_python_files_that_differ_in_comments_alone_may_share_a_path(
    first: bytes, second: bytes, *, is_same: bool
) -> None:
    result = shared(TWO, reader(nvimgcodec=first, nvjpeg2k=second))
    wanted = SharedPath(path=PATH, owner="nvimgcodec", replaced=("nvjpeg2k",), why=COMMENTS)
    assert result == ((wanted,) if is_same else ())


PKGUTIL = b"# a licence\n__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
PKG_RESOURCES = b"""\
try:
    __import__("pkg_resources").declare_namespace(__name__)
except ImportError:
    __path__ = __import__("pkgutil").extend_path(__path__, __name__)
"""
IMPORTED = b"from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n"


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        (PKGUTIL, b"", True),
        (PKGUTIL, IMPORTED, True),
        (PKG_RESOURCES, PKGUTIL, True),
        (PKG_RESOURCES, b"# empty\n", True),
        (PKGUTIL + b"import os\n", b"", False),
        (PKGUTIL, b"__version__ = '1'\n", False),
        (PKG_RESOURCES.replace(b"__path__ =", b"path ="), b"", False),
    ],
)
def test_declarations_of_a_namespace_package_may_share_a_path(
    first: bytes, second: bytes, *, is_same: bool
) -> None:
    result = shared(TWO, reader(nvimgcodec=first, nvjpeg2k=second))
    assert [path.why for path in result] == [NAMESPACE] * is_same


def test_the_file_of_the_first_by_name_stays_whatever_the_order() -> None:
    wheels = contents(c="x.py,sha256=a,1", a="x.py,sha256=b,1", b="x.py,sha256=c,1")
    read = reader(a=b"", b=b"#", c=b"# c")
    (result,) = shared(wheels, read)
    assert (result.owner, result.replaced) == ("a", ("b", "c"))
    backwards = dict(reversed(wheels.items()))
    assert shared(backwards, read) == (result,)


def test_all_files_of_a_path_must_be_the_same_program() -> None:
    wheels = contents(a="x.py,sha256=a,1", b="x.py,sha256=b,1", c="x.py,sha256=c,1")
    assert shared(wheels, reader(a=b"", b=b"# b", c=b"y = 1")) == ()


def test_the_same_content_is_nobodys() -> None:
    wheels = contents(a="x.py,sha256=a,1", b="x.py,sha256=a,1")
    assert shared(wheels, None) == ()


def test_the_matrix_excepts_paths_by_patterns() -> None:
    wheels = contents(a="a/x.json,sha256=a,1", b="a/x.json,sha256=b,1")
    exception = PathException(path="a/*", why="equal but for a date")
    (result,) = shared(wheels, None, exception)
    assert result == SharedPath(path="a/x.json", owner="a", replaced=("b",), why=exception.why)
    assert shared(wheels, None, PathException(path="b/*", why="x")) == ()


@pytest.mark.parametrize("name", ["a.data/scripts/tool", "a.data/data/share/x"])
def test_files_outside_of_site_packages_are_not_excepted(name: str) -> None:
    wheels = contents(a=f"{name},sha256=a,1", b=f"{name},sha256=b,1")
    assert shared(wheels, None, PathException(path="*", why="x")) == ()
    with pytest.raises(BadInput):
        check_file_conflicts(wheels, python="3.13", where="a-cell")


def test_shared_paths_are_no_conflicts_and_others_still_are() -> None:
    wheels = contents(a=f"{PATH},sha256=a,1\ny,sha256=a,1", b=f"{PATH},sha256=b,1\ny,sha256=b,1")
    result = shared(wheels, reader(a=b"", b=b"#"))
    with pytest.raises(BadInput) as caught:
        check_file_conflicts(wheels, python="3.13", where="a-cell", shared=result)
    (problem,) = caught.value.problems
    assert "fill y with different content" in problem.message
    assert "path_exceptions" in problem.hint
    check_file_conflicts(TWO, python="3.13", where="a-cell", shared=result)


def test_a_member_is_read_where_the_wheel_has_it() -> None:
    asked = []
    wheels = contents(a="x/../y.py,sha256=a,1", b="b-1.0.data/purelib/y.py,sha256=b,1")

    def read(wheel: ResolvedWheel, path: str) -> bytes:
        asked.append((wheel.name, path))
        return b""

    assert len(shared(wheels, read)) == 1
    assert asked == [("a", "x/../y.py"), ("b", "b-1.0.data/purelib/y.py")]


SHARED = SharedPath(path=PATH, owner="a", replaced=("b", "c"), why=COMMENTS)


def test_a_lock_names_shared_paths() -> None:
    lock = replace(samples.lock(wheels=(samples.wheel(),)), inputs=f"sha256:{'a' * 64}")
    assert "shared_paths" not in lock_text(lock)
    with_path = replace(lock, shared_paths=(SHARED,))
    text = lock_text(with_path)
    assert parse_lock(text, source="x").shared_paths == (SHARED,)
    for old, new in (
        (f'"{PATH}"', '"../x"'),
        (f'"{PATH}"', '"/etc/x"'),
        (f'"{PATH}"', '"a; rm"'),
        ('["b", "c"]', '"b"'),
        ('["b", "c"]', '["b c"]'),
        ('"owner"', '"owners"'),
    ):
        assert old in text
        with pytest.raises(BadInput, match=r"shared_paths|replaced"):
            parse_lock(text.replace(old, new), source="x")


def test_a_lock_is_stale_without_the_exception_that_it_took() -> None:
    cell = samples.cell("jax", "1.0", package="jax", requirements=("jax==1.0",))
    request = cell_request(cell, None)
    lock = replace(
        samples.lock(wheels=(samples.wheel("jax", "1.0"),), inputs=request.digest),
        shared_paths=(SHARED,),
    )
    assert stale_reasons(request, lock) == ()
    namespace = replace(lock, shared_paths=(replace(SHARED, why=NAMESPACE),))
    assert stale_reasons(request, namespace) == ()
    excepted = replace(lock, shared_paths=(replace(SHARED, why="a licence"),))
    assert stale_reasons(request, excepted) == (f"no exception of the matrix is for {PATH}",)
    exceptions = (PathException(path="*", why="a licence"),)
    assert stale_reasons(replace(request, path_exceptions=exceptions), excepted) == ()


def test_an_exception_that_no_lock_needs_is_told(tmp_path: Path) -> None:
    exception = PathException(path="nvidia/*", why="a licence")
    cell = replace(
        samples.cell("jax", "1.0", package="jax"),
        additions=Additions(path_exceptions=(exception,)),
    )
    assert list(unused_path_exceptions([cell], tmp_path)) == []
    lock = samples.lock(cell.id, wheels=(samples.wheel("jax", "1.0"),))
    write_lock(lock, cell_path(tmp_path, cell.id))
    (problem,) = unused_path_exceptions([cell], tmp_path)
    assert "the exception for nvidia/* is unused" in problem.message
    taken = replace(lock, shared_paths=(replace(SHARED, why="a licence"),))
    write_lock(taken, cell_path(tmp_path, cell.id))
    assert list(unused_path_exceptions([cell], tmp_path)) == []


def test_a_member_of_a_local_wheel_is_read(tmp_path: Path) -> None:
    path = wheel_files.wheel(tmp_path, "small", {"a.py": "x = 1\n"})
    wheel = replace(lock_fakes.resolved_wheel("small", "1.0"), address=path.as_uri())
    index = open_index(Context.of({"HOME": str(tmp_path)}, lambda _: None), tmp_path)
    assert index.read_member(wheel, "a.py") == b"x = 1\n"
    with pytest.raises(Negative):
        index.read_member(wheel, "b.py")
