"""The text of a lock, there and back, and everything it must not say."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as some
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from dlimg.errors import BadInput
from dlimg.lock.lockfile import bases_text, lock_text, parse_bases, parse_lock
from dlimg.model import Lock, Wheel
from tests.support import samples

LOCK = samples.lock(
    wheels=(
        samples.wheel("numpy", "2.5.0"),
        samples.wheel("torch", "2.13.0+cpu", local=True),
    )
)
TEXT = lock_text(LOCK)

names = some.lists(some.text("abcxyz019", min_size=1, max_size=5), min_size=1, max_size=3).map(
    "-".join
)
versions = some.builds(
    lambda release, local: ".".join(map(str, release)) + local,
    some.lists(some.integers(min_value=0, max_value=99), min_size=1, max_size=4),
    some.sampled_from(["", "", "+cpu", "+cu13.2", ".post1", "rc1"]),
)
hexes = some.integers(min_value=0, max_value=2**256 - 1).map("{:064x}".format)


@some.composite
def wheels(draw: some.DrawFn) -> Wheel:
    return samples.wheel(
        draw(names),
        draw(versions),
        size=draw(some.integers(min_value=1, max_value=2**40)),
        sha256=draw(hexes),
        local=draw(some.booleans()),
    )


@given(
    some.lists(wheels(), min_size=1, max_size=6, unique_by=lambda wheel: wheel.name),
    hexes,
    some.sampled_from(["3.9", "3.13", "3.100"]),
)
def test_a_lock_comes_back_as_it_was(wheels: list[Wheel], digest: str, python: str) -> None:
    ordered = tuple(sorted(wheels, key=lambda wheel: wheel.name))
    lock = Lock(
        name="jax-0.12.0.1-cpu-py3.13-debian13",
        inputs=f"sha256:{digest}",
        python=python,
        platform=samples.PLATFORM,
        wheels=ordered,
    )
    text = lock_text(lock)
    assert parse_lock(text, source="x") == lock
    assert lock_text(parse_lock(text, source="x")) == text


def test_one_wheel_is_one_line_and_wheels_are_sorted() -> None:
    lock = samples.lock(wheels=(samples.wheel("torch"), samples.wheel("numpy", "2.5.0")))
    lines = lock_text(lock).splitlines()
    assert lines[:3] == ["{", '  "format": 1,', f'  "name": "{lock.name}",']
    assert [line for line in lines if line.startswith('    {"name": ')] == lines[7:9]
    assert "numpy" in lines[7]
    assert lock_text(lock).endswith("  ]\n}\n")
    assert "://" not in lock_text(lock)


LONG_NAME = f"{'a' * 200}-py3-none-any.whl"


def edited(pattern: str, replacement: str) -> str:
    text, count = re.subn(pattern, replacement, TEXT, count=1)
    assert count == 1
    return text


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("", "this is not JSON", "x.json:1"),
        ("{\n\n,}", "this is not JSON", "x.json:3"),
        ("[]", "must be an object", "x.json"),
        ("[" * 100_000, "nested too deep", "x.json"),
        (edited('"format": 1', '"format": 2'), "format 2 is not known", "x.json"),
        (edited('"name": "py', '"nome": "py'), "unknown key `nome`", "x.json"),
        (edited(r'  "python": "3.13",\n', ""), "`python` is missing", "x.json"),
        (edited('"3.13"', "3.13"), "`python` cannot be 3.13", "x.json"),
        (edited('"name": "py', '"name": "../py'), "`name` cannot be", "x.json"),
        (edited('"inputs": "sha256:', '"inputs": "md5:'), "`inputs` cannot be", "x.json"),
        (edited(r'"python": "3.13",', r'"python": "3.13", "python": "3.13",'), "twice", "x.json"),
        (edited(r'(?s)"wheels": \[.*\]', '"wheels": []'), "at least one", "x.json"),
        (edited('"sha256": "[0-9a-f]{2}', '"sha256": "zz'), "`sha256` cannot be", "x.json:8"),
        (edited('"sha256": "[0-9a-f]{2}', '"sha256": "'), "`sha256` cannot be", "x.json:8"),
        # It took minutes to find no version in a name this long.
        (edited('"file": "[^"]*', f'"file": "{LONG_NAME}'), "is not a wheel", "x.json:8"),
        (edited('"size": 1000', '"size": "1000"'), "`size` must be", "x.json:8"),
        (edited('"size": 1000', '"size": true'), "`size` must be", "x.json:8"),
        (edited('"size": 1000', '"size": 0'), "`size` must be", "x.json:8"),
        (edited('"size": 1000', '"size": 10.5'), "`size` must be", "x.json:8"),
        (edited('"local": true', '"local": 1'), "`local` must be", "x.json:9"),
        (edited('"file": "numpy', '"file": "../numpy'), "`file` cannot be", "x.json:8"),
        (edited('"file": "numpy', '"file": "scipy'), "not a wheel of numpy", "x.json:8"),
        (edited('"file": "numpy-2.5', '"file": "numpy-2.6'), "not a wheel of numpy", "x.json:8"),
        (edited('"name": "numpy"', '"name": "Num_Py"'), "`name` cannot be", "x.json:8"),
        (edited('"name": "numpy"', '"name": ["numpy"]'), "texts and its size", "x.json:8"),
        (edited('"version": "2', '"url": "a", "version": "2'), "unknown key `url`", "x.json:8"),
        (edited(r'"version": "2.5.0", ', ""), "`version` is missing", "x.json:8"),
        (edited(r"(\n    \{[^\n]*\}),", r"\1,\1,"), "`numpy` is there twice", "x.json:9"),
        (edited(r"\{[^\n]*numpy[^\n]*\},", '"a",'), "must be an object", "x.json: wheel 1"),
    ],
)  # fmt: skip
def test_text_that_dlimg_does_not_write_is_refused(text: str, message: str, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_lock(text, source="x.json")
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.where == where
    assert "dlimg lock" in problem.hint


def is_wheel_of(file: str, name: str, version: str) -> bool:
    try:
        of, at, _, _ = parse_wheel_filename(file)
        return of == name and at == Version(version)
    except (InvalidWheelFilename, InvalidVersion):
        return False


@pytest.mark.parametrize("tags", ["py3-none-any", "cp313-cp313-manylinux_2_28_x86_64", "py3-any"])
@pytest.mark.parametrize("build", ["", "-1", "-2abc", "-abc"])
@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("a_b", "1.0"),
        ("A.B", "1.0"),
        ("a__b", "1.0"),
        ("a_.b", "1.0"),
        ("a-b", "1.0"),
        ("ab", "1.0"),
        ("a_b", "1.0+cpu"),
        ("a_b", "1.0.0"),
        ("a_b", "1.0rc1"),
        ("a_b", "1.0.rc1"),
        ("a_b", "1.0.post1.dev2"),
        ("a_b", "01.0"),
        ("a_b", "1!1.0"),
        ("a_b", "1.0x"),
        ("a_b", "1..0"),
    ],
)
def test_file_names_are_parsed_as_packaging_does(
    name: str, version: str, build: str, tags: str
) -> None:
    file = f"{name}-{version}{build}-{tags}.whl"
    for at in dict.fromkeys((version, "1.0")):
        text = lock_text(samples.lock(wheels=(samples.wheel("a-b", at, file=file),)))
        if is_wheel_of(file, "a-b", at):
            assert parse_lock(text, source="x.json").wheels[0].file == file
        else:
            with pytest.raises(BadInput, match="is not a wheel of a-b"):
                parse_lock(text, source="x.json")


@given(some.text(max_size=40), some.integers(min_value=0, max_value=len(TEXT)))
def test_damage_is_refused_and_nothing_else_happens(noise: str, at: int) -> None:
    try:
        lock = parse_lock(TEXT[:at] + noise + TEXT[at:], source="x")
    except BadInput:
        return
    assert len(lock.wheels) == 2


def test_the_layout_of_the_json_does_not_matter() -> None:
    assert parse_lock(json.dumps(json.loads(TEXT)), source="x") == LOCK


def test_bases_come_back_as_they_were() -> None:
    bases = {"ubuntu24.04": f"sha256:{'a' * 64}", "debian13": f"sha256:{'b' * 64}"}
    text = bases_text(bases)
    assert parse_bases(text, source="x") == bases
    assert list(parse_bases(text, source="x")) == ["debian13", "ubuntu24.04"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{\n  "debian13": "latest"\n}', "b.json:2"),
        ('{\n  "debian13": 3\n}', "b.json:2"),
        ('{"deb/ian": "sha256:' + "a" * 64 + '"}', "b.json:1"),
        ("{", "b.json:1"),
    ],
)
def test_damaged_bases_are_refused(text: str, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_bases(text, source="b.json")
    assert caught.value.problems[0].where == where
