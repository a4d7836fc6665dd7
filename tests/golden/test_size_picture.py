"""The picture in docs/ is that of the committed locks."""

from pathlib import Path

from dlimg.context import Context
from dlimg.pipeline.project import read_project
from dlimg.pipeline.sizes import sizes_of
from dlimg.report.size_picture import picture

ROOT = Path(__file__).parent.parent.parent


def test_the_picture_of_the_cuda_images_is_current(tmp_path: Path) -> None:
    sizes = sizes_of(
        read_project(str(ROOT / "matrix.yaml")),
        Context.of({"XDG_CACHE_HOME": str(tmp_path)}, print),
    )
    images = [image for image in sizes.images if image.accelerator != "cpu"]
    drawn = picture(images)
    assert (ROOT / "docs/size.svg").read_text(encoding="utf-8") == drawn, "docs/size.md says how"
