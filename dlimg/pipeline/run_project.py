"""Projects with a `dlimg.yaml`: read its file, and make a new one."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput, Negative
from dlimg.host.process import run
from dlimg.run.model import RunRequest
from dlimg.run.names import name_from
from dlimg.run.project_file import FILE, parse_project, with_project

# Scripts that a run without a command starts, the first of them that exists.
SCRIPTS: Final = ("train.py", "main.py")
TEMPLATES: Final = ("pytorch", "tensorflow", "jax", "notebook")
_FILES: Final = Path(__file__).parents[1] / "project_files/new"
_GIT_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRunProject:
    """The request for a new project: its folder, a template, and a repository to begin with."""

    folder: Path
    template: str
    git_url: str = ""


def read_project_file(folder: Path) -> RunRequest | None:
    """Return the run of a folder's project file, or None without one. Raises BadInput."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"it cannot be read: {error}", where=FILE) from error
    return parse_project(text, folder)


def request_in(request: RunRequest) -> RunRequest:
    """Return the request, completed from its folder's project file and scripts."""
    project = read_project_file(request.folder)
    return with_files(with_project(request, project) if project else request)


def with_files(request: RunRequest) -> RunRequest:
    """Return the request; without a command, with the folder's script, or Jupyter for notebooks."""
    if request.command or request.mode != "command" or request.terminal:
        return request
    scripts = sorted(path.name for path in request.folder.glob("*.py"))
    script = next((name for name in SCRIPTS if name in scripts), "")
    if not script and len(scripts) == 1:
        script = scripts[0]
    if script:
        return replace(request, command=("python", script))
    is_notebook = not scripts and any(request.folder.glob("*.ipynb"))
    return replace(request, mode="jupyter") if is_notebook else request


def start_run_project(request: NewRunProject, context: Context) -> tuple[str, ...]:
    """Make the folder, or add what a folder with code lacks; return the names of the new files.

    Raises BadInput or Negative.
    """
    has_files = request.folder.exists() and any(request.folder.iterdir())
    if has_files and request.git_url:
        raise BadInput(f"{request.folder} exists and is not empty", hint="name another folder")
    if (request.folder / FILE).exists():
        raise BadInput(f"{request.folder} has a project already", where=FILE, hint="`dlimg up`")
    if request.git_url:
        _clone(request, context)
    texts = new_files(name_from(request.folder.resolve().name), request.template)
    if request.git_url or has_files:
        texts = {name: text for name, text in texts.items() if name not in _SAMPLES}
    written = []
    for name, text in texts.items():
        path = request.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(name)
    return tuple(written)


_SAMPLES: Final = frozenset({"train.py", "start.ipynb"})


def new_files(name: str, template: str) -> dict[str, str]:
    """Return the files of a new project by path."""
    is_notebook = template == "notebook"
    work = "mode: jupyter" if is_notebook else "command: python train.py"
    project = (_FILES / "dlimg.yaml.txt").read_text(encoding="utf-8")
    values = {"NAME": name, "IMAGE": "jax" if is_notebook else template, "WORK": work}
    for placeholder, value in values.items():
        project = project.replace(placeholder, value, 1)
    sample = "start.ipynb" if is_notebook else "train.py"
    source = f"{sample}.txt" if is_notebook else f"train_{template}.py.txt"
    return {
        FILE: project,
        ".dlimgignore": (_FILES / "dlimgignore.txt").read_text(encoding="utf-8"),
        ".dlimg/schema.json": (_FILES / "schema.json").read_text(encoding="utf-8"),
        sample: (_FILES / source).read_text(encoding="utf-8"),
    }


def _clone(request: NewRunProject, context: Context) -> None:
    if request.git_url.startswith("-"):
        raise BadInput(f"{request.git_url!r} is no address of a repository", where="--from")
    existed = request.folder.exists()
    environment = {**context.environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    argv = ["git", "clone", "--quiet", "--", request.git_url, str(request.folder)]
    completed = run(argv, env=environment, timeout=_GIT_SECONDS)
    if completed.returncode != 0:
        if not existed:
            shutil.rmtree(request.folder, ignore_errors=True)
        raise Negative(f"git does not clone {request.git_url}: {completed.tail}", where="--from")
