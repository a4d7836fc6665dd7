"""What the benchmark measured: a row for each place and precision, or a JSON object.

The figures come from a script's output, so nothing is taken for granted about them.
"""

from collections.abc import Mapping
from typing import Final

from dlimg.checks.evidence_json import host_record, to_json_value
from dlimg.checks.verdicts import GPU_CHECK, outcome, gpus_of_verdicts
from dlimg.model import CheckStatus, Evidence, Host, Verdict
from dlimg.report.evidence_text import reasons

BENCHMARK: Final = "benchmark"
HEADINGS: Final = ("where", "on", "work", "ms an image", "speed", "ratio", "deviation")
PRECISIONS: Final = ("float32", "tf32", "bfloat16")
NO_GPU: Final = "no GPU here, so nothing was measured"


def bench_rows(evidence: Evidence) -> list[tuple[str, ...]]:
    """The rows of one machine or image: its CPU, its GPU in each precision, and its memory."""
    found = _figures(evidence)
    if not found:
        said = outcome(evidence.verdicts)
        return [(evidence.cell, gpu_text(evidence) or "no GPU", said, "-", "-", "-", "-")]
    places = {"cpu": processor_text(evidence.host)}
    places |= dict.fromkeys(PRECISIONS, gpu_text(evidence) or "GPU")
    rows = [
        (
            evidence.cell,
            place,
            "float32" if name == "cpu" else name,
            _text(found, "milliseconds", name),
            _speed(_number(found, "gflops", name), "GFLOP/s"),
            "1" if name == "cpu" else _text(found, "ratios", name),
            _text(found, "deviations", name),
        )
        for name, place in places.items()
    ]
    copied = _speed(_number(found, "copy_gb_per_second"), "GB/s")
    return [*rows, (evidence.cell, places["float32"], "copy", "-", copied, "-", "-")]


def bench_json(evidence: Evidence) -> dict[str, object]:
    """The same as stable data; `benchmark` is null where nothing was measured."""
    return {
        "cell": evidence.cell,
        "bare": evidence.bare or None,
        "day": evidence.day,
        "device": evidence.device,
        "host": host_record(evidence.host),
        "gpus": to_json_value(list(_seen(evidence))),
        "benchmark": to_json_value(dict(_figures(evidence))) or None,
        "outcome": outcome(evidence.verdicts),
        "reasons": {
            one.check: one.reason
            for one in evidence.verdicts
            if one.status is not CheckStatus.PASSED
        },
    }


def bench_text(evidence: Evidence) -> str:
    """What there is to say beside the table; nothing where all went well."""
    said = reasons(evidence)
    status = _status(evidence, BENCHMARK)
    if status is CheckStatus.NOT_RUN:
        said.append(f"{evidence.cell}  {NO_GPU}")
    return "\n".join(said)


def gpu_text(evidence: Evidence) -> str:
    """`NVIDIA H200, driver 580.159, 143771 MiB, compute capability 9.0`; alike ones once."""
    texts = []
    for one in _seen(evidence):
        parts = (
            one.get("name"),
            f"driver {one.get('driver')}",
            f"{one['memory']} MiB" if one.get("memory") else "",
            f"compute capability {one.get('capability')}",
        )
        texts.append(", ".join(str(part) for part in parts if part))
    return " and ".join(dict.fromkeys(texts))


def processor_text(host: Host) -> str:
    """The processor and its cores, as far as they are known."""
    cores = f"{host.cores} cores" if host.cores else ""
    return ", ".join(filter(None, (host.processor or "CPU", cores)))


def _seen(evidence: Evidence) -> tuple[Mapping[str, object], ...]:
    """The rows of `nvidia_smi` that are about a GPU; none where it did not pass."""
    if not gpus_of_verdicts(evidence.verdicts):
        return ()
    rows = next(one.figures.get("gpus") for one in evidence.verdicts if one.check == GPU_CHECK)
    return tuple(one for one in rows if isinstance(one, dict)) if isinstance(rows, list) else ()


def _figures(evidence: Evidence) -> Mapping[str, object]:
    found = _verdict(evidence, BENCHMARK)
    return found.figures if found and found.status is not CheckStatus.NOT_RUN else {}


def _status(evidence: Evidence, check: str) -> CheckStatus | None:
    found = _verdict(evidence, check)
    return found.status if found else None


def _verdict(evidence: Evidence, check: str) -> Verdict | None:
    return next((one for one in evidence.verdicts if one.check == check), None)


def _number(figures: Mapping[str, object], name: str, key: str = "") -> float | None:
    found = figures.get(name)
    if key:
        found = found.get(key) if isinstance(found, dict) else None
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number and isinstance(found, int | float) else None


def _text(figures: Mapping[str, object], name: str, key: str) -> str:
    found = _number(figures, name, key)
    return "-" if found is None else f"{found:.4g}"


def _speed(found: float | None, unit: str) -> str:
    return "-" if found is None else f"{found:,.0f} {unit}"
