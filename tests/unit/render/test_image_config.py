"""The config of images: what it is made from, and which templates are refused for theirs."""

import shutil
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.matrix.parse import LAYOUT_NAMES, LAYOUT_PREFIX
from dlimg.model import Cell, EnvVar, Flavour
from dlimg.render.dockerfile import load_templates, render_dockerfile
from dlimg.render.image_config import affected_program, image_config, image_environment
from dlimg.render.naming import cell_labels
from tests.support import samples
from tests.support.dockerfile_config import config_in
from tests.support.image_folders import files_in

IMAGES = Path(__file__).parents[3] / "images"
CELLS = [
    samples.cell("jax"),
    samples.cell("jax", accelerator="cuda13.2"),
    samples.cell(accelerator="cuda13.2", flavour=Flavour.DEVEL),
    samples.cell(flavour=Flavour.WORKSPACE),
    samples.cell(flavour=Flavour.COMPILE, os="debian12"),
]


def with_env(*variables: EnvVar) -> Cell:
    cell = samples.cell()
    return type(cell)(**{name: getattr(cell, name) for name in cell.__slots__} | {"env": variables})


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def test_the_dockerfile_sets_the_image_config(cell: Cell) -> None:
    lock = samples.lock(cell.id)
    wanted = image_config(cell, cell_labels(cell, lock))
    config = config_in(render_dockerfile(cell, lock, load_templates(files_in(IMAGES))))
    assert config.env == wanted.env
    assert (config.cmd, config.entrypoint, config.user) == (
        wanted.cmd,
        wanted.entrypoint,
        "1000:100",
    )
    assert (config.healthcheck, config.exposed) == (wanted.healthcheck, wanted.exposed)
    assert bool(config.healthcheck) == (cell.flavour is Flavour.WORKSPACE)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def test_what_the_layout_sets_the_matrix_cannot(cell: Cell) -> None:
    names = {name for name in image_environment(cell) if not name.startswith(LAYOUT_PREFIX)}
    assert names <= LAYOUT_NAMES


def test_variables_of_the_matrix_are_in_it_as_they_are() -> None:
    variables = (
        EnvVar(name="XLA_FLAGS", value="--a=\"b c\" $d \\ 'e'", why="for a reason"),
        EnvVar(name="LD_PRELOAD", value="/usr/lib/libjemalloc.so.2", why="memory"),
    )
    cell = with_env(*variables)
    text = render_dockerfile(cell, samples.lock(cell.id), load_templates(files_in(IMAGES)))
    assert "\n# memory\nENV LD_PRELOAD=/usr/lib/libjemalloc.so.2\n" in text
    config = dict(variable.split("=", 1) for variable in config_in(text).env)
    assert {variable.name: config[variable.name] for variable in variables} == {
        variable.name: variable.value for variable in variables
    }


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("LD_PRELOAD", "the loader"),
        ("LD_AUDIT", "the loader"),
        ("PYTHONPATH", "Python"),
        ("PYTHONHOME", "Python"),
        ("PIP_INDEX_URL", "pip"),
        ("UV_INDEX", "uv"),
        ("SSL_CERT_FILE", "TLS"),
        ("REQUESTS_CA_BUNDLE", "TLS"),
        ("https_proxy", "the network"),
        ("GIT_SSH_COMMAND", "git"),
        ("BASH_ENV", "the shell"),
        ("IFS", "the shell"),
        ("XLA_FLAGS", "the framework"),
        ("TF_XLA_FLAGS", "the framework"),
        ("CUDA_VISIBLE_DEVICES", "CUDA"),
        ("TORCH_LOGS", ""),
        ("OMP_NUM_THREADS", "threads"),
        ("DLIMG_OVERLAY", "the layout"),
        ("MY_APPLICATION", ""),
    ],
)
def test_a_changed_variable_names_who_set_it(name: str, whose: str) -> None:
    program = affected_program(name, samples.cell("tensorflow").framework)
    assert whose in program if whose else program == ""


# What a template adds behind the layout's own lines, and what is said of it.
LIES = [
    ("ENV LD_PRELOAD=/lib/x.so", "sets LD_PRELOAD (it changes the loader and the C library)"),
    ("ENV LD_LIBRARY_PATH=/x", "sets LD_LIBRARY_PATH (it changes the loader"),
    ("ENV PYTHONPATH=/code", "sets PYTHONPATH (it changes Python)"),
    ("ENV PYTHONSTARTUP=/code/x.py", "sets PYTHONSTARTUP (it changes Python)"),
    ("ENV PIP_INDEX_URL=https://example.com", "sets PIP_INDEX_URL (it changes pip)"),
    ("ENV UV_INDEX=https://example.com", "sets UV_INDEX (it changes uv)"),
    ("ENV XLA_FLAGS=--xla_x", "sets XLA_FLAGS"),
    ("ENV TORCH_LOGS=x", "sets TORCH_LOGS (it changes the framework)"),
    ("ENV SSL_CERT_FILE=/x", "sets SSL_CERT_FILE (it changes TLS)"),
    ("ENV HTTPS_PROXY=http://x", "sets HTTPS_PROXY (it changes the network)"),
    ("ENV BASH_ENV=/x", "sets BASH_ENV (it changes the shell)"),
    ("ENV OMP_NUM_THREADS=1", "sets OMP_NUM_THREADS (it changes the framework's threads)"),
    ("ENV JUST_SO=1", "sets JUST_SO, which neither layout nor matrix states"),
    ("env LD_PRELOAD=/x", "sets LD_PRELOAD"),
    ("EnV\tLD_PRELOAD=/x", "sets LD_PRELOAD"),
    ("ENV TZ=UTC \\\n    # a comment\n    LD_PRELOAD=/x", "sets LD_PRELOAD"),
    ("RUN cat <<<EOF\nENV LD_PRELOAD=/x\nRUN cat <<EOF\nEOF", "sets LD_PRELOAD"),
    ("ENV PATH=/usr/bin", "sets PATH to another value than '/home/user/env/bin:"),
    ("ENV PIP_CONSTRAINT=/dev/null", "sets PIP_CONSTRAINT to another value"),
    ("ENV HOME=/root", "sets HOME (it changes a promise of the layout)"),
    ("ENV SHELL=/bin/sh", "sets SHELL to another value"),
    ("ENV PYTHONUNBUFFERED=0", "sets PYTHONUNBUFFERED to another value"),
    ("ENV NAME=$PATH", "a variable whose value is known only in a build: ENV NAME=$PATH"),
    ("ENV NAME value", "a variable whose value is known only in a build"),
    ("VOLUME /data", "an instruction that dlimg does not know: VOLUME"),
    ("ONBUILD RUN true", "an instruction that dlimg does not know: ONBUILD"),
    ("STOPSIGNAL SIGKILL", "an instruction that dlimg does not know: STOPSIGNAL"),
    ("MAINTAINER x", "an instruction that dlimg does not know: MAINTAINER"),
    ("HEALTHCHECK CMD true", "an instruction that dlimg does not know: HEALTHCHECK"),
    ('SHELL ["/bin/sh", "-c"]', "SHELL is not /bin/bash -euo pipefail -c"),
    ("EXPOSE 22", "EXPOSE is not left out"),
    ("LABEL vendor=NVIDIA", "a label that is not expected: vendor"),
    ("LABEL io.dlimg.cuda=99", "a label that is not expected: io.dlimg.cuda"),
    ("FROM scratch AS other", "the last stage starts from scratch"),
    ("FROM image AS other\nENV LD_PRELOAD=/x", "sets LD_PRELOAD"),
]


def project(folder: Path, text: str) -> str:
    shutil.copytree(IMAGES / "_layout", folder / "_layout")
    (folder / "pytorch").mkdir()
    path = folder / "pytorch/Dockerfile.j2"
    path.write_text(text)
    return str(path)


def refused(folder: Path, cell: Cell) -> tuple[str, str, str]:
    with pytest.raises(BadInput) as caught:
        render_dockerfile(cell, samples.lock(cell.id), load_templates(files_in(folder)))
    problem = caught.value.problems[0]
    return problem.message, problem.where, problem.hint


@pytest.mark.parametrize(("line", "said"), LIES)
def test_a_template_that_sets_what_nobody_states(line: str, said: str, tmp_path: Path) -> None:
    start = '{% extends "_layout/Dockerfile.j2" %}\n{% block framework %}\n'
    path = project(tmp_path, f"{start}{line}\n{{% endblock %}}\n")
    message, where, hint = refused(tmp_path, samples.cell())
    assert said in message
    assert message.endswith("for pytorch-2.15.0-cpu-py3.13-debian13")
    assert where.startswith(f"{path}:") or "/_layout/Dockerfile.j2:" in where
    assert hint
    if "which neither layout nor matrix states" in message:
        number = next(
            at for at, text in enumerate(line.splitlines(), 3) if "ENV" in text.upper() or at > 3
        )
        assert int(where.rpartition(":")[2]) >= number
        assert "families: pytorch: env: {" in hint


# The same in the layout itself: a line of it, and what stands there instead.
LAYOUT_LIES = [
    ("FROM system AS image\n", "FROM system AS image\nENV LD_PRELOAD=/x\n", "sets LD_PRELOAD"),
    (
        "FROM {{ cell.os.base_name }} AS system\n",
        "FROM {{ cell.os.base_name }} AS system\nENV PYTHONPATH=/x\n",
        "sets PYTHONPATH",
    ),
    ("FROM {{ cell.os.base_name }} AS system", "FROM other AS system", "starts from other"),
    ("ENV {{ variables }}", "ENV A{{ variables }}", "sets APATH"),
    ("{{ line }}", "{{ line.replace('USER 1000:100', 'USER 0') }}", "USER is not 1000:100"),
    ("{{ line }}", "{{ line.replace('[\"bash\"]', '[\"sh\"]') }}", "CMD is not bash"),
    ("{{ line }}", "{{ line.replace('/code', '/data') }}", "WORKDIR is not /code"),
    ("{{ line }}", "{{ line.replace('\"/usr/bin/tini\"', '\"/w\"') }}", "ENTRYPOINT is not"),
    ("LABEL ", "LABEL x=y ", "a label that is not expected: x"),
    ("# {{ cell.id }}\n", "# escape=`\n", "a directive for the parser: # escape=`"),
    ("# {{ cell.id }}\n", "#syntax=example.com/x\n", "a directive for the parser"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), LAYOUT_LIES)
def test_a_layout_that_sets_what_nobody_states(
    right: str, wrong: str, said: str, tmp_path: Path
) -> None:
    project(tmp_path, '{% extends "_layout/Dockerfile.j2" %}\n')
    layout = tmp_path / "_layout/Dockerfile.j2"
    text = layout.read_text()
    assert right in text
    layout.write_text(text.replace(right, wrong))
    message, where, _ = refused(tmp_path, samples.cell())
    assert said in message
    assert ".j2" in where


def test_a_template_may_run_copy_and_repeat(tmp_path: Path) -> None:
    lines = "ARG A=b\nRUN true\nCOPY a b\nENV TZ=UTC\nWORKDIR /code\n"
    start = '{% extends "_layout/Dockerfile.j2" %}\n{% block framework %}\n'
    project(tmp_path, f"{start}{lines}{{% endblock %}}")
    cell = samples.cell()
    assert lines in render_dockerfile(
        cell, samples.lock(cell.id), load_templates(files_in(tmp_path))
    )
