"""vLLM imports, its command starts, and its PyTorch is the one that it pins.

needs: nothing
seconds: 240
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _gpu
import _tag
import _verdict

# All that the command says, whatever it is asked, on a machine without a GPU.
NO_DEVICE = "RuntimeError: Failed to infer device type"
PIN = re.compile(r"torch\s*==\s*(?P<version>[0-9.]+)\s*(?:;.*)?")


def command_output() -> str:
    """Return the last line of `vllm --version`."""
    command = [shutil.which("vllm") or "/opt/env/bin/vllm", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return lines[-1] if lines else f"nothing, and ended with {done.returncode}"


def pinned_torch(requirements: list[str]) -> str:
    """Return the version of PyTorch that vLLM's metadata pins, or an empty text."""
    matches = filter(None, map(PIN.fullmatch, requirements))
    return next((match["version"] for match in matches), "")


def main(
    version: str, printed: Callable[[], str], requirements: list[str], *, has_gpu: bool
) -> None:
    """Fail unless the command prints this version, and the installed PyTorch is the pinned one.

    Without a GPU the command gets as far as looking for one.
    """
    shown, pin = printed(), pinned_torch(requirements)
    torch = _tag.distributions().get("torch", "none")
    _verdict.show(version=version, printed=shown, torch=torch, pinned_torch=pin)
    if has_gpu or not shown.startswith(NO_DEVICE):
        _verdict.demand(shown == version, f"`vllm --version` printed {shown}, not {version}")
    _verdict.demand(pin, "vLLM's metadata pins no PyTorch")
    _verdict.demand(
        _tag.same_version(pin, torch), f"vLLM pins torch {pin}, installed is torch {torch}"
    )


if __name__ == "__main__":
    seen = bool(_gpu.look().gpus)
    pins = metadata.requires("vllm") or []
    main(_adapter.load().build().version, command_output, pins, has_gpu=seen)
