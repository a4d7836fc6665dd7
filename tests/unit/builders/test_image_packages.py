"""The packages of an image: in its layers, in the record of its system, and in its key."""

import gzip
import importlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from dlimg.assembly.compile_python import BytecodeRanges
from dlimg.assembly.system import OnLine, import_layer
from dlimg.builders.content_keys import with_built_keys, with_known_keys
from dlimg.builders.image_packages import (
    check_packages,
    forget_packages,
    known_packages,
    packages_file,
)
from dlimg.builders.progress import BuildProgress
from dlimg.context import Context
from dlimg.errors import Negative, NoEngine
from dlimg.model import BuildFailure, PlannedImage
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import read_project
from dlimg.render.image_config import ImageConfig
from dlimg.store.store import Store
from dlimg.store.systems import (
    SystemLayers,
    copy_system,
    format_packages,
    load_system,
    package_changes,
    packages_digest,
    packages_of_layers,
    save_system,
    system_layer_key,
    system_source,
)
from tests.support import (
    check_scripts,  # noqa: F401  # the folder of the checks is on the path
    samples,
)
from tests.support.jax_project import CELL, enter_project

check = importlib.import_module("_package_list")


def stanza(name: str, version: str, *, arch: str = "amd64", status: str = "ok installed") -> str:
    return (
        f"Package: {name}\nStatus: install {status}\nArchitecture: {arch}\nVersion: {version}\n"
        f"Conffiles:\n /etc/{name} 0123\nDescription: a thing\n Version: 0 is not its version\n"
    )


ONE = stanza("zlib", "1:1.3")
STATUS = "\n".join(
    [
        ONE,
        stanza("tzdata", "2026a", arch="all"),
        stanza("zlib", "1:1.3", arch="i386"),
        stanza("held", "1", status="ok half-configured"),
        stanza("gone", "1", status="ok config-files"),
        stanza("never", "1", status="ok not-installed"),
    ]
)
LISTED = ("held:amd64=1", "tzdata:all=2026a", "zlib:amd64=1:1.3", "zlib:i386=1:1.3")
PYTHON = "cpython-3.12.16-linux-x86_64-gnu"


def blob(path: Path, files: Mapping[str, str | None], *, start: str = "") -> Path:
    """A layer of these files; a text that begins with `->` is the target of a link."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(start + name)
            if text is not None and text.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, text.removeprefix("->")
                tar.addfile(member)
            else:
                data = (text or "").encode()
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    path.write_bytes(gzip.compress(content.getvalue()))
    return path


STATUS_PATH = "var/lib/dpkg/status"
LAYERS = [
    ([{STATUS_PATH: STATUS}], LISTED),
    ([{STATUS_PATH: STATUS}, {STATUS_PATH: ONE}], ("zlib:amd64=1:1.3",)),
    ([{STATUS_PATH: STATUS}, {"etc/passwd": "x"}], LISTED),
    ([{STATUS_PATH: STATUS}, {"var/lib/dpkg/.wh.status": None}], ()),
    ([{STATUS_PATH: STATUS}, {"var/.wh.lib": None}], ()),
    ([{STATUS_PATH: STATUS}, {"var/lib/dpkg/.wh..wh..opq": None}], ()),
    ([{STATUS_PATH: STATUS}, {"var/lib/.wh..wh..opq": None, STATUS_PATH: ONE}], LISTED[2:3]),
    ([{STATUS_PATH: STATUS}, {"var/lib/dpkg/.wh.status-old": None}], LISTED),
    ([{"var/lib/dpkg/status.d/a": ONE}], ()),
    ([], ()),
    (
        [
            {STATUS_PATH: ONE},
            {
                "opt/python/current": f"->{PYTHON}",
                f"opt/python/{PYTHON}/BUILD": "20261110\n",
                "opt/python/other/BUILD": "1",
            },
        ],
        (f"{PYTHON}=20261110", "zlib:amd64=1:1.3"),
    ),
    ([{"opt/python/current": f"->{PYTHON}"}], (f"{PYTHON}=",)),
    ([{f"opt/python/{PYTHON}/BUILD": "20261110"}], ()),
]


@pytest.mark.parametrize("start", ["", "./"])
@pytest.mark.parametrize(("layers", "listed"), LAYERS)
def test_the_packages_in_layers(
    layers: list[dict[str, str | None]], listed: tuple[str, ...], start: str, tmp_path: Path
) -> None:
    blobs = [blob(tmp_path / f"{at}", files, start=start) for at, files in enumerate(layers)]
    assert packages_of_layers(blobs) == listed


def test_the_digest_is_that_of_the_sorted_lines() -> None:
    assert packages_digest(["b:all=2", "a:all=1"]) == packages_digest(["a:all=1", "b:all=2"])
    assert (
        packages_digest(["a:all=1", "b:all=2"])
        == "sha256:f115a360e2153ef84c9de5ac46f43b8c1aa45de95abf4b7da1be6af089eba037"
    )
    others = [(), LISTED, LISTED[1:], (*LISTED[1:], "held:amd64=2"), (*LISTED, f"{PYTHON}=1")]
    assert len({packages_digest(plan) for plan in others}) == len(others)


@pytest.mark.parametrize("build", ["", "20261110\n"])
@pytest.mark.parametrize("status", ["", STATUS, ONE, "\n\n", "Package: x", "Status: a b c"])
def test_the_check_lists_what_the_key_is_computed_from(
    status: str, build: str, tmp_path: Path
) -> None:
    file = tmp_path / STATUS_PATH
    file.parent.mkdir(parents=True)
    file.write_text(status)
    assert check.installed(tmp_path) == list(format_packages(status))
    folder = tmp_path / "opt/python" / PYTHON
    folder.mkdir(parents=True)
    (folder.parent / "current").symlink_to(PYTHON)
    if build:
        (folder / "BUILD").write_text(build)
    listed = format_packages(status, PYTHON, build)
    assert check.installed(tmp_path) == list(listed)
    assert check.digest(listed) == packages_digest(listed)


def test_a_package_more_or_another_version_is_a_lie() -> None:
    message = {"packages": packages_digest(LISTED)}
    assert check.mismatches(message, {"packages": check.digest(LISTED)}) == []
    for result in ((*LISTED, "netcat:amd64=1"), LISTED[1:], (*LISTED[1:], "held:amd64=2"), ()):
        (lie,) = check.mismatches(message, {"packages": check.digest(result)})
        assert lie.startswith(f"packages: {message['packages']} is promised, installed is sha256:")
    (lie,) = check.mismatches({"packages": ""}, {"packages": check.digest(LISTED)})
    assert lie.startswith("packages: nothing is promised")


def test_moved_packages_are_named() -> None:
    assert package_changes(["a=1", "b=1"], ["a=2", "b=1"]) == "-a=1 +a=2"
    assert package_changes([], ["a=1", "b=1", "c=1", "d=1", "e=1"]) == "+a=1 +b=1 +c=1 and 2 more"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "store")


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlannedImage:
    """An image that can be assembled, without its key."""
    (tmp_path / "project").mkdir()
    enter_project(tmp_path / "project", monkeypatch, CELL)
    project = read_project("matrix.yaml")
    (image,) = locked_images(project, project.resolution.cells[1:])
    return PlannedImage(image=image, base=samples.base(), key="")


def keep(store: Store, planned: PlannedImage, status: str, folder: Path) -> SystemLayers:
    """A system of one layer in the store, with this list of packages."""
    tar = folder / "system.tar"
    tar.write_bytes(gzip.decompress(blob(folder / "blob", {STATUS_PATH: status}).read_bytes()))
    diff_id = f"sha256:{sha256(tar.read_bytes()).hexdigest()}"
    layer = import_layer(tar, diff_id, store, print)
    system = SystemLayers(
        layers=(layer,),
        config=ImageConfig(),
        interpreter="",
        packages=packages_of_layers([store.blob(layer)]),
    )
    save_system(store, system_source(planned), system)
    return system


def record(store: Store, planned: PlannedImage) -> Path:
    return store.path / "systems" / f"{system_source(planned)}.json"


def test_a_system_that_is_kept_tells_its_packages(
    store: Store, planned: PlannedImage, tmp_path: Path
) -> None:
    assert planned.image.layers_obstacle == ""
    context = Context.of({"XDG_STATE_HOME": str(tmp_path)}, print)
    assert with_known_keys([planned], store, context) == (planned,)
    system = keep(store, planned, STATUS, tmp_path)
    assert system.packages == LISTED
    assert known_packages(planned, store, context) == LISTED
    (known,) = with_known_keys([planned], store, context)
    assert known.packages == system.packages_digest == packages_digest(LISTED)
    assert known.key
    check_packages(known, LISTED)
    with pytest.raises(Negative, match=r"other packages .*\n.*build it again"):
        check_packages(known, LISTED[1:])
    # The distribution moves, the system is built again: another name.
    keep(store, planned, STATUS.replace("2026a", "2026b"), tmp_path)
    (moved,) = with_known_keys([planned], store, context)
    assert moved.reference != known.reference
    assert moved.moving_reference == known.moving_reference


@pytest.mark.parametrize("wrong", [None, 1, "text", {"a": 1}, [1], [["a"]]])
def test_a_record_without_packages_gets_them_from_its_layers(
    wrong: object, store: Store, planned: PlannedImage, tmp_path: Path
) -> None:
    system = keep(store, planned, STATUS, tmp_path)
    path = record(store, planned)
    content = json.loads(path.read_text())
    assert content.pop("packages") == list(LISTED)
    path.write_text(json.dumps(content if wrong is None else content | {"packages": wrong}))
    source = system_source(planned)
    assert load_system(store, source) == system
    assert json.loads(path.read_text())["packages"] == list(LISTED)
    # It is read from the record from now on; and goes with it to another store.
    store.blob(system.layers[0]).write_bytes(b"x" * system.layers[0].size)
    assert load_system(store, source) == system
    other = Store(path=tmp_path / "other")
    copy_system(source, store, other)
    assert load_system(other, source) == system


@pytest.mark.parametrize("damage", [b"x", b"\x1f\x8b", b""])
def test_layers_that_are_damaged_are_no_system(
    damage: bytes, store: Store, planned: PlannedImage, tmp_path: Path
) -> None:
    system = keep(store, planned, STATUS, tmp_path)
    path = record(store, planned)
    content = json.loads(path.read_text())
    del content["packages"]
    path.write_text(json.dumps(content))
    size = system.layers[0].size
    store.blob(system.layers[0]).write_bytes(damage + bytes(size - len(damage)))
    assert load_system(store, system_source(planned)) is None
    store.entry(system_layer_key(system.layers[0].diff_id)).unlink()
    assert load_system(store, system_source(planned)) is None


class CountingExecutor:
    """An executor that counts what it builds; it has these packages, or fails."""

    def __init__(self, end: tuple[str, ...] | Exception) -> None:
        self.end = end
        self.built: list[str] = []

    def packages(self, planned: PlannedImage, store: Store, on_line: OnLine) -> tuple[str, ...]:  # noqa: ARG002
        self.built.append(planned.image.cell.id)
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def system(self, *_: object) -> SystemLayers:
        raise AssertionError

    def compile(self, *_: object) -> BytecodeRanges:
        raise AssertionError

    def stop(self) -> None:
        raise AssertionError


def several(planned: PlannedImage) -> list[PlannedImage]:
    """Three images, two of which have one system."""
    same = replace(planned, image=replace(planned.image, tag="other"))
    return [planned, replace(planned, base=samples.base("debian12")), same]


def test_a_system_that_several_images_have_is_built_once(
    store: Store, planned: PlannedImage
) -> None:
    work = CountingExecutor(LISTED)
    three = several(planned)
    result = with_built_keys(three, work, store, jobs=2, on_progress=print)
    assert len(work.built) == 2
    assert [plan.packages for plan in result if isinstance(plan, PlannedImage)] == 3 * [
        packages_digest(LISTED)
    ]
    assert (
        len({plan.key for plan in result if isinstance(plan, PlannedImage)}) == 2
    )  # a tag is no content


def test_what_does_not_build_fails_each_image_that_needs_it(
    store: Store, planned: PlannedImage
) -> None:
    seen: list[BuildProgress] = []
    three = several(planned)
    failing = CountingExecutor(Negative("its system stage did not build", where="x"))
    result = with_built_keys(three, failing, store, jobs=1, on_progress=seen.append)
    for plan, end in zip(three, result, strict=True):
        assert isinstance(end, BuildFailure)
        assert end.planned is plan
        assert "its system stage did not build" in "\n".join(end.log)
    assert [plan.state for plan in seen] == ["failed", "failed"]
    with pytest.raises(NoEngine):
        with_built_keys(
            three, CountingExecutor(NoEngine("gone")), store, jobs=1, on_progress=seen.append
        )


def own(planned: PlannedImage) -> PlannedImage:
    """The same image with a user's Dockerfile, which installs a package at its end."""
    text = planned.image.dockerfile + "RUN apt-get install netcat\n"
    image = replace(planned.image, dockerfile=text, layers_obstacle="it has its own block")
    return replace(planned, image=image)


def test_a_dockerfile_of_its_own_form_is_known_by_what_all_of_it_installs(
    store: Store, planned: PlannedImage, tmp_path: Path
) -> None:
    context = Context.of({"XDG_STATE_HOME": str(tmp_path / "state")}, print)
    keep(store, planned, STATUS, tmp_path)
    plan = own(planned)
    assert plan.image.layers_obstacle
    assert with_known_keys([plan], store, context) == (plan,)  # its system does not tell
    path = packages_file(plan, context)
    path.parent.mkdir(parents=True)
    for wrong in ("", "{}", "[1]", "[" * 9999, '"a"'):
        path.write_text(wrong)
        assert known_packages(plan, store, context) is None
    path.write_text(json.dumps(LISTED))
    (known,) = with_known_keys([plan], store, context)
    assert known.packages == packages_digest(LISTED)
    other = replace(plan, base=samples.base("debian12"))
    assert known_packages(other, store, context) is None


@pytest.mark.parametrize("is_own", [False, True])
def test_a_record_that_is_no_longer_true_is_forgotten(
    is_own: bool,  # noqa: FBT001
    store: Store,
    planned: PlannedImage,
    tmp_path: Path,
) -> None:
    context = Context.of({"XDG_STATE_HOME": str(tmp_path / "state")}, print)
    plan = own(planned) if is_own else planned
    if is_own:
        packages_file(plan, context).parent.mkdir(parents=True)
        packages_file(plan, context).write_text(json.dumps(LISTED))
    else:
        keep(store, planned, STATUS, tmp_path)
    (known,) = with_known_keys([plan], store, context)
    message = forget_packages(known, LISTED[1:], store, context)
    assert "other packages than its content key says: -held:amd64=1" in str(message)
    assert "build it again" in str(message)
    assert with_known_keys([plan], store, context) == (plan,)
    assert "names: -" not in str(forget_packages(known, LISTED[1:], store, context))
