"""The adapter of the framework under test: images/<framework>/framework.py.

Devices are called `cpu` and `gpu` in every adapter.
"""

import ast
import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import _tag
import _verdict

if TYPE_CHECKING:
    import _convolution

IMAGES = Path(__file__).resolve().parents[2]
ADAPTER = "framework.py"
# The name of an adapter's program that differentiates a sum of three squares and prints `6.0`.
GRADIENT = "GRADIENT"

Array = Any  # of NumPy, which an image need not have
Tensor = Any  # of the framework
Step = Callable[[list[Tensor]], tuple[Tensor, Tensor, list[Tensor]]]


class Build(NamedTuple):
    """A framework's version, and the CUDA and cuDNN that it was built for, or empty texts.

    `architectures` are those that it reports GPU code for, `library` is the file with that code.
    """

    version: str
    cuda: str = ""
    cudnn: str = ""
    architectures: Sequence[str] = ()
    library: Path | None = None


class Adapter(Protocol):
    """The functions of a framework's adapter; importing the adapter imports the framework."""

    NAME: str  # with the version: `torch 2.15.0`

    def build(self) -> Build:
        """Return how the framework was built."""

    def is_cuda_build(self) -> bool:
        """Return whether this build can use a GPU."""

    def device(self) -> str:
        """Return the first GPU's name, or an empty text where the framework sees none."""

    def device_count(self) -> int:
        """Return the number of GPUs that the framework sees."""

    def on(self, place: str) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which the framework works on this device."""

    def put(self, array: Array, place: str) -> Tensor:
        """Return a tensor on this device with a NumPy array's content."""

    def numpy(self, tensor: Tensor) -> Array:
        """Return a tensor's content as a NumPy array."""

    def cast(self, tensor: Tensor, kind: str) -> Tensor:
        """Return a tensor of another type, such as `bfloat16`."""

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor's elements, computed on the tensor's device."""

    def wait(self, tensor: Tensor) -> None:
        """Wait until a tensor, and all work queued before it, is computed."""

    def address(self, tensor: Tensor) -> int:
        """Return the address of a tensor's first element."""

    def bytes_in_use(self) -> int:
        """Return the bytes of GPU memory that the framework counts as used."""

    def allow_tf32(self, *, allowed: bool) -> None:
        """Allow or forbid TF32 in convolutions and matrix products of float32."""

    def convolve(self, images: Tensor, kernel: Tensor) -> Tensor:
        """Convolve images (N, H, W, C) with a kernel (H, W, I, O), padded with zeros."""

    def step(self, problem: "_convolution.Problem", place: str, kind: str) -> Step:
        """Return a function of weights that gives logits, loss and gradients.

        Convolutions and the matrix product are computed in
        `kind`, all else in float32.
        """

    def compile_step(
        self, step: Step, weights: list[Tensor]
    ) -> tuple[tuple[Tensor, Tensor, list[Tensor]], str]:
        """Compile a step and run it; return its result, and figures that prove the compilation."""

    def all_reduce(self, arrays: Sequence[Array]) -> list[Tensor]:
        """Put each array on its own GPU and return their sum on each, added by NCCL."""


def adapter_path() -> Path | None:
    """Return the adapter of the cell's framework, or the only one in the folder; else None."""
    named = _tag.cell().get("framework")
    if named:
        path = IMAGES / named / ADAPTER
        return path if path.is_file() else None
    paths = sorted(IMAGES.glob(f"*/{ADAPTER}"))
    return paths[0] if len(paths) == 1 else None


def load() -> Adapter:
    """Import the adapter, and with it the framework; end the check as not run without one."""
    path = adapter_path()
    if path is None:
        return _verdict.not_run("this image has no framework with an adapter (framework.py)")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return cast("Adapter", importlib.import_module(path.stem))


def gradient_program() -> str:
    """Return the adapter's GRADIENT without importing the framework, or an empty text."""
    path = adapter_path()
    for node in ast.parse(path.read_text()).body if path else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == GRADIENT:
                return str(ast.literal_eval(value))
    return ""
