"""Installed packages are complete and unmodified, fit together, and are exactly the lock's.

needs: nothing
seconds: 120
"""

import csv
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _bytecode
import _lock
import _records
import _tag
import _verdict

# Threads that take a small file each wait for one another more than they read.
LARGE = 1 << 20
THREADS = min(4, len(os.sched_getaffinity(0)))  # sha256 lets other threads run
NO_WHEELS: Mapping[str, _lock.Wheel] = {}
LOCKED = Path("/etc/dlimg/requirements.txt")
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([^\s;\\]+)")


def pins(text: str) -> dict[str, str]:
    """Name and version of every requirement; hashes, options and comments are passed over."""
    versions = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "-")):
            continue
        match = PINNED.match(line)
        if match is None:
            _verdict.fail(f"{LOCKED}: this line pins no version: {line}")
        versions[_tag.normal(match[1])] = match[2]
    return versions


def differences(locked: dict[str, str], installed: dict[str, str]) -> list[str]:
    """Return the differences between lock and installed packages, in either direction."""
    return [
        f"{name}: locked {locked.get(name, 'not')}, installed {installed.get(name, 'not')}"
        for name in sorted(locked.keys() | installed.keys())
        if locked.get(name) != installed.get(name)
    ]


def repeated(names: list[str]) -> list[str]:
    """Return packages installed more than once, of which Python sees one."""
    counts = sorted(Counter(names).items())
    return [f"{name}: installed {count} times" for name, count in counts if count > 1]


def damages(
    packages: list[metadata.Distribution], wheels: Mapping[str, _lock.Wheel] = NO_WHEELS
) -> list[str]:
    """Return the packages with changed or missing files.

    RECORDs are read here because `package.files` passes over files that are gone. Byte code of a
    wheel is compiled anew where it is installed; its source has a row of its own. Where the lock
    says that another wheel's file is, that wheel's row is the one that holds.
    """
    rows: list[_records.Row] = []
    bare = []
    for package in packages:
        listed = _records.rows(package)
        wheel = wheels.get(_tag.normal(package.metadata["Name"] or ""))
        replaced = wheel.replaced if wheel else ()
        rows += [row for row in listed if row.fields[0] not in replaced]
        bare += [] if listed else [f"{package.metadata['Name'] or ''}: its RECORD is gone"]
    whole = intact([place for _, place, _ in rows], [row for _, _, row in rows])
    lost: dict[str, list[str]] = {}
    sources = {row[0] for _, _, row in rows if row[0].endswith(".py")}
    for (name, place, row), is_so in zip(rows, whole, strict=True):
        if not (is_so or is_recompiled(place, row, sources)):
            lost.setdefault(name, []).append(row[0])
    changed = [
        f"{name}: {len(paths)} files are gone or changed: {paths[0]}"
        for name, paths in lost.items()
    ]
    return changed + bare


def is_recompiled(place: Path, row: list[str], sources: set[str]) -> bool:
    """Return whether this is byte code of a listed source, as the installer compiles it."""
    path = Path(row[0])
    source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
    return path.suffix == ".pyc" and str(source) in sources and _bytecode.is_compiled_anew(place)


def intact(places: list[Path], rows: list[list[str]]) -> list[bool]:
    """Return for each file whether it is unmodified; large ones are read in parallel."""
    large = [number for number, place in enumerate(places) if size_of(place) > LARGE]
    small = set(range(len(places))) - set(large)
    problems = {number: _records.is_whole(places[number], rows[number]) for number in small}
    with ThreadPoolExecutor(THREADS) as threads:
        read = threads.map(lambda number: _records.is_whole(places[number], rows[number]), large)
        problems |= dict(zip(large, read, strict=True))
    return [problems[number] for number in range(len(places))]


def size_of(place: Path) -> int:
    try:
        return place.stat().st_size
    except OSError:
        return 0


def without_forced(complaints: list[str], cell: dict[str, str]) -> list[str]:
    """Return pip's complaints, but for those about the cuDNN that the matrix forces on the image.

    It has to be the very version of the tag; which one loads is told by `tag_matches_image`.
    """
    if not cell.get("cudnn-override"):
        return complaints
    forced = re.compile(
        r"\S+ \S+ has requirement nvidia[-_.]cudnn[-_.]cu[0-9]+\b.*,"
        rf" but you have nvidia-cudnn-cu[0-9]+ {re.escape(cell.get('cudnn', ''))}\."
    )
    return [line for line in complaints if not forced.fullmatch(line)]


def main() -> None:
    command = [sys.executable, "-m", "pip", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    installed = _tag.distributions()
    noted = LOCKED.read_text() if LOCKED.exists() else ""
    wheels = _lock.read()
    locked = {name: wheel.version for name, wheel in wheels.items()} or pins(noted)
    packages = _tag.installed() if locked else []
    tops = folders(packages)
    byte_code = _bytecode.files(tops)
    files = owned(packages)
    compiled, forged = _bytecode.forged(byte_code, tops, files)
    _verdict.show(
        installed=len(installed),
        locked=len(locked),
        byte_code=len(byte_code),
        compiled=compiled,
        large_files="hashed",
        records_known=sum(bool(wheel.record) for wheel in wheels.values()),
    )
    complaints = without_forced((done.stdout + done.stderr).strip().splitlines(), _tag.cell())
    is_sound = done.returncode == 0 or (done.returncode == 1 and not complaints)
    output = "; ".join(complaints)
    _verdict.demand(is_sound, f"pip check ends with {done.returncode}: {output}")
    _verdict.demand(pins(noted) or not _tag.cell(), f"{LOCKED} names nothing: there is no lock")
    if not locked:
        return  # a machine that is no image: nobody has said what is to be there
    names = [_tag.normal(package.metadata["Name"] or "") for package in packages]
    problems = [
        *differences(locked, installed if locked else {}),
        *repeated(names),
        *damages(packages, wheels),
        *listed(_lock.strays(tops, files | _lock.of_layout()), "came with no package"),
        *listed(forged, ""),
        *(lock_mismatches(wheels, noted, packages) if wheels else []),
    ]
    _verdict.demand(not problems, "; ".join(problems))


def lock_mismatches(
    wheels: dict[str, _lock.Wheel], noted: str, packages: list[metadata.Distribution]
) -> list[str]:
    """Return where the image's list, or a package's WHEEL file, differs from the lock."""
    lines = noted.replace("\\\n", " ").splitlines()
    digests = {name: _lock.hashes(line) for line in lines for name in pins(line)}
    texts = {
        _tag.normal(package.metadata["Name"] or ""): package.read_text("WHEEL") or ""
        for package in packages
    }
    return [
        *_lock.note_mismatches(wheels, pins(noted), digests),
        *_lock.tag_mismatches(wheels, texts),
        *record_mismatches(wheels, packages),
    ]


def record_mismatches(
    wheels: dict[str, _lock.Wheel], packages: list[metadata.Distribution]
) -> Iterator[str]:
    """Yield packages whose RECORD differs from that of the lock's wheel."""
    for package in packages:
        wheel = wheels.get(_tag.normal(package.metadata["Name"] or ""))
        text = package.read_text("RECORD") or ""
        if wheel and wheel.record not in ("", hashlib.sha256(text.encode()).hexdigest()):
            yield f"{package.metadata['Name']}: its RECORD is not that of the lock's wheel"


def folders(packages: list[metadata.Distribution]) -> list[Path]:
    """Return the folders of these packages, and the site-packages of `sys.path`."""
    named = [Path(entry) for entry in sys.path if Path(entry).name.endswith("-packages")]
    places = {Path(str(package.locate_file(""))) for package in packages} | set(named)
    return sorted({place.resolve() for place in places if place.is_dir()})


def owned(packages: list[metadata.Distribution]) -> set[str]:
    """Return the files of these packages, by RECORD."""
    return {
        os.path.normpath(f"{Path(str(package.locate_file(''))).resolve()}/{row[0]}")
        for package in packages
        for row in csv.reader((package.read_text("RECORD") or "").splitlines())
        if row
    }


def listed(faults: list[str], label: str) -> list[str]:
    """Return the first of these faults, with the number of others."""
    if not faults:
        return []
    first = " ".join(filter(None, [faults[0], label]))
    return [first if len(faults) == 1 else f"{first}, and {len(faults) - 1} more files"]


if __name__ == "__main__":
    main()
