"""cuDF and cuML import, and pandas code runs by `python -m cudf.pandas`, also without a GPU.

needs: nothing
seconds: 180
"""

import importlib
import re
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _tag
import _verdict

# With each package: its module. Versions of modules are spelt otherwise (26.06.00 for 26.6.0), and
# pylibcudf has none.
MODULES = {"cudf": "cudf", "cuml": "cuml", "rmm": "rmm", "pylibcudf": "pylibcudf"}
GROUPED = """\
import pandas
frame = pandas.DataFrame({"key": [2, 1, 2, 1], "value": [1.5, 2.0, 3.0, 4.0]})
print(frame.groupby("key").value.sum().to_dict())
"""
SUMS = "{1: 6.0, 2: 4.5}"


def mismatches(installed: dict[str, str]) -> list[str]:
    """Return where a module does not import, or has another version than its package."""
    wrong = []
    for name, version in installed.items():
        module = MODULES.get(re.sub(r"-cu[0-9]+$", "", name))
        if module is None:
            continue
        try:
            imported = getattr(importlib.import_module(module), "__version__", "")
        except Exception as error:  # noqa: BLE001 -- what a broken one raises is its own affair
            wrong.append(f"{module} cannot be imported: {error!r}")
            continue
        if imported and _tag.numbers(imported)[:3] != _tag.numbers(version)[:3]:
            wrong.append(f"{name} {version} is installed, {module} {imported} is imported")
    return wrong


def command_output() -> str:
    """Return the last line that pandas code prints under cuDF's accelerator."""
    command = [sys.executable, "-m", "cudf.pandas", "-c", GROUPED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return lines[-1] if lines else f"nothing, and ended with {done.returncode}"


def main() -> None:
    build = _adapter.load().build()
    wrong = mismatches(_tag.distributions())
    printed = command_output()
    _verdict.show(version=build.version, cuda=build.cuda, printed=printed)
    _verdict.demand(not wrong, "; ".join(wrong))
    _verdict.demand(printed == SUMS, f"`python -m cudf.pandas` printed {printed}, not {SUMS}")


if __name__ == "__main__":
    main()
