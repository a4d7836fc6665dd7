"""The databases of dpkg, debconf and Python's packages, path by path."""

import re
from collections.abc import Iterator

from _claims import Claims, Image, Judge, empty, file, folder, joined_later, lines

DPKG = "var/lib/dpkg"
INFO = re.compile(r"([a-z0-9][a-z0-9+.-]+)(:[a-z0-9]+)?\.([a-z0-9]+)")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
LISTS = ("list", "md5sums", "conffiles", "shlibs", "symbols", "templates", "triggers")
# Bases from a registry put a word of their own in the place of these.
BASES_DIVERT = (
    ("/usr/bin/man", "/usr/bin/man.REAL"),
    ("/sbin/initctl", "/sbin/initctl.distrib"),
)
UCF = "var/lib/ucf"
DEBCONF = "var/cache/debconf"
DEBCONF_SCRATCH = "var/cache/debconf/tmp.ci"


def claims(image: Image) -> Claims:
    return {**dpkg(image), **debconf(image), **ucf(image), **python(image)}


def dpkg(image: Image) -> Claims:
    """Return claims for dpkg's database, of installed packages only."""
    by_path: Claims = {
        f"{DPKG}/status": file(joined_later(status_faults, image)),
        f"{DPKG}/arch": lines(image, f"{DPKG}/arch", "[a-z0-9]+"),
        f"{DPKG}/arch-native": lines(image, f"{DPKG}/arch-native", "[a-z0-9]+"),
        f"{DPKG}/diversions": file(joined_later(diversion_faults, image)),
        f"{DPKG}/statoverride": empty(),
        f"{DPKG}/available": empty(),
        f"{DPKG}/lock": empty(0o640),
        f"{DPKG}/lock-frontend": empty(0o640),
        f"{DPKG}/triggers": folder(),
        f"{DPKG}/triggers/Lock": empty(0o600),
        f"{DPKG}/triggers/Unincorp": empty(),
        f"{DPKG}/info/format": lines(image, f"{DPKG}/info/format", "1"),
    }
    for name in image.names(f"{DPKG}/triggers"):
        path = f"{DPKG}/triggers/{name}"
        by_path.setdefault(path, file(joined_later(trigger_faults, image, path)))
    for name in image.names(f"{DPKG}/info"):
        match = INFO.fullmatch(name)
        if match and match[1] in image.installed and match[3] in SCRIPTS:
            by_path[f"{DPKG}/info/{name}"] = file(modes=(0o755,))
        elif match and match[1] in image.installed and match[3] in LISTS:
            by_path[f"{DPKG}/info/{name}"] = file()
    return by_path


def status_faults(image: Image) -> Iterator[str]:
    """Yield packages without a list of files."""
    names = image.names(f"{DPKG}/info")
    listed = {name.removesuffix(".list").partition(":")[0] for name in names if ".list" in name}
    if image.installed - listed:
        yield f"names {min(image.installed - listed)}, of which there is no list of files"


def diversion_faults(image: Image) -> Iterator[str]:
    """Yield diversions that are not a package's."""
    rows = image.text(f"{DPKG}/diversions").splitlines()
    for path, place, owner in zip(rows[0::3], rows[1::3], rows[2::3], strict=False):
        if owner not in image.installed and (path, place) not in BASES_DIVERT:
            yield f"is of {owner}, which is no package here"


def trigger_faults(image: Image, path: str) -> Iterator[str]:
    for line in image.text(path).splitlines():
        owner = line.split(" ")[-1].partition("/")[0].partition(":")[0]
        if owner not in image.installed:
            yield f"names {owner}, which is no package here"


def debconf(image: Image) -> Claims:
    """Return claims for debconf's questions and answers, without passwords."""
    known = set(templates(image))

    def judge(name: str, field: str) -> Judge:
        names = re.compile(rf"^{field}: (.*)$", re.MULTILINE)
        return file(lambda: foreign(names.findall(image.text(name)), known))

    config, texts = f"{DEBCONF}/config.dat", f"{DEBCONF}/templates.dat"
    return {
        config: judge(config, "Template"),
        texts: judge(texts, "Name"),
        f"{DEBCONF}/passwords.dat": empty(0o600),
        DEBCONF_SCRATCH: folder(),
    }


def ucf(image: Image) -> Claims:
    """Return claims for settings that ucf installs, and for its notes of them.

    Each is a copy of a file of the package that has it, as ucf has noted.
    """
    rows = [line.split() for line in image.text(f"{UCF}/registry").splitlines()]
    owners = {row[1].lstrip("/"): row[0] for row in rows if len(row) == 2}
    by_path: Claims = {f"{UCF}/cache": folder()}
    for path, package in owners.items():
        for place in (path, f"{UCF}/cache/:{path.replace('/', ':')}"):
            name = path.rpartition("/")[2]
            by_path[place] = file(joined_later(copy_faults, image, place, name, package))
    for name in ("registry", "hashfile"):
        noted = "|".join(re.escape(f"/{path}") for path in owners) or "-"
        for old in ("", ".0", ".1", ".2"):
            path = f"{UCF}/{name}{old}"
            by_path[path] = lines(image, path, rf"[\w.+-]+\s+({noted})")
    return by_path


def copy_faults(image: Image, path: str, name: str, package: str) -> Iterator[str]:
    """Yield a fault of a file that is no copy of one of the package's files of this name."""
    if package not in image.installed:
        yield f"is of {package}, which is no package here"
        return
    files = image.text(f"{DPKG}/info/{package}.list").splitlines()
    originals = [row for row in files if row.startswith("/usr/") and row.endswith(f"/{name}")]
    if image.text(path) not in [image.text(row.lstrip("/")) for row in originals]:
        yield f"is no copy of a file of {package}"


def templates(image: Image) -> Iterator[str]:
    """Yield the names of packages' questions."""
    for name in image.names(f"{DPKG}/info"):
        if name.endswith(".templates"):
            text = image.text(f"{DPKG}/info/{name}")
            yield from re.findall(r"^Template: (.*)$", text, re.MULTILINE)


def foreign(names: list[str], known: set[str]) -> str:
    others = sorted(set(names) - known)
    return f"has {others[0]}, which is a question of no package" if others else ""


def python(image: Image) -> Claims:
    """Return claims for .pyc files of packages' modules, and for the state of Debian's Python."""
    by_path: Claims = {}
    for path in image.tree.entries:
        if source_of(path) in image.packages.listed:
            # `os_packages_unmodified` compares the content with that of its source.
            by_path[path] = file()
        elif path.endswith("/__pycache__") and any(
            source_of(f"{path}/{name}") in image.packages.listed for name in image.names(path)
        ):
            by_path[path] = folder()
        elif re.fullmatch(r"var/lib/python/python3\.[0-9]+_installed", path):
            by_path[path] = empty()
    config = "etc/python3/debian_config"
    by_path[config] = lines(image, config, r"\[DEFAULT\]|byte-compile = standard")
    return by_path


def source_of(path: str) -> str:
    """Return the source path of a .pyc file, or an empty text."""
    above, _, name = path.rpartition("/")
    if not (name.endswith(".pyc") and above.endswith("/__pycache__")):
        return ""
    return f"{above.removesuffix('__pycache__')}{name.partition('.')[0]}.py"
