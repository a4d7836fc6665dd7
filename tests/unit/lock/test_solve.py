"""uv is asked, again and again until every CUDA part is of the stack's minor."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.host.process import ProcessResult
from dlimg.lock.request import LockRequest, cell_request, stack_request
from dlimg.lock.solve import ROUNDS, NoSolution, solve
from dlimg.model import StackException
from tests.support import lock_fakes, samples
from tests.support.lock_fakes import FakeUv

STACK = samples.stack(exceptions=(StackException(package="cuda-pathfinder", why="own numbers"),))


def versions(request: LockRequest, uv: FakeUv, **environment: str) -> dict[str, str]:
    return {w.name: w.version for w in solve(request, lock_fakes.solver(uv, **environment))}


def test_the_command_needs_neither_the_python_nor_the_platform() -> None:
    uv = FakeUv()
    versions(cell_request(samples.cell(), None), uv)
    (call,) = uv.calls
    assert call.requirements == ("torch==2.15.0", "pip")
    assert call.argv[:13] == (
        *("/bin/uv", "pip", "compile", "-", "--quiet"),
        *("--python", "/bin/python", "--no-python-downloads"),
        *("--python-version", "3.13", "--python-platform", samples.PLATFORM, "--only-binary"),
    )
    assert "--find-links" not in call.argv


def test_a_stack_is_held_to_its_minor_but_for_its_exceptions() -> None:
    uv = FakeUv()
    locked = versions(stack_request(STACK), uv)
    assert locked["cuda-bindings"] == "13.2.0"
    assert locked["cuda-pathfinder"] == "1.9.0"
    assert locked["nvidia-cudnn-cu13"] == "9.28.0.42"
    assert [call.constraints for call in uv.calls] == [(), ("cuda-bindings==13.2.*",)]


def test_a_stack_is_held_to_its_cudnn() -> None:
    stack = samples.stack(cudnn="9.26", exceptions=STACK.exceptions)
    assert versions(stack_request(stack), FakeUv())["nvidia-cudnn-cu13"] == "9.26.0.51"


def test_an_override_is_handed_to_uv_as_one() -> None:
    uv = FakeUv()
    stack = samples.stack(cudnn="9.25", other_cudnn=True, exceptions=STACK.exceptions)
    assert versions(stack_request(stack), uv)["nvidia-cudnn-cu13"] == "9.25.0.1"
    assert {call.overrides for call in uv.calls} == {("nvidia-cudnn-cu13==9.25.*",)}
    assert all("nvidia-cudnn-cu13==9.25.*" not in call.constraints for call in uv.calls)


def test_without_the_exception_the_error_names_the_conflict() -> None:
    with pytest.raises(NoSolution) as caught:
        solve(stack_request(samples.stack()), lock_fakes.solver(FakeUv()))
    (problem,) = caught.value.problems
    assert problem.where == "stack cuda13.2"
    assert "in the way: cuda-pathfinder==13.2.*" in problem.message
    assert "`exceptions`" in problem.hint


def test_a_cell_follows_the_pins_and_the_cuda_of_its_stack() -> None:
    stack_lock = samples.lock("cuda13.2", wheels=(samples.wheel("nvidia-cudnn-cu13", "9.26.0.51"),))
    cell = samples.cell("jax", "0.12.0", package="jax", accelerator="cuda13.2")
    locked = versions(cell_request(cell, stack_lock), FakeUv())
    assert locked["nvidia-cudnn-cu13"] == "9.26.0.51"
    assert locked["nvidia-cuda-nvcc"] == "13.2.86", "one minor means neither newer nor older"


def test_a_cell_that_cannot_follow_names_the_pin() -> None:
    stack_lock = samples.lock("cuda13.2", wheels=(samples.wheel("nvidia-cudnn-cu13", "9.20.0.1"),))
    cell = samples.cell("jax", "0.12.0", package="jax", accelerator="cuda13.2")
    with pytest.raises(BadInput, match=r"in the way: nvidia-cudnn-cu13==9\.20\.0\.1;") as caught:
        solve(cell_request(cell, stack_lock), lock_fakes.solver(FakeUv()))
    assert caught.value.problems[0].where == cell.id
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("wanted", "is_blamed"), [("numpy>=2", True), ("numpy<1.20", False)])
def test_a_bound_of_the_release_is_named_where_it_is_in_the_way(
    wanted: str, *, is_blamed: bool
) -> None:
    cause = "numpy<2" if is_blamed else "numpy<2.0.1 and numpy<21"
    report = f"error: No solution found\n  cause: Because you require {wanted} and {cause}, no."

    def run(argv: Sequence[str], **_: object) -> ProcessResult:
        return ProcessResult(argv=tuple(argv), returncode=1, stdout="", stderr=report)

    request = replace(cell_request(samples.cell(), None), constraints=("numpy<2",))
    with pytest.raises(NoSolution) as caught:
        solve(request, replace(lock_fakes.solver(FakeUv()), run=run))
    (problem,) = caught.value.problems
    assert ("in the way: numpy<2;" in problem.message) is is_blamed
    assert ("needs numpy<2 and does not declare it" in problem.hint) is is_blamed


def test_a_version_that_does_not_exist() -> None:
    with pytest.raises(NoSolution, match="torch has no version for torch==99"):
        solve(cell_request(samples.cell(version="99"), None), lock_fakes.solver(FakeUv()))


def test_only_cells_with_a_local_version_see_the_folders() -> None:
    uv = FakeUv()
    cell = samples.cell(version="2.13.0", requirements=("torch==2.13.0+cpu",))
    settings = {"UV_FIND_LINKS": "/elsewhere", "UV_TORCH_BACKEND": "cpu", "HTTPS_PROXY": "p"}
    assert versions(cell_request(cell, None), uv, **settings)["torch"] == "2.13.0+cpu"
    (call,) = uv.calls
    assert call.argv[call.argv.index("--find-links") + 1] == "/wheels"
    assert call.environment == {"HTTPS_PROXY": "p"}


def test_a_local_version_that_nobody_asked_for_is_refused() -> None:
    answer = lock_fakes.pylock({"torch": "2.13.0+cpu"})
    cell = samples.cell(version="2.13.0")
    with pytest.raises(BadInput, match=r"torch 2\.13\.0\+cpu, which no requirement asks for"):
        solve(cell_request(cell, None), lock_fakes.solver(FakeUv(answer=answer)))


def test_versions_that_were_locked_are_preferred() -> None:
    request = cell_request(samples.cell(requirements=("numpy",)), None)
    uv = FakeUv()
    (kept,) = solve(request, lock_fakes.solver(uv), prefer=(samples.wheel("numpy", "2.4.0"),))
    (fresh,) = solve(request, lock_fakes.solver(uv))
    assert (kept.version, fresh.version) == ("2.4.0", "2.5.0")


@pytest.mark.parametrize(
    ("code", "says", "error", "message"),
    [
        (
            2,
            lock_fakes.UNREACHABLE,
            NetworkFailure,
            "the package index cannot be used: Request failed",
        ),
        (2, "error: invalid peer certificate: UnknownIssuer", NetworkFailure, "UnknownIssuer"),
        (124, "operation timed out", NetworkFailure, "timed out"),
        (2, "error: unexpected argument", Negative, "uv failed with exit code 2"),
        (127, "No such file or directory", Negative, "exit code 127"),
    ],
)
def test_failures_of_uv_are_explained(
    code: int, says: str, error: type[Exception], message: str
) -> None:
    request = cell_request(samples.cell(), None)
    with pytest.raises(error, match=message):
        solve(request, lock_fakes.solver(FakeUv(code=code, says=says)))


def test_parts_that_never_fit_end_the_rounds() -> None:
    uv = FakeUv(answer=lock_fakes.pylock({"cuda-bindings": "13.5.0"}))
    with pytest.raises(NoSolution, match="cuda-bindings cannot be held to the stack's CUDA"):
        solve(stack_request(STACK), lock_fakes.solver(uv))
    assert len(uv.calls) == ROUNDS
