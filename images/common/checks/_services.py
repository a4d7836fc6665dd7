"""Claims for services, PAM and login shells, computed again from packages' files."""

import re
from collections.abc import Iterator
from functools import partial

from _claims import Claims, Image, Judge, file, folder, lines, link, stated

# Services of the system, and those of each user's session.
WANTED = re.compile(r"etc/systemd/(system|user)/([\w@.-]+)\.(wants|requires)/([\w@.-]+)")
FOLDER = re.compile(r"etc/systemd/(system|user)/[\w@.-]+\.(wants|requires)")
ALIAS = re.compile(r"etc/systemd/(system|user)/([\w@.-]+\.[a-z]+)")
NOTES = re.compile(r"var/lib/systemd/deb-systemd-(user-)?helper-enabled")
NOTE = r"/etc/systemd/(system|user)/[\w@.-]+(\.(wants|requires)/[\w@.-]+)?"
RUNIT = re.compile(r"etc/runit/runsvdir/default/([\w.-]+)")
RUNLEVEL = re.compile(r"etc/rc[0-6S]\.d/[SK][0-9]{2}([\w.-]+)")
PAM = re.compile(r"common-(account|auth|password|session|session-noninteractive)")
# Where no profile has a module of its own.
NO_MODULE = "[default=1]\t\t\tpam_permit.so"
INFO = "var/lib/dpkg/info"
ADDED = re.compile(r"^\s*add-shell\s+(/\S+)", re.MULTILINE)
SHELLS = "usr/share/debianutils/shells"


def claims(image: Image) -> Claims:
    """Return claims for enabled services, PAM's common parts, and login shells."""
    by_path: Claims = {}
    for path in image.tree.entries:
        if match := WANTED.fullmatch(path):
            by_path[path] = wanted(image, match)
        elif FOLDER.fullmatch(path):
            by_path[path] = folder()
        elif match := ALIAS.fullmatch(path):
            by_path |= {path: alias(image, match[1], match[2])} if is_link(image, path) else {}
        elif match := RUNLEVEL.fullmatch(path):
            by_path[path] = enabled(image, "../init.d", "etc/init.d", match[1])
        elif match := RUNIT.fullmatch(path):
            by_path[path] = enabled(image, "/etc/sv", "etc/sv", match[1])
        elif match := NOTES.match(path):
            is_folder = path == match[0] or path.endswith(".wants")
            by_path[path] = folder() if is_folder else lines(image, path, NOTE)
    return by_path | pam(image) | shells(image)


def enabled(image: Image, below: str, scripts: str, name: str) -> Judge:
    """Return a claim for the link that enables a package's script."""
    return link(f"{below}/{name}") if image.is_packaged(f"{scripts}/{name}") else link()


def is_link(image: Image, path: str) -> bool:
    return image.tree.entries[path].kind == "link"


def wanted(image: Image, match: re.Match[str]) -> Judge:
    """Return a claim for the link that enables a unit, if the unit asks for it."""
    scope, target, how, unit = match.groups()
    key = {"wants": "WantedBy", "requires": "RequiredBy"}[how]
    return link(*places(scope, unit)) if target in asked(image, scope, unit, key) else link()


def alias(image: Image, scope: str, name: str) -> Judge:
    """Return a claim for another name of a unit, which the unit states."""
    units = image.names(f"usr/lib/systemd/{scope}")
    named = (unit for unit in units if name in asked(image, scope, unit, "Alias"))
    return link(*(place for unit in named for place in places(scope, unit)))


def places(scope: str, unit: str) -> tuple[str, str]:
    """Return the targets of links to a unit, by release."""
    return f"/lib/systemd/{scope}/{unit}", f"/usr/lib/systemd/{scope}/{unit}"


def asked(image: Image, scope: str, unit: str, key: str) -> set[str]:
    """Return the values of a key of a package's unit."""
    path = f"usr/lib/systemd/{scope}/{unit}"
    text = image.text(path) if image.is_packaged(path) else ""
    rows = (line.partition("=") for line in text.splitlines())
    return {word for name, _, value in rows if name.strip() == key for word in value.split()}


def pam(image: Image) -> Claims:
    """Return claims for PAM's common parts, as `pam-auth-update` makes them."""
    by_path: Claims = {}
    for name in image.names("usr/share/pam"):
        if PAM.fullmatch(name):
            path = f"etc/pam.d/{name}"
            by_path[path] = file(partial(pam_fault, image, path, name))
    kinds = (name.removeprefix("common-") for name in image.names("usr/share/pam"))
    allowed = {
        *(f"Module: {name}" for name in image.names("usr/share/pam-configs")),
        *("Module: null", NO_MODULE),
        *(line for text in profiles(image) for line in stated(text)),
    }
    for kind in kinds:
        path = f"var/lib/pam/{kind}"
        by_path[path] = lines(image, path, "|".join(map(re.escape, sorted(allowed))))
    names = "|".join(map(re.escape, image.names("usr/share/pam-configs"))) or "-"
    by_path["var/lib/pam/seen"] = lines(image, "var/lib/pam/seen", names)
    return by_path


def profiles(image: Image) -> Iterator[str]:
    for name in image.names("usr/share/pam-configs"):
        if image.is_packaged(f"usr/share/pam-configs/{name}"):
            yield image.text(f"usr/share/pam-configs/{name}")


def pam_fault(image: Image, path: str, name: str) -> str:
    """Return the fault of a common part: a rule of no profile, or a missing one."""
    template = rules(image.text(f"usr/share/pam/{name}"))
    kind = name.removeprefix("common-").partition("-")[0]
    profile = {
        fields
        for text in profiles(image)
        for line in text.splitlines()
        if (fields := rule(f"{kind} {line}" if line[:1] in " \t" else ""))
    }
    profile.add((kind, *rule(NO_MODULE)))
    by_path = rules(image.text(path))
    if not set(template) <= set(by_path):
        return "lacks a rule of its template"
    if not set(by_path) <= set(template) | profile:
        return "has a rule of no package"
    if [fields for fields in by_path if fields in template] != template:
        return "has its rules in another order"
    return ""


def rules(text: str) -> list[tuple[str, ...]]:
    by_path = (rule(line) for line in stated(text))
    return [fields for fields in by_path if fields and not fields[0].startswith("$")]


def rule(line: str) -> tuple[str, ...]:
    """Return the fields of a PAM rule, without the number of rules that a success skips."""
    return tuple(re.sub(r"(success|default)=(end|[0-9]+)", r"\1=N", line).split())


def added_shells(image: Image) -> Iterator[str]:
    """Yield the shells that packages' scripts add, where they bring no list."""
    for name in image.names(INFO):
        if name.endswith(".postinst"):
            yield from ADDED.findall(image.text(f"{INFO}/{name}"))


def shells(image: Image) -> Claims:
    """Return claims for the lists of login shells of packages."""
    folder_ = f"{SHELLS}.d"
    texts = [
        image.text(SHELLS),
        *(image.text(f"{folder_}/{name}") for name in image.names(folder_)),
    ]
    named = {line for text in texts for line in stated(text)} | set(added_shells(image))
    known = {path for name in named for path in (name, f"/usr{name}", name.removeprefix("/usr"))}
    allowed = "|".join(re.escape(path) for path in sorted(known) if image.is_packaged(path)) or "-"
    return {
        "etc/shells": lines(image, "etc/shells", allowed),
        "var/lib/shells.state": lines(image, "var/lib/shells.state", allowed),
    }
