"""Modules of the layout, loaded from images/_layout as the image's programs load them."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

LAYOUT = Path(__file__).parents[2] / "images" / "_layout"


def load_script(name: str) -> Any:
    """Return the module of a file; modules beside it can be imported."""
    if str(LAYOUT) not in sys.path:
        sys.path.append(str(LAYOUT))
    spec = importlib.util.spec_from_file_location(name, LAYOUT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
