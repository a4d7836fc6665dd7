"""An image that says of itself that it was never on a GPU: the tested one with two labels more."""

from collections.abc import Mapping
from typing import Any, Final

from docker.models.images import Image as EngineImage

from dlimg.draw.dockerfile import EPOCH
from dlimg.engine.client import Engine
from dlimg.engine.process import check
from dlimg.errors import Negative
from dlimg.model import Built
from dlimg.publish.attach import TESTED_DIGEST

LABEL: Final = "io.dlimg.gpu-tested"


def label_argv(docker_client: str, tag: str) -> list[str]:
    """The command that builds the Dockerfile on its standard input into an image of this name."""
    return [
        *(docker_client, "buildx", "build", "--quiet", "--provenance=false", "--sbom=false"),
        *(f"--build-arg=SOURCE_DATE_EPOCH={EPOCH}", "--output=type=docker", f"--tag={tag}", "-"),
    ]


def labelled(built: Built, tested: EngineImage, engine: Engine, tag: str) -> EngineImage:
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
