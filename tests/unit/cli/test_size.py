"""`dlimg size`: what images are expected to be made of, what they share, and how it is shown."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dlimg.assembly import size_estimate
from dlimg.assembly.cell_layer import cell_layer_files
from dlimg.assembly.size_estimate import (
    LayerEstimate,
    StoreIndex,
    estimate_layers,
    read_store_index,
)
from dlimg.cli.printing import log
from dlimg.cli.size import SizeOptions, run
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.model import GZIP, Cell, CellSelection, Flavour, Lock, Wheel
from dlimg.pipeline.sizes import ImageSize, MatrixSizes, pull, stored
from dlimg.render.image_config import ImageConfig
from dlimg.render.naming import cell_labels
from dlimg.report.size_picture import Box, picture, tile_boxes
from dlimg.report.size_text import (
    GROUPS,
    IMAGES,
    LAYERS,
    PULL_HEADINGS,
    group_rows,
    image_rows,
    layer_rows,
    layer_text,
    others_text,
    pull_rows,
    pull_table_headings,
    pull_table_rows,
    sizes_json,
    total_text,
)
from dlimg.report.table import table
from dlimg.store.image_manifest import (
    BYTECODE_HISTORY,
    CELL_HISTORY,
    ImageLayer,
    LayerRank,
    bytecode_history,
    make_image,
    system_history,
    wheel_history,
)
from dlimg.store.images import save_image
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import Store
from tests.support import samples

ROOT = Path(__file__).parents[3]
NOTHING = StoreIndex(layers={}, images={}, others={}, bytecode={})


def wheel(name: str, size: int, file: str = "") -> Wheel:
    result = samples.wheel(name, "1.0")
    return Wheel(
        name=name,
        version="1.0",
        file=file or f"{name}-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
        size=size,
        sha256=result.sha256,
    )


CUDNN = wheel("nvidia-cudnn-cu13", 500_000_000, "nvidia_cudnn_cu13-1.0-py3-none-manylinux.whl")
TORCH = wheel("torch", 400_000_000)
PIP = wheel("pip", 2_000_000, "pip-1.0-py3-none-any.whl")
SMALL = wheel("small", 10_000, "small-1.0-py3-none-any.whl")
CELL = samples.cell("pytorch", accelerator="cuda13.2")
LOCK = samples.lock(CELL.id, wheels=(CUDNN, TORCH, PIP, SMALL))


def shown(cell: Cell, lock: Lock, store: StoreIndex) -> list[tuple[str, int, bool]]:
    return [
        (one.history, one.size, one.exact)
        for one in estimate_layers(cell, lock, store, compression=GZIP)
    ]


def test_an_image_that_nobody_built_is_estimated_from_its_lock() -> None:
    assert shown(CELL, LOCK, NOTHING) == [
        ("wheel: nvidia-cudnn-cu13 1.0", 500_000_000, False),
        ("wheel: torch 1.0", 400_000_000, False),
        ("byte code: torch 1.0", 25_000_000, False),
        ("byte code: pip 1.0", 2_400_000, False),
        ("small wheels: pip 1.0, small 1.0", 2_010_000, False),
        (BYTECODE_HISTORY, 12_000, False),
        ("base: debian:trixie-slim", size_estimate.BASE, False),
        (system_history(CELL), 12_000_000, False),
        (CELL_HISTORY, size_estimate.CELL, False),
    ]


def layer(number: int) -> Layer:
    digest = f"sha256:{number:064}"
    return Layer(digest=digest, size=number, diff_id=digest, unpacked=number)


def test_a_layer_of_the_store_is_exact() -> None:
    own = cell_layer_files(CELL, LOCK).key()
    torch = LayerKey(kind="wheel", source=TORCH.sha256, python="3.13")
    store = StoreIndex(
        layers={str(torch): layer(1), str(own): layer(2)}, images={}, others={}, bytecode={}
    )
    exact = [(history, size) for history, size, is_exact in shown(CELL, LOCK, store) if is_exact]
    assert exact == [("wheel: torch 1.0", 1), (CELL_HISTORY, 2)]
    other = estimate_layers(CELL, LOCK, store, compression="zstd3")
    assert not any(one.exact for one in other)


@pytest.mark.parametrize(
    ("compression", "share"), [("gzip", 1.0), ("zstd1", 0.905), ("zstd3", 0.905), ("zstd9", 0.86)]
)
def test_estimates_are_of_the_compression(compression: str, share: float) -> None:
    wheels = estimate_layers(CELL, LOCK, NOTHING, compression=compression)
    sizes = {estimate.history: estimate.size for estimate in wheels}
    assert sizes[wheel_history(CUDNN)] == int(CUDNN.size * share)
    assert sizes[system_history(CELL)] == int(size_estimate.SYSTEM[Flavour.RUNTIME] * share)


def test_what_another_image_on_the_same_system_has_is_taken_for_this_one() -> None:
    place = (CELL.os.name, CELL.python)
    others = {
        (*place, system_history(CELL)): layer(1),
        (*place, bytecode_history(PIP)): layer(2),
        ("debian12", "3.11", bytecode_history(TORCH)): layer(3),
    }
    store = StoreIndex(layers={}, images={}, others=others, bytecode={})
    result = {history: size for history, size, _ in shown(CELL, LOCK, store)}
    assert result[system_history(CELL)] == 1
    assert result["byte code: pip 1.0"] == 2
    assert result["byte code: torch 1.0"] == 25_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "dlimg/layers")


def assembled(store: Store, cell: Cell, lock: Lock, histories: Sequence[str]) -> None:
    """An image with a layer for each of these words, in the store."""
    ranks = {"wheel": LayerRank.FRAMEWORK, "own": LayerRank.CELL, "system": LayerRank.SYSTEM}
    found = [
        ImageLayer(
            layer=layer(number),
            rank=ranks.get(word.partition(":")[0], LayerRank.WHEEL_BYTECODE),
            history=word,
        )
        for number, word in enumerate(histories, start=1)
    ]
    save_image(store, make_image(found, ImageConfig(), cell_labels(cell, lock), "amd64"))


def test_an_image_that_was_assembled_is_exact_as_long_as_its_lock_is_the_same(store: Store) -> None:
    histories = [wheel_history(TORCH), system_history(CELL), "own: x", "byte code: torch 1.0"]
    assembled(store, CELL, LOCK, histories)
    result = estimate_layers(CELL, LOCK, read_store_index(store), compression=GZIP)
    assert [(one.history, one.exact) for one in result] == [(word, True) for word in histories]
    assert [one.rank for one in result] == [
        LayerRank.FRAMEWORK,
        LayerRank.SYSTEM,
        LayerRank.CELL,
        LayerRank.WHEEL_BYTECODE,
    ]
    newer = samples.lock(CELL.id, wheels=(CUDNN, TORCH, PIP))
    after = {
        one.history: one
        for one in estimate_layers(CELL, newer, read_store_index(store), compression=GZIP)
    }
    assert not after[wheel_history(CUDNN)].exact
    assert after[system_history(CELL)].digest == result[1].digest
    compile_ = samples.cell("pytorch", accelerator="cuda13.2", flavour=Flavour.COMPILE)
    flavour = estimate_layers(compile_, LOCK, read_store_index(store), compression=GZIP)
    code = [one.digest for one in flavour if one.history.startswith("byte code")]
    assert code == [result[3].digest]


def test_ranks_of_an_older_record_follow_from_its_history(store: Store) -> None:
    history = [wheel_history(TORCH), system_history(CELL), "own: x", "byte code: torch 1.0"]
    assembled(store, CELL, LOCK, history)
    ranks = [
        one.rank for one in estimate_layers(CELL, LOCK, read_store_index(store), compression=GZIP)
    ]
    for path in (store.path / "images").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for values in record["layers"]:
            del values["rank"]
        path.write_text(json.dumps(record), encoding="utf-8")
    older = estimate_layers(CELL, LOCK, read_store_index(store), compression=GZIP)
    assert [one.rank for one in older] == ranks


def piece(
    digest: str, size: int, rank: LayerRank = LayerRank.FRAMEWORK, *, exact: bool = True
) -> LayerEstimate:
    return LayerEstimate(
        digest=digest, size=size, history=f"wheel: {digest}", rank=rank, exact=exact
    )


def sized(
    cell: str, *estimate: LayerEstimate, family: str = "jax", accelerator: str = "cuda13.2"
) -> ImageSize:
    return ImageSize(
        cell=cell,
        family=family,
        accelerator=accelerator,
        python="3.13",
        group=f"{family}-1-{accelerator}",
        layers=estimate,
    )


CUDA = piece("nvidia-cublas 1", 900_000_000, LayerRank.CUDA)
BASE = piece("base", 100_000_000, LayerRank.SYSTEM, exact=False)
JAX = sized("jax-1", CUDA, BASE, piece("jaxlib 1", 50_000_000))
WORKSPACE = sized(
    "jax-1-workspace", CUDA, BASE, piece("jaxlib 1", 50_000_000), piece("lab 1", 5000)
)
TORCH_IMAGE = sized("pytorch-1", CUDA, BASE, piece("torch 2", 600_000_000), family="pytorch")
OTHER = sized(
    "tensorflow-1", piece("tensorflow 1", 200_000_000), family="tensorflow", accelerator="cpu"
)
SIZES = MatrixSizes(images=(JAX, WORKSPACE, TORCH_IMAGE, OTHER))
PICTURE = picture(SIZES.images)
GOLDEN = ROOT / "tests/golden/reports"


def test_what_images_share_is_stored_and_pulled_once() -> None:
    assert stored(SIZES.images).size == 1_850_005_000
    assert SIZES.alone(TORCH_IMAGE) == 600_000_000
    assert SIZES.alone(JAX) == 0
    assert pull(JAX, [TORCH_IMAGE]).size == 50_000_000
    assert pull(JAX, [TORCH_IMAGE]).exact
    assert not pull(JAX, [OTHER]).exact
    assert pull(JAX, [WORKSPACE, OTHER]).layers == 0
    assert total_text(SIZES.images) == (
        "4 images: ~3.90 GB one by one, ~1.85 GB in a registry (2.1 times less), 6 layers"
    )
    assert total_text((OTHER,)) == (
        "1 image: 200 MB one by one, 200 MB in a registry (1.0 times less), 1 layer"
    )


def test_a_table_row_for_each_image() -> None:
    assert list(group_rows(SIZES.images)) == [
        ("jax-1-cuda13.2", "2", "~1.05 GB", "~2.10 GB", "~1.05 GB"),
        ("pytorch-1-cuda13.2", "1", "~1.60 GB", "~1.60 GB", "~1.60 GB"),
        ("tensorflow-1-cpu", "1", "200 MB", "200 MB", "200 MB"),
    ]
    assert list(image_rows(SIZES, [WORKSPACE])) == [("jax-1-workspace", "4", "~1.05 GB", "5 kB")]
    assert list(layer_rows(SIZES, JAX)) == [
        ("nvidia-cublas 1", "900 MB", "2: jax, pytorch"),
        ("base", "~100 MB", "2: jax, pytorch"),
        ("jaxlib 1", "50 MB", "1 jax-1-cuda13.2"),
    ]
    assert list(pull_rows([JAX, OTHER], [TORCH_IMAGE])) == [
        ("jax-1", "50 MB", "1 of 3", "~1.05 GB"),
        ("tensorflow-1", "200 MB", "1 of 1", "200 MB"),
    ]
    assert list(pull_table_rows([JAX, TORCH_IMAGE])) == [
        ("1", "jax-1", "-", "50 MB"),
        ("2", "pytorch-1", "600 MB", "-"),
    ]
    assert others_text([]) == "-"


def drawn() -> str:
    """All tables of these images, as a terminal of 80 columns shows them."""
    tables = (
        (GROUPS, group_rows(SIZES.images)),
        (IMAGES, image_rows(SIZES, SIZES.images)),
        (LAYERS, layer_rows(SIZES, WORKSPACE)),
        (PULL_HEADINGS, pull_rows(SIZES.images, [JAX])),
        (pull_table_headings(SIZES.images), pull_table_rows(SIZES.images)),
    )
    texts = (table(names, list(rows), width=80, colour=False) for names, rows in tables)
    return "\n".join((*texts, f"{total_text(SIZES.images)}\n"))


@pytest.mark.parametrize(("name", "draw"), [("size.txt", drawn), ("size.svg", lambda: PICTURE)])
def test_the_size_table_is_the_golden_one(name: str, draw: Callable[[], str]) -> None:
    text = (GOLDEN / name).read_text(encoding="utf-8")
    assert draw() == text, "run tests/unit/cli/test_size.py and review the change"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wheel: torch 2.15.0", "torch 2.15.0"),
        ("small wheels: a 1, b 2, c 3", "small wheels, 3 of them"),
        ("own: RECORDs, commands", "own files"),
        (system_history(CELL), "system: Python 3.13 (runtime)"),
        ("system: something else", "system: something else"),
        ("base: debian:trixie-slim", "base: debian:trixie-slim"),
        (BYTECODE_HISTORY, BYTECODE_HISTORY),
        ("RUN a: b", "RUN a: b"),
    ],
)
def test_words_for_a_layer(text: str, told: str) -> None:
    one = LayerEstimate(digest="x", size=1, history=text, rank=LayerRank.CELL, exact=True)
    assert layer_text(one) == told


def test_json_is_stable() -> None:
    result = sizes_json(SIZES, [JAX, TORCH_IMAGE], [OTHER])
    assert result == {
        "images": [
            {
                "cell": "jax-1",
                "bytes": 1_050_000_000,
                "exact": False,
                "alone_bytes": 0,
                "pull_bytes": 1_050_000_000,
                "layers": ["nvidia-cublas 1", "base", "jaxlib 1"],
            },
            {
                "cell": "pytorch-1",
                "bytes": 1_600_000_000,
                "exact": False,
                "alone_bytes": 600_000_000,
                "pull_bytes": 1_600_000_000,
                "layers": ["nvidia-cublas 1", "base", "torch 2"],
            },
        ],
        "layers": [
            {
                "id": one.digest,
                "history": one.history,
                "words": one.history,
                "bytes": one.size,
                "exact": one.exact,
                "images": [image.cell for image in SIZES.holders[one.digest]],
            }
            for one in (*JAX.layers, TORCH_IMAGE.layers[2])
        ],
        "already_pulled": ["tensorflow-1"],
        "having": ["tensorflow-1"],
        "one_by_one_bytes": 2_650_000_000,
        "registry_bytes": 1_650_000_000,
        "exact": False,
    }


@pytest.mark.parametrize(
    "amounts", [[6, 6, 4, 3, 2, 2, 1], [1], [5.5, 5.5], [1000, 1, 1, 1], [1e9] * 50, []]
)
def test_areas_are_the_amounts_and_do_not_overlap(amounts: list[float]) -> None:
    within = Box(x=10, y=20, width=600, height=400)
    result = tile_boxes(amounts, within)
    assert len(result) == len(amounts)
    total = sum(amounts)
    for amount, box in zip(amounts, result, strict=True):
        assert box.width * box.height == pytest.approx(240_000 * amount / total)
        assert box.x >= 10 - 1e-6
        assert box.y >= 20 - 1e-6
        assert box.x + box.width <= 610 + 1e-6
        assert box.y + box.height <= 420 + 1e-6
    for number, one in enumerate(result):
        for other in result[:number]:
            apart_x = max(one.x, other.x) >= min(one.x + one.width, other.x + other.width) - 1e-6
            apart_y = max(one.y, other.y) >= min(one.y + one.height, other.y + other.height) - 1e-6
            assert apart_x or apart_y


def test_the_picture_is_whole_and_the_same_each_time() -> None:
    text = picture(SIZES.images)
    assert text == picture(SIZES.images)
    root = ET.fromstring(text)  # noqa: S314 - we have just written it
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "cublas 1: 900 MB, in 3: jax, pytorch" in titles
    assert "base: ~100 MB, in 3: jax, pytorch" in titles
    assert root.attrib["aria-label"] == total_text(SIZES.images)
    assert "prefers-color-scheme:dark" in text


def test_a_picture_of_nothing_and_of_strange_words() -> None:
    ET.fromstring(picture([]))  # noqa: S314 - we have just written it
    strange = sized("<&>", piece('<script>"&', 5), family="<b>")
    root = ET.fromstring(picture([strange]))  # noqa: S314 - we have just written it
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def options(
    *patterns: str,
    matrix: Path = ROOT / "matrix.yaml",
    already_pulled: tuple[str, ...] = (),
    svg: Path | None = None,
    format: str = "table",  # noqa: A002 - as the option
) -> SizeOptions:
    return SizeOptions(
        matrix=str(matrix),
        cells=CellSelection(patterns=patterns),
        already_pulled=already_pulled,
        svg=svg,
        format=format,
    )


def test_the_committed_matrix_without_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Context.of({"HOME": str(tmp_path), "DOCKER_HOST": "unix:///nowhere"}, log)
    svg = tmp_path / "picture.svg"
    assert run(options(svg=svg), home) == 0
    printed = capsys.readouterr()
    assert "pytorch-2.15.0-cuda13.2\t" in printed.out
    assert "in a registry (" in printed.out
    ET.parse(svg)  # noqa: S314 - we have just written it
    assert not (tmp_path / ".cache").exists()
    run(options("jax-*-cuda13.2-py3.13-debian13", "pytorch-2.15*-py3.13-debian13"), home)
    assert "with 2" in capsys.readouterr().out
    run(options("jax-*-cuda13.2-py3.13-debian13"), home)
    assert "nvidia-cudnn-cu13 9.26.0.51\t~470 MB\t" in capsys.readouterr().out
    run(options("jax-*-cuda13.2-*", already_pulled=("pytorch-2.15*-py3.13-debian13",)), home)
    assert "to pull" in capsys.readouterr().out.splitlines()[0]
    run(options("jax-*-cuda13.2-py3.13-debian13", format="json"), home)
    assert json.loads(capsys.readouterr().out)["images"][0]["bytes"] > 2_000_000_000


def test_cells_of_which_none_is_locked(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text((ROOT / "matrix.yaml").read_text())
    with pytest.raises(BadInput, match="none of these cells is locked"):
        run(options(matrix=tmp_path / "matrix.yaml"), Context.of({"HOME": str(tmp_path)}, log))


if __name__ == "__main__":
    (GOLDEN / "size.txt").write_text(drawn(), encoding="utf-8")
    (GOLDEN / "size.svg").write_text(PICTURE, encoding="utf-8")
