"""Evidence as JSON values, and back. Pure; what comes from outside is believed in nothing."""

import math
from collections.abc import Mapping
from typing import Any, Final

from dlimg.matrix.renamed_checks import current_name
from dlimg.model import CheckStatus, Evidence, Host, Verdict

# Far above what any check prints, and far below what would end in a RecursionError.
_DEEPEST: Final = 50


def evidence_record(evidence: Evidence) -> dict[str, object]:
    """All of it but the digest, which several records share."""
    return {
        "device": evidence.device,
        "cell": evidence.cell,
        "day": evidence.day,
        "dlimg": evidence.dlimg,
        "engine": evidence.engine,
        "host": host_record(evidence.host),
        "bare": evidence.bare,
        "vanished": list(evidence.vanished),
        "revision": evidence.revision,
        "dirty": evidence.dirty,
        "verdicts": [verdict_record(verdict) for verdict in evidence.verdicts],
    }


def host_record(host: Host) -> dict[str, object]:
    """The machine, without its name."""
    return {
        "system": host.system,
        "kernel": host.kernel,
        "arch": host.arch,
        "architecture": host.arch,  # the name of the last release
        "processor": host.processor,
        "cores": host.cores,
        "memory": host.memory,
    }


def verdict_record(verdict: Verdict) -> dict[str, object]:
    """One verdict; figures that JSON has no words for become texts."""
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
    """The same value as JSON and UTF-8 have it: `nan` and `inf` are texts, half a character is `?`.

    What nests too deeply is cut. A value of a kind that JSON does not know stays as it is.
    """
    if depth > _DEEPEST:
        return "..."
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case str():
            return value.encode(errors="replace").decode()
        case Mapping():
            return {
                str(to_json_value(name)): to_json_value(one, depth + 1)
                for name, one in value.items()
            }
        case list() | tuple():
            return [to_json_value(one, depth + 1) for one in value]
        case _:
            return value


def evidence_of(record: object, digest: str) -> Evidence:
    """The evidence of a record; raises ValueError for one that is not ours."""
    held = _object(record, "the record")
    return Evidence(
        digest=digest,
        cell=_text(held, "cell"),
        device=_text(held, "device"),
        day=_text(held, "day"),
        dlimg=_text(held, "dlimg"),
        engine=_text(held, "engine"),
        host=_host(_object(held.get("host"), "`host`")),
        bare=_text(held, "bare"),
        vanished=tuple(map(current_name, _texts(held, "vanished"))),
        # Both are missing in what was written before dlimg noted them.
        revision=_text({"revision": "", **held}, "revision"),
        dirty=_truth({"dirty": False, **held}, "dirty"),
        verdicts=tuple(_verdict(_object(one, "a verdict")) for one in _list(held, "verdicts")),
    )


def _host(held: Mapping[str, Any]) -> Host:
    return Host(
        system=_text(held, "system"),
        kernel=_text(held, "kernel"),
        arch=_text({"arch": held.get("architecture"), **held}, "arch"),
        processor=_text(held, "processor"),
        cores=_count(held, "cores"),
        memory=_count(held, "memory"),
    )


def _verdict(held: Mapping[str, Any]) -> Verdict:
    return Verdict(
        check=current_name(_text(held, "check")),
        sha256=_text(held, "sha256"),
        status=CheckStatus(_text(held, "status")),
        reason=_text(held, "reason"),
        seconds=_number(held, "seconds"),
        required=_truth(held, "required"),
        figures=_object(held.get("figures"), "`figures`"),
        output=_text(held, "output"),
        needs=frozenset(_texts(held, "needs")),
        attempts=_count(held, "attempts"),
        first_reason=_text(held, "first_reason"),
    )


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")  # noqa: TRY004 -- damaged text, no wrong call
    return value


def _list(held: Mapping[str, Any], key: str) -> list[object]:
    value = held.get(key)
    if not isinstance(value, list):
        raise ValueError(f"`{key}` is no list")  # noqa: TRY004 -- the same
    return value


def _text(held: Mapping[str, Any], key: str) -> str:
    value = held.get(key)
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is no text")  # noqa: TRY004 -- the same
    return value


def _truth(held: Mapping[str, Any], key: str) -> bool:
    value = held.get(key)
    if not isinstance(value, bool):
        raise ValueError(f"`{key}` is neither true nor false")  # noqa: TRY004 -- damaged text
    return value


def _texts(held: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(held, key)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"`{key}` holds more than texts")
    return tuple(str(value) for value in values)


def _count(held: Mapping[str, Any], key: str) -> int:
    value = held.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"`{key}` is no count")
    return value


def _number(held: Mapping[str, Any], key: str) -> float:
    value = held.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise ValueError(f"`{key}` is no number")
    return float(value)
