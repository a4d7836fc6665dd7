"""Without entry point, variables and home, commands, pip, uv and the framework still work.

`docker exec`, `ssh HOST COMMAND`, sudo, cron and Kubernetes' `command:` start processes like that.
Commands are found, pip installs and keeps the framework's version, and the framework computes.

needs: image
seconds: 300
container: empty home
"""

import email
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from itertools import chain
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _confined
import _tag
import _user
import _verdict

LIMIT = 120  # seconds for one command: several times what a cold disk costs
BARE = "/usr/local/bin:/usr/bin:/bin"  # what sshd gives
PYTHONS = ("/usr/local/bin/python3", "/usr/local/bin/python", "/opt/env/bin/python")
VARIABLES = Path("/etc/dlimg/environment")
SESSIONS = Path("/etc/environment")
CONSTRAINTS = Path("/etc/dlimg/constraints.txt")
UV = Path("/etc/uv/uv.toml")
LIBRARY = "/opt/env/lib/python/site-packages"
PACKAGES = "/usr/local/lib/dlimg/packages"
SHOW = "import os, sys; sys.stdout.write(chr(0).join(f'{n}={v}' for n, v in os.environ.items()))"
COMMAND = re.compile(r'\.\./\.\./\.\./bin/([^,/" ]+)')
NOT_OURS = ("python", "activate", "dlimg-")  # names that no wheel's command gets on every path


def call(*words: str, **variables: str) -> tuple[int, str, str]:
    """Run a command with only these variables; return its exit code, stdout and stderr."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=LIMIT, env=variables
        )
    except subprocess.TimeoutExpired:
        return -1, "", f"it takes more than {LIMIT} s"
    except OSError as error:
        return -1, "", f"it does not run: {error}"
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def last(text: str) -> str:
    return (text.splitlines() or ["nothing"])[-1]


def pairs(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def variables(own: Mapping[str, str]) -> Iterator[str]:
    """Yield where the file of variables differs from the image's, and what Python lacks."""
    promised = pairs(VARIABLES.read_text()) if VARIABLES.exists() else {}
    if not promised:
        yield f"{VARIABLES} names no variable"
    if not SESSIONS.exists() or pairs(SESSIONS.read_text()) != promised:
        yield f"{SESSIONS} is not as {VARIABLES}"
    for name, value in promised.items():
        if own.get(name) != value:
            yield f"{VARIABLES}: {name} is not as the image sets it"
    for python in PYTHONS:
        code, printed, stderr = call(python, "-c", SHOW)
        actual = pairs(printed.replace("\0", "\n"))
        lost = sorted({*promised} - {*actual, "PATH"})
        if code or lost:
            yield f"{python} lacks {', '.join(lost)}: it ends with {code}: {last(stderr)}"


def commands() -> Iterator[str]:
    """Yield commands of the wheels that are not on the system's search path."""
    rows = (path.read_text() for path in Path(LIBRARY).glob("*.dist-info/RECORD"))
    names = sorted({name for text in rows for name in COMMAND.findall(text)})
    for name in names:
        target = shutil.which(name, path=BARE) or "nothing"
        if not name.startswith(NOT_OURS) and not target.startswith("/usr/local/bin/"):
            yield f"`{name}` is {target} on {BARE}"
    code, printed, stderr = call("/usr/local/bin/pip", "--version", PATH=BARE)
    if f"from {LIBRARY.partition('/python')[0]}" not in printed:
        yield f"pip on {BARE} ends with {code}, and is {last(printed or stderr)}"


def constraints() -> Iterator[str]:
    """Yield ways in which pip or uv would replace the framework."""
    pins = CONSTRAINTS.read_text().split() if CONSTRAINTS.exists() else []
    if not pins:
        yield f"{CONSTRAINTS} names nothing"
        return
    settings = UV.read_text() if UV.exists() else ""
    yield from (f"{UV} lacks {pin}" for pin in pins if f'"{pin}"' not in settings)
    name = pins[0].partition("==")[0]
    options = ("install", "--no-index", "--no-deps", "--dry-run")
    with tempfile.TemporaryDirectory() as folder:
        other = wheel(folder, name)
        for module in (("-I", "-m", "pip", "--isolated"), ("-m", "pip")):
            code, printed, stderr = call(PYTHONS[0], *module, *options, other)
            if code != 1 or "(constraint)" not in printed:
                yield f"`python {' '.join(module)}` would replace {name}: {code}, {last(stderr)}"


def wheel(folder: str, name: str) -> str:
    """Write a package of this name with an unused version."""
    version, module = "0.0.1", name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    files = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    path = Path(folder, f"{module}-{version}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
    return str(path)


def notes(overlay: Path) -> Iterator[str]:
    """Yield packages of the image that uv does not count as installed."""
    versions = {}
    for link in overlay.glob("lib/python3.*/site-packages/*.egg-link"):
        note = Path(link.read_text().strip(), f"{link.stem}.egg-info", "PKG-INFO")
        text = note.read_text() if note.exists() else ""
        headers = email.message_from_string(text)
        versions[_tag.normal(headers["Name"] or "")] = headers["Version"]
    for package in metadata.distributions(path=[LIBRARY]):
        name = _tag.normal(package.metadata["Name"])
        if versions.get(name) != package.version:
            yield f"uv would take {name} {package.version} for {versions.get(name)}"


def installing(home: Path) -> Iterator[str]:
    """Yield where pip fails in an empty home: it must install and uninstall."""
    shutil.rmtree(home / "env", ignore_errors=True)  # made when this check was started
    with tempfile.TemporaryDirectory() as folder:
        file = _confined.wheel(folder)
        code, _, stderr = call(
            *("/usr/local/bin/pip", "install", "--no-index", "--no-cache-dir", file),
            HOME=str(home),
        )
    if code:
        yield f"pip install ends with {code}: {last(stderr)}"
        return
    for python in PYTHONS:
        code, place, stderr = call(python, "-c", _confined.IMPORT)
        if not place.startswith(f"{home}/env/"):
            yield f"{python} has what pip has installed from {place or 'nowhere'}: {last(stderr)}"
    code, _, stderr = call("/usr/local/bin/pip", "uninstall", "--yes", _confined.PACKAGE)
    if code:
        yield f"pip uninstall ends with {code}: {last(stderr)}"


def computing() -> Iterator[str]:
    """Yield the reason why the framework does not compute, in a process that it may crash."""
    program = _adapter.gradient_program()
    if program:
        code, printed, stderr = call("/usr/local/bin/python3", "-c", program)
        if code or last(printed) != "6.0":
            yield f"a step of training ends with {code}, prints {last(printed)!r}: {last(stderr)}"


def main() -> None:
    cell = _tag.cell()
    if not cell:
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    home = Path(cell["home"])
    if not home.is_mount():
        _verdict.not_run(f"no volume is over this container's {home}")
    mismatches = chain(
        variables(_user.given()),
        commands(),
        constraints(),
        installing(home),
        notes(home / "env"),
        computing(),
    )
    _confined.judge(mismatches)


if __name__ == "__main__":
    main()
