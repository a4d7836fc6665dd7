"""What holds for all tests."""

import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Started in the background of a script this process ignores Ctrl-C, and under `nohup` the end of
# its connection; so would every child of the tests that interrupt one.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # Windows has none
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Without stored byte code, every Python that a test starts would compile dlimg anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Thousands of tests are collected, and stay: searching them again and again takes a third of the
# time of short tests.
gc.disable()

# `nox -s slow` takes the other profile; a test with a deadline would fail on a busy machine.
hypothesis.settings.register_profile("default", max_examples=25, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("default")

# Processes that share the tests take file by file. These build the images that others use: while
# they wait for the engine, the other processes run tests that need none.
BUILDING = ("test_workspace_modes.py", "test_build_faults.py")
# Of the others on an engine, the files that take longest.
LONGEST = (
    "test_hosts_apptainer.py",
    "test_checks.py",
    "test_image_behaviour.py",
    "test_publishing.py",
    "test_cli.py",
    "test_run.py",
    "test_replaced_entrypoint.py",
    "test_workspace.py",
    "test_hosted_run_service.py",
    "test_confined_sabotage.py",
    "test_checks_sabotage.py",
    "test_image_packages.py",
    "test_builders_agree.py",
    "test_file_sources_sabotage.py",
    "test_private_engine.py",
)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of this session for temporary files, also those of dlimg and of other commands.

    Its path is short, because sockets have short paths.
    """
    tmp_path_factory.getbasetemp()  # pytest's own stays where it looks for it
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    folder.chmod(0o1777)  # as /tmp: other users of the tests write there, too
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no engine test where a marker expression leaves out all of them."""
    is_engine = collection_path.parent == Path(__file__).parent / "engine"
    return True if is_engine and "not engine" in config.getoption("markexpr") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that all processes end at about the same time."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int]:
    """The place of a test's file among the files."""
    name = item.path.name
    if name in BUILDING:
        return 0, BUILDING.index(name)
    if item.get_closest_marker("engine") is None:
        return 1, 0
    return 2, LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_collection_finish() -> None:
    """Collect garbage again, but not among the tests, and less often."""
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


def pytest_keyboard_interrupt() -> None:
    """Nothing stops a process that shares the tests from taking away what they have made."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


SHARING = pytest.StashKey[list[Any]]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    node.config.stash.setdefault(SHARING, []).append(node)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After Ctrl-C the other processes have a minute to end; pytest-xdist alone gives them 15 s."""
    nodes = session.config.stash.get(SHARING, [])
    if exitstatus != pytest.ExitCode.INTERRUPTED or not nodes:
        return
    time.sleep(1)  # a terminal has told all of them already
    for node in nodes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.gateway._io.popen.pid, signal.SIGINT)  # noqa: SLF001  # nobody else has it
    for node in nodes:
        with contextlib.suppress(Exception):
            node.channel.waitclose(60)
