"""Checks of the system's trusted CAs: the bundle is rebuilt from packages' files and compared."""

import re
from collections.abc import Iterator

from _claims import Claims, Image, file, joined_later, link, stated

CHOICE = "etc/ca-certificates.conf"
SHARED = "usr/share/ca-certificates"
CERTS = "etc/ssl/certs"
BUNDLE = f"{CERTS}/ca-certificates.crt"
HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]")
BLOCK = re.compile(r"-----BEGIN [^\n]+-----\n.*?\n-----END [^\n]+-----", re.DOTALL)


def claims(image: Image) -> Claims:
    """Return claims for the choice, the links to the chosen files, and the bundle."""
    names = list(chosen(image))
    links = {link_name(name): name for name in names}
    by_path: Claims = {
        CHOICE: file(joined_later(choice_faults, image)),
        BUNDLE: file(joined_later(bundle_faults, image, names)),
    }
    for name, source in links.items():
        by_path[f"{CERTS}/{name}"] = link(f"/{SHARED}/{source}")
    for name in image.names(CERTS):
        if HASHED.fullmatch(name):
            by_path[f"{CERTS}/{name}"] = link(*links)
    return by_path


def link_name(name: str) -> str:
    """Return the name that `update-ca-certificates` gives the link to a file."""
    base = name.rpartition("/")[2].removesuffix(".crt")
    return f"{base.translate(str.maketrans(' (),', '_==_'))}.pem"


def chosen(image: Image) -> Iterator[str]:
    """Yield the chosen certificate files, relative to the folder of all certificates."""
    for line in stated(image.text(CHOICE)):
        if not line.startswith("!"):
            yield line


def choice_faults(image: Image) -> Iterator[str]:
    """Yield chosen files that no package has, and packages' certificates that are not chosen."""
    names = set()
    for line in stated(image.text(CHOICE)):
        if line.startswith("!"):
            yield f"takes trust from {line[1:]}"
        elif not image.is_packaged(f"{SHARED}/{line}"):
            yield f"names {line}, which no package brought"
        names.add(line)
    brought = (path for path in image.packages.listed if path.startswith(f"{SHARED}/"))
    files = {path.removeprefix(f"{SHARED}/") for path in brought if path.endswith(".crt")}
    if files - names:
        yield f"does not name {min(files - names)}"


def bundle_faults(image: Image, names: list[str]) -> Iterator[str]:
    """Yield unexpected and missing certificates of the bundle."""
    wanted = {block for name in names for block in blocks(image.text(f"{SHARED}/{name}"))}
    text = image.text(BUNDLE)
    by_path = blocks(text)
    extra = len(by_path - wanted)
    if extra:
        yield f"holds {extra} certificates of no package"
    if wanted - by_path:
        yield f"lacks {len(wanted - by_path)} certificates of packages"
    if BLOCK.sub("", text).strip():
        yield "holds more than certificates"


def blocks(text: str) -> set[str]:
    return set(BLOCK.findall(text.replace("\r\n", "\n")))
