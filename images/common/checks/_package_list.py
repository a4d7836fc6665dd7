"""The packages of dpkg and uv, read and hashed as for the content key."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

# States in which nothing of a package but its settings is there.
ABSENT = ("not-installed", "config-files")


def installed(top: Path = Path("/")) -> list[str]:
    """Return `name:arch=version` of each package, and `NAME=BUILD` of uv's Python."""
    actual = set()
    for stanza in text(top / "var/lib/dpkg/status").split("\n\n"):
        lines = (line.partition(": ") for line in stanza.splitlines() if line[:1].isupper())
        fields = {name: value.strip() for name, _, value in lines}
        state = fields.get("Status", "").rpartition(" ")[2]
        if state and state not in ABSENT:
            name, arch = fields.get("Package", ""), fields.get("Architecture", "")
            actual.add(f"{name}:{arch}={fields.get('Version', '')}")
    current = top / "opt/python/current"
    if current.is_symlink():
        name = str(current.readlink())
        actual.add(f"{name}={text(current.parent / name / 'BUILD').strip()}")
    return sorted(actual)


def digest(packages: Iterable[str]) -> str:
    """Return the sha256 over these packages, sorted, one a line."""
    lines = "".join(f"{line}\n" for line in sorted(packages))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def mismatches(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Return a mismatch where the installed packages are not those of the content key."""
    if actual["packages"] == expected["packages"]:
        return []
    promised = expected["packages"] or "nothing"
    return [f"packages: {promised} is promised, installed is {actual['packages']}"]


def text(file: Path) -> str:
    """Return the file's text, or an empty one where there is none."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
