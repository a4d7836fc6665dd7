"""The locks of dlimg's own dependencies: each answers what pyproject.toml asks for, with hashes."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import relock
import yaml

ROOT = Path(__file__).parents[3]
WANTED = relock.sets(tomllib.loads((ROOT / "pyproject.toml").read_text()))
ASKED = ("docker>=7.1", "tomli; python_version < '3.12'")
HASH = f" \\\n    --hash=sha256:{'a' * 64}\n"
TOMLI = f"tomli==2.0 ; python_full_version < '3.12'{HASH}"
GOOD = f"{relock.header(ASKED)}docker==7.2.0{HASH}{TOMLI}"


def test_each_set_of_pyproject_has_its_lock_and_none_is_stale() -> None:
    assert {"build", "runtime", "tests", "lint", "bench", "nox"} <= set(WANTED)
    assert relock.check(WANTED) == [], "run `nox -s relock` and review the diff"


@pytest.mark.parametrize("name", WANTED)
def test_a_lock_holds_exact_versions_with_hashes_and_no_address_or_path(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    body = text.removeprefix(relock.header(WANTED[name]))
    entries, rest = relock.pinned(body)
    assert len(entries) == len(re.findall(r"==\d", body))
    assert len(entries) >= len(WANTED[name])
    assert rest == ""
    assert "/" not in text


def test_a_good_lock() -> None:
    assert relock.problems(GOOD, ASKED) == []


# What is written instead of what, and what is said about it.
STALE = [
    ("docker>=7.1", "docker>=7.2", "made for other requirements"),
    ("#   docker>=7.1\n", "", "made for other requirements"),
    ("#   tomli", "#   rich\n#   tomli", "made for other requirements"),
    ("docker==7.2.0", "docker==7.0.9", "docker>=7.1 is answered by 7.0.9 for Python 3.11"),
    ("docker==7.2.0", "dokcer==7.2.0", "docker>=7.1 is answered by nothing for Python 3.14"),
    ("< '3.12' \\\n", "> '3.12' \\\n", "is answered by nothing for Python 3.11"),
    (HASH, "\n", "docker has no hash"),
    ("sha256:aaaa", "sha256:aaa", "no locked package: docker==7.2.0"),
    ("sha256:", "md5:", "no locked package: docker==7.2.0"),
    ("docker==7.2.0", "docker>=7.2.0", "no locked package: docker>=7.2.0"),
    ("docker==", "docker @ file:///tmp/docker ==", "no locked package: docker @ file"),
    ("docker==", "--index-url https://example.com/simple\ndocker==", "package: --index-url"),
    ("docker==", "--find-links ../wheels\ndocker==", "no locked package: --find-links"),
    ("docker==", "# from ../wheels\ndocker==", "no locked package: # from ../wheels"),
    ("docker==7.2.0", f"docker==7.3.0{HASH}docker==7.2.0", "two versions of a package"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), STALE)
def test_a_stale_or_spoilt_lock(right: str, wrong: str, said: str) -> None:
    assert right in GOOD
    problems = relock.problems(GOOD.replace(right, wrong, 1), ASKED)
    assert any(said in problem for problem in problems), problems


def test_sets_that_are_installed_together_agree() -> None:
    texts = dict.fromkeys(relock.SHARED, "") | {"tests": GOOD, "nox": ""}
    assert relock.disagreements({**texts, "runtime": f"docker==7.2.0{HASH}"}) == []
    assert relock.disagreements({**texts, "runtime": f"docker==7.3.0{HASH}"}) == [
        "docker is 7.2.0 in tests and 7.3.0 in runtime"
    ]
    newer = f"tomli==2.1 ; python_full_version < '3.12'{HASH}"
    assert relock.disagreements({**texts, "build": newer}) == [
        "tomli is 2.0 in tests and 2.1 in build"
    ]


@pytest.mark.parametrize("name", WANTED)
def test_no_lock_is_made_from_one_that_is_made_later(name: str, tmp_path: Path) -> None:
    argv = relock.compile_argv(name, tmp_path / "x.txt", upgrade=True)
    before = list(WANTED)[: list(WANTED).index(name)]
    shared = [Path(argv[at + 1]).stem for at, word in enumerate(argv) if word == "--constraint"]
    assert shared == [other for other in before if other in relock.SHARED]
    assert "--upgrade" in argv
    assert "--upgrade" not in relock.compile_argv(name, tmp_path / "x.txt", upgrade=False)


def test_every_session_and_workflow_installs_from_a_lock() -> None:
    """But for those that are for the newest, or for a wheel."""
    paths = [ROOT / "README.md", ROOT / ".ci/run", *(ROOT / ".github/workflows").glob("*.yml")]
    for path in paths:
        for line in path.read_text().splitlines():
            if "pip install" in line and "RUN pip install" not in line:
                right = ("-r requirements/", "--no-deps", "--require-hashes")
                assert any(word in line for word in right), f"{path.name}: {line}"


def test_every_session_that_is_spoken_of_is_there() -> None:
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = set(re.findall(r"@nox\.session(?:\(python=False\))?\ndef (\w+)\(", noxfile))
    paths = [ROOT / "README.md", ROOT / ".ci/run", *(ROOT / "docs").glob("*.md")]
    for path in (*paths, *(ROOT / ".github/workflows").glob("*.yml")):
        for names in re.findall(r"nox -s ((?:[a-z]\w* ?)+)", path.read_text()):
            # The names end where a sentence goes on.
            assert names.split()[0] in sessions, f"{path.name}: {names}"
    assert sessions >= {"build", "tests", "tests_newest", "lint", "relock"}


def workflow(name: str) -> Any:
    """The workflow's tree; all scalars in it are text."""
    text = (ROOT / ".github/workflows" / f"{name}.yml").read_text()
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes nothing but text


def commands(job: Any) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_a_schedule_relocks_and_tests_what_came_of_it() -> None:
    result = workflow("relock")
    assert result["on"]["schedule"]
    output = commands(result["jobs"]["relock"])
    assert output.index("nox -s relock") < output.index("nox -s lint tests")
    assert any("gh pr create" in command for command in output)


def test_the_newest_dependencies_are_tried_and_may_fail() -> None:
    jobs = workflow("ci")["jobs"]
    assert "nox -s tests_newest" in commands(jobs["newest"])
    assert jobs["newest"]["continue-on-error"] == "true"
    assert "may fail" in jobs["newest"]["name"]
    assert "nox -s tests" in commands(jobs["tests"])
    assert "continue-on-error" not in jobs["tests"]
