"""Claims for the files of the layout (from DLIMG_LAYOUT) and of the locked wheels."""

import csv
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import _verdict
from _claims import PLAIN, PROGRAM, ROOT, Claims, Image, copy, digest, file, folder, link
from _databases import source_of
from _tag import normal

ENVIRONMENT = "opt/env"
PACKAGES = f"{ENVIRONMENT}/lib/python/site-packages"
PROGRAMS = "usr/local/lib/dlimg"
MAKES_OVERLAY = "usr/local/bin/dlimg-overlay"
# What `python -m venv` puts beside the links, whatever is installed later.
OF_VENV = ("activate", "activate.csh", "activate.fish", "Activate.ps1")
SKELETON = "etc/skel"
UNLISTED = 0o711
VENV = '/usr/local/lib/dlimg/python -m venv --without-pip "$1"'
LINK = "link to "


class Layout(NamedTuple):
    """The layout's files, as dlimg passes them in DLIMG_LAYOUT.

    `cuda_home` is empty without a toolkit, `managed_python` where the distribution's is taken.
    `commands` is where each command of a wheel has a link, and what that leads to; `notes` the
    folder with a link to each wheel's metadata. Both are empty where the layout has none. `user`
    are the numbers of the image's user, `home` is the path of their home.
    """

    nodes: list[dict[str, str]]
    cuda_home: str
    managed_python: str
    user: tuple[int, int]
    commands: tuple[str, str] = ("", "")
    notes: str = ""
    home: str = "home/user"


def read() -> Layout:
    """Return the layout of DLIMG_LAYOUT."""
    path = os.environ.get("DLIMG_LAYOUT", "")
    _verdict.demand(path, "DLIMG_LAYOUT is not set: the files of the layout are not known")
    try:
        content = json.loads(Path(path).read_text())
        layout = Layout(
            nodes=list(content["nodes"]),
            cuda_home=content["cuda_home"],
            managed_python=content["managed_python"],
            user=tuple(content["user"]),
            commands=tuple(content.get("commands") or ("", "")),
            notes=str(content.get("notes") or ""),
            home=str(content.get("home") or "home/user").strip("/"),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _verdict.fail(f"DLIMG_LAYOUT: {path} is no layout: {error!r}")
    _verdict.demand(layout.nodes, f"DLIMG_LAYOUT: {path} names no file of the layout")
    return layout


def claims(image: Image, layout: Layout, wheels: Mapping[str, object]) -> Claims:
    """Return the claims of layout and wheels; those of the layout come first."""
    by_path = {**of_wheels(image, layout, wheels), **of_linker(image, layout, wheels)}
    by_path |= {**of_commands(image, layout, wheels), **of_notes(image, layout, wheels)}
    return {**by_path, **of_home(image, layout), **of_venv(image), **of_layout(image, layout)}


def of_layout(image: Image, layout: Layout) -> Claims:
    by_path: Claims = {}
    for node in layout.nodes:
        path, kind = node["path"], node["kind"]
        owner = layout.user if node["owner"] == "user" else ROOT
        if kind == "folder":
            by_path[path] = folder(int(node["mode"], 8), owner)
        elif kind == "link":
            by_path[path] = link(node["target"], owner=owner)
        elif "pattern" in node:
            by_path[path] = file(partial(unlike, image, path, node["pattern"]))
        else:
            by_path[path] = digest(image.top, path, node["sha256"], int(node["mode"], 8), owner)
    return by_path


def unlike(image: Image, path: str, pattern: str) -> str:
    return "" if re.fullmatch(pattern, image.text(path)) else "has another content"


def gone(image: Image, layout: Layout) -> list[str]:
    """Return the missing paths of the layout."""
    return [node["path"] for node in layout.nodes if node["path"] not in image.tree.entries]


def of_wheels(image: Image, layout: Layout, wheels: Mapping[str, object]) -> Claims:
    """Return claims for the files of locked wheels; `pip_check` compares contents."""
    by_path: Claims = {}
    owned = set(recorded(image, wheels))
    for path in owned:
        by_path[path] = file(modes=(PLAIN, PROGRAM))
        for parent in Path(path).parents:
            if str(parent).startswith(f"{ENVIRONMENT}/"):
                by_path.setdefault(str(parent), folder())
    names = {normal(name) for name in wheels}
    for name in image.names(PACKAGES):
        # auditwheel may leave this folder empty, and RECORD names files alone.
        if name.endswith(".libs") and normal(name.removesuffix(".libs")) in names:
            by_path.setdefault(f"{PACKAGES}/{name}", folder())
    # `os_packages_unmodified` and `pip_check` compare byte code with its source.
    modules = owned | {node["path"] for node in layout.nodes}
    for path in image.tree.entries:
        if path.startswith((f"{ENVIRONMENT}/", f"{PROGRAMS}/")) and source_of(path) in modules:
            by_path[path] = file()
            by_path.setdefault(path.rpartition("/")[0], folder())
    return by_path


def recorded(image: Image, wheels: Mapping[str, object]) -> Iterator[str]:
    """Yield the paths in the RECORDs of locked wheels that are in the environment."""
    names = {normal(name) for name in wheels}
    for name in image.names(PACKAGES):
        package = normal(name.partition("-")[0])
        if name.endswith(".dist-info") and package in names:
            text = image.text(f"{PACKAGES}/{name}/RECORD")
            for row in filter(None, csv.reader(text.splitlines())):
                path = os.path.normpath(f"{PACKAGES}/{row[0]}")
                if path.startswith(f"{ENVIRONMENT}/"):
                    yield path


def of_linker(image: Image, layout: Layout, wheels: Mapping[str, object]) -> Claims:
    """Return claims for the unversioned links by which linkers find the toolkit's libraries."""
    home = layout.cuda_home.strip("/")
    if not home:
        return {}
    by_path: Claims = {f"{home}/lib64": link("lib")}
    targets: dict[str, list[str]] = {}
    for path in recorded(image, wheels):
        folder_, _, name = path.rpartition("/")
        if folder_ == f"{home}/lib" and name.startswith("lib") and ".so." in name:
            targets.setdefault(f"{path.partition('.so.')[0]}.so", []).append(name)
    return {**by_path, **{path: link(*names) for path, names in targets.items()}}


def of_commands(image: Image, layout: Layout, wheels: Mapping[str, object]) -> Claims:
    """Return claims for the link of each command of a wheel."""
    place, target = (text.rstrip("/") for text in layout.commands)
    names = (path.removeprefix(f"{ENVIRONMENT}/bin/") for path in recorded(image, wheels))
    return {
        f"{place.lstrip('/')}/{name}": link(target) for name in names if place and "/" not in name
    }


def of_notes(image: Image, layout: Layout, wheels: Mapping[str, object]) -> Claims:
    """Return claims for the link to each wheel's metadata, in folders that only root can list."""
    top = layout.notes.strip("/")
    by_path: Claims = {}
    for path in recorded(image, wheels) if top else ():
        name = path.removeprefix(f"{PACKAGES}/").removesuffix("/RECORD")
        capitals = name.partition("-")[0].upper()
        if name.endswith(".dist-info") and path.endswith("/RECORD"):
            by_path[top] = folder()
            by_path[str(Path(top).parent)] = folder()
            by_path[f"{top}/{capitals}"] = folder(UNLISTED)
            by_path[f"{top}/{capitals}/{capitals}.egg-info"] = folder()
            note = f"{top}/{capitals}/{capitals}.egg-info/PKG-INFO"
            by_path[note] = link(f"/{PACKAGES}/{name}/METADATA")
    return by_path


def of_venv(image: Image) -> Claims:
    """Return claims for the files of `venv`, which are generated again and compared."""
    names = [*(f"bin/{name}" for name in OF_VENV), ".gitignore"]
    is_here = any(f"{ENVIRONMENT}/{name}" in image.tree.entries for name in names)
    texts = made(image, VENV, ENVIRONMENT) if is_here else {}
    return {
        f"{ENVIRONMENT}/{name}": file(
            partial(same, image, f"{ENVIRONMENT}/{name}", texts.get(name) or "")
        )
        for name in names
    }


def of_home(image: Image, layout: Layout) -> Claims:
    """Return claims for the user's home: the skeleton's files and the overlay."""
    home, overlay = layout.home, f"{layout.home}/env"
    by_path: Claims = {home: folder(owner=layout.user)}
    skeleton = [name for name in image.names(SKELETON) if image.is_packaged(f"{SKELETON}/{name}")]
    for name in skeleton:
        by_path[f"{home}/{name}"] = copy(
            image, f"{home}/{name}", f"{SKELETON}/{name}", owner=layout.user
        )
    if overlay not in image.tree.entries:
        return by_path
    for name, text in made(image, image.text(MAKES_OVERLAY), overlay).items():
        path = f"{overlay}/{name}".rstrip("/")
        if text is None:
            by_path[path] = folder(owner=layout.user)
        elif text.startswith(LINK):
            by_path[path] = link(text.removeprefix(LINK), owner=layout.user)
        else:
            by_path[path] = file(partial(same, image, path, text), owner=layout.user)
    return by_path


def same(image: Image, path: str, text: str) -> str:
    return "" if image.text(path) == text else "is not as it was made"


def made(image: Image, script: str, made_path: str) -> dict[str, str | None]:
    """Run a script in an empty folder; return what it wrote: texts, links, None for a folder.

    The folder lies elsewhere while it is made, and its name is put in again.
    """
    with tempfile.TemporaryDirectory(dir=image.top / "tmp") as name:
        scratch = Path(name)
        place = scratch / made_path
        start = "/" + str(scratch.relative_to(image.top))
        place.parent.mkdir(parents=True)
        text = script.replace(f"/{made_path}", f"{start}/{made_path}")
        command = ["sh", "-c", text, "script", f"{start}/{made_path}"]
        elsewhere = [] if image.top == Path("/") else ["chroot", str(image.top)]
        try:
            done = subprocess.run(
                [*elsewhere, *command],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
                umask=0o022,
            )
        except (OSError, subprocess.SubprocessError) as error:
            _verdict.fail(f"/{made_path} cannot be made anew: {error}")
        stderr = done.stderr.strip()[-200:]
        _verdict.demand(done.returncode == 0, f"/{made_path} cannot be made anew: {stderr}")
        paths = [place, *place.rglob("*")]
        return {
            str(path.relative_to(place)) if path != place else "": read_back(path, start)
            for path in paths
        }


def read_back(path: Path, start: str) -> str | None:
    if path.is_symlink():
        return LINK + str(path.readlink()).replace(start, "")
    return None if path.is_dir() else path.read_text().replace(start, "")
