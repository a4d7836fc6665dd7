"""The command line: what it says, and with which exit code."""

import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from dlimg.cli.main import main
from tests.support.jax_project import CELL, MATRIX, ROOT

SMALL = (
    MATRIX
    + """\
groups:
  default: [{python: "3.13"}]
"""
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with the templates and checks of this one, and its lock."""
    (tmp_path / "matrix.yaml").write_text(SMALL)
    (tmp_path / "images").symlink_to(ROOT / "images")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / f"{CELL}.json").write_text((ROOT / "locks" / f"{CELL}.json").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    """The exit code, also of what argparse ends by itself."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


GOOD = [
    (["list"], CELL),
    (["list", "--dropped"], "dropped combination\treason\tsource"),
    (["show", CELL], "wheels        "),
    (["checks"], "conv_training"),
    (["plan"], "need no GPU"),
    (["lock", "--check", CELL], ""),
    (["render"], ""),
    (["--version"], "dlimg 0."),
    (["--help"], "exit codes:"),
    (["publish", "--help"], "--allow-untested-gpu"),
]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("arguments", "said"), GOOD, ids=" ".join)
def test_commands_that_succeed(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 0
    assert said in capsys.readouterr().out


# words, exit code, what standard error says
BAD = [
    ([], 2, ""),
    (["bild"], 2, "no command is called 'bild'\n  hint: did you mean 'build'?"),
    (["list", "--frmat", "json"], 2, "--frmat"),
    (["list", "jaxx*"], 2, "nearest: jax-0.12.0.1-cpu-py3.12-debian13"),
    (["list", "--group", "defualt"], 2, "did you mean 'default'?"),
    (["list", "--dropped", "jax*"], 2, "--dropped shows all dropped combinations"),
    (["show", "jax*"], 2, "fits 2 cells"),
    (["show", "nothing-like-it"], 2, "fits no cell"),
    (["--matrix", "none.yaml", "list"], 2, "none.yaml: there is no such file"),
    (["lock", "--check"], 1, "there is no lock"),
    (["render", "--check"], 1, "is not what would be rendered now"),
    (["build", "--jobs", "0"], 2, "--jobs 0 builds nothing"),
    (["build", "--find-links", "nowhere"], 2, "nowhere is not a folder"),
    (["build", "jax-0.12.0.1-cpu-py3.12-debian13"], 2, "dlimg lock jax-0.12.0.1-cpu-py3.12"),
    (["publish"], 2, "--to"),
    (["publish", "--to", "https://x"], 2, "--to: 'https://x' is no prefix at a registry"),
    (["test", "--device", "nvidia.com/gpu=all"], 2, "no chosen cell uses a GPU"),
    (["plan", "--format", "github", "jax-0.12.0.1-cpu-py3.12-debian13"], 2, "there is no lock"),
]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("arguments", "code", "said"), BAD, ids=str)
def test_commands_that_are_refused(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_missing_check_script(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    required = "required_checks: {any: [tag_matches_image], jax: [our_training]}\n"
    (project / "matrix.yaml").write_text(SMALL + required)
    assert run("build") == 2
    line = SMALL.count("\n") + 1
    text = f"matrix.yaml:{line}: {CELL} has no check our_training, which is required of it"
    assert text in capsys.readouterr().err


def test_a_template_that_asks_for_what_is_not_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "images").unlink()
    subprocess.run(["cp", "-r", ROOT / "images", project / "images"], check=True)
    template = project / "images/jax/Dockerfile.j2"
    block = "{% block framework %}{{ verson }}{% endblock %}"
    template.write_text(f"{template.read_text()}{block}\n")
    assert run("render") == 2
    error = capsys.readouterr().err
    assert "images/jax/Dockerfile.j2:" in error
    assert "verson" in error


def test_a_stale_lock_is_not_built(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = project / "matrix.yaml"
    matrix.write_text(SMALL.replace('["jax=={version}"]', '["jax=={version}", flax]'))
    assert run("build") == 2
    error = capsys.readouterr().err
    assert "the lock is stale" in error
    assert f"dlimg lock {CELL}" in error


def test_an_alias_may_not_be_another_cells_tag(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMALL.replace('python: ["3.12", "3.13"]', 'python: ["3.13"]')
    text = text.replace("flavour: [runtime]", "flavour: [runtime, compile]")
    alias = "    aliases: {0.12.0.1-cpu-py3.13-debian13: {flavour: compile}}\n"
    (project / "matrix.yaml").write_text(text.replace("groups:", f"{alias}groups:"))
    lock = f"{CELL}-compile.json"
    (project / "locks" / lock).write_text((ROOT / "locks" / lock).read_text())
    assert run("build") == 2
    assert "would both be dlimg/jax:0.12.0.1-cpu-py3.13-debian13" in capsys.readouterr().err


def test_render_writes_only_what_changed_and_removes_what_is_gone(project: Path) -> None:
    gone = project / "rendered/jax-0.1-cpu-py3.13-debian13/Dockerfile"
    gone.parent.mkdir(parents=True)
    gone.write_text("FROM nothing\n")
    assert run("render") == 0
    assert not gone.parent.exists()
    written = project / "rendered" / CELL / "Dockerfile"
    before = written.stat().st_mtime_ns
    assert run("render") == 0
    assert run("render", "--check") == 0
    assert written.stat().st_mtime_ns == before


def test_render_check_notices_other_line_endings(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("render") == 0
    written = project / "rendered" / CELL / "Dockerfile"
    text = written.read_bytes()
    written.write_bytes(text.replace(b"\n", b"\r\n"))
    assert run("render", "--check") == 1
    error = capsys.readouterr().err
    assert "line endings of Windows" in error
    assert "* text=auto eol=lf" in error
    assert run("render") == 0
    assert written.read_bytes() == text


@pytest.mark.usefixtures("project")
def test_json_is_what_a_program_may_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--format", "json", CELL) == 0
    (cell,) = json.loads(capsys.readouterr().out)
    assert cell == {
        "schema": 1,
        "cell": CELL,
        "family": "jax",
        "package": "jax",
        "version": "0.12.0.1",
        "accelerator": "cpu",
        "cuda": None,
        "python": "3.13",
        "managed_python": None,
        "os": "debian13",
        "flavour": "runtime",
        "aliases": [],
        "locked": True,
        "notes": [],
    }
    assert run("plan", "--format", "bake", CELL) == 0
    printed = capsys.readouterr()
    targets = json.loads(printed.out)["target"]
    assert list(targets) == ["jax-0_12_0_1-cpu-py3_13-debian13"]
    # Another builder's packages are not known, and so neither are keys.
    assert "immutable names come with the packages" in printed.err
    (target,) = targets.values()
    assert target["tags"] == ["dlimg/jax:0.12.0.1-cpu-py3.13-debian13"]
    assert not {"io.dlimg.key", "io.dlimg.packages"} & target["labels"].keys()
    assert run("plan", "--format", "github", CELL) == 0
    assert json.loads(capsys.readouterr().out)["include"][0]["cells"] == CELL


HEAVY = {"yaml", "jinja2", "docker", "uv", "rich", "requests", "packaging"}


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_imports_nothing_heavy(word: str) -> None:
    program = (
        "import sys\nfrom dlimg.cli.main import main\n"
        f"try:\n    main([{word!r}])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not HEAVY & set(ended.stderr.split())


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("{0} list | head -1", "0 0"),
        ("{0} list 'jaxx*' 2>&1 | true", "2 0"),
        ("{0} show nothing >&- 2>&-", "2"),
        pytest.param("{0} render --check 2>&1 | true", "1 0", marks=pytest.mark.slow),
        pytest.param("{0} list >&-", "0", marks=pytest.mark.slow),
        pytest.param("{0} list 'jaxx*' 2>&-", "2", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_reader_that_leaves_changes_no_exit_code(line: str, codes: str) -> None:
    script = f"{line.format(f'{sys.executable} -m dlimg')}; echo ${{PIPESTATUS[@]}} >codes"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert Path("codes").read_text().strip() == codes
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


def cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_costs_at_most_four_times_an_empty_python(word: str) -> None:
    # In turn and in the middle: what else runs on the machine makes both slow.
    pairs = [(cpu_seconds("-m", "dlimg", word), cpu_seconds("-c", "pass")) for _ in range(7)]
    ours, empty = map(statistics.median, zip(*pairs, strict=True))
    assert ours <= 4 * empty
