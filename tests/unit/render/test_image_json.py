"""What an image says about itself in `/etc/dlimg/image.json`."""

import json
from dataclasses import replace

from dlimg.model import DriverFloor, EndOfLife
from dlimg.render.image_json import IMAGE_JSON, image_json
from dlimg.render.layout import cell_files, packages_folder
from tests.support import samples

LOCK = samples.lock(wheels=(samples.wheel(), samples.wheel("nvidia-cudnn-cu13", "9.26.0.51")))


def test_a_cuda_image_states_its_driver_and_its_gpus() -> None:
    cell = replace(
        samples.cell(accelerator="cuda13.2"),
        architectures=("sm_75", "compute_120"),
        driver_floor=DriverFloor(version="580.65.06", source="https://example.com/drivers"),
        ends_of_life=(EndOfLife(part="Debian 13", day="2030-06-30", source="https://a.b/c"),),
    )
    assert json.loads(image_json(cell, LOCK, "0123")) == {
        "schema": 1,
        "cell": cell.id,
        "family": "pytorch",
        "package": "torch",
        "module": "torch",
        "version": "2.15.0",
        "accelerator": "cuda13.2",
        "cuda": "13.2",
        "cudnn": "9.26.0.51",
        "driver": {"at_least": "580.65.06", "source": "https://example.com/drivers"},
        "gpu_architectures": ["sm_75", "compute_120"],
        "python": "3.13",
        "os": "Debian 13",
        "flavour": "runtime",
        "packages": "0123",
        "end_of_life": [{"part": "Debian 13", "day": "2030-06-30", "source": "https://a.b/c"}],
    }


def test_an_image_states_nothing_that_is_not_known() -> None:
    content = json.loads(image_json(samples.cell(), samples.lock(), ""))
    empty = {name for name, value in content.items() if not value}
    assert empty == {"cuda", "cudnn", "driver", "gpu_architectures", "packages", "end_of_life"}


def test_the_description_names_the_folder_of_the_wheels() -> None:
    cell = samples.cell()
    files = {file.path: file.text for file in cell_files(cell, LOCK)}
    packages = json.loads(files[IMAGE_JSON])["packages"]
    assert packages_folder(LOCK).endswith(f"/{packages}")
