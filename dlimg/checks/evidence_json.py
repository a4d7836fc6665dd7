"""Evidence as JSON values, and back, with strict checks of values from outside. Pure."""

import math
from collections.abc import Mapping
from typing import Any, Final

from dlimg.matrix.former_names import current_name
from dlimg.model import CheckStatus, Evidence, Host, Verdict

# The number in all JSON of evidence; raised when a key is renamed or changes its meaning.
SCHEMA: Final = 3
# Deeper than any check prints, and far from a RecursionError.
_DEPTH_LIMIT: Final = 50
# The device, and the prefix of the cell, of evidence from a host before schema 3.
_FORMER_HOST: Final = "bare"


def evidence_record(evidence: Evidence) -> dict[str, object]:
    """Return everything but the digest, which several records share."""
    return {
        "device": evidence.device,
        "cell": evidence.cell,
        "day": evidence.day,
        "dlimg": evidence.dlimg,
        "engine": evidence.engine,
        "host": host_record(evidence.host),
        "on_host": evidence.on_host,
        "bare": evidence.on_host,  # the name before schema 3
        "vanished": list(evidence.vanished),
        "revision": evidence.revision,
        "dirty": evidence.dirty,
        "verdicts": [verdict_record(verdict) for verdict in evidence.verdicts],
    }


def host_record(host: Host) -> dict[str, object]:
    """Return the host's description, which never includes its name."""
    return {
        "system": host.system,
        "kernel": host.kernel,
        "arch": host.arch,
        "architecture": host.arch,  # the name before schema 3
        "processor": host.processor,
        "cores": host.cores,
        "memory": host.memory,
    }


def verdict_record(verdict: Verdict) -> dict[str, object]:
    """Return one verdict; figures that JSON cannot express become texts."""
    return {
        "check": verdict.check,
        "sha256": verdict.sha256,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "seconds": verdict.seconds,
        "required": verdict.required,
        "figures": to_json_value(dict(verdict.figures)),
        "output": verdict.output,
        "needs": sorted(verdict.needs),
        "attempts": verdict.attempts,
        "first_reason": verdict.first_reason,
    }


def to_json_value(value: object, depth: int = 0) -> object:
    """Return the value with `nan` and `inf` as texts, and `?` for lone surrogates.

    Values that are nested too deeply become `...`. Values of other types stay as they are.
    """
    if depth > _DEPTH_LIMIT:
        return "..."
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case str():
            return value.encode(errors="replace").decode()
        case Mapping():
            return {
                str(to_json_value(name)): to_json_value(item, depth + 1)
                for name, item in value.items()
            }
        case list() | tuple():
            return [to_json_value(item, depth + 1) for item in value]
        case _:
            return value


def schema_of(content: Mapping[str, Any]) -> int:
    """Return the schema of a file or document; raises ValueError for one that is not supported.

    Files before schema 3 have a `format`, documents have no number.
    """
    if content.get("schema") == SCHEMA:
        return SCHEMA
    if "schema" in content or content.get("format", SCHEMA - 1) != SCHEMA - 1:
        raise ValueError("it is of a schema or format that is not supported")
    return SCHEMA - 1


def evidence_of(record: object, digest: str, schema: int = SCHEMA) -> Evidence:
    """Parse a record of this schema; raises ValueError for an invalid one."""
    values = _object(record, "the record")
    if schema < SCHEMA:
        values = _upgrade(values)
    return Evidence(
        digest=digest,
        cell=_text(values, "cell"),
        device=_text(values, "device"),
        day=_text(values, "day"),
        dlimg=_text(values, "dlimg"),
        engine=_text(values, "engine"),
        host=_host(_object(values.get("host"), "`host`")),
        on_host=_text(values, "on_host"),
        vanished=_texts(values, "vanished"),
        # Both are missing in records of older versions.
        revision=_text({"revision": "", **values}, "revision"),
        dirty=_truth({"dirty": False, **values}, "dirty"),
        verdicts=tuple(
            _verdict(_object(verdict, "a verdict")) for verdict in _list(values, "verdicts")
        ),
    )


def current_cell(name: str) -> str:
    """Return the current form of a cell's name in evidence from a host (schema 3)."""
    is_former = name.startswith(f"{_FORMER_HOST}-")
    return f"host-{name.removeprefix(f'{_FORMER_HOST}-')}" if is_former else name


def former_cell(name: str) -> str:
    """Return the name before schema 3, the reverse of `current_cell`."""
    return f"{_FORMER_HOST}-{name.removeprefix('host-')}" if name.startswith("host-") else name


def _upgrade(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record before schema 3 with today's keys and names."""
    host = _object(values.get("host"), "`host`")
    device = _text(values, "device")
    verdicts = [_object(verdict, "a verdict") for verdict in _list(values, "verdicts")]
    return {
        **values,
        "cell": current_cell(_text(values, "cell")),
        "device": "host" if device == _FORMER_HOST else device,
        "on_host": values.get("bare"),
        "host": {**host, "arch": host.get("architecture")},
        "vanished": [current_name(name) for name in _texts(values, "vanished")],
        "verdicts": [
            {**verdict, "check": current_name(_text(verdict, "check"))} for verdict in verdicts
        ],
    }


def _host(values: Mapping[str, Any]) -> Host:
    return Host(
        system=_text(values, "system"),
        kernel=_text(values, "kernel"),
        arch=_text(values, "arch"),
        processor=_text(values, "processor"),
        cores=_count(values, "cores"),
        memory=_count(values, "memory"),
    )


def _verdict(values: Mapping[str, Any]) -> Verdict:
    return Verdict(
        check=_text(values, "check"),
        sha256=_text(values, "sha256"),
        status=CheckStatus(_text(values, "status")),
        reason=_text(values, "reason"),
        seconds=_number(values, "seconds"),
        required=_truth(values, "required"),
        figures=_object(values.get("figures"), "`figures`"),
        output=_text(values, "output"),
        needs=frozenset(_texts(values, "needs")),
        attempts=_count(values, "attempts"),
        first_reason=_text(values, "first_reason"),
    )


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")  # noqa: TRY004 -- a damaged file, no bug
    return value


def _list(values: Mapping[str, Any], key: str) -> list[object]:
    value = values.get(key)
    if not isinstance(value, list):
        raise ValueError(f"`{key}` is not a list")  # noqa: TRY004 -- the same
    return value


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is not a text")  # noqa: TRY004 -- the same
    return value


def _truth(values: Mapping[str, Any], key: str) -> bool:
    value = values.get(key)
    if not isinstance(value, bool):
        raise ValueError(f"`{key}` is neither true nor false")  # noqa: TRY004 -- the same
    return value


def _texts(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    items = _list(values, key)
    if not all(isinstance(item, str) for item in items):
        raise ValueError(f"`{key}` holds other values than texts")
    return tuple(str(item) for item in items)


def _count(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"`{key}` is not a count")
    return value


def _number(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise ValueError(f"`{key}` is not a number")
    return float(value)
