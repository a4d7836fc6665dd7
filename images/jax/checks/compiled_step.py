"""A training step compiled by jax.jit agrees with the same step run eagerly.

needs: gpu
seconds: 120
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _compiled_step


def compiled(step: Callable, weights: list) -> tuple[tuple, str]:
    """What the step gives, and how large the program is that XLA has made of it."""
    import jax

    program = jax.jit(step).lower(weights).compile()
    text = program.as_text() or ""
    return program(weights), f"{text.count(chr(10))} lines of HLO" if "HloModule" in text else ""


if __name__ == "__main__":
    _compiled_step.main("_jax", compiled)
