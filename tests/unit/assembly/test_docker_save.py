"""Layers saved by the classic image store, converted to those of containerd's store."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dlimg.assembly.docker_save import containerd_layer, save_as_layout
from dlimg.engine.client import Engine
from dlimg.errors import Negative

OURS = "1980-01-02T00:00:00Z"
BUILDKIT = "buildkit.dockerfile.v0"
LONG = "very/" * 30


@dataclass(frozen=True, kw_only=True)
class File:
    """Return a tar member, a folder where there is no content."""

    content: bytes | None = b""
    mode: int = 0o644
    time: int = 7
    group: int = 0
    link: str = ""
    attribute: str = ""


FOLDER = File(content=None, mode=0o755)
GONE = File(mode=0o600, time=1_795_275_602)  # as overlayfs's file for it, with the time


def tar(files: Mapping[str, File], *, start: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, file in files.items():
            member = tarfile.TarInfo(start + path)
            member.mode, member.mtime, member.gid = file.mode, file.time, file.group
            member.linkname = file.link
            member.type = tarfile.SYMTYPE if file.link else tarfile.REGTYPE
            if file.attribute:
                member.pax_headers = {"SCHILY.xattr.security.capability": file.attribute}
            if file.content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = 0 if file.link else len(file.content)
            archive.addfile(member, io.BytesIO(file.content or b""))
    return out.getvalue()


def opened(content: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(content))


def left(upper: Mapping[str, File], *below: Mapping[str, File]) -> list[str]:
    lower = [opened(tar(files, start="./")) for files in below]
    content = b"".join(containerd_layer(opened(tar(upper)), lower))
    return opened(content).getnames()


BELOW = {
    "etc": FOLDER,
    "etc/a": File(content=b"a"),
    "etc/link": File(link="a"),
    "tmp": FOLDER,
    "tmp/x": FOLDER,
}


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        ({"etc": FOLDER, "etc/a": File(content=b"a")}, []),
        ({"etc": FOLDER, "etc/a": File(content=b"b")}, ["etc", "etc/a"]),
        ({"etc": FOLDER, "etc/a": File(content=b"a", mode=0o600)}, ["etc", "etc/a"]),
        ({"etc": FOLDER, "etc/a": File(content=b"a", time=8)}, ["etc", "etc/a"]),
        ({"etc": FOLDER, "etc/a": File(content=b"a", group=4)}, ["etc", "etc/a"]),
        ({"etc": FOLDER, "etc/a": File(content=b"a", attribute="x")}, ["etc", "etc/a"]),
        ({"etc": FOLDER, "etc/link": File(link="a")}, []),
        ({"etc": FOLDER, "etc/link": File(link="b")}, ["etc", "etc/link"]),
        ({"etc": FOLDER, "etc/.wh.a": GONE}, ["etc", "etc/.wh.a"]),
        ({"tmp": File(content=None, mode=0o755, time=9)}, []),
        ({"tmp": File(content=None, mode=0o1777)}, ["tmp"]),
        ({"new": FOLDER, "new/.wh..wh..opq": GONE}, ["new"]),
        (
            {"etc": FOLDER, "etc/.wh..wh..opq": GONE, "etc/b": File()},
            ["etc", "etc/.wh.a", "etc/b", "etc/.wh.link"],
        ),
        (
            {"etc": FOLDER, "etc/.wh..wh..opq": GONE, "etc/a": File(content=b"a")},
            ["etc", "etc/.wh.link"],
        ),
        ({"tmp": FOLDER, "tmp/.wh..wh..opq": GONE}, ["tmp", "tmp/.wh.x"]),
        ({"tmp": FOLDER, "tmp/x": FOLDER, "tmp/x/y": File()}, ["tmp", "tmp/x", "tmp/x/y"]),
        ({"etc": FOLDER, "etc/new": File()}, ["etc", "etc/new"]),
    ],
)
def test_files_that_stay_in_an_upper_layer(
    upper: Mapping[str, File], expected: Sequence[str]
) -> None:
    assert left(upper, BELOW) == expected


def test_the_highest_lower_layer_counts() -> None:
    upper = {"etc/a": File(content=b"a")}
    assert left(upper, BELOW, {"etc/a": File(content=b"b")}) == ["etc/a"]
    assert left(upper, {"etc/a": File(content=b"b")}, BELOW) == []


@pytest.mark.parametrize(
    ("gone", "anew"),
    [
        ("etc/.wh.a", ["etc", "etc/.wh.link"]),
        ("etc/.wh..wh..opq", []),
        (".wh.etc", ["etc"]),
    ],
)
def test_deleted_files_do_not_count_as_lower(gone: str, anew: Sequence[str]) -> None:
    upper = {"etc": FOLDER, "etc/a": File(content=b"a")}
    assert left(upper, BELOW, {gone: GONE}) == ["etc", "etc/a"]
    assert left({"etc": FOLDER, "etc/.wh..wh..opq": GONE}, BELOW, {gone: GONE}) == anew


def test_kept_entries_keep_their_bytes() -> None:
    files = {"a": File(content=b"x" * 513, attribute="y"), LONG + "b": File(content=b"z")}
    content = tar(files)
    made = b"".join(containerd_layer(opened(content), [opened(tar(BELOW))]))
    assert made == content[: len(made) - 1024] + bytes(1024)
    assert content[len(made) - 1024 :].strip(b"\0") == b""


@pytest.mark.parametrize("folder", ["etc", LONG.rstrip("/")])
def test_a_whiteout_has_no_time(folder: str) -> None:
    made = b"".join(containerd_layer(opened(tar({f"{folder}/.wh.a": GONE})), []))
    (member,) = opened(made).getmembers()
    assert (member.mode, member.mtime, member.uid, member.gid) == (0, 0, 0, 0)
    # Go's writer gives the numbers of a device to whatever it writes.
    assert b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00" in made


def archive(layers: Sequence[bytes], history: Sequence[Mapping[str, object]]) -> bytes:
    config = {
        "config": {"Env": ["A=1"]},
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": ["of this store"] * len(layers)},
    }
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    files = dict(zip(names, layers, strict=True)) | {"config.json": json.dumps(config).encode()}
    listing = [{"Config": "config.json", "RepoTags": ["a:b"], "Layers": names}]
    files["manifest.json"] = json.dumps(listing).encode()
    return tar({name: File(content=content) for name, content in files.items()})


def an_engine(folder: Path, content: bytes) -> Engine:
    """Return a docker client whose `image save --output FILE NAME` writes this."""
    (folder / "content").write_bytes(content)
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1 $2 $5" = "image save a:b" ] && cp {folder}/content "$4"\n')
    docker.chmod(0o755)
    return cast("Engine", SimpleNamespace(docker=docker, environment={"PATH": "/usr/bin:/bin"}))


def read(layout: Path, described: Mapping[str, Any]) -> bytes:
    content: bytes = (
        layout / "blobs/sha256" / described["digest"].removeprefix("sha256:")
    ).read_bytes()
    assert len(content) == described["size"]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == described["digest"]
    return content


def test_a_saved_image_becomes_an_oci_layout(tmp_path: Path) -> None:
    # The base's own layers stay as they are, whatever they are.
    base = [tar(BELOW, start="./"), tar({"etc": FOLDER, "etc/a": File(content=b"a")})]
    upper = {"etc": FOLDER, "etc/a": File(content=b"a"), "etc/b": File(content=b"b")}
    history: list[dict[str, object]] = [
        {"created": "2026-11-03T00:00:00Z", "comment": BUILDKIT},
        {"created": OURS, "comment": "dlimg.layers"},
        {"created": OURS, "comment": BUILDKIT, "empty_layer": True},
        {"created": OURS, "comment": BUILDKIT},
    ]
    engine = an_engine(tmp_path, archive([*base, tar(upper)], history))
    layout = tmp_path / "layout"
    save_as_layout(engine, "a:b", layout)
    (described,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(read(layout, described))
    config = json.loads(read(layout, manifest["config"]))
    tars = [read(layout, layer) for layer in manifest["layers"]]
    assert tars[:2] == base
    assert opened(tars[2]).getnames() == ["etc", "etc/b"]
    digests = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in tars]
    assert config["rootfs"]["diff_ids"] == digests
    assert config["config"] == {"Env": ["A=1"]}
    assert {path.name for path in layout.iterdir()} == {"blobs", "index.json", "oci-layout"}
    assert len(list((layout / "blobs/sha256").iterdir())) == 5


@pytest.mark.parametrize(
    "content",
    [b"", tar({"manifest.json": File(content=b"[")}), tar({})],
)
def test_archives_that_hold_no_image_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Negative, match="saved a damaged image"):
        save_as_layout(an_engine(tmp_path, content), "a:b", tmp_path / "layout")


def test_a_failed_docker_save_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Negative, match="save"):
        save_as_layout(an_engine(tmp_path, b""), "other:b", tmp_path / "layout")
