"""Sources and settings of apt: the distribution's own, signed by its key."""

import re
from collections.abc import Iterator

from _claims import Claims, Image, file, joined_later, lines, stated

SOURCES = re.compile(
    r"etc/apt/sources\.list|etc/apt/sources\.list\.d/(0000dlimg|debian|ubuntu)\..+"
)
RELEASE = "etc/os-release"
KEYRINGS = "usr/share/keyrings/"
FIELDS = ("Types", "URIs", "Suites", "Components", "Signed-By", "Enabled")
POCKETS = ("", "-updates", "-security", "-backports", "-proposed-updates")
COMPONENTS = {"main", "contrib", "non-free", "non-free-firmware"}
COMPONENTS |= {"restricted", "universe", "multiverse"}
OPTIONS = re.compile(r"\[(.*?)\]")
# Bases from a registry leave nothing behind that apt can fetch again: their files say no more.
SLIM = re.compile(r"etc/apt/apt\.conf\.d/docker-[a-z-]+")
SLIM_LINE = (
    r'(?i:(DPkg::Post-Invoke|APT::Update::Post-Invoke)) \{ "(rm -f [/*a-z. ]+ \|\| true";? ?)+\};'
    r'|Dir::Cache::(src)?pkgcache "";( Dir::Cache::srcpkgcache "";)?'
    r'|Acquire::Languages "none";|Acquire::GzipIndexes "true";'
    r'|//.*|Acquire::CompressionTypes::Order:: "gz";'
    r'|(?i:Apt::AutoRemove::SuggestsImportant) "false";'
)
EXTENDED = r"Package: [a-z0-9][a-z0-9+.-]+|Architecture: [a-z0-9]+|Auto-Installed: [01]"


def claims(image: Image) -> Claims:
    """Return claims for apt's sources, the settings of base images, and apt's own state."""
    by_path: Claims = {
        "var/lib/apt/extended_states": lines(image, "var/lib/apt/extended_states", EXTENDED)
    }
    for path in image.tree.entries:
        if SOURCES.fullmatch(path):
            by_path[path] = file(joined_later(faults, image, path))
        elif SLIM.fullmatch(path):
            by_path[path] = lines(image, path, SLIM_LINE)
    return by_path


def faults(image: Image, path: str) -> Iterator[str]:
    """Yield sources of other releases, and sources not signed by this release's key."""
    text = image.text(path)
    entries = paragraphs(text) if path.endswith(".sources") else map(row, stated(text))
    for entry in entries:
        yield from entry_faults(image, entry)


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Yield the entries of a list in deb822 form."""
    for part in re.split(r"\n\s*\n", text):
        lines_ = [line for line in part.splitlines() if line and not line.startswith("#")]
        if lines_:
            joined = re.sub(r"\n[ \t]+", " ", "\n".join(lines_))
            pairs = (line.partition(":") for line in joined.splitlines())
            yield {name.strip(): value.strip() for name, _, value in pairs}


def row(line: str) -> dict[str, str]:
    """Return an entry of a list in one-line form."""
    options = OPTIONS.search(line)
    fields = OPTIONS.sub("", line).split()
    pairs = (option.partition("=") for option in (options[1].split() if options else []))
    named = {{"signed-by": "Signed-By"}.get(name, name): value for name, _, value in pairs}
    kinds = ("Types", "URIs", "Suites")
    return {**dict(zip(kinds, fields, strict=False)), "Components": " ".join(fields[3:]), **named}


def entry_faults(image: Image, entry: dict[str, str]) -> Iterator[str]:
    known = {name.lower() for name in FIELDS}
    yield from (f"has an option {name}" for name in entry if name.lower() not in known)
    if entry.get("Enabled", "yes").lower() not in ("yes", "true"):
        yield "has an entry that is switched off"
    if not fields(entry, "Types") <= {"deb", "deb-src"}:
        yield "has an entry of another type"
    release = codename(image)
    if not fields(entry, "Suites") <= {release + pocket for pocket in POCKETS}:
        yield f"has a suite of another release than {release}"
    if not fields(entry, "Components") <= COMPONENTS:
        yield "has a component that the distribution does not have"
    for key in fields(entry, "Signed-By"):
        if not (key.strip("/").startswith(KEYRINGS) and image.is_packaged(key)):
            yield "trusts a key that no package brought"


def fields(entry: dict[str, str], name: str) -> set[str]:
    return set(entry.get(name, "").replace(",", " ").split())


def codename(image: Image) -> str:
    text = image.text(RELEASE) or image.text("usr/lib/os-release")
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value.strip("\"'") for name, _, value in pairs}.get("VERSION_CODENAME", "")
