"""Findings about a matrix: for each, one that has it and one that has not."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.facts.load import Facts
from dlimg.facts.model import GpuFact
from dlimg.lint.catalogue import RULES, LintResult, lint
from dlimg.lint.model import Finding, IndexAnswer, LintContext, OnlineAnswers, Severity, lock_line
from dlimg.lint.pages import rule_pages
from dlimg.lock.lockfile import lock_text
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.model import Lock, Wheel
from dlimg.pipeline.facts_files import read_facts
from dlimg.report.lint import (github_annotations, lint_json, findings_text, summary)
from tests.support import samples

ROOT = Path(__file__).parents[3]
FACTS = read_facts()
TODAY = date(2026, 11, 21)

MATRIX = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.2: {cuda: "13.2", leader: torch==2.15.0, python: "3.13"}
families:
  pytorch:
    framework: torch
    axes:
      version: [2.15.0]
      accelerator: [cuda13.2]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cuda13: ["torch=={version}"]
    aliases:
      latest: {python: "3.13"}
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cuda13.2, cpu]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["jax=={version}"]
      cuda13: ["jax[cuda13]=={version}"]
"""
TORCH, JAX, JAX_CPU = (
    "pytorch-2.15.0-cuda13.2-py3.13-debian13",
    "jax-0.12.0.1-cuda13.2-py3.13-debian13",
    "jax-0.12.0.1-cpu-py3.13-debian13",
)
CUDNN = samples.wheel(
    "nvidia-cudnn-cu13", "9.26.0.51", file="nvidia_cudnn_cu13-9.26.0.51-py3-none-any.whl"
)
BLAS = samples.wheel("nvidia-cublas", "13.2.0.9", size=500_000_000)
SHARED = (CUDNN, BLAS)
PINS = {"debian13": f"sha256:{'1' * 64}"}


def locked(**wheels: tuple[Wheel, ...]) -> dict[str, Lock]:
    """Locks of the three cells: `torch`, `jax` and `cpu` are further wheels."""
    return {
        TORCH: samples.lock(TORCH, wheels=(*SHARED, samples.wheel(), *wheels.get("torch", ()))),
        JAX: samples.lock(
            JAX,
            wheels=(
                *wheels.get("shared", SHARED),
                samples.wheel("jax", "0.12.0.1"),
                *wheels.get("jax", ()),
            ),
        ),
        JAX_CPU: samples.lock(
            JAX_CPU, wheels=(samples.wheel("jax", "0.12.0.1"), *wheels.get("cpu", ()))
        ),
    }


def ground(
    text: str = MATRIX,
    *,
    today: date = TODAY,
    locks: dict[str, Lock] | None = None,
    answers: OnlineAnswers | None = None,
    pins: dict[str, str] = PINS,
) -> LintContext:
    matrix = parse_matrix(text, "matrix.yaml")
    resolution = resolve(matrix, FACTS, pins)
    there = locked() if locks is None else locks
    return LintContext(
        matrix=matrix,
        resolution=resolution,
        facts=FACTS,
        today=today,
        locks={
            name: lock for name, lock in there.items() if name in {c.id for c in resolution.cells}
        },
        lock_files={name: f"locks/{name}.json" for name in there},
        answers=answers,
    )


def found(one: LintContext) -> list[tuple[str, str, int]]:
    return [(each.id, each.severity.value, each.line) for each in lint(one).findings]


def only(one: LintContext) -> Finding:
    findings = lint(one).findings
    assert len(findings) == 1, findings
    return findings[0]


def test_a_sound_matrix_has_no_finding() -> None:
    linted = lint(ground())
    assert linted.findings == ()
    assert linted.skipped == (
        "the index and registries (wheel-gone, wheel-yanked, base-moved): use --online",
    )


OLD_PYTHON = MATRIX.replace('python: ["3.13"]', 'python: ["3.11", "3.13"]', 1)
# 3.11 ends on 2027-10-31; three days on either side of what is 90 days before it, and of the end.
PYTHON_DAYS = [
    (date(2027, 8, 1), None),
    (date(2027, 8, 2), "warning"),
    (date(2027, 10, 31), "warning"),
    (date(2027, 11, 1), "error"),
]


@pytest.mark.parametrize(("today", "severity"), PYTHON_DAYS)
def test_a_python_near_its_end_warns_and_past_it_fails(today: date, severity: str | None) -> None:
    got = [one for one in lint(ground(OLD_PYTHON, today=today)).findings if "3.11" in one.about]
    assert [one.severity.value for one in got] == ([severity] if severity else [])
    for one in got:
        assert (one.id, one.line, one.about) == ("python-end-of-life", 11, "pytorch: 3.11")
        assert one.source == "https://endoflife.date/python"


def test_a_python_whose_end_is_a_plan_only_warns() -> None:
    text = MATRIX.replace('python: ["3.13"]', 'python: ["3.13", "3.15"]', 1)
    got = [
        one for one in lint(ground(text, today=date(2040, 1, 1))).findings if "3.15" in one.about
    ]
    assert [(one.id, one.severity.value) for one in got] == [("python-end-of-life", "warning")]


def test_a_stack_is_resolved_for_a_python_that_lives() -> None:
    got = [
        (one.id, one.line, one.about)
        for one in lint(ground(today=date(2030, 1, 1))).findings
        if one.about.startswith("cuda13.2")
    ]
    assert got == [("python-end-of-life", 4, "cuda13.2: 3.13")]


# Debian 12 ended on 2026-07-11, its long-term support ends on 2028-06-30; Ubuntu has none for all.
SYSTEM_DAYS = [
    ("Debian 12", date(2026, 4, 11), None),
    ("Debian 12", date(2026, 4, 12), "warning"),
    ("Debian 12", date(2026, 7, 11), "warning"),
    ("Debian 12", date(2026, 7, 12), "warning"),
    ("Debian 12", date(2028, 6, 30), "warning"),
    ("Debian 12", date(2028, 7, 1), "error"),
    ("Ubuntu 24.04", date(2029, 2, 1), None),
    ("Ubuntu 24.04", date(2029, 5, 31), "warning"),
    ("Ubuntu 24.04", date(2029, 6, 1), "error"),
]


@pytest.mark.parametrize(("system", "today", "severity"), SYSTEM_DAYS)
def test_long_term_support_warns_and_what_is_after_it_fails(
    system: str, today: date, severity: str | None
) -> None:
    text = MATRIX.replace("Debian 13", system)
    got = [one for one in lint(ground(text, today=today)).findings if one.id == "os-end-of-life"]
    assert [(one.severity.value, one.line) for one in got] == ([(severity, 2)] if severity else [])


def test_an_alias_to_what_is_near_its_end_is_told_beside_it() -> None:
    text = MATRIX.replace("Debian 13", "Debian 12").replace("debian13}", "debian13}")
    got = [one for one in lint(ground(text)).findings if one.id == "alias-to-deprecated"]
    assert [(one.line, one.about) for one in got] == [(17, "pytorch:latest")]
    assert "long-term support" in got[0].message


OLD_CUDA = (
    MATRIX.replace(
        "families:",
        '  cuda11.7: {cuda: "11.7", leader: torch==1.13.1, python: "3.11"}\nfamilies:',
    )
    .replace("version: [2.15.0]", "version: [2.15.0, 1.13.1]")
    .replace("accelerator: [cuda13.2]", "accelerator: [cuda13.2, cuda11.7]")
    .replace('python: ["3.13"]', 'python: ["3.11", "3.13"]', 1)
    .replace('      cuda13: ["torch', '      cuda11: ["torch=={version}"]\n      cuda13: ["torch')
    .replace('latest: {python: "3.13"}', "latest: {version: 1.13.1}")
)


def test_a_cuda_that_nvidia_gave_up() -> None:
    got = {one.id: one for one in lint(ground(OLD_CUDA)).findings}
    one = got["cuda-end-of-life"]
    assert (one.severity, one.line, one.about) == (Severity.WARNING, 5, "cuda11.7")
    assert got["alias-to-deprecated"].about == "pytorch:latest"


def test_latest_is_not_the_newest() -> None:
    got = {one.id: one for one in lint(ground(OLD_CUDA)).findings}
    one = got["latest-is-not-newest"]
    assert "pytorch:latest is 1.13.1, and the matrix has 2.15.0" in one.message


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ("[T4, RTX 4090, sm_120]", []),
        ("[GTX 1080]", [("promise-not-kept", "error")] * 2),
        ("[RTX 4900]", [("unknown-gpu", "error")]),
    ],
)
def test_gpus_that_the_matrix_promises(gpus: str, expected: list[tuple[str, str]]) -> None:
    got = lint(ground(f"{MATRIX}gpus: {gpus}\n")).findings
    assert [(one.id, one.severity.value) for one in got] == expected
    assert {one.line for one in got} <= {29}


def test_a_gpu_that_one_family_lacks_is_a_warning() -> None:
    got = [
        one
        for one in lint(ground(f"{OLD_CUDA}gpus: [V100]\n")).findings
        if one.id == "promise-not-kept"
    ]
    assert [(one.severity.value, one.about) for one in got] == [("warning", "jax: V100")]
    assert "no image of jax runs on the promised V100 (sm_70)" in got[0].message


def test_a_near_name_of_a_gpu_is_offered() -> None:
    assert "'RTX 4090'" in only(ground(f"{MATRIX}gpus: [RTX 4900]\n")).message


def test_a_version_without_facts() -> None:
    text = MATRIX.replace("version: [0.12.0.1]", "version: [99.0]")
    got = [one for one in lint(ground(text)).findings if one.id == "no-facts"]
    assert [(one.severity.value, one.line, one.about) for one in got] == [("note", 21, "jax 99.0")]


def test_a_cudnn_that_the_framework_was_not_built_for() -> None:
    old = samples.wheel("nvidia-cudnn-cu13", "8.9.7.29")
    locks = locked()
    locks[TORCH] = samples.lock(TORCH, wheels=(old, BLAS, samples.wheel()))
    got = [one for one in lint(ground(locks=locks)).findings if one.id == "cannot-work"]
    assert [(one.severity.value, one.line) for one in got] == [("error", 9)]
    assert "cuDNN" in got[0].message
    assert TORCH in got[0].message


def test_what_no_gpu_runs() -> None:
    only_old = FACTS.gpu("K80")
    facts = replace_gpus(only_old)
    got = lint(replace(ground(), facts=facts)).findings
    assert {one.id for one in got} == {"runs-nowhere"}
    assert {one.about for one in got} == {"pytorch 2.15.0 cuda13.2", "jax 0.12.0.1 cuda13.2"}
    assert {one.severity for one in got} == {Severity.ERROR}
    assert all(one.source for one in got)


def replace_gpus(*gpus: GpuFact) -> Facts:
    """The facts in a world with these GPUs alone."""
    return replace(FACTS, gpus={gpu.name: gpu for gpu in gpus})


def test_what_rests_on_an_unverified_fact_warns() -> None:
    newer = f"platform: x86_64-manylinux_2_45\n{MATRIX}".replace("Debian 13", "Ubuntu 26.04")
    got = lint(ground(newer)).findings
    assert {(one.id, one.severity.value) for one in got} == {("may-not-work", "warning")}
    assert all("2.43" in one.message and one.source for one in got)


def test_two_cudnns() -> None:
    other = samples.wheel("nvidia-cudnn-cu12", "9.28.0.42")
    one = only(ground(locks=locked(torch=(other,))))
    assert (one.id, one.severity, one.file) == ("two-cudnns", Severity.ERROR, f"locks/{TORCH}.json")
    assert "nvidia-cudnn-cu13 9.26.0.51 and nvidia-cudnn-cu12 9.28.0.42" in one.message


TWINS = [
    ("nvidia-nccl-cu12", "nvidia-nccl-cu13", True),
    ("opencv-python", "opencv-python-headless", True),
    ("tensorflow", "tensorflow-cpu", True),
    ("nvidia-nccl-cu13", "nvidia-nvshmem-cu13", False),
    ("opencv-python", "openai", False),
]


@pytest.mark.parametrize(("first", "second", "clash"), TWINS)
def test_wheels_that_are_known_to_fill_one_path(first: str, second: str, clash: bool) -> None:  # noqa: FBT001
    pair = (samples.wheel(first, "1.0"), samples.wheel(second, "1.0"))
    got = found(ground(locks=locked(torch=pair)))
    assert [name for name, _, _ in got] == (["same-path"] if clash else [])


def asked(**more: object) -> OnlineAnswers:
    return replace(OnlineAnswers(offers={}, records={}, digests={}), **more)  # type: ignore[arg-type]


def record(path: str, digest: str) -> str:
    return f"{path},sha256={digest},5\n"


def test_wheels_whose_records_clash() -> None:
    pair = (samples.wheel("first", "1.0"), samples.wheel("second", "1.0"))
    records = {pair[0].sha256: record("both/a.py", "x"), pair[1].sha256: record("both/a.py", "y")}
    one = only(ground(locks=locked(torch=pair, jax=pair), answers=asked(records=records)))
    assert one.id == "same-path"
    assert "first and second fill both/a.py with different content" in one.message
    assert "in 1 more lock" in one.message
    same = dict.fromkeys(records, record("both/a.py", "x"))
    assert found(ground(locks=locked(torch=pair), answers=asked(records=same))) == []


def test_cuda_in_a_cpu_image() -> None:
    one = only(ground(locks=locked(cpu=(BLAS,))))
    assert (one.id, one.severity, one.file) == (
        "cuda-in-cpu-image",
        Severity.WARNING,
        f"locks/{JAX_CPU}.json",
    )
    assert "500 MB" in one.message


def test_families_on_one_cuda_that_share_nothing() -> None:
    text = MATRIX.replace(
        "families:",
        '  mine: {cuda: "13.2", leader: "jax[cuda13]==0.12.0.1", python: "3.13"}\nfamilies:',
    ).replace("accelerator: [cuda13.2, cpu]", "accelerator: [mine, cpu]")
    name = "jax-0.12.0.1-mine-py3.13-debian13"
    other = samples.wheel("nvidia-cudnn-cu13", "9.28.0.1")
    locks = {**locked(), name: samples.lock(name, wheels=(other, samples.wheel("jax", "0.12.0.1")))}
    one = only(ground(text, locks=locks))
    assert (one.id, one.line) == ("nothing-shared", 5)
    assert "pytorch and jax are both on CUDA 13.2 and share no byte" in one.message
    locks[name] = samples.lock(name, wheels=(*SHARED, samples.wheel("jax", "0.12.0.1")))
    assert found(ground(text, locks=locks)) == []


def test_a_wheel_that_is_gone_or_withdrawn() -> None:
    offers = {
        BLAS.file: IndexAnswer(state="gone"),
        CUDNN.file: IndexAnswer(state="yanked", reason="it crashes"),
        samples.wheel().file: IndexAnswer(state="there"),
    }
    got = lint(ground(answers=asked(offers=offers))).findings
    assert [(one.id, one.severity.value) for one in got] == [
        ("wheel-gone", "error"),
        ("wheel-yanked", "warning"),
    ]
    assert "nvidia-cublas 13.2.0.9; so in 1 more lock" in got[0].message
    assert "it crashes" in got[1].message


@pytest.mark.parametrize(
    ("there", "severity"),
    [(PINS["debian13"], None), (f"sha256:{'2' * 64}", "warning"), ("", "warning")],
)
def test_a_base_that_moved(there: str, severity: str | None) -> None:
    got = found(ground(answers=asked(digests={"debian13": there})))
    assert got == ([("base-moved", "warning", 2)] if severity else [])


def test_a_base_that_nobody_answered_about_is_told() -> None:
    linted = lint(ground(answers=asked(unanswered=("the registry docker.io: no answer",))))
    assert linted.findings == ()
    assert linted.skipped == ("the registry docker.io: no answer",)


def test_a_base_without_a_pin() -> None:
    one = only(ground(pins={}))
    assert (one.id, one.severity, one.about) == ("base-not-pinned", Severity.NOTE, "debian13")


def accepted(entry: str, text: str = MATRIX) -> LintResult:
    return lint(ground(f"{text}lint:\n  - {entry}\n", pins={}))


def test_a_finding_is_ignored_with_a_reason() -> None:
    linted = accepted('{id: base-not-pinned, about: "debian*", why: "offline"}')
    assert linted.findings == ()
    assert [(one.id, by.why) for one, by in linted.ignored] == [("base-not-pinned", "offline")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('{id: two-cudnns, why: "old"}', "this ignores nothing any more"),
        ('{id: base-not-pinned, about: "ubuntu*", why: "old"}', "this ignores nothing any more"),
        ('{id: base-not-pined, why: "old"}', "did you mean 'base-not-pinned'?"),
    ],
)
def test_an_entry_that_ignores_nothing_fails(entry: str, said: str) -> None:
    first = accepted(entry).findings[0]
    assert (first.id, first.severity, first.line) == ("unused-ignore", Severity.ERROR, 30)
    assert said in first.message


def test_what_only_the_index_finds_is_not_dead_offline() -> None:
    linted = accepted('{id: wheel-yanked, about: "jax*", why: "we keep it"}')
    assert [one.id for one in linted.findings] == ["base-not-pinned"]


def test_the_line_of_a_wheel_in_its_lock() -> None:
    lock = samples.lock("x", wheels=(samples.wheel("pip", "26.3"), samples.wheel("numpy", "2.4.0")))
    lines = lock_text(lock).splitlines()
    for wheel in lock.wheels:
        assert f'"name": "{wheel.name}"' in lines[lock_line(lock, wheel.name) - 1]


LINTED = lint(ground(f"{MATRIX}gpus: [GTX 1080]\n", pins={}))


def test_the_text_is_what_editors_jump_to() -> None:
    lines = findings_text(LINTED).splitlines()
    assert lines[0].startswith("matrix.yaml:29: error: no image runs on the promised GTX")
    assert "[promise-not-kept]" in lines[0]
    assert lines[-1].startswith("matrix.yaml:2: note: ")
    assert summary(LINTED) == "2 errors, 0 warnings, 1 note"


def test_findings_are_annotated_on_github() -> None:
    nasty = Finding(
        id="x-y",
        severity=Severity.NOTE,
        file="a:b,c\n.yaml",
        line=3,
        about="",
        message="50 %\n::error::stop",
    )
    one = LintResult(findings=(nasty,), ignored=(), skipped=())
    text = github_annotations(one)
    assert text == (
        "::notice file=a%3Ab%2Cc%0A.yaml,line=3,title=dlimg x-y::"
        "50 %25%0A::error::stop (docs/lint/x-y.md)\n"
    )
    assert github_annotations(LINTED).startswith("::error file=matrix.yaml,line=29,title=dlimg promise")


def test_json_is_stable() -> None:
    data = lint_json(LINTED)
    assert (data["errors"], data["warnings"], data["notes"]) == (2, 0, 1)
    findings = data["findings"]
    assert isinstance(findings, list)
    assert set(findings[0]) == {
        *("id", "severity", "file", "line", "about", "message", "source", "page"),
    }


def test_every_finding_has_a_page_and_the_pages_are_current() -> None:
    folder = ROOT / "docs/lint"
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert there == rule_pages(), "run `nox -s lint_pages` and review the diff"
    assert len({rule.id for rule in RULES}) == len(RULES)


def ran(*words: str, matrix: Path = ROOT / "matrix.yaml") -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["--matrix", str(matrix), "lint", *words])
    return code, out.getvalue(), err.getvalue()


def test_the_projects_own_matrix_has_no_error() -> None:
    code, out, err = ran("--format", "json")
    assert json.loads(out)["errors"] == 0, out
    assert (code, err) == (0, "")


def test_the_command_fails_with_errors_and_strictly_with_warnings(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(MATRIX.replace("Debian 13", "Debian 12"))
    assert ran(matrix=path)[0] == 0
    assert ran("--strict", matrix=path)[0] == 1
    path.write_text(f"{MATRIX}gpus: [GTX 1080]\n")
    code, out, err = ran(matrix=path)
    assert code == 1
    assert "[promise-not-kept]" in out
    assert "skipped: wheels of 3 unlocked cells" in err


def test_a_finding_is_explained() -> None:
    code, out, _ = ran("--explain", "two-cudnns")
    assert code == 0
    assert out == rule_pages()["two-cudnns.md"]
    code, _, err = ran("--explain", "two-cudns")
    assert code == 2
    assert "did you mean 'two-cudnns'?" in err


def test_the_pages_are_written_and_old_ones_removed(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("old")
    assert ran("--pages", str(tmp_path))[0] == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == rule_pages()
