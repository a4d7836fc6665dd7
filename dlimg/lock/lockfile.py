"""The file format of locks: JSON with one wheel on a line, read strictly."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from dlimg.errors import BadInput
from dlimg.model import Lock, SharedPath, Wheel

FORMAT: Final = 1
HINT: Final = "only `dlimg lock` writes locks: run `dlimg lock CELL`"
_LOCK_KEYS: Final = frozenset({"format", "name", "inputs", "python", "platform", "wheels"})
_WHEEL_TEXTS: Final = {
    "name": re.compile(r"[a-z0-9]+(-[a-z0-9]+)*"),
    "version": re.compile(r"[0-9][a-z0-9.!+]*"),
    "file": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]*\.whl"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
}
_WHEEL_KEYS: Final = frozenset({*_WHEEL_TEXTS, "size"})
_INDEX: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_SHARED: Final = "shared_paths"
_MEMBER: Final = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9_.+-]+(?:/[A-Za-z0-9_.+-]+)*")
_WHEEL_MARKS: Final = frozenset({"local", "shared"})
_TEXTS: Final = {
    "name": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"),
    "inputs": re.compile(r"sha256:[0-9a-f]{64}"),
    "python": re.compile(r"3\.[0-9]+"),
    "platform": re.compile(r"[a-z0-9_]+-[a-z0-9_]+"),
}
# The file names of nearly all wheels: a version in normal form, no build number.
_PLAIN_FILE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9]+(?:[._][A-Za-z0-9]+)*)"
    r"-(?P<version>[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?"
    r"(?:\+[a-z0-9]+(?:\.[a-z0-9]+)*)?)"
    r"-[a-z][a-z0-9_.]*-[a-z0-9_.]+-[a-z0-9_.]+\.whl"
)
_DIGEST: Final = _TEXTS["inputs"]
_OS_NAME: Final = _TEXTS["name"]


class _LockfileError(ValueError):
    """A fault in a lock file, before its line is known."""


def lock_text(lock: Lock) -> str:
    """Return the text of a lock, wheels by name, so that a diff has one line per change."""
    head = "".join(
        f"  {json.dumps(key)}: {json.dumps(value)},\n"
        for key, value in (
            ("format", FORMAT),
            ("name", lock.name),
            ("inputs", lock.inputs),
            ("python", lock.python),
            ("platform", lock.platform),
        )
    )
    wheels = sorted(lock.wheels, key=lambda wheel: wheel.name)
    lines = ",\n".join(f"    {json.dumps(_wheel_object(wheel))}" for wheel in wheels)
    shared = [asdict(shared) for shared in lock.shared_paths]
    tail = f',\n  "{_SHARED}": {json.dumps(shared)}' if shared else ""
    return f'{{\n{head}  "wheels": [\n{lines}\n  ]{tail}\n}}\n'


def parse_lock(text: str, *, source: str) -> Lock:
    """Return the lock. Raises BadInput with `source:line` for text that dlimg does not write."""
    values = _object(text, source=source)
    try:
        texts, listed = _head(values)
        shared = _shared_paths(values.get(_SHARED, []))
    except _LockfileError as error:
        raise BadInput(str(error), where=source, hint=HINT) from None
    wheels = _wheels(listed, text=text, source=source)
    return Lock(
        name=texts["name"],
        inputs=texts["inputs"],
        python=texts["python"],
        platform=texts["platform"],
        wheels=wheels,
        shared_paths=shared,
    )


def bases_text(digests: Mapping[str, str]) -> str:
    """Return the text of `bases.json`: registry digests by operating system."""
    return json.dumps(dict(sorted(digests.items())), indent=2) + "\n"


def parse_bases(text: str, *, source: str) -> dict[str, str]:
    """Return `sha256:...` by operating system. Raises BadInput for anything else."""
    digests = _object(text, source=source)
    for name, digest in digests.items():
        known = isinstance(digest, str) and _DIGEST.fullmatch(digest)
        if not (known and _OS_NAME.fullmatch(name)):
            raise BadInput(
                f"`{name}` must be an operating system's name with a digest sha256:...",
                where=f"{source}:{_line_of(text, json.dumps(name))}",
                hint="delete the file and run `dlimg lock --bases`",
            )
    return {name: str(digest) for name, digest in digests.items()}


def _object(text: str, *, source: str) -> dict[str, object]:
    try:
        values = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        where = f"{source}:{error.lineno}"
        raise BadInput(f"this is not JSON: {error.msg}", where=where, hint=HINT) from error
    except _LockfileError as error:
        raise BadInput(str(error), where=source, hint=HINT) from None
    except RecursionError as error:
        raise BadInput("this is nested too deep", where=source, hint=HINT) from error
    if not isinstance(values, dict):
        raise BadInput("this must be an object", where=source, hint=HINT)
    return values


def _head(values: Mapping[str, object]) -> tuple[dict[str, str], list[object]]:
    """Return the texts of a lock and its unparsed wheels."""
    _expect_keys(values, _LOCK_KEYS, optional=frozenset({_SHARED}))
    if values["format"] != FORMAT:
        raise _LockfileError(f"format {values['format']!r} is not known, this dlimg reads {FORMAT}")
    listed = values["wheels"]
    if not isinstance(listed, list) or not listed:
        raise _LockfileError("`wheels` must be a list with at least one wheel")
    return {key: _text(values[key], key, shape) for key, shape in _TEXTS.items()}, listed


def _shared_paths(listed: object) -> tuple[SharedPath, ...]:
    rows = listed if isinstance(listed, list) else [None]
    shared = []
    for row in rows:
        match row:
            case {"path": str(path), "owner": str(owner), "replaced": list(names), "why": str(why)}:
                texts = (owner, *(_text(name, "replaced", _WHEEL_TEXTS["name"]) for name in names))
            case _:
                raise _LockfileError(f"`{_SHARED}` must have path, owner, replaced and why")
        if not _MEMBER.fullmatch(path):
            raise _LockfileError(f"`{_SHARED}` cannot have the path {json.dumps(path)[:80]}")
        shared.append(SharedPath(path=path, owner=texts[0], replaced=texts[1:], why=why))
    return tuple(shared)


def _wheels(listed: list[object], *, text: str, source: str) -> tuple[Wheel, ...]:
    wheels: dict[str, Wheel] = {}
    for position, values in enumerate(listed):
        try:
            wheel = _wheel(values, known=wheels.keys())
        except _LockfileError as error:
            line = _line_of_wheel(text, position, len(listed))
            where = f"{source}:{line}" if line else f"{source}: wheel {position + 1}"
            raise BadInput(str(error), where=where, hint=HINT) from None
        wheels[wheel.name] = wheel
    return tuple(wheels.values())


def _wheel(values: object, *, known: Collection[str]) -> Wheel:
    if not isinstance(values, dict):
        raise _LockfileError("a wheel must be an object")
    if type(values.get("size")) is not int:
        raise _LockfileError("`size` must be a number of bytes")
    for mark in sorted(_WHEEL_MARKS):
        if type(values.get(mark, False)) is not bool:
            raise _LockfileError(f"`{mark}` must be true or left out")
    try:
        wheel = _known_wheel(tuple(values.items()))
    except TypeError:
        raise _LockfileError("a wheel holds texts and its size, nothing else") from None
    if wheel.name in known:
        raise _LockfileError(f"`{wheel.name}` is there twice")
    return wheel


@lru_cache(maxsize=16384)
def _known_wheel(items: tuple[tuple[str, Any], ...]) -> Wheel:
    """Return the wheel of these items; equal wheels of several locks are one value."""
    values = dict(items)
    _expect_keys(values, _WHEEL_KEYS, optional=_WHEEL_MARKS | {"index"})
    name, version, file, sha256 = (
        _text(values[key], key, shape) for key, shape in _WHEEL_TEXTS.items()
    )
    if values["size"] <= 0:
        raise _LockfileError("`size` must be a number of bytes")
    if not _is_wheel_of(file, name, version):
        raise _LockfileError(f"file {file} is not a wheel of {name} {version}")
    return Wheel(
        name=name,
        version=version,
        file=file,
        size=values["size"],
        sha256=sha256,
        local=values.get("local", False),
        shared=values.get("shared", False),
        index=_text(values["index"], "index", _INDEX) if "index" in values else "",
    )


def _is_wheel_of(file: str, name: str, version: str) -> bool:
    plain = _PLAIN_FILE.fullmatch(file)
    if plain and plain["version"] == version:
        return re.sub(r"[._]", "-", plain["name"]).lower() == name
    try:
        file_name, file_version, _, _ = parse_wheel_filename(file)
        return file_name == name and file_version == Version(version)
    except (InvalidWheelFilename, InvalidVersion):
        return False


def _expect_keys(
    values: Mapping[str, object], keys: frozenset[str], *, optional: frozenset[str]
) -> None:
    missing, unknown = keys - values.keys(), values.keys() - keys - optional
    if unknown:
        raise _LockfileError(f"unknown key `{min(unknown)}`")
    if missing:
        raise _LockfileError(f"`{min(missing)}` is missing")


def _text(value: object, key: str, shape: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not shape.fullmatch(value):
        shown = json.dumps(value)[:80]
        raise _LockfileError(f"`{key}` cannot be {shown}")
    return value


def _wheel_object(wheel: Wheel) -> dict[str, object]:
    values: dict[str, object] = {
        "name": wheel.name,
        "version": wheel.version,
        "file": wheel.file,
        "size": wheel.size,
        "sha256": wheel.sha256,
    }
    if wheel.index:
        values["index"] = wheel.index
    marks = {"local": wheel.local, "shared": wheel.shared}
    return values | {mark: True for mark, is_set in marks.items() if is_set}


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _LockfileError(
            f"key `{next(key for key in keys if keys.count(key) > 1)}` is there twice"
        )
    return values


def _line_of_wheel(text: str, position: int, count: int) -> int:
    """Return the wheel's line if the file has one wheel on a line, else 0."""
    lines = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.lstrip().startswith("{") and number > 1
    ]
    return lines[position] if len(lines) == count else 0


def _line_of(text: str, part: str) -> int:
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, start=1) if part in line), 1)
