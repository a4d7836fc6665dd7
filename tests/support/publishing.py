"""Publishing fake images of the store, with evidence of one plain check."""

import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.model import BuiltImage, Check, CheckStatus, Evidence, Verdict
from dlimg.publish.attach import AttachSettings
from dlimg.publish.policy import CheckRunner
from dlimg.publish.promote import PublishedImage, PublishRequest, publish
from dlimg.publish.push_source import ImageSources
from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import AssembledImage, ImageLayer, LayerRank, assemble_image
from dlimg.store.images import save_image
from dlimg.store.keys import Layer
from dlimg.store.store import Store
from tests.support import samples
from tests.support.fake_registry import FakeRegistry, sha256

CHECK = Check(name="a", path="a.py", script="", sha256="1", proves="")
KEY = "1" * 64


def layer_bytes(content: bytes, *, uid: int = 0, gid: int = 0) -> bytes:
    """A layer, not packed, with one file of this content and owner."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("opt/content")
        entry.size, entry.uid, entry.gid = len(content), uid, gid
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def layer(store: Store, content: bytes) -> Layer:
    digest = sha256(content)
    one = Layer(digest=digest, size=len(content), diff_id=digest, unpacked=len(content))
    store.blobs.mkdir(parents=True, exist_ok=True)
    store.blob(one).write_bytes(content)
    return one


def stored_image(
    store: Store, *contents: bytes, family: str = "jax", **axes: Any
) -> AssembledImage:
    planned = samples.planned(samples.image(samples.cell(family, **axes)))
    config = ImageConfig(entrypoint=("/usr/local/bin/dlimg-entrypoint",))
    layers = [
        ImageLayer(layer=layer(store, content), rank=LayerRank.FRAMEWORK, history="wheel: a")
        for content in contents
    ]
    image = assemble_image(planned, layers, config)
    save_image(store, image)
    return image


def built_of(image: AssembledImage, accelerator: str = "cpu") -> BuiltImage:
    cell = samples.cell("jax", accelerator=accelerator)
    planned = samples.planned(samples.image(cell, aliases=("latest",)), key=KEY)
    return BuiltImage(planned=planned, digest=image.digest, size=1, seconds=1.0, cached=False)


def evidence_of(
    built: BuiltImage, status: CheckStatus = CheckStatus.PASSED, *, device: str = "none"
) -> Evidence:
    return Evidence(
        digest=built.digest,
        cell=built.planned.image.cell.id,
        device=device,
        day="2026-11-21",
        dlimg="0.1",
        engine="28",
        verdicts=(Verdict(check="a", sha256="1", status=status, reason="", seconds=1.0),),
    )


@dataclass(kw_only=True)
class Testing:
    """What tests images in these tests: all end with `status`, and none before was tested.

    `known` is the evidence of earlier days by digest; `tested` are the digests that were tried.
    """

    __test__ = False

    status: CheckStatus = CheckStatus.PASSED
    known: dict[str, Evidence] = field(default_factory=dict)
    tested: list[str] = field(default_factory=list)
    checks: Sequence[Check] = (CHECK,)

    def test(self, built: BuiltImage) -> Evidence:
        self.tested.append(built.digest)
        return evidence_of(built, self.status)

    def find(self, built: BuiltImage, config: Mapping[str, Any]) -> Evidence | None:
        assert config["config"]
        return self.known.get(built.digest)

    def runner(self) -> CheckRunner:
        return CheckRunner(checks=lambda _: self.checks, test=self.test, known=self.find)


class Pulling:
    """An engine with containerd's store that pulls whatever it is asked for, and nothing more."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.pulled: list[str] = []
        self.images = self

    def info(self) -> dict[str, object]:
        return {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}

    def get(self, name: str) -> object:
        if name not in self.there:
            raise docker.errors.ImageNotFound(name)
        return SimpleNamespace(id=name)

    def pull(self, repository: str, *, tag: str) -> object:
        self.pulled.append(tag)
        self.there.add(f"{repository}@{tag}")
        return SimpleNamespace(id=tag)

    def remove(self, name: str) -> None:
        self.get(name)
        self.there.remove(name)

    def engine(self) -> Engine:
        sdk: Any = self
        return Engine(
            host="unix:///nowhere",
            private=False,
            version="28",
            docker=Path("docker"),
            context=Context.of({}, print),
            root="",
            sdk=sdk,
        )


def published(  # noqa: PLR0913  # what a test cares about
    fake: FakeRegistry,
    store: Store,
    home: dict[str, str],
    image: AssembledImage,
    *,
    accelerator: str = "cpu",
    allow_untested_gpu: bool = True,
    log: Callable[[str], None] = print,
    testing: Testing | None = None,
    engine: Engine | None = None,
    revision: Revision = NO_REVISION,
    no_evidence: bool = False,
) -> PublishedImage:
    """Published with evidence of a plain check, which names the digest."""
    built = built_of(image, accelerator)
    folder = Path(home["HOME"]) / "evidence"
    attach = AttachSettings(evidence=folder, revision=revision)
    request = PublishRequest(
        to=f"{fake.host}/team",
        allow_untested_gpu=allow_untested_gpu,
        attach=None if no_evidence else attach,
        context=Context.of(home, log),
        runner=(testing or Testing()).runner(),
        state=folder,
    )
    sources = ImageSources(
        store=store, engine=engine, siblings=("team/jax", "team/pytorch"), log=log
    )
    return publish(built, evidence_of(built), sources, request=request)
