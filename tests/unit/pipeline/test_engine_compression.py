"""The compression of layers: the command line's, the matrix's, or what the engine reads."""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import docker
import pytest

from dlimg.context import Context
from dlimg.engine import ownership
from dlimg.errors import NoEngine
from dlimg.model import DEFAULT_COMPRESSION, GZIP, PlannedImage
from dlimg.pipeline.engine_compression import readable_images
from dlimg.pipeline.project import compression_of, read_project, stated_compression
from dlimg.render.content_key import with_key
from tests.support import samples

ROOT: Final = Path(__file__).parents[3]
PACKAGES: Final = f"sha256:{'1' * 64}"
# Docker 20.10's words for a zstd layer.
REFUSAL: Final = "failed to register layer: archive/tar: invalid tar header"
# Pulls as an engine does: it reads the manifest, and refuses these kinds of layers.
PULL: Final = """\
#!{python}
import sys, urllib.request
host, _, rest = sys.argv[-1].partition("/")
name, _, digest = rest.partition("@")
with urllib.request.urlopen(f"http://{{host}}/v2/{{name}}/manifests/{{digest}}") as response:
    manifest = response.read().decode()
with open({pulls!r}, "a") as pulls:
    pulls.write("zstd\\n" if "tar+zstd" in manifest else "gzip\\n")
if any("tar+" + kind in manifest for kind in {refused!r}):
    sys.exit({refusal!r})
"""


class OldEngine:
    """An engine that refuses layers of these kinds, and has these images already."""

    def __init__(
        self, folder: Path, refused: Collection[str], present: Sequence[PlannedImage] = ()
    ) -> None:
        self.pulls = folder / "pulls"
        self.docker = folder / "docker"
        values = {"python": sys.executable, "pulls": str(self.pulls), "refused": [*refused]}
        self.docker.write_text(PULL.format(**values, refusal=REFUSAL))
        self.docker.chmod(0o755)
        self.environment = {"PATH": "/usr/bin:/bin"}
        self.host = "unix:///there"
        self.architecture = "amd64"
        self.context = Context.of({"XDG_STATE_HOME": str(folder)}, print)
        self.rows = [self._row(image) for image in present]
        pulled: Any = SimpleNamespace(id="sha256:0", attrs={"Os": "linux"})
        images = SimpleNamespace(get=lambda _: pulled, remove=self._remove)
        self.sdk = SimpleNamespace(images=images, api=SimpleNamespace(images=self._list))

    def _row(self, image: PlannedImage) -> Mapping[str, Any]:
        ownership.record_build(self.context, image.key, "sha256:1")
        names = [image.reference, image.moving_reference]
        return {"Id": "sha256:1", "RepoTags": names, "Labels": None, "Size": 7}

    def _list(self, **_: object) -> Sequence[Mapping[str, Any]]:
        return self.rows

    def _remove(self, _: str) -> None:
        raise docker.errors.ImageNotFound("it never had it")

    def asked(self) -> list[str]:
        return self.pulls.read_text().split() if self.pulls.exists() else []


def planned(compression: str = DEFAULT_COMPRESSION) -> PlannedImage:
    image = samples.planned()
    return with_key(
        PlannedImage(image=image.image, base=image.base, key="", compression=compression), PACKAGES
    )


def test_an_engine_that_reads_zstd_gets_it(tmp_path: Path) -> None:
    engine: Any = OldEngine(tmp_path, ())
    lines: list[str] = []
    readable = readable_images([planned()], engine, may_change=True, log=lines.append)
    assert (readable.images, readable.obstacle, lines) == ((planned(),), "", [])
    assert engine.asked() == ["zstd"]


def test_an_engine_too_old_for_zstd_gets_gzip_and_one_line_says_so(tmp_path: Path) -> None:
    engine: Any = OldEngine(tmp_path, ["zstd"])
    lines: list[str] = []
    readable = readable_images([planned()], engine, may_change=True, log=lines.append)
    assert readable.images == (planned(GZIP),)
    assert readable.images[0].key != planned().key
    assert readable.obstacle == ""
    (line,) = lines
    assert line.startswith("the images get gzip layers: the engine at unix:///there reads no zstd")
    assert line.endswith(REFUSAL)


def test_what_is_stated_or_published_is_not_changed_for_an_old_engine(tmp_path: Path) -> None:
    engine: Any = OldEngine(tmp_path, ["zstd"])
    with pytest.raises(NoEngine, match=r"reads no zstd layers: .*invalid tar header") as caught:
        readable_images([planned("zstd9")], engine, may_change=False, log=print)
    assert "`--compression gzip`" in caught.value.problems[0].hint


def test_an_engine_that_reads_neither_keeps_the_compression(tmp_path: Path) -> None:
    """The obstacle is another one, such as a loopback that the engine does not reach."""
    engine: Any = OldEngine(tmp_path, ["zstd", "gzip"])
    readable = readable_images([planned()], engine, may_change=True, log=print)
    assert readable.images == (planned(),)
    assert readable.obstacle.endswith(REFUSAL)


def test_gzip_that_is_refused_stays_gzip(tmp_path: Path) -> None:
    engine: Any = OldEngine(tmp_path, ["gzip"])
    readable = readable_images([planned(GZIP)], engine, may_change=True, log=print)
    assert readable.images == (planned(GZIP),)
    assert readable.obstacle.endswith(REFUSAL)
    assert engine.asked() == ["gzip"]


def test_an_engine_is_tried_only_when_it_lacks_an_image(tmp_path: Path) -> None:
    engine: Any = OldEngine(tmp_path, ["zstd"], present=[planned()])
    readable = readable_images([planned()], engine, may_change=True, log=print)
    assert readable.images == (planned(),)
    assert engine.asked() == []


def test_an_engine_elsewhere_is_not_tried(tmp_path: Path) -> None:
    engine: Any = OldEngine(tmp_path, ["zstd"])
    engine.host = "tcp://192.0.2.1:2376"
    readable = readable_images([planned()], engine, may_change=True, log=print)
    assert readable.images == (planned(),)
    assert "is not on this host" in readable.obstacle
    assert engine.asked() == []


@pytest.mark.parametrize(
    ("in_matrix", "option", "stated"),
    [
        ("", "", ""),
        ("compression: gzip\n", "", "gzip"),
        ("compression: zstd\n", "", "zstd3"),
        ("compression: gzip\n", "zstd:9", "zstd9"),
        ("compression: zstd:9\n", "gzip", "gzip"),
        ("", "zstd", "zstd3"),
    ],
)
def test_the_option_wins_over_the_matrix_and_that_over_the_default(
    tmp_path: Path, in_matrix: str, option: str, stated: str
) -> None:
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text((ROOT / "matrix.yaml").read_text() + in_matrix)
    project = read_project(str(matrix))
    assert stated_compression(project, option) == stated
    assert compression_of(project, option) == (stated or "zstd3")
