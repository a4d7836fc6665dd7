"""On a read-only disk with only /tmp to write to, the framework trains and pip installs.

needs: image
seconds: 300
container: read-only
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _confined
import _tag
import _verdict

PLACES = ("/", "/code", "/data", "/output", "/opt/env", "/usr", "/var/tmp")  # noqa: S108


def main(places: tuple[str, ...] = PLACES) -> None:
    expected = _tag.cell()
    if not expected:
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    home = expected.get("home", "")
    is_open = [
        place for place in (*places, home) if place and not os.statvfs(place).f_flag & os.ST_RDONLY
    ]
    if is_open:
        _verdict.not_run(f"this container is not read-only: {', '.join(is_open)}")
    _confined.judge(_confined.faults())


if __name__ == "__main__":
    main()
