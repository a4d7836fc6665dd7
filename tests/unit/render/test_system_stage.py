"""The system's stage as one step: what it is of our Dockerfiles, and what is refused."""

from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.render.system_stage import parse_system_step

RENDERED = Path(__file__).parents[3] / "rendered"

FILES = """\
FROM scratch AS files
COPY --chmod=755 <<'EOF' /tool
#!/bin/sh
echo "$1"
EOF
"""
SYSTEM = """\
FROM debian:trixie-slim AS system
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN --mount=type=bind,from=files,target=/run/files \\
    --mount=type=secret,id=ca,mode=0444,required=false \\
    --mount=type=secret,id=netrc,required=false <<'EOF'
# A script's own comment stays.
cp /run/files/tool /usr/bin
EOF
"""


def test_a_step_has_its_script_files_and_secrets() -> None:
    step = parse_system_step(FILES + SYSTEM)
    assert step.shell == ("/bin/bash", "-euo", "pipefail", "-c")
    assert step.script == "# A script's own comment stays.\ncp /run/files/tool /usr/bin\n"
    assert step.secrets == {"ca": 0o444, "netrc": 0o400}
    ((target, (file,)),) = step.files.items()
    assert (target, file.name, file.mode) == ("/run/files", "tool", 0o755)
    assert file.text == '#!/bin/sh\necho "$1"\n'


def test_every_rendered_dockerfile_is_a_step_or_needs_another_python() -> None:
    for path in sorted(RENDERED.glob("*/Dockerfile")):
        text = path.read_text()
        if "AS python\n" in text:
            with pytest.raises(BadInput, match="source=/opt/python"):
                parse_system_step(text)
        else:
            assert "/run/files/settle" in parse_system_step(text).script


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SHELL [", "ENV A=b\nSHELL [", "other instructions than one RUN"),
        ("<<'EOF'\n# A", "<<EOF\n# A", "without a quoted heredoc"),
        ("required=false \\", "required=true \\", "takes --mount=type=secret"),
        (",mode=0444", ",target=/etc/ca", "takes --mount=type=secret"),
        ("type=bind,from=files", "type=cache,id=files", "takes --mount=type=cache"),
        ("target=/run/files", "target=/run/files,rw", "takes --mount=type=bind"),
        ("FROM scratch", "FROM debian:trixie-slim", "more than files"),
        ("COPY --chmod=755 <<'EOF' /tool", "COPY --chmod=755 <<'EOF' /a/tool", "more than files"),
        ("COPY --chmod=755 <<'EOF' /tool", "COPY --chmod=755 <<EOF /tool", "more than files"),
        ('SHELL ["/bin/bash",', "SHELL [/bin/bash,", "no list of words"),
        ("AS system", "AS other", "no stage system"),
    ],
)
def test_other_instructions_are_refused(old: str, new: str, message: str) -> None:
    assert old in FILES + SYSTEM
    with pytest.raises(BadInput, match=message):
        parse_system_step((FILES + SYSTEM).replace(old, new, 1))
