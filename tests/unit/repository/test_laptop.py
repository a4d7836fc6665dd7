"""The half that a laptop needs runs where the modules of Unix are missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What Windows lacks of the standard library, and macOS in part.
MISSING = ("fcntl", "grp", "pwd", "resource", "termios")
COMMANDS = [
    "attach",
    "data",
    "doctor",
    "down",
    "exec",
    "logs",
    "main",
    "new",
    "output",
    "pick",
    "ps",
    "rm",
    "run",
    "stop",
    "up",
    "why",
]
BLOCK = """
import importlib, json, os, signal, socket, sys
missing, attributes = json.loads(sys.argv[1]), json.loads(sys.argv[2])
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
for name in missing:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
for module, names in attributes.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
"""
# What these modules have on Linux only.
ATTRIBUTES = {
    "os": ["uname", "getuid", "geteuid", "getgid", "killpg", "O_NONBLOCK", "sched_getaffinity"],
    "signal": ["SIGKILL", "SIGHUP"],
    "socket": ["AF_UNIX"],
}


def without_unix(code: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The end of a program in a Python without what Windows lacks."""
    text = f"{BLOCK}\n{code}"
    return subprocess.run(
        [sys.executable, "-c", text, json.dumps(MISSING), json.dumps(ATTRIBUTES), *arguments],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_commands_of_the_laptop_are_imported_without_the_modules_of_unix() -> None:
    names = ", ".join(repr(f"dlimg.cli.{command}") for command in COMMANDS)
    ended = without_unix(f"for name in ({names}): importlib.import_module(name)")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", MISSING)
def test_a_blocked_module_is_missing_in_these_tests(name: str) -> None:
    ended = without_unix(f"importlib.import_module({name!r})")
    assert "ModuleNotFoundError" in ended.stderr


def test_pick_and_why_answer_without_unix() -> None:
    code = (
        "from dlimg.cli.main import main\n"
        "assert main(['pick', '--gpu', 'T4', '--driver', '580']) == 0\n"
        "assert main(['why', 'torch==2.14.1']) in (0, 1)\n"
    )
    ended = without_unix(code)
    assert ended.returncode == 0, ended.stderr
    assert "pytorch" in ended.stdout


def test_a_run_on_a_machine_that_is_not_there_is_refused_without_unix(tmp_path: Path) -> None:
    code = (
        "from dlimg.cli.main import main\n"
        "sys.exit(main(['run', '--on', 'nobody@host.invalid', '--', 'true']))\n"
    )
    ended = without_unix(code, cwd=tmp_path)
    assert ended.returncode == 5, ended.stderr
    assert "there is no host nobody@host.invalid" in ended.stderr
