"""Findings about a matrix: for each, one that has it and one that has not."""

import io
import json
import subprocess
import sys
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
from dlimg.report.lint import findings_text, github_annotations, lint_json, summary
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


def lint_context(
    text: str = MATRIX,
    *,
    today: date = TODAY,
    locks: dict[str, Lock] | None = None,
    answers: OnlineAnswers | None = None,
    pins: dict[str, str] = PINS,
) -> LintContext:
    matrix = parse_matrix(text, "matrix.yaml")
    resolution = resolve(matrix, FACTS, pins)
    known_locks = locked() if locks is None else locks
    return LintContext(
        matrix=matrix,
        resolution=resolution,
        facts=FACTS,
        today=today,
        locks={
            name: lock
            for name, lock in known_locks.items()
            if name in {c.id for c in resolution.cells}
        },
        lock_files={name: f"locks/{name}.json" for name in known_locks},
        answers=answers,
    )


def findings_of(context: LintContext) -> list[tuple[str, str, int]]:
    return [(row.id, row.severity.value, row.line) for row in lint(context).findings]


def only_finding(context: LintContext) -> Finding:
    findings = lint(context).findings
    assert len(findings) == 1, findings
    return findings[0]


def test_a_sound_matrix_has_no_finding() -> None:
    linted = lint(lint_context())
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
    findings = [
        finding
        for finding in lint(lint_context(OLD_PYTHON, today=today)).findings
        if "3.11" in finding.about
    ]
    assert [finding.severity.value for finding in findings] == ([severity] if severity else [])
    for finding in findings:
        assert (finding.id, finding.line, finding.about) == (
            "python-end-of-life",
            11,
            "pytorch: 3.11",
        )
        assert finding.source == "https://endoflife.date/python"


def test_a_python_whose_end_is_a_plan_only_warns() -> None:
    text = MATRIX.replace('python: ["3.13"]', 'python: ["3.13", "3.15"]', 1)
    findings = [
        finding
        for finding in lint(lint_context(text, today=date(2040, 1, 1))).findings
        if "3.15" in finding.about
    ]
    assert [(finding.id, finding.severity.value) for finding in findings] == [
        ("python-end-of-life", "warning")
    ]


def test_a_stack_is_resolved_for_a_python_that_lives() -> None:
    findings = [
        (finding.id, finding.line, finding.about)
        for finding in lint(lint_context(today=date(2030, 1, 1))).findings
        if finding.about.startswith("cuda13.2")
    ]
    assert findings == [("python-end-of-life", 4, "cuda13.2: 3.13")]


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
    findings = [
        finding
        for finding in lint(lint_context(text, today=today)).findings
        if finding.id == "os-end-of-life"
    ]
    assert [(finding.severity.value, finding.line) for finding in findings] == (
        [(severity, 2)] if severity else []
    )


def test_an_alias_to_a_distribution_near_its_end() -> None:
    text = MATRIX.replace("Debian 13", "Debian 12").replace("debian13}", "debian13}")
    findings = [
        finding
        for finding in lint(lint_context(text)).findings
        if finding.id == "alias-to-deprecated"
    ]
    assert [(finding.line, finding.about) for finding in findings] == [(17, "pytorch:latest")]
    assert "long-term support" in findings[0].message


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


def test_a_cuda_without_support() -> None:
    findings = {finding.id: finding for finding in lint(lint_context(OLD_CUDA)).findings}
    finding = findings["cuda-end-of-life"]
    assert (finding.severity, finding.line, finding.about) == (Severity.WARNING, 5, "cuda11.7")
    assert findings["alias-to-deprecated"].about == "pytorch:latest"


def test_latest_is_not_the_newest() -> None:
    findings = {finding.id: finding for finding in lint(lint_context(OLD_CUDA)).findings}
    finding = findings["latest-is-not-newest"]
    assert "pytorch:latest is 1.13.1, and the matrix has 2.15.0" in finding.message


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ("[T4, RTX 4090, sm_120]", []),
        ("[GTX 1080]", [("promise-not-kept", "error")] * 2),
        ("[RTX 4900]", [("unknown-gpu", "error")]),
    ],
)
def test_gpus_that_the_matrix_promises(gpus: str, expected: list[tuple[str, str]]) -> None:
    findings = lint(lint_context(f"{MATRIX}gpus: {gpus}\n")).findings
    assert [(finding.id, finding.severity.value) for finding in findings] == expected
    assert {finding.line for finding in findings} <= {29}


def test_a_gpu_that_one_family_lacks_is_a_warning() -> None:
    findings = [
        finding
        for finding in lint(lint_context(f"{OLD_CUDA}gpus: [V100]\n")).findings
        if finding.id == "promise-not-kept"
    ]
    assert [(finding.severity.value, finding.about) for finding in findings] == [
        ("warning", "jax: V100")
    ]
    assert "no image of jax runs on the promised V100 (sm_70)" in findings[0].message


@pytest.mark.parametrize(
    ("name", "called"),
    [("MI300X", "an AMD GPU"), ("TPU v5e", "a Google TPU"), ("910B", "a Huawei")],
)
def test_a_promised_gpu_of_another_maker_is_called_so(name: str, called: str) -> None:
    message = only_finding(lint_context(f"{MATRIX}gpus: [{name}]\n")).message
    assert message.startswith(f"{name} is {called}")
    assert "did you mean" not in message


def test_a_near_name_of_a_gpu_is_offered() -> None:
    assert "'RTX 4090'" in only_finding(lint_context(f"{MATRIX}gpus: [RTX 4900]\n")).message


def test_a_version_without_facts() -> None:
    text = MATRIX.replace("version: [0.12.0.1]", "version: [99.0]")
    findings = [
        finding for finding in lint(lint_context(text)).findings if finding.id == "no-facts"
    ]
    assert [(finding.severity.value, finding.line, finding.about) for finding in findings] == [
        ("note", 21, "jax 99.0")
    ]


def test_a_family_that_wants_no_facts_needs_none() -> None:
    text = MATRIX.replace("framework: jax", "framework: none")
    assert "framework: none" in text
    assert "no-facts" not in {finding.id for finding in lint(lint_context(text)).findings}


def test_a_cudnn_that_the_framework_was_not_built_for() -> None:
    old = samples.wheel("nvidia-cudnn-cu13", "8.9.7.29")
    locks = locked()
    locks[TORCH] = samples.lock(TORCH, wheels=(old, BLAS, samples.wheel()))
    findings = [
        finding
        for finding in lint(lint_context(locks=locks)).findings
        if finding.id == "cannot-work"
    ]
    assert [(finding.severity.value, finding.line) for finding in findings] == [("error", 9)]
    assert "cuDNN" in findings[0].message
    assert TORCH in findings[0].message


def test_an_image_that_no_gpu_runs() -> None:
    only_old = FACTS.gpu("K80")
    facts = replace_gpus(only_old)
    findings = lint(replace(lint_context(), facts=facts)).findings
    assert {finding.id for finding in findings} == {"runs-nowhere"}
    assert {finding.about for finding in findings} == {
        "pytorch 2.15.0 cuda13.2",
        "jax 0.12.0.1 cuda13.2",
    }
    assert {finding.severity for finding in findings} == {Severity.ERROR}
    assert all(finding.source for finding in findings)


def replace_gpus(*gpus: GpuFact) -> Facts:
    """The facts in a world with these GPUs alone."""
    return replace(FACTS, gpus={gpu.name: gpu for gpu in gpus})


def test_a_rule_with_an_unverified_fact_warns() -> None:
    newer = f"platform: x86_64-manylinux_2_45\n{MATRIX}".replace("Debian 13", "Ubuntu 26.04")
    findings = lint(lint_context(newer)).findings
    assert {(finding.id, finding.severity.value) for finding in findings} == {
        ("may-not-work", "warning")
    }
    assert all("2.43" in finding.message and finding.source for finding in findings)


@pytest.mark.parametrize(
    ("package", "version", "numpy", "is_found"),
    [
        ("torch", "2.2.2", "2.4.6", True),
        ("torch", "2.2.2+cpu", "2.0.0", True),
        ("torch", "2.2.2", "1.26.4", False),
        ("torch", "2.3.0", "2.4.6", False),
        ("torch", "2.15.0", "2.4.6", False),
        ("tensorflow", "2.17.1", "2.0.2", True),
        ("tensorflow-cpu", "2.14.1", "2.4.6", True),
        ("tensorflow", "2.18.0", "2.0.2", False),
        ("jax", "0.4.25", "2.4.6", True),
        ("jaxlib", "0.4.25", "2.4.6", True),
        ("jax", "0.4.26", "2.4.6", False),
        ("scipy", "1.0.0", "2.4.6", False),
    ],
)
def test_numpy_2_with_a_framework_that_was_built_against_numpy_1(
    package: str, version: str, numpy: str, *, is_found: bool
) -> None:
    wheels = (samples.wheel(package, version), samples.wheel("numpy", numpy))
    locks = {JAX_CPU: samples.lock(JAX_CPU, wheels=wheels)}
    findings = [row for row in lint(lint_context(locks=locks)).findings if "NumPy" in row.message]
    assert [(row.id, row.severity, row.about) for row in findings] == (
        [("numpy-too-new", Severity.WARNING, f"{package} {version}")] if is_found else []
    )
    for row in findings:
        assert f"{package} {version} was built against NumPy 1, and NumPy {numpy}" in row.message
        assert 'write "numpy<2" among the packages of the family' in row.message
        assert row.line == lock_line(locks[JAX_CPU], "numpy")
        assert row.source


def test_two_cudnns() -> None:
    other = samples.wheel("nvidia-cudnn-cu12", "9.28.0.42")
    finding = only_finding(lint_context(locks=locked(torch=(other,))))
    assert (finding.id, finding.severity, finding.file) == (
        "two-cudnns",
        Severity.ERROR,
        f"locks/{TORCH}.json",
    )
    assert "nvidia-cudnn-cu13 9.26.0.51 and nvidia-cudnn-cu12 9.28.0.42" in finding.message


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
    findings = findings_of(lint_context(locks=locked(torch=pair)))
    assert [name for name, _, _ in findings] == (["same-path"] if clash else [])


def online_answers(**more: object) -> OnlineAnswers:
    return replace(OnlineAnswers(offers={}, records={}, digests={}), **more)  # type: ignore[arg-type]


def record(path: str, digest: str) -> str:
    return f"{path},sha256={digest},5\n"


def test_wheels_whose_records_clash() -> None:
    pair = (samples.wheel("first", "1.0"), samples.wheel("second", "1.0"))
    records = {pair[0].sha256: record("both/a.py", "x"), pair[1].sha256: record("both/a.py", "y")}
    finding = only_finding(
        lint_context(locks=locked(torch=pair, jax=pair), answers=online_answers(records=records))
    )
    assert finding.id == "same-path"
    assert "first and second fill both/a.py with different content" in finding.message
    assert "in 1 more lock" in finding.message
    same = dict.fromkeys(records, record("both/a.py", "x"))
    assert (
        findings_of(lint_context(locks=locked(torch=pair), answers=online_answers(records=same)))
        == []
    )


def test_cuda_in_a_cpu_image() -> None:
    finding = only_finding(lint_context(locks=locked(cpu=(BLAS,))))
    assert (finding.id, finding.severity, finding.file) == (
        "cuda-in-cpu-image",
        Severity.WARNING,
        f"locks/{JAX_CPU}.json",
    )
    assert "500 MB" in finding.message


def test_families_on_one_cuda_that_share_nothing() -> None:
    text = MATRIX.replace(
        "families:",
        '  mine: {cuda: "13.2", leader: "jax[cuda13]==0.12.0.1", python: "3.13"}\nfamilies:',
    ).replace("accelerator: [cuda13.2, cpu]", "accelerator: [mine, cpu]")
    name = "jax-0.12.0.1-mine-py3.13-debian13"
    other = samples.wheel("nvidia-cudnn-cu13", "9.28.0.1")
    locks = {**locked(), name: samples.lock(name, wheels=(other, samples.wheel("jax", "0.12.0.1")))}
    finding = only_finding(lint_context(text, locks=locks))
    assert (finding.id, finding.line) == ("nothing-shared", 5)
    assert "pytorch and jax are both on CUDA 13.2 and share no byte" in finding.message
    locks[name] = samples.lock(name, wheels=(*SHARED, samples.wheel("jax", "0.12.0.1")))
    assert findings_of(lint_context(text, locks=locks)) == []


def test_a_wheel_that_is_gone_or_withdrawn() -> None:
    offers = {
        BLAS.file: IndexAnswer(state="gone"),
        CUDNN.file: IndexAnswer(state="yanked", reason="it crashes"),
        samples.wheel().file: IndexAnswer(state="there"),
    }
    findings = lint(lint_context(answers=online_answers(offers=offers))).findings
    assert [(finding.id, finding.severity.value) for finding in findings] == [
        ("wheel-gone", "error"),
        ("wheel-yanked", "warning"),
    ]
    assert "nvidia-cublas 13.2.0.9; so in 1 more lock" in findings[0].message
    assert "it crashes" in findings[1].message


@pytest.mark.parametrize(
    ("digest_today", "severity"),
    [(PINS["debian13"], None), (f"sha256:{'2' * 64}", "warning"), ("", "warning")],
)
def test_a_base_that_moved(digest_today: str, severity: str | None) -> None:
    findings = findings_of(lint_context(answers=online_answers(digests={"debian13": digest_today})))
    assert findings == ([("base-moved", "warning", 2)] if severity else [])


def test_a_silent_registry_is_named() -> None:
    linted = lint(
        lint_context(answers=online_answers(unanswered=("the registry docker.io: no answer",)))
    )
    assert linted.findings == ()
    assert linted.skipped == ("the registry docker.io: no answer",)


def test_a_base_without_a_pin() -> None:
    finding = only_finding(lint_context(pins={}))
    assert (finding.id, finding.severity, finding.about) == (
        "base-not-pinned",
        Severity.NOTE,
        "debian13",
    )


def accepted(entry: str, text: str = MATRIX) -> LintResult:
    return lint(lint_context(f"{text}lint:\n  - {entry}\n", pins={}))


def test_a_finding_is_ignored_with_a_reason() -> None:
    linted = accepted('{id: base-not-pinned, about: "debian*", why: "offline"}')
    assert linted.findings == ()
    assert [(finding.id, by.why) for finding, by in linted.ignored] == [
        ("base-not-pinned", "offline")
    ]


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


def test_an_ignored_online_finding_is_not_unused_offline() -> None:
    linted = accepted('{id: wheel-yanked, about: "jax*", why: "we keep it"}')
    assert [finding.id for finding in linted.findings] == ["base-not-pinned"]


def test_an_ignored_library_is_not_unused_while_wheels_are_unread() -> None:
    entry = '{id: system-library, about: "opencv*", why: "no window"}'
    context = lint_context(f"{MATRIX}lint:\n  ignore:\n    - {entry}\n", pins={})
    unread, read = (lint(replace(context, unread_wheels=number)) for number in (3, 0))
    assert "unused-ignore" not in {finding.id for finding in unread.findings}
    assert "the libraries of 3 wheels, not read here so far" in unread.skipped
    assert "unused-ignore" in {finding.id for finding in read.findings}


@pytest.mark.parametrize("contents", [(), ("x", "x"), ("x", "y")])
def test_an_ignored_pair_of_names_is_not_unused_once_the_wheels_were_read(
    contents: tuple[str, ...],
) -> None:
    names = ("opencv-python", "opencv-python-headless")
    wheels = tuple(samples.wheel(name, "5.0") for name in names)
    entry = '{id: same-path, about: "opencv-python and *", why: "the same files"}'
    text = f"{MATRIX}lint:\n  ignore:\n    - {entry}\n"
    locks = {JAX_CPU: samples.lock(JAX_CPU, wheels=wheels)}
    records = {
        wheel.sha256: f"cv2/a.py,sha256={content},1\n"
        for wheel, content in zip(wheels, contents, strict=False)
    }
    answers = OnlineAnswers(offers={}, records=records, digests={}) if contents else None
    linted = lint(replace(lint_context(text, pins={}, locks=locks), answers=answers))
    assert "unused-ignore" not in {finding.id for finding in linted.findings}
    assert "same-path" not in {finding.id for finding in linted.findings}


def test_the_line_of_a_wheel_in_its_lock() -> None:
    lock = samples.lock("x", wheels=(samples.wheel("pip", "26.3"), samples.wheel("numpy", "2.4.0")))
    lines = lock_text(lock).splitlines()
    for wheel in lock.wheels:
        assert f'"name": "{wheel.name}"' in lines[lock_line(lock, wheel.name) - 1]


LINTED = lint(lint_context(f"{MATRIX}gpus: [GTX 1080]\n", pins={}))


def test_text_has_file_and_line_first() -> None:
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
    finding = LintResult(findings=(nasty,), ignored=(), skipped=())
    text = github_annotations(finding)
    assert text == (
        "::notice file=a%3Ab%2Cc%0A.yaml,line=3,title=dlimg x-y::"
        "50 %25%0A::error::stop (docs/lint/x-y.md)\n"
    )
    assert github_annotations(LINTED).startswith(
        "::error file=matrix.yaml,line=29,title=dlimg promise"
    )


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
    digest_today = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert digest_today == rule_pages(), "run `nox -s lint_pages` and review the diff"
    assert len({rule.id for rule in RULES}) == len(RULES)


def ran(*arguments: str, matrix: Path = ROOT / "matrix.yaml") -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["--matrix", str(matrix), "lint", *arguments])
    return code, out.getvalue(), err.getvalue()


def test_the_projects_own_matrix_has_no_error_on_a_fresh_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
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
    subprocess.run([sys.executable, str(ROOT / "docs/lint/write.py"), str(tmp_path)], check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == rule_pages()
