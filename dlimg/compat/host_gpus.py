"""A machine as images see it: its GPUs and its driver, and what was noticed while looking."""

from dataclasses import dataclass

from dlimg.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedGpu:
    """A GPU: `capability` such as `8.9`, empty where the driver did not say."""

    name: str
    capability: str

    @property
    def architecture(self) -> str:
        """`sm_89`, as compilers call it."""
        return f"sm_{self.capability.replace('.', '')}" if self.capability else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMachine:
    """What was found: `driver` is empty where none answers, `cuda` the newest that it knows.

    `machine` is what its programs are made for (`x86_64`), empty where nobody has looked.
    `findings` are what a person has to know, each with what to do next.
    """

    gpus: tuple[DetectedGpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    machine: str = ""
    findings: tuple[Problem, ...] = ()

    @property
    def kinds(self) -> tuple[DetectedGpu, ...]:
        """Its GPUs, those of one kind once."""
        return tuple(dict.fromkeys(self.gpus))
