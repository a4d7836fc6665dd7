"""A small image with the whole layout, and ways to do something in it."""

import base64
import io
import os
import secrets
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run
from dlimg.model import Base, BuiltImage, Cell, Flavour, PlannedImage
from dlimg.render.dockerfile import load_templates, render_dockerfile
from dlimg.render.naming import cell_labels
from tests.support import samples, small_images
from tests.support.image_folders import files_in

IMAGES = Path(__file__).parents[2] / "images"
LOCK = samples.lock(
    wheels=(
        samples.wheel(
            "pip",
            "26.3",
            sha256="f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13",
        ),
        samples.wheel(
            "six",
            "1.17.0",
            sha256="4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",
        ),
    )
)

CUDA_RUNTIME = samples.wheel(
    "nvidia-cuda-runtime",
    "13.2.86",
    sha256="3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutImage:
    """A built image, and how to run something in it."""

    engine: Engine
    built: BuiltImage
    hidden: str

    def run(
        self, *argv: str, options: tuple[str, ...] = (), stdin: str | None = None
    ) -> ProcessResult:
        options = ("--rm", "--interactive", "--network", "none", *options)
        return self.docker("run", *options, self.built.digest, *argv, stdin=stdin)

    def says(self, script: str, *options: str, stdin: str | None = None) -> str:
        outcome = self.run("bash", "-euc", script, options=options, stdin=stdin)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout.strip()

    def docker(self, *argv: str, stdin: str | None = None) -> ProcessResult:
        command = [str(self.engine.docker), *argv]
        return run(command, env=self.engine.environment, stdin=stdin, timeout=120)


def planned(base: Base, cell: Cell) -> PlannedImage:
    lock = replace(LOCK, wheels=(*LOCK.wheels, CUDA_RUNTIME)) if cell.is_cuda else LOCK
    text = render_dockerfile(cell, lock, load_templates(files_in(IMAGES)))
    name = f"dlimg-test/manners-{secrets.token_hex(4)}"
    output = cell_labels(cell, lock)
    image = samples.image(cell, locked=lock, dockerfile=text, labels=output, repository=name)
    return samples.planned(image, on=base, key=secrets.token_hex(32))


def cell(accelerator: str = "cpu", flavour: Flavour = Flavour.RUNTIME) -> Cell:
    return samples.cell(
        "jax",
        "0.12.0.1",
        package="jax",
        accelerator=accelerator,
        flavour=flavour,
        requirements=("six==1.17.0", "pip"),
    )


def make_image(engine: Engine, base: Base, of: Cell, folder: Path) -> Iterator[LayoutImage]:
    hidden = f"hidden-{secrets.token_hex(8)}"
    (folder / "netrc").write_text(f"machine nowhere.invalid login me password {hidden}\n")
    (folder / "apt.conf").write_text(f'Acquire::Nothing "{hidden}";\n')
    environment = {
        **os.environ,
        "NETRC": str(folder / "netrc"),
        "DLIMG_APT_CONF": str(folder / "apt.conf"),
    }
    plan = planned(base, of)
    with small_images.unnamed_afterwards(engine, plan):
        # Not longer than the build: secrets come with signal handlers that clean up.
        with secrets_from(Context.of(environment, print)) as using:
            (built,) = small_images.built_all([plan], engine, using=using)
        assert isinstance(built, BuiltImage), built
        yield LayoutImage(engine=engine, built=built, hidden=hidden)


def wheel(name: str, version: str) -> str:
    """A wheel with one module and one command, in base64, so that it can be typed in."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"def main():\n    print('{name} {version}')\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{name}-main = {name}:main\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return base64.b64encode(packed.getvalue()).decode()


def install(name: str, version: str) -> str:
    file = f"/tmp/{name}-{version}-py3-none-any.whl"  # noqa: S108  # in a container
    return f"base64 -d > {file}; pip install --no-index {file} >&2"
