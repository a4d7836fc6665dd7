"""Results of the GPU benchmark as rows and as data.

The figures come from a script's output, so their types are checked here.
"""

from collections.abc import Mapping
from typing import Final

from dlimg.checks.evidence_json import host_record, to_json_value
from dlimg.checks.verdicts import GPU_CHECK, gpus_of_verdicts, outcome_of
from dlimg.model import CheckStatus, Evidence, Host, Verdict
from dlimg.report.evidence_text import reasons
from dlimg.units import counted

BENCHMARK: Final = "benchmark"
HEADINGS: Final = ("where", "on", "work", "ms per image", "speed", "ratio", "deviation")
PRECISIONS: Final = ("float32", "tf32", "bfloat16")
NO_GPU: Final = "no GPU here, so nothing was measured"


def bench_rows(evidence: Evidence) -> list[tuple[str, ...]]:
    """Return the rows of one machine or image: its CPU, its GPU in each precision, its memory."""
    figures = _figures(evidence)
    if not figures:
        result = outcome_of(evidence.verdicts)
        return [(evidence.cell, gpu_text(evidence) or "no GPU", result, "-", "-", "-", "-")]
    processors = {"cpu": processor_text(evidence.host)}
    processors |= dict.fromkeys(PRECISIONS, gpu_text(evidence) or "GPU")
    rows = [
        (
            evidence.cell,
            processor,
            "float32" if name == "cpu" else name,
            _text(figures, "milliseconds", name),
            _speed(_number(figures, "gflops", name), "GFLOP/s"),
            "1" if name == "cpu" else _text(figures, "ratios", name),
            _text(figures, "deviations", name),
        )
        for name, processor in processors.items()
    ]
    copied = _speed(_number(figures, "copy_gb_per_second"), "GB/s")
    return [*rows, (evidence.cell, processors["float32"], "copy", "-", copied, "-", "-")]


def bench_json(evidence: Evidence) -> dict[str, object]:
    """Return the results as stable data; `benchmark` is null if nothing was measured."""
    return {
        "cell": evidence.cell,
        "on_host": evidence.on_host or None,
        "bare": evidence.on_host or None,  # the name of the last release
        "day": evidence.day,
        "device": evidence.device,
        "host": host_record(evidence.host),
        "gpus": to_json_value(list(_seen(evidence))),
        "benchmark": to_json_value(dict(_figures(evidence))) or None,
        "outcome": outcome_of(evidence.verdicts),
        "reasons": {
            verdict.check: verdict.reason
            for verdict in evidence.verdicts
            if verdict.status is not CheckStatus.PASSED
        },
    }


def bench_text(evidence: Evidence) -> str:
    """Return the reasons of failures, or that no GPU was found; empty if all went well."""
    lines = reasons(evidence)
    status = _status(evidence, BENCHMARK)
    if status is CheckStatus.NOT_RUN:
        lines.append(f"{evidence.cell}  {NO_GPU}")
    return "\n".join(lines)


def gpu_text(evidence: Evidence) -> str:
    """Return `NVIDIA H200, driver 580.159, 143771 MiB, compute capability 9.0`; equal GPUs once."""
    texts = []
    for gpu in _seen(evidence):
        parts = (
            gpu.get("name"),
            f"driver {gpu.get('driver')}",
            f"{gpu['memory']} MiB" if gpu.get("memory") else "",
            f"compute capability {gpu.get('capability')}",
        )
        texts.append(", ".join(str(part) for part in parts if part))
    return " and ".join(dict.fromkeys(texts))


def processor_text(host: Host) -> str:
    """Return the processor and its cores, as far as they are known."""
    cores = counted(host.cores, "core") if host.cores else ""
    return ", ".join(filter(None, (host.processor or "CPU", cores)))


def _seen(evidence: Evidence) -> tuple[Mapping[str, object], ...]:
    """Return the GPUs that the check `nvidia_smi` reported; empty if it did not pass."""
    if not gpus_of_verdicts(evidence.verdicts):
        return ()
    rows = next(row.figures.get("gpus") for row in evidence.verdicts if row.check == GPU_CHECK)
    return tuple(row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()


def _figures(evidence: Evidence) -> Mapping[str, object]:
    verdict = _verdict(evidence, BENCHMARK)
    return verdict.figures if verdict and verdict.status is not CheckStatus.NOT_RUN else {}


def _status(evidence: Evidence, check: str) -> CheckStatus | None:
    verdict = _verdict(evidence, check)
    return verdict.status if verdict else None


def _verdict(evidence: Evidence, check: str) -> Verdict | None:
    return next((verdict for verdict in evidence.verdicts if verdict.check == check), None)


def _number(figures: Mapping[str, object], name: str, key: str = "") -> float | None:
    value = figures.get(name)
    if key:
        value = value.get(key) if isinstance(value, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) else None


def _text(figures: Mapping[str, object], name: str, key: str) -> str:
    value = _number(figures, name, key)
    return "-" if value is None else f"{value:.4g}"


def _speed(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.0f} {unit}"
