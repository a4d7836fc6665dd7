"""`dlimg init`: a project in an empty folder, which dlimg, Python and YAML can read."""

import hashlib
from pathlib import Path

import pytest
import yaml

from dlimg.cli.main import main
from dlimg.matrix.parse import parse_matrix
from dlimg.pipeline.new_project import WHEEL
from dlimg.render.project_files import ACTIONS, registry_name
from tests.support.jax_project import CELL, ROOT

FAMILIES = tuple(parse_matrix(Path(ROOT, "matrix.yaml").read_text(), "matrix.yaml").families)
CONTENT = b"a wheel of dlimg"
FILES = {
    ".gitattributes",
    ".gitignore",
    "README.md",
    "matrix.yaml",
    "noxfile.py",
    "requirements/dlimg.txt",
    "requirements/nox.txt",
    f"requirements/{WHEEL}",
    f"locks/{CELL}.json",
    f"rendered/{CELL}/Dockerfile",
}


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file under the name of dlimg's wheel; the current folder is an empty one beside it."""
    path = tmp_path / "wheels" / WHEEL
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the default families, started once, for tests that only read it."""
    folder = tmp_path_factory.mktemp("started")
    (folder / WHEEL).write_bytes(CONTENT)
    assert init(folder / WHEEL, str(folder / "new")) == 0
    return folder / "new"


def init(wheel: Path, *arguments: str) -> int:
    return main(["init", "--wheel", str(wheel), *arguments])


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_a_new_project_is_locked_rendered_and_lints(
    wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(wheel, "--family", "jax") == 0
    listed = set(capsys.readouterr().out.splitlines())
    assert listed == files_of(Path.cwd())
    assert FILES | {".github/workflows/images.yml"} <= listed
    assert main(["lock", "--check"]) == 0
    assert main(["render", "--check"]) == 0
    assert main(["lint"]) == 0
    assert main(["plan", "--group", "default"]) == 0
    assert CELL.removeprefix("jax-") in capsys.readouterr().out


def test_its_locks_are_those_of_dlimg(started: Path) -> None:
    locks = list(Path(started, "locks").rglob("*.json"))
    assert len(locks) > 3
    for path in locks:
        assert path.read_bytes() == (ROOT / path.relative_to(started)).read_bytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_a_project_with_an_image_for_cuda(
    wheel: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(wheel, "--family", family, "new") == 0
    capsys.readouterr()
    assert main(["--matrix", "new/matrix.yaml", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert {row[0].split("-")[0] for row in rows} == {family}
    assert any("-cuda" in row[0] for row in rows)
    # The index of CPU builds is PyTorch's: a project without it has none.
    assert ("\nindexes:\n" in Path("new/matrix.yaml").read_text()) is (family == "pytorch")
    assert {row[-1] for row in rows} == {"yes"}
    assert main(["--matrix", "new/matrix.yaml", "lock", "--check"]) == 0
    assert main(["--matrix", "new/matrix.yaml", "lint"]) == 0
    assert "facts none" not in Path("new/matrix.yaml").read_text()


def test_all_families_fit_into_one_project(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [text for family in FAMILIES for text in ("--family", family)]
    assert init(wheel, *options, "new") == 0
    for command in ("lock", "render"):
        assert main(["--matrix", "new/matrix.yaml", command, "--check"]) == 0
    assert main(["--matrix", "new/matrix.yaml", "lint"]) == 0
    capsys.readouterr()
    assert main(["--matrix", "new/matrix.yaml", "list"]) == 0
    cells = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert sum("-cuda" in cell for cell in cells) == len(FAMILIES)
    for family in ("pytorch", "tensorflow", "jax"):
        assert sum(cell.startswith(f"{family}-") and "-cpu-" in cell for cell in cells) == 1


def test_a_family_has_the_variables_and_exceptions_of_dlimgs_own(wheel: Path) -> None:
    assert init(wheel, "--family", "rapids", "--family", "vllm", "new") == 0
    new, own = (
        parse_matrix(path.read_text(), str(path))
        for path in (Path("new/matrix.yaml"), ROOT / "matrix.yaml")
    )
    for name in ("rapids", "vllm"):
        assert [each.variable for each in new.families[name].env] == [
            each.variable for each in own.families[name].env
        ]
        assert new.families[name].platform == own.families[name].platform
    ignored = {(entry.id, entry.about) for entry in new.ignored}
    assert ignored == {("same-path", "*nvidia-cutlass-dsl-libs*"), ("system-library", "*numba*")}
    stacks = new.stacks
    assert stacks["cuda13.2-rapids"].exceptions == own.stacks["cuda13.2-rapids"].exceptions


def test_nothing_is_installed_without_version_and_hash(started: Path) -> None:
    lines = Path(started, "requirements/dlimg.txt").read_text().splitlines()
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert lines[1:3] == [f"./requirements/{WHEEL} \\", f"    --hash=sha256:{digest}"]
    names = [line for line in lines[3:] if line and line[0] not in " #"]
    assert len(names) > 10
    assert all("==" in name and name.endswith("\\") for name in names)
    assert Path(started, "requirements", WHEEL).read_bytes() == CONTENT
    noxfile = Path(started, "noxfile.py").read_text()
    assert noxfile.count("session.install(") == 1
    assert "--require-hashes" in noxfile


def test_the_noxfile_compiles_and_has_the_sessions(started: Path) -> None:
    text = Path(started, "noxfile.py").read_text()
    compile(text, "noxfile.py", "exec")
    for name in ("build", "lock", "render", "lint", "publish"):
        assert f"@nox.session\ndef {name}(session: nox.Session) -> None:" in text


def test_workflows_are_yaml_and_pin_the_actions_of_this_repository(started: Path) -> None:
    workflow = yaml.safe_load(Path(started, ".github/workflows/images.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    uses = [step["uses"] for step in workflow["jobs"]["images"]["steps"] if "uses" in step]
    ours = (ROOT / ".github/workflows/images.yml").read_text()
    assert len(uses) == len(ACTIONS)
    assert all(action in ours for action in ACTIONS.values())
    assert all(any(action.startswith(used) for action in ACTIONS.values()) for used in uses)


def test_a_workflow_for_gitlab_instead(wheel: Path) -> None:
    assert init(wheel, "--ci", "gitlab") == 0
    pipeline = yaml.safe_load(Path(".gitlab-ci.yml").read_text())
    assert {"default", "build", "publish"} <= pipeline.keys()
    assert not Path(".github").exists()


def test_a_folder_with_files_of_the_same_names_is_refused_untouched(
    wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("noxfile.py").write_text("mine")
    Path("data").mkdir()
    Path("locks").mkdir()
    assert init(wheel) == 1
    error = capsys.readouterr().err
    assert "noxfile.py: this file exists already" in error
    assert error.count("exists already") == 1
    assert files_of(Path.cwd()) == {"noxfile.py"}
    assert Path("noxfile.py").read_text() == "mine"
    assert {path.name for path in Path.cwd().iterdir()} == {"noxfile.py", "data", "locks"}


def test_files_of_other_names_stay(wheel: Path) -> None:
    Path("notes.txt").write_text("mine")
    assert init(wheel) == 0
    assert Path("notes.txt").read_text() == "mine"


def test_a_failure_halfway_leaves_nothing(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rename = Path.rename

    def no_space(self: Path, target: Path) -> Path:
        if self.name == "noxfile.py":
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", no_space)
    assert init(wheel, "new") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("--family", "jaxx"), "--family jaxx: no such family", "did you mean 'jax'?"),
        (("--wheel", "dlimg-9.9-py3-none-any.whl"), "not the wheel of this dlimg", WHEEL),
        (("--wheel", f"none/{WHEEL}"), "cannot be read", ""),
    ],
)
def test_wrong_words_are_refused(
    wheel: Path,
    arguments: tuple[str, ...],
    message: str,
    hint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert init(wheel, *arguments, "new") == 2
    error = capsys.readouterr().err
    assert message in error
    assert hint in error
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("folder", "name"), [("My Team_2", "my-team-2"), ("深度", "images"), ("-x-", "x")]
)
def test_the_registry_is_named_after_the_folder(folder: str, name: str) -> None:
    assert registry_name(folder) == name


def test_line_endings_are_kept(started: Path) -> None:
    assert "* text=auto eol=lf" in Path(started, ".gitattributes").read_text()
    names = [name for name in files_of(started) if not name.endswith(".whl")]
    assert not any(b"\r" in Path(started, name).read_bytes() for name in names)
