"""An image that says of itself that it was never on a GPU: the tested one with two labels more."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from docker.models.images import Image as EngineImage

from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.host.process import check
from dlimg.model import BuiltImage
from dlimg.publish.attach import TESTED_DIGEST
from dlimg.publish.tags import parse_labels
from dlimg.registry.responses import digest_of
from dlimg.render.dockerfile import EPOCH
from dlimg.store.image_manifest import AssembledImage

LABEL: Final = "io.dlimg.gpu-tested"


def label_argv(docker_client: str, tag: str) -> list[str]:
    """The command that builds the Dockerfile on its standard input into an image of this name."""
    return [
        *(docker_client, "buildx", "build", "--quiet", "--provenance=false", "--sbom=false"),
        *(f"--build-arg=SOURCE_DATE_EPOCH={EPOCH}", "--output=type=docker", f"--tag={tag}", "-"),
    ]


def labelled_image(tested: AssembledImage, digest: str) -> AssembledImage:
    """The same for an image from the store: other labels, one word of history more, and no layer.

    `digest` is the one that was tested.
    """
    labels = {LABEL: "no", TESTED_DIGEST: digest}
    said = json.loads(tested.config)
    said["config"]["Labels"] = {**said["config"].get("Labels", {}), **labels}
    words = f"LABEL {LABEL}=no {TESTED_DIGEST}={digest}"
    step = {"created": said["created"], "created_by": words, "empty_layer": True}
    said["history"] = [*said["history"], step]
    config = _json(said)
    manifest = json.loads(tested.manifest)
    manifest["config"] |= {"digest": digest_of(config), "size": len(config)}
    text = _json(manifest)
    return replace(tested, manifest=text, config=config, digest=digest_of(text))


def digest_before_labels(manifest: bytes, config: bytes) -> str:
    """The digest of the image that was tested, if this one is it with the two labels more.

    The label that names it is a claim. So the labels and their word of history are taken away
    again: what is left has to have the digest that is claimed, by its manifest, or by its config
    where the engine knew no manifest. Empty for any other image.
    """
    try:
        said, named = json.loads(config), json.loads(manifest)
        labels = said["config"]["Labels"]
        claimed, is_marked = labels.pop(TESTED_DIGEST, ""), labels.pop(LABEL, "") == "no"
        is_step = said["history"].pop()["created_by"].startswith(f"LABEL {LABEL}=")
        if not (is_marked and is_step and claimed):
            return ""
        for text_of in (_json, _go_json):
            plain = text_of(said)
            named["config"] |= {"digest": digest_of(plain), "size": len(plain)}
            before = {digest_of(plain), digest_of(_json(named)), digest_of(_go_manifest(named))}
            if claimed in before:
                return str(claimed)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        pass  # no image of ours
    return ""


def labels_of(image: AssembledImage) -> Mapping[str, str]:
    """The labels that the image has."""
    return parse_labels(json.loads(image.config))


def labelled(built: BuiltImage, tested: EngineImage, engine: Engine, tag: str) -> EngineImage:
    """The tested image with the label `io.dlimg.gpu-tested=no`, under this name.

    Its digest is another one, so what was tested is compared: the same layers, and the same
    configuration but for that label and the one that names the digest which was tested. Raises
    `Negative` when they differ.
    """
    dockerfile = (
        f"FROM {built.planned.reference}\nLABEL {LABEL}=no {TESTED_DIGEST}={built.digest}\n"
    )
    check(label_argv(str(engine.docker), tag), env=engine.environment, stdin=dockerfile)
    made = engine.sdk.images.get(tag)
    if content(made.attrs) != content(tested.attrs) or made.labels.get(LABEL) != "no":
        raise Negative(
            f"the labelled image has other content than {built.digest}",
            where=built.planned.image.cell.id,
        )
    return made


def content(attributes: Mapping[str, Any]) -> tuple[object, object, object]:
    """What an image is: its layers, its configuration, and its labels but for the two of ours."""
    config = dict(attributes["Config"])
    ours = (LABEL, TESTED_DIGEST)
    labels = {name: text for name, text in (config.pop("Labels") or {}).items() if name not in ours}
    # Engines before 28 write down here which image it was built from.
    config.pop("Image", None)
    return attributes["RootFS"]["Layers"], config, labels


def _json(content: object) -> bytes:
    """The one text for a value, as images are assembled."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _go_json(content: object) -> bytes:
    """The text that BuildKit writes for a config: names in their order, HTML's signs as numbers."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    for sign in "&<>\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode()


def _go_manifest(content: object) -> bytes:
    """The text that BuildKit writes for a manifest."""
    return json.dumps(content, indent=2, ensure_ascii=False).encode()
