"""The machine that dlimg runs on: its GPUs and driver, and problems with them."""

from dataclasses import dataclass

from dlimg.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedGpu:
    """A GPU; `capability` is such as `8.9`, empty if the driver did not say."""

    name: str
    capability: str

    @property
    def architecture(self) -> str:
        """`sm_89`, as compilers call it."""
        return f"sm_{self.capability.replace('.', '')}" if self.capability else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMachine:
    """The local machine; `driver` is empty without one, `cuda` the newest that it supports.

    `arch` is the CPU architecture (`x86_64`), empty if unknown. `findings` are problems for the
    user, each with what to do next.
    """

    gpus: tuple[DetectedGpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    arch: str = ""
    findings: tuple[Problem, ...] = ()

    @property
    def kinds(self) -> tuple[DetectedGpu, ...]:
        """Its GPUs, those of one kind once."""
        return tuple(dict.fromkeys(self.gpus))
