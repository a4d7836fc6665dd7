"""Whether an engine takes what dlimg assembles: it is given a very small image to try."""

from io import BytesIO

from dlimg.draw.config import Config
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError
from dlimg.layers.assemble import image_of
from dlimg.layers.compression import presses
from dlimg.layers.entry import PLAIN, Entry
from dlimg.layers.index import Layer
from dlimg.layers.intake import visiting
from dlimg.layers.tar import pieces


def refusal(engine: Engine, compression: str) -> str:
    """Why the engine does not take images assembled with this compression, or nothing."""
    file = BytesIO()
    one = Entry(path="dlimg", mode=PLAIN, content=b"dlimg\n" * 100, owner="dlimg")
    made = presses(compression).press(pieces([one]), file.write)
    layer = Layer(
        digest=made.digest,
        size=made.size,
        diff_id=made.diff_id,
        unpacked=made.unpacked,
        compression=compression,
    )
    image = image_of([(layer, "probe")], Config(), {})
    blobs = {layer.digest: file.getvalue(), image.config_digest: image.config}
    try:
        with visiting(engine, image.manifest, image.digest, blobs):
            return ""
    except DlimgError as error:
        return error.problems[0].message
