"""The sessions: `nox -s build`, `nox -s tests`, and what a maintainer needs besides."""

import hashlib
import os
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


def prepare(session: nox.Session, *sets: str) -> None:
    """Install what these sets lock, and dlimg, unless just that is installed already."""
    # Byte code that is not kept is compiled anew by every process that a session starts.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    locks = [LOCKS / f"{name}.txt" for name in ("build", "runtime", *sets)]
    texts = [path.read_text() for path in (ROOT / "pyproject.toml", *locks)]
    mark = hashlib.sha256("\0".join((*texts, str(session.python))).encode()).hexdigest()
    stamp = Path(session.virtualenv.location) / "dlimg.stamp"
    if stamp.exists() and stamp.read_text() == mark:
        return
    stamp.unlink(missing_ok=True)
    files = [word for path in locks for word in ("-r", str(path))]
    session.install("--quiet", "--require-hashes", "--only-binary", ":all:", *files)
    session.install("--quiet", "--no-deps", "--no-build-isolation", "-e", ".")
    stamp.write_text(mark)


@nox.session
def build(session: nox.Session) -> None:
    """Build images and smoke-test them in containers: `nox -s build -- [PATTERN...]`."""
    prepare(session)
    session.run("dlimg", "test", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, with a real engine: `nox -s tests -- [pytest's words]`."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, *session.posargs)


@nox.session
def tests_newest(session: nox.Session) -> None:
    """All tests with the newest dependencies that pyproject.toml allows, locked or not."""
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    newest = ("--upgrade", "--upgrade-strategy", "eager")
    session.install("--quiet", *newest, "-e", ".", *PROJECT["dependency-groups"]["tests"])
    session.run("python", "-m", "pip", "list")
    session.run("pytest", *SHARED, *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """Only the tests that need no engine: seconds."""
    prepare(session, "tests")
    session.run("pytest", *SHARED, "-m", "not engine and not gpu", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and which room may import which."""
    prepare(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("python", "requirements/relock.py", "--check")
    session.run("dlimg", "lock", "--check")
    session.run("dlimg", "render", "--check")
    form = "github" if os.environ.get("GITHUB_ACTIONS") else "text"
    session.run("dlimg", "lint", "--format", form)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve what is not locked, or no longer current."""
    prepare(session)
    session.run("dlimg", "lock", *session.posargs)


@nox.session
def relock(session: nox.Session) -> None:
    """Lock dlimg's own dependencies anew: `nox -s relock -- [--no-upgrade]`."""
    prepare(session)
    session.run("python", "requirements/relock.py", *session.posargs)


@nox.session
def render(session: nox.Session) -> None:
    """Write the Dockerfiles anew; the diff is the review."""
    prepare(session)
    session.run("dlimg", "render", *session.posargs)
    locks_alone = {"XDG_CACHE_HOME": "/nowhere"}
    session.run("dlimg", "size", "*cuda*", "--svg", "docs/size.svg", env=locks_alone)


@nox.session
def lint_pages(session: nox.Session) -> None:
    """Write the page of each finding of `dlimg lint` anew; the diff is the review."""
    prepare(session)
    session.run("dlimg", "lint", "--pages", "docs/lint")


@nox.session
def facts(session: nox.Session) -> None:
    """New releases, from the package index: `nox -s facts -- [SUBJECT] [--check] [--commit]`."""
    prepare(session)
    session.run("dlimg", "facts", "--refresh", *session.posargs)


@nox.session
def publish(session: nox.Session) -> None:
    """Build, test and push: `nox -s publish -- --to REGISTRY [PATTERN...]`."""
    prepare(session)
    session.run("dlimg", "publish", *session.posargs)


if os.environ.get("NO_COLOR"):
    nox.options.nocolor = True


@nox.session
def bench(session: nox.Session) -> None:
    """What layers cost against RUN pip install: `nox -s bench -- --folder DIR [--cpu]`."""
    prepare(session, "bench")
    session.run("python", "bench/layers_cost.py", *session.posargs)
