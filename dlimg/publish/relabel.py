"""Labels of an image that was published without a GPU test: added, and taken away to verify."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from docker.models.images import Image as EngineImage

from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.host.process import run_checked
from dlimg.model import EPOCH, BuiltImage
from dlimg.publish.attach import TESTED_DIGEST_LABEL
from dlimg.publish.tags import parse_labels
from dlimg.registry.responses import digest_of
from dlimg.render.bake import engine_output
from dlimg.store.image_manifest import AssembledImage

GPU_TESTED_LABEL: Final = "io.dlimg.gpu-tested"


def label_assembled_image(tested: AssembledImage, digest: str) -> AssembledImage:
    """Return the image with the two labels and a history step for them; its layers stay.

    `digest` is that of the tested image.
    """
    labels = {GPU_TESTED_LABEL: "no", TESTED_DIGEST_LABEL: digest}
    config = json.loads(tested.config)
    config["config"]["Labels"] = {**config["config"].get("Labels", {}), **labels}
    instruction = f"LABEL {GPU_TESTED_LABEL}=no {TESTED_DIGEST_LABEL}={digest}"
    step = {"created": config["created"], "created_by": instruction, "empty_layer": True}
    config["history"] = [*config["history"], step]
    config_text = _canonical_json(config)
    manifest = json.loads(tested.manifest)
    manifest["config"] |= {"digest": digest_of(config_text), "size": len(config_text)}
    text = _canonical_json(manifest)
    return replace(tested, manifest=text, config=config_text, digest=digest_of(text))


def label_engine_image(
    built: BuiltImage, tested: EngineImage, engine: Engine, tag: str
) -> EngineImage:
    """Build the tested image with the two labels under this name, and return it.

    Its digest is another one, so its content is compared instead. Raises `Negative` when more
    than the labels differs.
    """
    dockerfile = (
        f"FROM {built.planned.reference}\n"
        f"LABEL {GPU_TESTED_LABEL}=no {TESTED_DIGEST_LABEL}={built.digest}\n"
    )
    argv = label_argv(str(engine.docker), tag, engine_output(built.planned))
    run_checked(argv, env=engine.environment, stdin=dockerfile)
    image = engine.sdk.images.get(tag)
    is_same = identity_of(image.attrs) == identity_of(tested.attrs)
    if not is_same or image.labels.get(GPU_TESTED_LABEL) != "no":
        raise Negative(
            f"the labelled image has other content than {built.digest}",
            where=built.planned.image.cell.id,
        )
    return image


def label_argv(docker_client: str, tag: str, output: str) -> list[str]:
    """Return the command that builds the Dockerfile on its standard input under this name.

    With the `output` of the tested image the manifest lists the same layers.
    """
    return [
        *(docker_client, "buildx", "build", "--quiet", "--provenance=false", "--sbom=false"),
        *(f"--build-arg=SOURCE_DATE_EPOCH={EPOCH}", f"--output={output}", f"--tag={tag}", "-"),
    ]


def digest_without_labels(manifest: bytes, config: bytes) -> str:
    """Return the digest of the tested image that this one adds the two labels to, or "".

    A label alone proves nothing. So the labels and their history step are removed, and the digest
    of the rest is compared with the one that the label names: the manifest's, or the config's if
    the engine knew no manifest.
    """
    try:
        image_config, image_manifest = json.loads(config), json.loads(manifest)
        labels = image_config["config"]["Labels"]
        claimed = labels.pop(TESTED_DIGEST_LABEL, "")
        is_marked = labels.pop(GPU_TESTED_LABEL, "") == "no"
        step = image_config["history"].pop()["created_by"]
        if not (is_marked and step.startswith(f"LABEL {GPU_TESTED_LABEL}=") and claimed):
            return ""
        for to_json in (_canonical_json, _buildkit_config_json):
            text = to_json(image_config)
            image_manifest["config"] |= {"digest": digest_of(text), "size": len(text)}
            manifests = _canonical_json(image_manifest), _buildkit_manifest_json(image_manifest)
            if claimed in {digest_of(text), *map(digest_of, manifests)}:
                return str(claimed)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        pass  # not an image of dlimg
    return ""


def labels_of(image: AssembledImage) -> Mapping[str, str]:
    """Return the labels of the image."""
    return parse_labels(json.loads(image.config))


def identity_of(attributes: Mapping[str, Any]) -> tuple[object, object, object]:
    """Return an engine image's layers, config, and labels except the two added for publishing."""
    config = dict(attributes["Config"])
    added = (GPU_TESTED_LABEL, TESTED_DIGEST_LABEL)
    labels = config.pop("Labels") or {}
    other_labels = {name: value for name, value in labels.items() if name not in added}
    # Engines before 28 note here which image it was built from.
    config.pop("Image", None)
    return attributes["RootFS"]["Layers"], config, other_labels


def _canonical_json(value: object) -> bytes:
    """Return the JSON that dlimg writes for assembled images."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _buildkit_config_json(value: object) -> bytes:
    """Return the JSON that BuildKit writes for a config: in order, HTML characters escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "&<>\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def _buildkit_manifest_json(value: object) -> bytes:
    """Return the JSON that BuildKit writes for a manifest."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()
