"""Where no GPU is, no check passes that needs one: every script of every family, found by file."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.checks.container_setup import ROOT, scripts_archive
from dlimg.checks.discover import read_scripts
from dlimg.checks.execute import RunningContainer
from dlimg.checks.header import parse_header
from dlimg.checks.verdicts import GPU
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage
from tests.support.image_folders import files_in
from tests.support.real_jax import IMAGES, spoilt_container

pytestmark = pytest.mark.engine

FAMILIES = sorted(path.parent.name for path in IMAGES.glob("*/framework.py"))
NOT_RUN, FAILED = 77, 1
STANDS = "/tmp/dlimg/stands"  # noqa: S108  # in a container
# A framework that says yes to whatever it is asked, under every framework's name.
SAYS_YES = """
import sys
from types import ModuleType

class Yes(ModuleType):
    def __getattr__(self, name):
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        return Yes(name)

    def __call__(self, *_, **__):
        return Yes("answer")

for name in (__name__, f"{__name__}.nn", f"{__name__}.numpy"):
    sys.modules[name] = Yes(name)
"""
# Each script with its exit code and the last line of its complaint.
EACH = """
for script; do
    said=$(python "$script" 2>&1 >/dev/null) && code=0 || code=$?
    printf '%s\\t%s\\t%s\\n' "$script" "$code" "${said##*$'\\n'}"
done
"""


def on_gpu(family: str) -> list[str]:
    """The family's checks, and the common ones, whose headers ask for a GPU."""
    folders = [Path(IMAGES, folder, "checks") for folder in ("common", family)]
    files = [file for folder in folders for file in sorted(folder.glob("[!_]*.py"))]
    return [
        f"{ROOT}/{file.relative_to(IMAGES)}"
        for file in files
        if GPU in parse_header(file.read_text(), str(file)).needs
    ]


@pytest.fixture(scope="module")
def there(engine: Engine, jax_image: BuiltImage) -> Iterator[RunningContainer]:
    stands = [
        f"cat > {STANDS}/{name}.py <<< '{SAYS_YES}'" for name in ("jax", "tensorflow", "torch")
    ]
    with spoilt_container(engine, jax_image, "\n".join((f"mkdir -p {STANDS}", *stands))) as place:
        for family in FAMILIES:
            place.container.put_archive(
                "/", scripts_archive(read_scripts(files_in(IMAGES), family))
            )
        yield place


# What the environment of a container says of its GPU, and how each check has to end.
STATES: dict[str, tuple[dict[str, str], int]] = {
    "none": ({"DLIMG_GPU": "none"}, NOT_RUN),
    "expected": ({"DLIMG_GPU": "expected"}, FAILED),
    "hidden": ({"DLIMG_GPU": "expected", "CUDA_VISIBLE_DEVICES": "-1"}, FAILED),
}
# Every family without a GPU, and one family with a GPU that is not there.
USUAL = [*(("none", family) for family in FAMILIES), ("expected", "jax"), ("hidden", "jax")]
ROWS = [
    *USUAL,
    *(
        pytest.param(*row, marks=pytest.mark.sabotage)
        for row in itertools.product(STATES, FAMILIES)
        if row not in USUAL
    ),
]


@pytest.mark.parametrize(("state", "family"), ROWS)
def test_without_a_gpu_no_check_passes_that_needs_one(
    state: str, family: str, there: RunningContainer
) -> None:
    variables, code = STATES[state]
    wanted = on_gpu(family)
    assert len(wanted) >= 3
    cell = json.dumps({"framework": family, "cuda": "13.2"})
    ended = there.container.exec_run(
        ["bash", "-uc", EACH, "each", *wanted],
        environment={**variables, "DLIMG_CELL": cell, "PYTHONPATH": STANDS},
        workdir="/tmp",  # noqa: S108  # in a container
    )
    rows = [line.split("\t") for line in ended.output.decode().splitlines()]
    assert [row[0] for row in rows] == wanted
    assert {row[1] for row in rows} == {str(code)}, rows
    assert all("there is no libnvidia-ml.so.1" in row[2] for row in rows), rows
