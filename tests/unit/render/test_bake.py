"""Bake files and content keys: the plan as data."""

import json
from dataclasses import replace

import pytest

from dlimg.errors import BadInput
from dlimg.matrix.parse import compression_from_option, compression_name
from dlimg.model import BaseSource, PlannedImage
from dlimg.render.bake import bake_file, bake_files, stage_file, target_name
from dlimg.render.content_key import content_key, with_key
from tests.support import samples

ZSTD = "type=docker,compression=zstd,compression-level=3,force-compression=true,oci-mediatypes=true"


def target(planned: PlannedImage, **options: dict[str, str]) -> dict[str, object]:
    bake = bake_file([planned], **options)
    targets = bake["target"]
    assert isinstance(targets, dict)
    return dict(targets[target_name(planned.image.cell)])


def test_a_target_holds_all_that_a_build_needs() -> None:
    planned = samples.planned(packages="sha256:1")
    assert target(planned, secrets={"ca": "/s/ca"}, arguments={"HTTP_PROXY": "http://p"}) == {
        "context": ".",
        "dockerfile-inline": "FROM debian:trixie-slim\n",
        "contexts": {"debian:trixie-slim": "docker-image://dlimg-base:debian13"},
        "args": {"SOURCE_DATE_EPOCH": "315619200", "HTTP_PROXY": "http://p"},
        "labels": {
            "io.dlimg.cell": planned.image.cell.id,
            "io.dlimg.key": planned.key,
            "io.dlimg.packages": "sha256:1",
            "io.dlimg.base": planned.base.identity,
            "io.dlimg.base-source": "bootstrap",
            "io.dlimg.builder": "buildkit",
        },
        "tags": [
            f"dlimg/pytorch:2.15.0-cpu-py3.13-debian13-{planned.key[:12]}",
            "dlimg/pytorch:2.15.0-cpu-py3.13-debian13",
        ],
        "platforms": ["linux/amd64"],
        "secret": ["type=file,id=ca,src=/s/ca"],
        "output": [ZSTD],
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
    }


def test_target_and_key_are_of_the_platform_of_the_wheels() -> None:
    amd64 = samples.planned()
    cell = replace(amd64.image.cell, platform="aarch64-manylinux_2_28")
    image = replace(amd64.image, cell=cell)
    arm64 = replace(amd64, image=image)
    assert target(arm64)["platforms"] == ["linux/arm64"]
    keys = {content_key(each, amd64.base, "sha256:1", "zstd3") for each in (amd64.image, image)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("compression", "source", "output"),
    [
        ("zstd3", BaseSource.BOOTSTRAP, ZSTD),
        ("zstd19", BaseSource.BOOTSTRAP, ZSTD.replace("level=3", "level=19")),
        # The layers of a registry's base stay as they are.
        ("zstd3", BaseSource.REGISTRY, ZSTD.replace(",force-compression=true", "")),
        ("gzip", BaseSource.BOOTSTRAP, "type=docker,compression=gzip,force-compression=true"),
        ("gzip", BaseSource.REGISTRY, "type=docker,compression=gzip,force-compression=true"),
    ],
)
def test_buildkit_writes_layers_in_the_compression(
    compression: str, source: BaseSource, output: str
) -> None:
    plan = samples.planned(on=samples.base(source=source))
    assert target(replace(plan, compression=compression))["output"] == [output]


@pytest.mark.parametrize(
    ("text", "name"),
    [("gzip", "gzip"), ("zstd", "zstd3"), ("zstd:1", "zstd1"), ("zstd:19", "zstd19")],
)
def test_a_compression_that_was_asked_for(text: str, name: str) -> None:
    assert compression_from_option(text) == compression_name(text) == name


@pytest.mark.parametrize(
    "text", ["", "zst", "zstd3", "zstd:", "zstd:0", "zstd:20", "ZSTD", "gzip:6"]
)
def test_a_compression_that_there_is_not(text: str) -> None:
    with pytest.raises(BadInput, match="is not a compression of layers"):
        compression_from_option(text)


def test_a_target_is_named_without_dots() -> None:
    assert target_name(samples.cell()) == "pytorch-2_15_0-cpu-py3_13-debian13"


def test_a_pinned_base_is_replaced_under_its_whole_name() -> None:
    pinned = f"debian:trixie-slim@sha256:{'0' * 64}"
    text = f"FROM {pinned} AS tool\nFROM scratch AS files\nFROM {pinned} AS system\nFROM system\n"
    planned = samples.planned(samples.image(dockerfile=text))
    assert target(planned)["contexts"] == {pinned: "docker-image://dlimg-base:debian13"}


def test_a_local_wheel_folder_is_a_context_of_its_target_alone() -> None:
    plan = samples.planned()
    other = samples.planned(samples.image(samples.cell("jax")))
    bake = bake_file([plan, other], wheels={target_name(plan.image.cell): "/w"})
    targets = bake["target"]
    assert isinstance(targets, dict)
    result = {name: "wheels" in entry["contexts"] for name, entry in targets.items()}
    assert result == {target_name(plan.image.cell): True, target_name(other.image.cell): False}


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("RUN echo ${A} $B", "RUN echo $${A} $B"),
        ("RUN date +%s %{x}", "RUN date +%s %%{x}"),
        ("$${x}", "$$${x}"),
    ],
)
def test_bake_does_not_read_a_dockerfile_as_its_own_template(text: str, literal: str) -> None:
    assert target(samples.planned(samples.image(dockerfile=text)))["dockerfile-inline"] == literal


def test_a_file_holds_at_most_500_targets() -> None:
    cells = [samples.cell(version=f"2.{number}.0") for number in range(1001)]
    bakes = bake_files([samples.planned(samples.image(cell)) for cell in cells])
    sizes = [len(json.loads(json.dumps(bake))["target"]) for bake in bakes]
    assert sizes == [500, 500, 1]
    assert bake_files([]) == ()


def test_unknown_values_are_left_out_of_the_plan() -> None:
    unknown = target(replace(samples.planned(packages="sha256:1"), key="", packages=""))
    labels, tags = unknown["labels"], unknown["tags"]
    assert isinstance(labels, dict)
    assert tags == ["dlimg/pytorch:2.15.0-cpu-py3.13-debian13"]
    assert not {"io.dlimg.key", "io.dlimg.packages"} & set(labels)


PACKAGES = f"sha256:{'1' * 64}"


def test_the_key_changes_with_whatever_changes_the_image_and_with_nothing_else() -> None:
    image, base = samples.image(), samples.base()
    same = content_key(image, base, PACKAGES, "zstd3")
    assert (
        content_key(replace(image, tag="other", aliases=("latest",)), base, PACKAGES, "zstd3")
        == same
    )
    assert content_key(image, samples.base(source=BaseSource.REGISTRY), PACKAGES, "zstd3") == same
    others = {
        content_key(replace(image, dockerfile="FROM debian\nRUN true\n"), base, PACKAGES, "zstd3"),
        content_key(replace(image, labels={"a": "b"}), base, PACKAGES, "zstd3"),
        content_key(image, samples.base("debian12"), PACKAGES, "zstd3"),
        content_key(image, base, f"sha256:{'2' * 64}", "zstd3"),
        content_key(image, base, PACKAGES, "gzip"),
        content_key(image, base, PACKAGES, "zstd9"),
    }
    assert len(others | {same}) == 7


def test_the_key_of_a_known_image_stays_what_it_is() -> None:
    # Another key under the same format number would rebuild every image for nothing.
    assert (
        content_key(samples.image(), samples.base(), PACKAGES, "zstd3")
        == "1a5f873f0dc99d763588ba50fa1c75afdb57f3a778b4597970749ebc99bcc397"
    )


def test_an_image_gets_its_key_with_its_packages() -> None:
    unknown = replace(samples.planned(), key="")
    assert unknown.reference == ""
    known = with_key(unknown, PACKAGES)
    assert known.packages == PACKAGES
    assert known.key == content_key(unknown.image, unknown.base, PACKAGES, "zstd3")
    assert known.reference.endswith(f"-{known.key[:12]}")


@pytest.mark.parametrize("stage", ["system", ""])
def test_a_stage_goes_where_it_is_sent_and_has_no_name_of_its_own(stage: str) -> None:
    planned = samples.planned()
    given = {"secrets": {"ca": "/run/ca"}, "arguments": {"HTTP_PROXY": "x"}}
    result = stage_file(planned, stage, "type=oci,dest=${a}", **given)
    assert list(result) == ["target"]
    targets = result["target"]
    assert isinstance(targets, dict)
    target = targets[stage or "last"]
    assert target.get("target") == (stage or None)
    assert target["output"] == ["type=oci,dest=$${a}"]
    assert target["secret"] == ["type=file,id=ca,src=/run/ca"]
    assert target["args"]["HTTP_PROXY"] == "x"
    assert target["contexts"] == {"debian:trixie-slim": f"docker-image://{planned.base.reference}"}
    assert not {"tags", "labels"} & set(target)
