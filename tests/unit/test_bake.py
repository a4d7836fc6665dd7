"""Bake files and content keys: the plan as data."""

import json
from dataclasses import replace

import make
import pytest

from dlimg.choose.compression import asked, named
from dlimg.draw.bake import bake_file, bake_files, system_file, target_name
from dlimg.draw.key import key
from dlimg.errors import BadInput
from dlimg.model import BaseSource, Planned


def target(planned: Planned, **options: dict[str, str]) -> dict[str, object]:
    bake = bake_file([planned], **options)
    targets = bake["target"]
    assert isinstance(targets, dict)
    return dict(targets[target_name(planned.image.cell)])


def test_a_target_holds_all_that_a_build_needs() -> None:
    planned = make.planned()
    assert target(planned, secrets={"ca": "/s/ca"}, arguments={"HTTP_PROXY": "http://p"}) == {
        "context": ".",
        "dockerfile-inline": "FROM debian:trixie-slim\n",
        "contexts": {"debian:trixie-slim": "docker-image://dlimg-base:debian13"},
        "args": {"SOURCE_DATE_EPOCH": "315619200", "HTTP_PROXY": "http://p"},
        "labels": {
            "io.dlimg.cell": planned.image.cell.id,
            "io.dlimg.key": planned.key,
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
        "output": ["type=docker"],
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
    }


def test_layers_of_zstd() -> None:
    one = make.planned()
    (target,) = bake_file([replace(one, compression="zstd19")])["target"].values()  # type: ignore[attr-defined]
    (output,) = target["output"]
    assert output.startswith("type=docker,compression=zstd,compression-level=19,force-compression")
    assert output.endswith(",oci-mediatypes=true")


@pytest.mark.parametrize(
    ("text", "name"),
    [("gzip", "gzip"), ("zstd", "zstd3"), ("zstd:1", "zstd1"), ("zstd:19", "zstd19")],
)
def test_a_compression_that_was_asked_for(text: str, name: str) -> None:
    assert asked(text) == named(text) == name


@pytest.mark.parametrize(
    "text", ["", "zst", "zstd3", "zstd:", "zstd:0", "zstd:20", "ZSTD", "gzip:6"]
)
def test_a_compression_that_there_is_not(text: str) -> None:
    with pytest.raises(BadInput, match="is not a compression of layers"):
        asked(text)


def test_a_target_is_named_without_dots() -> None:
    assert target_name(make.cell()) == "pytorch-2_15_0-cpu-py3_13-debian13"


def test_a_pinned_base_is_replaced_under_its_whole_name() -> None:
    pinned = f"debian:trixie-slim@sha256:{'0' * 64}"
    text = f"FROM {pinned} AS tool\nFROM scratch AS files\nFROM {pinned} AS system\nFROM system\n"
    planned = make.planned(make.image(dockerfile=text))
    assert target(planned)["contexts"] == {pinned: "docker-image://dlimg-base:debian13"}


def test_a_local_wheel_folder_is_a_context_of_its_target_alone() -> None:
    one = make.planned()
    other = make.planned(make.image(make.cell("jax")))
    bake = bake_file([one, other], wheels={target_name(one.image.cell): "/w"})
    targets = bake["target"]
    assert isinstance(targets, dict)
    found = {name: "wheels" in entry["contexts"] for name, entry in targets.items()}
    assert found == {target_name(one.image.cell): True, target_name(other.image.cell): False}


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("RUN echo ${A} $B", "RUN echo $${A} $B"),
        ("RUN date +%s %{x}", "RUN date +%s %%{x}"),
        ("$${x}", "$$${x}"),
    ],
)
def test_bake_does_not_read_a_dockerfile_as_its_own_template(text: str, literal: str) -> None:
    assert target(make.planned(make.image(dockerfile=text)))["dockerfile-inline"] == literal


def test_a_file_holds_at_most_500_targets() -> None:
    cells = [make.cell(version=f"2.{number}.0") for number in range(1001)]
    bakes = bake_files([make.planned(make.image(cell)) for cell in cells])
    sizes = [len(json.loads(json.dumps(bake))["target"]) for bake in bakes]
    assert sizes == [500, 500, 1]
    assert bake_files([]) == ()


def test_the_key_changes_with_whatever_changes_the_image_and_with_nothing_else() -> None:
    image, base = make.image(), make.base()
    same = key(image, base)
    assert key(replace(image, tag="other", aliases=("latest",)), base) == same
    assert key(image, make.base(source=BaseSource.REGISTRY)) == same
    others = {
        key(replace(image, dockerfile="FROM debian:trixie-slim\nRUN true\n"), base),
        key(replace(image, labels={"a": "b"}), base),
        key(image, make.base("debian12")),
        key(image, base, "zstd3"),
        key(image, base, "zstd9"),
    }
    assert len(others | {same}) == 6


def test_the_key_of_a_known_image_stays_what_it_is() -> None:
    # Another key under the same format number would rebuild every image for nothing.
    assert (
        key(make.image(), make.base())
        == "d38c41ca7714b2a16fd1c8add111f6f7262ec8cbd16dd557d91ee080dd632abb"
    )


def test_a_system_goes_where_it_is_sent_and_has_no_name_of_its_own() -> None:
    planned = make.planned()
    found = system_file(planned, {"ca": "/run/ca"}, {"HTTP_PROXY": "x"}, "type=oci,dest=${a}")
    assert list(found) == ["target"]
    targets = found["target"]
    assert isinstance(targets, dict)
    target = targets["system"]
    assert target["target"] == "system"
    assert target["output"] == ["type=oci,dest=$${a}"]
    assert target["secret"] == ["type=file,id=ca,src=/run/ca"]
    assert target["args"]["HTTP_PROXY"] == "x"
    assert target["contexts"] == {"debian:trixie-slim": f"docker-image://{planned.base.reference}"}
    assert not {"tags", "labels"} & set(target)
