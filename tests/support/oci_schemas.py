"""The rules of OCI's image specification 1.1 for layouts, as JSON schemas and assertions."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import zstandard
from jsonschema import Draft202012Validator

_KIND: Final = "application/vnd.oci.image"
_DIGEST: Final = {"type": "string", "pattern": "^sha256:[a-f0-9]{64}$"}
_MEDIA_TYPE: Final = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$",
}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_TEXT_BY_NAME: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_SET: Final = {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}}
# RFC 3339, section 5.6.
_TIME: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}


def _object(required: str, **properties: object) -> dict[str, object]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _descriptor(*kinds: str) -> dict[str, object]:
    named: object = {"enum": [f"{_KIND}.{kind}" for kind in kinds]}
    return _object(
        "mediaType digest size",
        mediaType={"allOf": [_MEDIA_TYPE, named]},
        digest=_DIGEST,
        size={"type": "integer", "minimum": 0},
        annotations=_TEXT_BY_NAME,
        platform=_object("architecture os", architecture=_TEXTS["items"], os=_TEXTS["items"]),
    )


def _versioned(kind: str) -> dict[str, object]:
    named: object = {"const": f"{_KIND}.{kind}"}
    return {"schemaVersion": {"const": 2}, "mediaType": named, "annotations": _TEXT_BY_NAME}


LAYOUT: Final = _object("imageLayoutVersion", imageLayoutVersion={"const": "1.0.0"})
INDEX: Final = _object(
    "schemaVersion manifests",
    **_versioned("index.v1+json"),
    manifests={"type": "array", "items": _descriptor("manifest.v1+json")},
)
MANIFEST: Final = _object(
    "schemaVersion mediaType config layers",
    **_versioned("manifest.v1+json"),
    config=_descriptor("config.v1+json"),
    layers={
        "type": "array",
        "minItems": 1,
        "items": _descriptor("layer.v1.tar", "layer.v1.tar+gzip", "layer.v1.tar+zstd"),
    },
)
CONFIG: Final = _object(
    "architecture os rootfs",
    created=_TIME,
    author={"type": "string"},
    architecture={"const": "amd64"},
    os={"const": "linux"},
    config=_object(
        "",
        User={"type": "string"},
        ExposedPorts={**_SET, "propertyNames": {"pattern": r"^\d+(/(tcp|udp))?$"}},
        Env={"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
        Entrypoint=_TEXTS,
        Cmd=_TEXTS,
        Volumes=_SET,
        WorkingDir={"type": "string", "pattern": "^/"},
        Labels=_TEXT_BY_NAME,
        StopSignal={"type": "string"},
        Shell=_TEXTS,  # Docker's
    )
    | {"additionalProperties": False},
    rootfs=_object(
        "type diff_ids", type={"const": "layers"}, diff_ids={"type": "array", "items": _DIGEST}
    ),
    history={
        "type": "array",
        "items": _object(
            "",
            created=_TIME,
            created_by={"type": "string"},
            author={"type": "string"},
            comment={"type": "string"},
            empty_layer={"type": "boolean"},
        ),
    },
)


def check_layout(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Check a layout with one image; return the image's manifest and config."""
    assert broken(json.loads((folder / "oci-layout").read_bytes()), LAYOUT) == []
    index = json.loads((folder / "index.json").read_bytes())
    assert broken(index, INDEX) == []
    (manifest_descriptor,) = index["manifests"]
    manifest = json.loads(_blob(folder, manifest_descriptor).read_bytes())
    assert broken(manifest, MANIFEST) == []
    config = json.loads(_blob(folder, manifest["config"]).read_bytes())
    assert broken(config, CONFIG) == []
    filled = [step for step in config["history"] if not step.get("empty_layer")]
    diff_ids = config["rootfs"]["diff_ids"]
    assert len(filled) == len(diff_ids) == len(manifest["layers"])
    for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True):
        assert _tar_digest(_blob(folder, layer), layer["mediaType"]) == diff_id
    named = [manifest_descriptor, manifest["config"], *manifest["layers"]]
    assert {path.name for path in (folder / "blobs/sha256").iterdir()} == {
        one["digest"].removeprefix("sha256:") for one in named
    }
    return manifest, config


def broken(content: object, schema: Mapping[str, object]) -> list[str]:
    """Return the violations of the schema."""
    Draft202012Validator.check_schema(schema)
    return [error.message for error in Draft202012Validator(schema).iter_errors(content)]


def _blob(folder: Path, described: Mapping[str, Any]) -> Path:
    """Return the content of a descriptor's blob after checking its size and digest."""
    path: Path = folder / "blobs" / described["digest"].replace(":", "/")
    content = path.read_bytes()
    assert len(content) == described["size"]
    assert hashlib.sha256(content).hexdigest() == path.name
    return path


def _tar_digest(path: Path, media_type: str) -> str:
    with path.open("rb") as packed:
        if media_type.endswith("+zstd"):
            reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            plain: Any = reader
        else:
            plain = gzip.open(packed)  # noqa: SIM115 - closed with what it reads
        digest = hashlib.sha256()
        while piece := plain.read(1 << 20):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
