"""What the last stage says, read as BuildKit reads it; and what it must not say."""

from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.render.dockerfile_parser import parse_stages, stage_closure
from dlimg.render.image_config import ImageConfig
from tests.support.dockerfile_config import config_in

RENDERED = Path(__file__).parents[3] / "rendered"
START = "FROM scratch AS system\nFROM system AS image\nRUN <<'EOF'\nENV NOT=this\nEOF\n"


def test_every_instruction_of_a_stage_is_read() -> None:
    text = (
        f"{START}"
        "ENV PATH=/a:/b \\\n    # a comment between\n    B='two words' C=x\\ y\n"
        'ENV B="again $" D=\n'.replace("$", "\\$")
        + 'LABEL one="1 \\"quoted\\" \\\\ \\n" \\\n      two=2\n'
        "EXPOSE 8888\nEXPOSE 53/udp\nWORKDIR /code\nUSER user\n"
        'ENTRYPOINT ["/usr/bin/tini", "--"]\nCMD ["bash", "-c", "a b"]\n'
    )
    assert config_in(text) == ImageConfig(
        env=("PATH=/a:/b", "B=again $", "C=x y", "D="),
        labels={"one": '1 "quoted" \\ \\n', "two": "2"},
        workdir="/code",
        user="user",
        entrypoint=("/usr/bin/tini", "--"),
        cmd=("bash", "-c", "a b"),
        exposed=("53/udp", "8888/tcp"),
    )


@pytest.mark.parametrize(
    "line",
    [
        "RUN true",
        "COPY a b",
        "VOLUME /data",
        "HEALTHCHECK NONE",
        "STOPSIGNAL SIGINT",
        "SHELL ['x']",
        "ONBUILD RUN true",
        "ENV PATH=/a:$PATH",
        'ENV PATH="/a:$PATH"',
        "ENV NAME value",
        "ENV A='open",
        'ENV A="open',
        "LABEL =x",
        "WORKDIR code",
        "WORKDIR /a /b",
        "USER a b",
        "CMD bash",
        'CMD "bash"',
        "CMD [1]",
        "CMD " + "[" * 100_000,
        "ENTRYPOINT tini",
        "EXPOSE 8000-9000",
        "EXPOSE 1 2",
        "ENV " + "a" * 100_000 + "$",
    ],
)
def test_what_has_to_be_executed_or_is_not_known(line: str) -> None:
    with pytest.raises(BadInput) as caught:
        config_in(START + line + "\n")
    assert caught.value.problems[0].hint == "build this image with BuildKit"


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "ENV A=b\nFROM x\n", "FROM x\nRUN <<EOF\nno end\n"]
)
def test_text_that_is_no_dockerfile(text: str) -> None:
    with pytest.raises(BadInput):
        parse_stages(text)


def test_every_rendered_image_can_be_read() -> None:
    paths = sorted(RENDERED.glob("*/Dockerfile"))
    assert len(paths) > 40
    for path in paths:
        config = config_in(path.read_text())
        assert config.labels["io.dlimg.cell"] == path.parent.name
        assert (config.user, config.workdir) == ("1000:100", "/code")
        assert config.env[0].startswith("PATH=/home/user/env/bin:/opt/env/bin:")
        assert config.entrypoint == ("/usr/bin/tini", "-s", "--", "dlimg-entrypoint")
        assert ("8888/tcp" in config.exposed) == path.parent.name.endswith("-workspace")


def test_a_variable_keeps_its_place_and_takes_the_upper_value() -> None:
    below = ImageConfig(  # noqa: S604  # it says how an image is run, and runs nothing
        env=("PATH=/bin", "BASE=1"),
        labels={"a": "below", "b": "below"},
        cmd=("sh",),
        exposed=("1/tcp",),
        shell=("/bin/bash",),
    )
    above = ImageConfig(env=("NEW=1", "PATH=/usr/bin"), labels={"a": "above"}, user="user")
    assert above.on(below) == ImageConfig(  # noqa: S604
        env=("PATH=/usr/bin", "BASE=1", "NEW=1"),
        labels={"a": "above", "b": "below"},
        user="user",
        cmd=("sh",),
        exposed=("1/tcp",),
        shell=("/bin/bash",),
    )


STAGES = """\
# a comment
FROM base AS tool
COPY <<"EOF" /a
FROM is no instruction here
EOF
FROM tool AS python
RUN one \\
    # two
    && three
FROM scratch AS files
COPY <<ONE <<-TWO /
1
ONE
2
\tTWO
# of the next stage
FROM base AS system
RUN --mount=type=bind,from=files,target=/run/files --mount=type=bind,from=python,target=/p true
FROM scratch AS lock
COPY a b
FROM system AS image
RUN --mount=from=lock true
"""


def test_stages_and_what_one_is_made_from() -> None:
    result = {stage.name: stage for stage in parse_stages(STAGES)}
    assert list(result) == ["tool", "python", "files", "system", "lock", "image"]
    assert [instruction.word for instruction in result["tool"].instructions] == ["FROM", "COPY"]
    assert result["tool"].instructions[1].line == 3
    assert result["python"].instructions[1].text == "one     && three"
    assert (
        result["files"].source == "FROM scratch AS files\nCOPY <<ONE <<-TWO /\n1\nONE\n2\n\tTWO\n"
    )
    of_system = [stage.name for stage in stage_closure(STAGES, "system")]
    assert of_system == ["tool", "python", "files", "system"]
    assert [stage.name for stage in stage_closure(STAGES, "files")] == ["files"]
    with pytest.raises(BadInput, match="no stage other"):
        stage_closure(STAGES, "other")
