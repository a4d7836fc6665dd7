"""A user without a passwd entry, of group 0, trains and installs, and writes only to /tmp.

needs: image
seconds: 300
container: any user
"""

import os
import pwd
import sys
from itertools import chain
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _confined
import _tag
import _verdict


def main(top: Path = Path("/")) -> None:
    expected = _tag.cell()
    if not expected:
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    user = os.geteuid()
    if user == 0 or user in {entry.pw_uid for entry in pwd.getpwall()}:
        _verdict.not_run(f"the user {user} is one that the image knows")
    _confined.judge(chain(_confined.faults(), _confined.written(top, user)))


if __name__ == "__main__":
    main()
