"""Check that .pyc files are what their sources compile to, which Python itself does not check.

In an image byte code is marked as never to be compared, and holds a hash of its source (PEP 552).
The hash is compared everywhere, the code itself only in a sample: to compile all of a framework
anew takes a minute.
"""

import importlib.util
import marshal
import os
from collections.abc import Collection, Iterable
from pathlib import Path

HEADER = 16  # magic number, flags, and the hash of the source or its time and size
HASHED = 1
EVERY = 40  # so many files are one in the sample
SOURCELESS = "byte code without its source"


def files(folders: Iterable[Path]) -> list[Path]:
    return sorted(
        Path(folder, name)
        for top in folders
        for folder, _, names in os.walk(top)
        if folder.endswith("/__pycache__")
        for name in names
        if name.endswith(".pyc")
    )


def forged(
    paths: list[Path], tops: Collection[Path], shipped: Collection[str] = ()
) -> tuple[int, list[str]]:
    """Return how many files were compiled again, and the faults.

    The sample is every package's topmost module, and of all files every 40th. A wheel may ship
    byte code whose source it lacks: `shipped` are paths whose digests are compared elsewhere.
    """
    sample = {path for path in paths if is_top(path, tops)} | set(paths[::EVERY])
    trouble = ((path, fault(path, is_compiled=path in sample)) for path in paths)
    return len(sample), [
        f"{path}: {text}"
        for path, text in trouble
        if text and not (text == SOURCELESS and str(path) in shipped)
    ]


def is_top(path: Path, tops: Collection[Path]) -> bool:
    """Return whether the file is `package/__init__` or `module` right below a folder."""
    above = path.parent.parent
    return above in tops or (path.name.startswith("__init__.") and above.parent in tops)


def fault(path: Path, *, is_compiled: bool) -> str:
    """Return the fault of a .pyc file, or an empty text.

    That of another Python is passed over: Python would compile anew. What notes the time of its
    source is always compared with it, because a time is easily the same.
    """
    content = path.read_bytes()
    has_hash = int.from_bytes(content[4:8], "little") & HASHED
    if content[:4] != importlib.util.MAGIC_NUMBER:
        return ""
    try:
        place = importlib.util.source_from_cache(str(path))
        source = Path(place).read_bytes()
    except (OSError, ValueError):
        return SOURCELESS
    if has_hash and content[8:HEADER] != importlib.util.source_hash(source):
        return "byte code of another source"
    if (is_compiled or not has_hash) and not is_same(content[HEADER:], source, path.name):
        return "not what its source compiles to"
    return ""


def is_compiled_anew(path: Path) -> bool:
    """Return whether an installer's compilation replaced byte code that the wheel had shipped.

    Then the file is exactly what its source compiles to, marked as never to be compared.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return False
    flags = int.from_bytes(content[4:8], "little")
    is_ours = content[:4] == importlib.util.MAGIC_NUMBER and flags == HASHED
    return is_ours and path.parent.name == "__pycache__" and not fault(path, is_compiled=True)


def is_same(code: bytes, source: bytes, name: str) -> bool:
    """Return whether byte code equals what its source compiles to, apart from file names."""
    level = name.partition(".opt-")[2][:1] or "0"
    try:
        compiled = compile(source, name, "exec", dont_inherit=True, optimize=int(level))
        return bool(marshal.loads(code) == compiled)  # noqa: S302 -- as an import would
    except (SyntaxError, ValueError, EOFError, TypeError):
        return False
