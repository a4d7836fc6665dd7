"""Claims for services, PAM and login shells, computed again from packages' files."""

import re
from collections.abc import Iterator
from functools import partial

from _claims import Claims, Image, Judge, file, folder, lines, link, stated

UNITS = "usr/lib/systemd/system"
WANTED = re.compile(r"etc/systemd/system/([\w@.-]+)\.(wants|requires)/([\w@.-]+)")
FOLDER = re.compile(r"etc/systemd/system/[\w@.-]+\.(wants|requires)")
NOTES = "var/lib/systemd/deb-systemd-helper-enabled"
NOTE = r"/etc/systemd/system/[\w@.-]+(\.(wants|requires)/[\w@.-]+)?"
RUNLEVEL = re.compile(r"etc/rc[0-6S]\.d/[SK][0-9]{2}([\w.-]+)")
PAM = re.compile(r"common-(account|auth|password|session|session-noninteractive)")
# Where no profile has a module of its own.
NO_MODULE = "[default=1]\t\t\tpam_permit.so"
SHELLS = "usr/share/debianutils/shells"


def claims(image: Image) -> Claims:
    """Return claims for enabled services, PAM's common parts, and login shells."""
    by_path: Claims = {}
    for path in image.tree.entries:
        if match := WANTED.fullmatch(path):
            by_path[path] = wanted(image, match[1], match[2], match[3])
        elif FOLDER.fullmatch(path):
            by_path[path] = folder()
        elif match := RUNLEVEL.fullmatch(path):
            script = match[1]
            by_path[path] = (
                link(f"../init.d/{script}") if image.is_packaged(f"etc/init.d/{script}") else link()
            )
        elif path == NOTES or (path.startswith(f"{NOTES}/") and path.endswith(".wants")):
            by_path[path] = folder()
        elif path.startswith(f"{NOTES}/"):
            by_path[path] = lines(image, path, NOTE)
    return by_path | pam(image) | shells(image)


def wanted(image: Image, target: str, how: str, unit: str) -> Judge:
    """Return a claim for the link that enables a unit, if the unit asks for it."""
    text = image.text(f"{UNITS}/{unit}") if image.is_packaged(f"{UNITS}/{unit}") else ""
    key = {"wants": "WantedBy", "requires": "RequiredBy"}[how]
    rows = (line.partition("=") for line in text.splitlines())
    targets = {word for name, _, value in rows if name.strip() == key for word in value.split()}
    return link(f"/lib/systemd/system/{unit}", f"/{UNITS}/{unit}") if target in targets else link()


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


def shells(image: Image) -> Claims:
    """Return claims for the lists of login shells of packages."""
    folder_ = f"{SHELLS}.d"
    texts = [
        image.text(SHELLS),
        *(image.text(f"{folder_}/{name}") for name in image.names(folder_)),
    ]
    named = {line for text in texts for line in stated(text)}
    known = {path for name in named for path in (name, f"/usr{name}", name.removeprefix("/usr"))}
    allowed = "|".join(re.escape(path) for path in sorted(known) if image.is_packaged(path)) or "-"
    return {
        "etc/shells": lines(image, "etc/shells", allowed),
        "var/lib/shells.state": lines(image, "var/lib/shells.state", allowed),
    }
