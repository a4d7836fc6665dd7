"""`/usr/local/bin/python3` imports the framework, also without variables; times are figures.

Only an import that takes longer than LIMIT is a failure.

needs: image
seconds: 200
alone: seconds of starts and imports are its figures
"""

import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _verdict

PYTHON = "/usr/local/bin/python3"
ENTRY = ("/usr/bin/tini", "-s", "--", "dlimg-entrypoint")
LIMIT = 120  # seconds for one import: several times what a cold disk costs
IMPORT = "import {0}; print({0}.__version__)"
FIND = "import importlib.util as i; print(i.find_spec('{0}').origin)"
# Where no module of the framework is known, its package is to be installed.
VERSION = "from importlib.metadata import version; print(version('{0}'))"


def timed(*command: str) -> tuple[float, str]:
    """Return seconds and output of a command; fail where the command fails."""
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        _verdict.fail(f"`{' '.join(command)}` takes more than {LIMIT} s")
    except OSError as error:
        _verdict.fail(f"`{' '.join(command)}` does not run: {error}")
    seconds = time.monotonic() - began
    reason = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    _verdict.demand(
        done.returncode == 0, f"`{' '.join(command)}` ends with {done.returncode}, says: {reason}"
    )
    return round(seconds, 3), (done.stdout.strip().splitlines() or [""])[-1]


def best(*command: str) -> float:
    """Return the shortest of three times, as the first run also reads from disk."""
    return min(timed(*command)[0] for _ in range(3))


def main() -> None:
    cell = _tag.cell()
    if not cell:
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    module = cell.get("module", "")
    program = IMPORT.format(module) if module else VERSION.format(cell["package"])
    importing, version = timed(PYTHON, "-c", program)
    find = FIND.format(module) if module else program
    _, origin = timed("env", "-i", PYTHON, "-c", find)
    _verdict.show(
        module=module,
        version=version,
        origin=origin,
        python_seconds=best(PYTHON, "-c", ""),
        entry_seconds=best(*ENTRY, "true"),
        import_seconds=importing,
    )


if __name__ == "__main__":
    main()
