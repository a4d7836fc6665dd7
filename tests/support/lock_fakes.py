"""Fakes for locking: a uv with a few packages, an index with their RECORDs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from dlimg.host.process import ProcessResult
from dlimg.lock.lock_all import Locker
from dlimg.lock.pylock import ResolvedWheel, WheelContents, parse_pylock
from dlimg.lock.solve import UvSolver

UNREACHABLE = """error: Request failed after 3 retries in 9.4s
  cause: Failed to fetch: http://mirror.test/simple/torch/
  cause: tcp connect error
"""

# What each package brings along, and its versions, newest last.
BRINGS: Mapping[str, tuple[str, ...]] = {
    "torch": ("cuda-bindings", "cuda-pathfinder", "nvidia-cudnn-cu13"),
    "jax": ("nvidia-cuda-nvcc", "nvidia-cudnn-cu13"),
}
VERSIONS: Mapping[str, tuple[str, ...]] = {
    "torch": ("2.13.0", "2.13.0+cpu", "2.15.0"),
    "jax": ("0.12.0",),
    "numpy": ("2.4.0", "2.5.0"),
    "pip": ("26.3",),
    "cuda-bindings": ("13.2.0", "13.5.0"),
    "cuda-pathfinder": ("1.9.0",),
    "nvidia-cuda-nvcc": ("13.1.0", "13.2.86", "13.5.37"),
    "nvidia-cudnn-cu13": ("9.25.0.1", "9.26.0.51", "9.28.0.42"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The arguments of one call of uv."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    preferred: str
    overrides: tuple[str, ...] = ()


def _lines_of(argv: Sequence[str], option: str) -> tuple[str, ...]:
    if option not in argv:
        return ()
    return tuple(Path(argv[argv.index(option) + 1]).read_text().splitlines())


@dataclass(slots=True, kw_only=True)
class FakeUv:
    """Takes the newest version that all constraints allow, or the preferred one."""

    versions: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(VERSIONS))
    answer: str = ""
    says: str = ""
    code: int = 0
    calls: list[Call] = field(default_factory=list)
    stopped: bool = False

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float | None = None,
    ) -> ProcessResult:
        assert cwd is not None, "uv must not read the settings of the folder it is called from"
        assert timeout is not None
        output = Path(argv[argv.index("--output-file") + 1])
        call = Call(
            argv=tuple(argv),
            environment=dict(env or {}),
            requirements=tuple((stdin or "").splitlines()),
            constraints=tuple(Path(argv[argv.index("--constraints") + 1]).read_text().splitlines()),
            preferred=output.read_text() if output.exists() else "",
            overrides=_lines_of(argv, "--overrides"),
        )
        self.calls.append(call)
        if self.code:
            return ProcessResult(argv=call.argv, returncode=self.code, stdout="", stderr=self.says)
        chosen, missing = self._choose(call)
        if missing:
            output_text = (
                f"error: No solution found when resolving dependencies\n  cause: Because {missing}"
            )
            return ProcessResult(argv=call.argv, returncode=1, stdout="", stderr=output_text)
        output.write_text(self.answer or pylock(chosen))
        return ProcessResult(argv=call.argv, returncode=0, stdout="", stderr="")

    def stop(self) -> None:
        self.stopped = True

    def _choose(self, call: Call) -> tuple[dict[str, str], str]:
        asked = [Requirement(text) for text in call.requirements]
        limits = [*asked, *map(Requirement, (*call.constraints, *call.overrides))]
        names = {name for each in asked for name in (each.name, *BRINGS.get(each.name, ()))}
        chosen: dict[str, str] = {}
        for name in sorted(names):
            allowed = [
                version
                for version in self.versions.get(name, ())
                if ("+" in version) <= any("+" in str(each) for each in limits)
                if all(each.specifier.contains(version) for each in limits if each.name == name)
            ]
            if not allowed:
                of_it = ", ".join(str(each) for each in limits if each.name == name)
                return {}, f"{name} has no version for {of_it}"
            kept = [v for v in allowed if f'"{name}"\nversion = "{v}"' in call.preferred]
            chosen[name] = kept[0] if kept else max(allowed, key=Version)
        return chosen, ""


def pylock(versions: Mapping[str, str]) -> str:
    """Return uv's pylock.toml of these packages; local versions have file URLs."""
    return 'lock-version = "1.0"\n' + "".join(
        package(name, version, f"{name.replace('-', '_')}-{version}-py3-none-any.whl")
        for name, version in versions.items()
    )


def package(name: str, version: str, *files: str) -> str:
    wheels = ", ".join(
        f'{{ url = "{address(file)}", hashes = {{ sha256 = "{digest(file)}" }} }}' for file in files
    )
    return f'[[packages]]\nname = "{name}"\nversion = "{version}"\nwheels = [{wheels}]\n'


def address(file: str) -> str:
    return f"file:///wheels/{file}" if "+" in file else f"https://files.test/ab/cd/{file}"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def resolved_wheel(name: str = "torch", version: str = "2.15.0") -> ResolvedWheel:
    (wheel,) = parse_pylock(
        pylock({name: version}), python="3.13", platform="x86_64-manylinux_2_28"
    )
    return wheel


@dataclass(slots=True, kw_only=True)
class FakeIndex:
    """An index in which each wheel has one module of its own, and the files in `extra`."""

    extra: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def read(self, wheel: ResolvedWheel) -> WheelContents:
        self.asked.append(wheel.name)
        own = f"{wheel.name}/__init__.py,sha256=abc,10\n"
        return WheelContents(size=1234, record=own + self.extra.get(wheel.name, ""))


def quiet(line: str) -> None:
    """Check that a message is not empty."""
    assert line


def solver(uv: FakeUv, **environment: str) -> UvSolver:
    return UvSolver(
        uv="/bin/uv",
        interpreter="/bin/python",
        environment=environment,
        folders=(Path("/wheels"),),
        run=uv,
        stop=uv.stop,
    )


def locker(
    folder: Path, uv: FakeUv, *, index: FakeIndex | None = None, upgrade: bool = False
) -> Locker:
    return Locker(
        folder=folder, solver=solver(uv), read_wheel=(index or FakeIndex()).read, upgrade=upgrade
    )
