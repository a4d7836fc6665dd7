"""What is installed fits together, and is what the lock names.

needs: nothing
seconds: 120
"""

import re
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _verdict

LOCKED = Path("/etc/dlimg/requirements.txt")
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([^\s;\\]+)")


def pins(text: str) -> dict[str, str]:
    """Name and version of every requirement; hashes, options and comments are passed over."""
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "-")):
            continue
        match = PINNED.match(line)
        _verdict.demand(match, f"{LOCKED}: this line pins no version: {line}")
        found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return found


def differences(locked: dict[str, str], installed: dict[str, str]) -> list[str]:
    """Every package that is not what the lock names, in either direction."""
    return [
        f"{name}: locked {locked.get(name, 'not')}, installed {installed.get(name, 'not')}"
        for name in sorted(locked.keys() | installed.keys())
        if locked.get(name) != installed.get(name)
    ]


def main() -> None:
    command = [sys.executable, "-m", "pip", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    installed = _tag.distributions()
    locked = pins(LOCKED.read_text()) if LOCKED.exists() else {}
    _verdict.show(installed=len(installed), locked=len(locked))
    said = (done.stdout + done.stderr).strip().replace("\n", "; ")
    _verdict.demand(done.returncode == 0, f"pip check ends with {done.returncode}: {said}")
    found = differences(locked, installed) if locked else []
    _verdict.demand(not found, "; ".join(found))


if __name__ == "__main__":
    main()
