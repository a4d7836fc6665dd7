"""Checks in a restricted container: the framework, pip and temporary files work.

Only /tmp may be written to: the entry point makes a home and a package folder there.
"""

import os
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import _adapter
import _files
import _user
import _verdict

ENTRY = ("/usr/bin/tini", "-s", "--", "dlimg-entrypoint")
LIMIT = 120  # seconds for one command: several times what a cold disk costs
HOME = 'touch "$HOME/.dlimg-check" && rm "$HOME/.dlimg-check" && printf %s "$HOME"'
# Where frameworks and plotting packages keep what they have made, and by whose name.
CACHE = """\
import getpass, pathlib, tempfile
folders = [pathlib.Path.home() / ".cache/dlimg-check", pathlib.Path.home() / ".config/dlimg-check"]
for folder in folders:
    folder.mkdir(parents=True)
    (folder / "made").write_text(getpass.getuser())
    (folder / "made").unlink()
    folder.rmdir()
with tempfile.NamedTemporaryFile() as file:
    print("kept")
"""
SHARED = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
PACKAGE, VERSION = "dlimg_check", "1.0"
IMPORT = f"import {PACKAGE}; print({PACKAGE}.__file__)"
Answer = tuple[int, str, str]


def call(*words: str) -> Answer:
    """Run a command behind the entry point; return its exit code, last line and stderr."""
    try:
        done = subprocess.run(
            [*ENTRY, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
            env={**_user.given(), **SHARED, "DLIMG_QUIET": "1"},
        )
    except subprocess.TimeoutExpired:
        return -1, "", f"it takes more than {LIMIT} s"
    except OSError as error:
        return -1, "", f"it does not run: {error}"
    return done.returncode, _last(done.stdout), done.stderr.strip()


def _last(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def faults() -> Iterator[str]:
    """Yield a fault for each thing that does not work in this container."""
    own = f"/tmp/home-{os.geteuid()}"  # noqa: S108  # where the entry point makes one
    cases = [
        ("a home", ("sh", "-c", HOME), own),
        ("a cache", ("python", "-c", CACHE), "kept"),
    ]
    program = _adapter.gradient_program()
    if program:
        cases.append(("a step of training", ("python", "-c", program), "6.0"))
    for name, command, wanted in cases:
        code, printed, complaint = call(*command)
        if (code, printed) != (0, wanted):
            how = f"ends with {code}, prints {printed!r}, not {wanted!r}"
            yield f"{name}: it {how}: {_last(complaint)}"
    yield from installing(f"{own}/env/")


def installing(overlay: str) -> Iterator[str]:
    """Yield faults of pip: it must refuse a missing package and install an existing one."""
    code, _, complaint = call("pip", "install", "--no-index", "no-such-package-anywhere")
    if code != 1 or "No matching distribution" not in complaint or "Traceback" in complaint:
        yield f"pip, asked for what there is not, ends with {code}: {_last(complaint)}"
    with tempfile.TemporaryDirectory() as folder:
        code, _, complaint = call("pip", "install", "--no-index", "--no-cache-dir", wheel(folder))
    if code != 0:
        yield f"pip install ends with {code}: {_last(complaint)}"
        return
    code, place, complaint = call("python", "-c", IMPORT)
    if not place.startswith(overlay):
        place = place or "nowhere"
        yield f"what pip has installed is {place}, not in {overlay}: {_last(complaint)}"
    code, _, complaint = call("pip", "uninstall", "--yes", PACKAGE)
    if code != 0:
        yield f"pip uninstall ends with {code}: {_last(complaint)}"


def wheel(folder: str) -> str:
    """Write a package with one empty module."""
    about = f"{PACKAGE}-{VERSION}.dist-info"
    files = {
        f"{PACKAGE}.py": "",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    path = Path(folder, f"{PACKAGE}-{VERSION}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return str(path)


def written(top: Path, user: int) -> Iterator[str]:
    """Yield the paths outside /tmp that this user owns, and so has written."""
    below = str(top / "tmp") + "/"
    entries = _files.tree(top).entries
    paths = [entry.path for entry in entries if _files.status(entry).st_uid == user]
    outside = [path for path in paths if not path.startswith(below)]
    if outside:
        yield f"this has been written: {_files.some(outside)}"


def judge(faults: Iterable[str]) -> None:
    """Print the faults, and fail if there are any."""
    began = time.monotonic()
    problems = list(faults)
    seconds = round(time.monotonic() - began, 1)
    _verdict.show(user=os.geteuid(), group=os.getegid(), seconds=seconds)
    _verdict.demand(not problems, "; ".join(problems))
