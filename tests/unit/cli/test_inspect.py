"""`dlimg inspect`: what is told of an image, and which evidence is believed."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.checks.evidence import MEDIA_TYPE, evidence_document, write_evidence
from dlimg.cli import inspect as command
from dlimg.cli.inspect import InspectOptions
from dlimg.cli.printing import log
from dlimg.context import Context
from dlimg.errors import BadInput, Negative, NetworkFailure, NoEngine
from dlimg.model import BuiltImage, CheckStatus, Evidence, Host, Verdict
from dlimg.pipeline.device_evidence import evidence_by_device
from dlimg.pipeline.inspect import InspectReport
from dlimg.pipeline.inspect import inspect as inspect_image
from dlimg.publish.attach import LOCK_TYPE, artifacts_of, attach_artifacts
from dlimg.publish.image_content import ImageContent, later_steps_of, maker_of
from dlimg.publish.relabel import digest_without_labels, label_assembled_image
from dlimg.registry.referrers import Artifact
from dlimg.render.bake import final_labels as all_labels
from dlimg.render.image_config import ImageConfig
from dlimg.render.naming import cell_labels
from dlimg.report.evidence_text import proof_text
from dlimg.report.inspect import layer_rows, step_text
from dlimg.store.image_manifest import AssembledImage, ImageLayer, LayerRank, assemble_image
from dlimg.store.keys import Layer
from tests.support import samples
from tests.support.fake_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    Answer,
    FakeRegistry,
    running,
    sha256,
)


def run(options: InspectOptions, environment: Mapping[str, str]) -> int:
    return command.run(options, Context.of(environment, log))


def inspect(name: str, environment: Mapping[str, str]) -> InspectReport:
    return inspect_image(name, Context.of(environment, log))


CDI = "nvidia.com/gpu=all"
GPU: dict[str, Any] = {"gpus": [{"uuid": "1", "name": "NVIDIA H200", "driver": "580.159"}]}
HISTORY = (
    {"comment": "Imported from -"},
    {"created_by": "RUN /bin/bash -euo pipefail -c began=1\ncp a b\napt-get install \\\n  tini\n"},
    {"created_by": "LABEL io.dlimg.cell=x", "empty_layer": True},
    {"created_by": 'ENTRYPOINT ["/usr/bin/tini" "--" "dlimg-entrypoint"]', "empty_layer": True},
    {"created_by": 'CMD ["bash"]', "empty_layer": True},
)


def planned(accelerator: str = "cuda13.2") -> Any:
    lock = samples.lock(wheels=(samples.wheel("nvidia-cudnn-cu13", "9.26.0.51"), samples.wheel()))
    cell = samples.cell(accelerator=accelerator)
    image = replace(samples.image(cell), lock=lock, labels=cell_labels(cell, lock))
    return samples.planned(image)


def verdict(
    check: str, status: CheckStatus = CheckStatus.PASSED, needs: str = "", **figures: Any
) -> Verdict:
    return Verdict(
        check=check,
        sha256="1",
        status=status,
        reason="" if status is CheckStatus.PASSED else "a reason",
        seconds=1.25,
        needs=frozenset({needs} - {""}),
        figures=figures,
    )


def evidence(digest: str, *verdicts: Verdict, device: str = "none") -> Evidence:
    return Evidence(
        digest=digest,
        cell="pytorch-2.15.0-cuda13.2-py3.13-debian13",
        device=device,
        day="2026-11-21",
        dlimg="0.1",
        engine="docker 28",
        host=Host(cores=2),
        verdicts=verdicts
        or (verdict("pip_check"), verdict("nvidia_smi", CheckStatus.NOT_RUN, "gpu")),
    )


def on_gpu(digest: str) -> Evidence:
    return evidence(
        digest, verdict("pip_check"), verdict("nvidia_smi", needs="gpu", **GPU), device=CDI
    )


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def there(tmp_path: Path) -> dict[str, str]:
    """No engine answers, nobody is logged in, and nothing is kept yet."""
    return {
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


def put_image(
    fake: FakeRegistry,
    *tags: str,
    marks: Mapping[str, str] | None = None,
    history: tuple[Mapping[str, Any], ...] = HISTORY,
    **more: Any,
) -> str:
    """The digest of an image with two layers and these labels."""
    config = {
        "os": "linux",
        "architecture": "amd64",
        "created": "1980-01-02T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": list(history),
        "config": {
            "User": "user",
            "WorkingDir": "/code",
            "Entrypoint": ["/usr/bin/tini"],
            "Cmd": ["bash"],
            "Labels": dict(all_labels(planned(), "buildkit") if marks is None else marks),
        },
    }
    text = json.dumps(config).encode()
    blobs = [fake.put_blob("team/pytorch", body) for body in (text, b"base", b"system, more")]
    parts = [{"digest": blobs[0], "size": len(text)}]
    parts += [{"digest": blobs[1], "size": 1_500_000}, {"digest": blobs[2], "size": 2_000}]
    content = {"mediaType": OCI_MANIFEST, "config": parts[0], "layers": parts[1:], **more}
    return fake.put_manifest("team/pytorch", content, *tags)


def attach_to(
    fake: FakeRegistry, digest: str, there: Mapping[str, str], *documents: Artifact
) -> None:
    attach_artifacts(f"{fake.host}/team/pytorch@{digest}", documents, Context.of(there, print))


def everything(digest: str, *records: Evidence) -> tuple[Artifact, ...]:
    built = BuiltImage(planned=planned(), digest=digest, size=1, seconds=1.0, cached=False)
    return tuple(artifacts_of(built, records))


def raw(text: str, kind: str = MEDIA_TYPE) -> Artifact:
    return Artifact(kind=kind, text=text, title="x")


@pytest.mark.parametrize("api", [True, False])
def test_an_image_and_all_that_lies_beside_it(
    fake: FakeRegistry, there: dict[str, str], *, api: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.referrers_api = api
    digest = put_image(fake, "latest")
    attach_to(fake, digest, there, *everything(digest, evidence(digest), on_gpu(digest)))
    arguments = InspectOptions(reference=f"{fake.host}/team/pytorch", format="table")
    assert run(arguments, there) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0] == f"{fake.host}/team/pytorch:latest"
    for line in (
        "  made         made by dlimg",
        "  found        at the registry",
        f"  digest       {digest}",
        "  cell         pytorch-2.15.0-cuda13.2-py3.13-debian13",
        "  cudnn        9.26.0.51",
        "  gpu          tested on NVIDIA H200, driver 580.159, 2026-11-21",
        "  size         2 MB to pull",
        "tested on NVIDIA H200, driver 580.159, 2026-11-21: 2 of 2 passed (at the registry)",
        "not tested on a GPU, 2026-11-21: 1 of 2 passed, 1 not run (at the registry)",
        "not-run\tnvidia_smi\t1.2 s\ta reason",
        "2 wheels",
        "torch\t2.15.0\t1 kB",
        "2 layers, lowest first",
    ):
        assert line in lines
    assert lines[-1].endswith("RUN apt-get install tini")


def test_inspect_as_json(
    fake: FakeRegistry, there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = put_image(fake, "latest")
    attach_to(fake, digest, there, *everything(digest, on_gpu(digest)))
    assert (
        run(InspectOptions(reference=f"{fake.host}/team/pytorch@{digest}", format="json"), there)
        == 0
    )
    printed = json.loads(capsys.readouterr().out)
    documented = (Path(__file__).parents[3] / "docs" / "inspect.md").read_text()
    for name in [*printed, *printed["cell"], *printed["evidence"][0], *printed["layers"][0]]:
        assert f"`{name}`" in documented, name
    assert printed["made_by_dlimg"] is True
    assert (printed["source"], printed["digest"], printed["gpu_tested"]) == (
        "registry",
        digest,
        True,
    )
    assert printed["cell"]["cuda"] == "13.2"
    assert (printed["compressed_bytes"], printed["unpacked_bytes"]) == (1_502_000, None)
    assert [wheel["version"] for wheel in printed["wheels"]] == ["9.26.0.51", "2.15.0"]
    assert len(printed["wheels"][0]["sha256"]) == 64
    (proof,) = printed["evidence"]
    assert (proof["where"], proof["device"], proof["outcome"]) == (
        ["at the registry"],
        CDI,
        "passed",
    )
    assert proof["verdicts"][1]["figures"] == GPU
    assert printed["remarks"] == []


def test_an_image_without_labels_was_not_made_by_dlimg(
    fake: FakeRegistry, there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    put_image(fake, "other", marks={"maintainer": "me"})
    name = f"{fake.host}/team/pytorch:other"
    assert run(InspectOptions(reference=name, format="table"), there) == 1
    printed = capsys.readouterr().out
    assert "not made by dlimg: it has none of its labels" in printed
    assert "maintainer=me" in printed
    assert "no evidence" in printed
    assert run(InspectOptions(reference=name, format="json"), there) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["made_by_dlimg"], found["cell"], found["wheels"]) == (False, None, [])


def test_a_cuda_image_without_evidence_is_not_tested_on_a_gpu(
    fake: FakeRegistry, there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    put_image(fake, "latest")
    run(InspectOptions(reference=f"{fake.host}/team/pytorch", format="table"), there)
    assert "  gpu          not tested on a GPU\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("marks", "steps", "expected"),
    [
        ({"io.dlimg.cell": "x"}, [], "dlimg"),
        (
            {"io.dlimg.cell": "x"},
            ["LABEL io.dlimg.gpu-tested=no io.dlimg.tested-digest=y"],
            "dlimg",
        ),
        ({"io.dlimg.cell": "x"}, ["RUN pip install x"], "another builder, on an image of dlimg"),
        ({"io.dlimg.cell": "x"}, ['CMD ["python"]'], "another builder, on an image of dlimg"),
        ({"io.dlimg.base-os": "debian13"}, [], "another builder"),
        ({"org.opencontainers.image.title": "dlimg"}, [], "another builder"),
        ({}, [], "another builder"),
    ],
)
def test_who_made_an_image(marks: dict[str, str], steps: list[str], expected: str) -> None:
    own = [str(step.get("created_by", "")) for step in HISTORY]
    content = ImageContent(
        reference="x",
        source="registry",
        digest="d",
        digests=frozenset({"d"}),
        platform="linux/amd64",
        created="",
        user="",
        workdir="",
        entrypoint=(),
        command=(),
        labels=marks,
        layers=(),
        steps=(*own, *steps),
    )
    assert maker_of(content) == expected
    assert len(later_steps_of(content)) == (1 if "on an image" in expected else 0)
    assert layer_rows(content) == []


@pytest.mark.parametrize(
    ("steps", "later"),
    [
        ([], 0),
        (["LABEL io.dlimg.gpu-tested=no io.dlimg.tested-digest=y"], 0),
        (["RUN pip install x"], 1),
        (['CMD ["python"]', "RUN x"], 2),
    ],
)
def test_what_was_done_after_an_image_was_assembled(steps: list[str], later: int) -> None:
    layers = ["wheel: torch 2.15.0", "base: debian:trixie-slim", "own: RECORDs, commands"]
    content = ImageContent(
        reference="x",
        source="registry",
        digest="d",
        digests=frozenset({"d"}),
        platform="linux/amd64",
        created="",
        user="",
        workdir="",
        entrypoint=("/usr/bin/tini", "dlimg-entrypoint"),
        command=(),
        labels={"io.dlimg.cell": "x"},
        layers=(),
        steps=(*layers, "byte code of the other wheels", *steps),
    )
    assert len(later_steps_of(content)) == later
    assert maker_of(content) == ("another builder, on an image of dlimg" if later else "dlimg")


def test_a_label_alone_makes_no_image_of_dlimg(
    fake: FakeRegistry, there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    put_image(fake, "liar", marks={"io.dlimg.cell": "x"}, history=())
    assert (
        run(InspectOptions(reference=f"{fake.host}/team/pytorch:liar", format="table"), there) == 1
    )
    assert "not made by dlimg: it has a label of it, and nothing" in capsys.readouterr().out


def image_and_marked() -> tuple[AssembledImage, AssembledImage]:
    """An image as dlimg assembles it, and the same with the two labels more."""
    layer = Layer(digest=sha256(b"x"), size=1, diff_id=sha256(b"x"), unpacked=1)
    config = ImageConfig(entrypoint=("/usr/bin/tini", "--", "dlimg-entrypoint"))
    tested = assemble_image(
        planned(), [ImageLayer(layer=layer, rank=LayerRank.SYSTEM, history="base: x")], config
    )
    return tested, label_assembled_image(tested, tested.digest)


def put_assembled(fake: FakeRegistry, image: AssembledImage, tag: str) -> str:
    fake.put_blob("team/pytorch", image.config)
    fake.put_blob("team/pytorch", b"x")
    return fake.put_manifest("team/pytorch", image.manifest, tag, kind=image.media_type)


def spoilt(image: AssembledImage, change: Callable[[dict[str, Any]], None]) -> AssembledImage:
    """The image with another config, under the labels that it has."""
    answer = json.loads(image.config)
    change(answer)
    config = json.dumps(answer, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    named = json.loads(image.manifest)
    named["config"] |= {"digest": sha256(config), "size": len(config)}
    manifest = json.dumps(named, sort_keys=True, separators=(",", ":")).encode()
    return replace(image, config=config, manifest=manifest, digest=sha256(manifest))


LIES: list[Callable[[dict[str, Any]], None]] = [
    lambda said: said["config"].update(Env=["LD_PRELOAD=/x.so"]),
    lambda said: said["config"]["Labels"].update({"io.dlimg.cell": "another"}),
    lambda said: said["rootfs"]["diff_ids"].append(sha256(b"another layer")),
    lambda said: said["history"].insert(0, {"created_by": "RUN true", "empty_layer": True}),
    lambda said: said["history"].append({"created_by": "RUN true", "empty_layer": True}),
    lambda said: said["config"]["Labels"].pop("io.dlimg.gpu-tested"),
]


@pytest.mark.parametrize("lie", LIES)
def test_a_label_alone_ties_no_evidence_to_an_image(
    fake: FakeRegistry, there: dict[str, str], lie: Callable[[dict[str, Any]], None]
) -> None:
    """Evidence of a tested image, kept here and laid beside another that claims to be that one."""
    tested, marked = image_and_marked()
    folder = Path(there["XDG_STATE_HOME"]) / "dlimg" / "evidence"
    write_evidence(folder, on_gpu(tested.digest), log=print)
    put_assembled(fake, marked, "honest")
    digest = put_assembled(fake, spoilt(marked, lie), "liar")
    attach_to(fake, digest, there, raw(evidence_document(evidence(tested.digest))))
    (proof,) = inspect(f"{fake.host}/team/pytorch:honest", there).proofs
    assert proof.evidence == on_gpu(tested.digest)
    seen = inspect(f"{fake.host}/team/pytorch:liar", there)
    assert seen.proofs == ()
    assert any("is ignored: it is about" in remark for remark in seen.remarks)


def test_what_a_label_claims_and_nothing_proves_is_told(
    fake: FakeRegistry, there: dict[str, str]
) -> None:
    tested = f"sha256:{'1' * 64}"
    labels = {"io.dlimg.tested-digest": tested, "io.dlimg.gpu-tested": "no"}
    put_image(fake, "x", marks={**all_labels(planned(), "buildkit"), **labels})
    seen = inspect(f"{fake.host}/team/pytorch:x", there)
    assert any(f"a label names {tested} as the image" in remark for remark in seen.remarks)


def by_buildkit(image: AssembledImage) -> AssembledImage:
    """The same written as BuildKit does: names in no order of ours, and a manifest in lines."""
    answer = json.loads(image.config)
    answer = {name: answer[name] for name in reversed(answer)}
    config = (
        json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
        .replace("&", "\\u0026")
        .replace(">", "\\u003e")
        .encode()
    )
    named = json.loads(image.manifest)
    named["config"] |= {"digest": sha256(config), "size": len(config)}
    manifest = json.dumps(named, indent=2).encode()
    return replace(image, config=config, manifest=manifest, digest=sha256(manifest))


@pytest.mark.parametrize("name", ["digest", "config_digest"])
def test_an_image_with_two_labels_more_is_proved_to_be_the_tested_one(name: str) -> None:
    """By its manifest's digest, or its config's where an engine knows no other."""
    plain, _ = image_and_marked()
    marked = label_assembled_image(plain, getattr(plain, name))
    assert digest_without_labels(marked.manifest, marked.config) == getattr(plain, name)
    # BuildKit writes the signs of HTML as numbers.
    theirs = by_buildkit(spoilt(plain, lambda text: text.update(author="a&b>c")))
    marked = by_buildkit(label_assembled_image(theirs, getattr(theirs, name)))
    assert digest_without_labels(marked.manifest, marked.config) == getattr(theirs, name)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"7", b"[]", b"{}", b'{"config": 7}', b'{"config": {"Labels": []}}']
)
def test_what_is_no_image_was_not_tested(text: bytes) -> None:
    assert digest_without_labels(text, text) == ""
    assert digest_without_labels(b'{"config": {}}', text) == ""


@pytest.mark.parametrize(
    "name", ["", "../x", "a\nb", "localhost:99999/x", f"localhost:{'9' * 5000}/x", "A/B"]
)
def test_an_invalid_reference_is_wrong_input(there: dict[str, str], name: str) -> None:
    with pytest.raises(BadInput, match="is no image reference"):
        inspect(name, there)


def test_an_index_is_followed_to_the_image_of_this_platform(
    fake: FakeRegistry, there: dict[str, str]
) -> None:
    digest = put_image(fake)
    entries = [{"digest": digest, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}]
    index = {"mediaType": OCI_INDEX, "manifests": entries}
    outer = fake.put_manifest("team/pytorch", index, "all", kind=OCI_INDEX)
    # What was proved about the whole lies beside the whole.
    attach_to(fake, outer, there, raw(evidence_document(on_gpu(outer))))
    attach_to(fake, digest, there, raw(evidence_document(evidence(digest))))
    seen = inspect(f"{fake.host}/team/pytorch:all", there)
    assert seen.content.digest == digest
    assert {proof.evidence.device for proof in seen.proofs} == {CDI, "none"}


def test_evidence_that_is_damaged_or_about_another_image_is_never_believed(
    fake: FakeRegistry, there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = put_image(fake, "latest")
    other = f"sha256:{'0' * 64}"
    good = evidence_document(on_gpu(digest))
    attach_to(fake, digest, there, raw(good[:-20]), raw("{}"), raw("[" * 10_000))
    attach_to(fake, digest, there, raw(evidence_document(on_gpu(other))))
    attach_to(fake, digest, there, raw(good.replace('"passed"', '"proved"')))
    bare = evidence_document(replace(on_gpu(""), on_host="pytorch"))
    attach_to(fake, digest, there, raw(bare), raw("{}", LOCK_TYPE))
    (lock, *_) = everything(digest)
    attach_to(fake, digest, there, raw(lock.text.replace("9.26.0.51", "9.26.0.52"), LOCK_TYPE))
    attach_to(fake, digest, there, raw(good))
    kept = fake.blobs.pop(("team/pytorch", sha256(good.encode())))
    fake.blobs["team/pytorch", sha256(good.encode())] = kept.replace(b"H200", b"H999")
    arguments = InspectOptions(reference=f"{fake.host}/team/pytorch", format="table")
    assert run(arguments, there) == 0
    printed = capsys.readouterr()
    assert "not tested on a GPU" in printed.out
    assert "H200" not in printed.out
    assert "nvidia-cudnn-cu13\t9.26.0.51\t-" in printed.out
    notes = [line for line in printed.err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 9
    assert all("is ignored: " in note for note in notes)
    for texts in (f"it is about {other}", "it is about no image", "sends other bytes"):
        assert sum(texts in note for note in notes) == 1, texts
    assert sum("locks other wheels" in note for note in notes) == 1


def test_an_image_that_saw_no_gpu_has_the_evidence_of_the_one_that_was_tested(
    fake: FakeRegistry, there: dict[str, str]
) -> None:
    tested, marked = image_and_marked()
    digest = put_assembled(fake, marked, "derived")
    attach_to(fake, digest, there, raw(evidence_document(evidence(tested.digest))))
    (proof,) = inspect(f"{fake.host}/team/pytorch:derived", there).proofs
    assert proof_text(proof).startswith("not tested on a GPU, 2026-11-21: 1 of 2 passed, 1 not run")


def test_local_evidence_counts_too(fake: FakeRegistry, there: dict[str, str]) -> None:
    digest = put_image(fake, "latest")
    folder = Path(there["XDG_STATE_HOME"]) / "dlimg" / "evidence"
    write_evidence(folder, evidence(digest), log=print)
    write_evidence(folder, on_gpu(digest), log=print)
    attach_to(fake, digest, there, *everything(digest, on_gpu(digest)))
    seen = inspect(f"{fake.host}/team/pytorch", there)
    assert [(proof.evidence.device, proof.where) for proof in seen.proofs] == [
        ("none", ("kept here",)),
        (CDI, ("kept here", "at the registry")),
    ]
    (folder / f"{digest.removeprefix('sha256:')}.json").write_text("{")
    seen = inspect(f"{fake.host}/team/pytorch", there)
    assert [proof.where for proof in seen.proofs] == [("at the registry",)]
    (remark,) = seen.remarks
    assert "cannot be used" in remark
    assert "run again" not in remark


def test_what_others_wrote_moves_no_cursor(
    fake: FakeRegistry, there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    put_image(fake, "latest", marks={"a": "\x1b[2Jgone\x9b1A\nnext"})
    run(InspectOptions(reference=f"{fake.host}/team/pytorch", format="table"), there)
    printed = capsys.readouterr().out
    assert "a=?[2Jgone?1A?next" in printed
    assert "\x1b" not in printed


def test_an_older_pass_does_not_outweigh_a_newer_failure(
    fake: FakeRegistry, there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = put_image(fake, "latest")
    failed = (verdict("conv_training", CheckStatus.FAILED, "gpu"), verdict("nvidia_smi", **GPU))
    newer = replace(evidence(digest, *failed, device=CDI), day="2026-11-23")
    attach_to(fake, digest, there, *everything(digest, on_gpu(digest), newer))
    run(InspectOptions(reference=f"{fake.host}/team/pytorch", format="table"), there)
    assert "  gpu          failed on NVIDIA H200, 2026-11-23\n" in capsys.readouterr().out
    run(InspectOptions(reference=f"{fake.host}/team/pytorch", format="json"), there)
    assert json.loads(capsys.readouterr().out)["gpu_tested"] is False


def test_the_newest_evidence_comes_first() -> None:
    old, new = evidence("d"), replace(evidence("d"), day="2026-11-22")
    result = evidence_by_device((old,), (new, old))
    assert [(item.evidence.day, len(item.where)) for item in result] == [
        ("2026-11-22", 1),
        ("2026-11-21", 2),
    ]


def test_references_to_no_image(fake: FakeRegistry, there: dict[str, str]) -> None:
    digest = put_image(fake, "latest")
    attach_to(fake, digest, there, raw("{}"))
    artifact = next(
        version for (_, version), (_, text) in fake.manifests.items() if b"artifactType" in text
    )
    with pytest.raises(BadInput, match="is not an image") as raised:
        inspect(f"{fake.host}/team/pytorch@{artifact}", there)
    assert MEDIA_TYPE in str(raised.value)
    with pytest.raises(Negative, match="neither in the engine nor at the registry"):
        inspect(f"{fake.host}/team/nothing", there)
    with pytest.raises(NoEngine):
        inspect("dlimg/pytorch:1", there)
    fake.odd[f"/v2/team/pytorch/referrers/{digest}"] = [Answer(status=403)]
    with pytest.raises(NetworkFailure, match="lists no referrers in"):
        inspect(f"{fake.host}/team/pytorch", there)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("COPY a /a # buildkit", "COPY a /a # buildkit"),
        ("", "-"),
        (
            "RUN /bin/bash -euo pipefail -c [ ! -e /run/x ] || export A=1\nbegan=1\nmkdir /x",
            "RUN mkdir /x",
        ),
        ("RUN " + "x" * 100, "RUN " + "x" * 65 + "..."),
    ],
)
def test_a_step_in_few_words(step: str, expected: str) -> None:
    assert step_text(step) == expected


def test_the_same_records_make_the_same_artifacts() -> None:
    first = everything("d", evidence("d"), on_gpu("d"))
    assert first == everything("d", evidence("d"), on_gpu("d"))
    assert [one.kind for one in first] == [LOCK_TYPE, MEDIA_TYPE, MEDIA_TYPE]
    assert first[2].annotations == {
        "io.dlimg.cell": "pytorch-2.15.0-cuda13.2-py3.13-debian13",
        "io.dlimg.day": "2026-11-21",
        "io.dlimg.device": CDI,
        "io.dlimg.gpu": "NVIDIA H200",
        "io.dlimg.gpu-tested": "yes",
        "io.dlimg.outcome": "passed",
        "io.dlimg.tested-digest": "d",
    }
    assert first[1].annotations["io.dlimg.gpu"] == "none"


def test_an_image_that_the_registry_does_not_show_us_gets_nothing(
    fake: FakeRegistry, there: dict[str, str]
) -> None:
    with pytest.raises(NetworkFailure, match="this machine does not find"):
        attach_to(fake, f"sha256:{'0' * 64}", there, raw("{}"))
