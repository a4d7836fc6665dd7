"""Checks of the families rapids and vllm: NumPy stands in for cuDF, cuML and CuPy."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.check_scripts import (
    FAILED,
    NOT_RUN,
    PASSED,
    code_of,
    script,
)

tag = importlib.import_module("_tag")
gpu = script("common/checks/_gpu")
group_by = script("rapids/checks/dataframe_group_by")
kmeans = script("rapids/checks/kmeans_fit")
rapids = script("rapids/checks/rapids_without_gpu")
generation = script("vllm/checks/offline_generation")
vllm = script("vllm/checks/vllm_without_gpu")

H200 = gpu.Gpu("GPU-1", "NVIDIA H200", "580.159", "9.0", 143771)
NONE = gpu.Sight([], [], "there is no libnvidia-ml.so.1")
ONE = gpu.Sight([H200], [], "")


class Array(np.ndarray):
    """NumPy's array, whose memory has an address as CuPy's has."""

    @property
    def values(self) -> Any:
        return SimpleNamespace(data=SimpleNamespace(ptr=self.ctypes.data))

    def to_numpy(self) -> Any:
        return np.asarray(self)


class Grouped(dict[str, Array]):
    """A group-by's table."""

    def sort_index(self) -> "Grouped":
        return self


class Frame:
    """What the check uses of a dataframe, computed by NumPy; `spoil` changes the answer."""

    def __init__(self, columns: dict[str, Any], spoil: Callable[[dict[str, Any]], None]) -> None:
        self.columns, self.spoil = columns, spoil
        self.value = self

    def groupby(self, name: str) -> "Frame":
        assert name == "key"
        return self

    def agg(self, names: list[str]) -> Grouped:
        answer = group_by.answer(self.columns["key"], self.columns["value"])
        self.spoil(answer)
        return Grouped({name: answer[name].view(Array) for name in names})


def honest(_answer: Any) -> None:
    return


def wrong_sum(answer: dict[str, Any]) -> None:
    answer["sum"][5] += 0.001


def lost_row(answer: dict[str, Any]) -> None:
    answer["count"][0] -= 1


def no_number(answer: dict[str, Any]) -> None:
    answer["max"][3] = np.nan


def grouped(spoil: Callable[[Any], None], *, sight: Any = ONE, held: bool = True) -> int:
    cudf = SimpleNamespace(DataFrame=lambda columns: Frame(columns, spoil))
    machine = group_by.Machine(lambda: sight, lambda: cudf, lambda _address: held)
    return code_of(lambda: group_by.main(machine))


def test_a_group_by_with_numpys_answer_passes() -> None:
    assert grouped(honest) == PASSED
    assert grouped(honest, sight=NONE) == NOT_RUN


@pytest.mark.parametrize("spoil", [wrong_sum, lost_row, no_number])
def test_a_group_by_with_another_answer_fails(spoil: Callable[[Any], None]) -> None:
    assert grouped(spoil) == FAILED


def test_a_group_by_that_is_not_on_the_gpu_fails() -> None:
    assert grouped(honest, held=False) == FAILED


class Clusters:
    """What the check uses of cuML's clusters: each point goes to the nearest true centre."""

    def __init__(self, spoil: Callable[[Any, Any], None]) -> None:
        self.spoil = spoil

    def KMeans(self, **options: int) -> "Clusters":  # noqa: N802 - scikit-learn's name
        assert options["n_clusters"] == len(kmeans.CENTRES)
        return self

    def fit(self, points: Any) -> Any:
        order = [2, 0, 3, 1]  # the numbers of clusters are any
        means = points.reshape(len(order), -1, 3).mean(axis=1)
        labels = np.repeat(np.argsort(order), len(points) // len(order)).astype(np.int32)
        centres = np.array([means[number] for number in order])
        self.spoil(labels, centres)
        return SimpleNamespace(labels_=labels, cluster_centers_=centres)


class _Pointed:
    """An array with an address, as CuPy's."""

    def __init__(self, array: Any) -> None:
        self.array: Any = array.array if isinstance(array, _Pointed) else array
        self.data = SimpleNamespace(ptr=self.array.ctypes.data)

    def reshape(self, *shape: int) -> Any:
        return self.array.reshape(*shape)

    def __len__(self) -> int:
        return len(self.array)


ARRAYS = SimpleNamespace(asarray=_Pointed, asnumpy=lambda array: np.asarray(array.array))


def fitted(spoil: Callable[[Any, Any], None], *, sight: Any = ONE, held: bool = True) -> int:
    load = (Clusters(spoil), ARRAYS)
    machine = kmeans.Machine(lambda: sight, lambda: load, lambda _address: held)
    return code_of(lambda: kmeans.main(machine))


def one_point_elsewhere(labels: Any, _centres: Any) -> None:
    labels[7] = (labels[7] + 1) % 4


def one_cluster(labels: Any, _centres: Any) -> None:
    labels[:] = 0


def moved_centre(_labels: Any, centres: Any) -> None:
    centres[1] += 0.01


def test_clusters_that_are_found_pass() -> None:
    assert fitted(lambda _labels, _centres: None) == PASSED
    assert fitted(lambda _labels, _centres: None, sight=NONE) == NOT_RUN


@pytest.mark.parametrize("spoil", [one_point_elsewhere, one_cluster, moved_centre])
def test_clusters_that_are_missed_fail(spoil: Callable[[Any, Any], None]) -> None:
    assert fitted(spoil) == FAILED


def test_clusters_that_are_not_on_the_gpu_fail() -> None:
    assert fitted(lambda _labels, _centres: None, held=False) == FAILED


def module(name: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType(name)
    made.__dict__["__version__"] = version
    monkeypatch.setitem(sys.modules, name, made)


def test_modules_of_rapids_are_of_the_packages_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"cudf-cu13": "26.6.0", "cuml-cu13": "26.6.0", "numpy": "2.5.5"}
    module("cudf", "26.06.00", monkeypatch)
    module("cuml", "26.06.00", monkeypatch)
    assert rapids.mismatches(installed) == []
    module("cuml", "26.04.00", monkeypatch)
    assert rapids.mismatches(installed) == [
        "cuml-cu13 26.6.0 is installed, cuml 26.04.00 is imported"
    ]
    monkeypatch.setitem(sys.modules, "cuml", None)
    (broken,) = rapids.mismatches(installed)
    assert broken.startswith("cuml cannot be imported: ")


@pytest.mark.parametrize(("printed", "code"), [(rapids.SUMS, PASSED), ("{1: 6.0}", FAILED)])
def test_pandas_code_has_its_answer(
    printed: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = SimpleNamespace(version="26.6.0", cuda="13")
    adapter = SimpleNamespace(build=lambda: build)
    monkeypatch.setattr(rapids, "_adapter", SimpleNamespace(load=lambda: adapter))
    monkeypatch.setattr(rapids, "command_output", lambda: printed)
    assert code_of(rapids.main) == code


def version_shown(
    monkeypatch: pytest.MonkeyPatch,
    printed: str,
    torch: str,
    pins: list[str],
    *,
    has_gpu: bool = True,
) -> int:
    monkeypatch.setattr(tag, "distributions", lambda: {"torch": torch})
    return code_of(lambda: vllm.main("0.16.0", lambda: printed, pins, has_gpu=has_gpu))


PINS = ["numpy", "torch==2.9.1", "torchvision==0.24.1; extra == 'x'"]


def test_the_command_of_vllm_and_its_pytorch_are_those_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert version_shown(monkeypatch, "0.16.0", "2.9.1", PINS) == PASSED
    assert version_shown(monkeypatch, "0.16.0", "2.9.1+cu128", PINS) == PASSED
    assert version_shown(monkeypatch, "0.15.1", "2.9.1", PINS) == FAILED
    no_device = f"{vllm.NO_DEVICE}, please set the environment variable"
    assert version_shown(monkeypatch, no_device, "2.9.1", PINS, has_gpu=False) == PASSED
    assert version_shown(monkeypatch, no_device, "2.9.1", PINS) == FAILED
    broken = "ImportError: libtorch.so: cannot open shared object file"
    assert version_shown(monkeypatch, broken, "2.9.1", PINS, has_gpu=False) == FAILED
    assert version_shown(monkeypatch, "0.16.0", "2.10.0", PINS) == FAILED
    assert version_shown(monkeypatch, "0.16.0", "2.9.1", ["torchvision==2.9.1"]) == FAILED


def generated(
    on_cpu: list[list[int]], on_gpu: list[list[int]], *, sight: Any = ONE, folder: Path
) -> int:
    results: list[Path] = []
    machine = generation.Machine(
        lambda: sight, results.append, lambda *_: on_cpu, lambda *_: on_gpu
    )
    code = code_of(lambda: generation.main(machine))
    assert (len(results) == 1) is (sight is ONE)
    assert not any(path.exists() for path in results)
    assert folder.exists()
    return code


def test_generation_has_to_be_that_of_the_cpu(tmp_path: Path) -> None:
    right = [[5, 9, 3], [7, 7, 2]]
    assert generated(right, [[5, 9, 3], [7, 7, 2]], folder=tmp_path) == PASSED
    assert generated(right, right, sight=NONE, folder=tmp_path) == NOT_RUN
    assert generated(right, [[5, 9, 3], [7, 7, 1]], folder=tmp_path) == FAILED
    assert generated(right, [[5, 9, 3]], folder=tmp_path) == FAILED
    assert generated([[4, 4], [4, 4]], [[4, 4], [4, 4]], folder=tmp_path) == FAILED
