"""Source distributions for tests, each with a build backend of its own: they need no index."""

import io
import tarfile

BACKEND = """\
import base64, hashlib, pathlib, subprocess, sysconfig, zipfile

NAME, VERSION, COMPILED = {name!r}, {version!r}, {compiled!r}


def build_wheel(folder, config_settings=None, metadata_directory=None):
    tag = "py3-none-any"
    files = {{f"{{NAME}}/__init__.py": b"from pathlib import Path\\n"}}
    if COMPILED:
        minor = sysconfig.get_python_version().replace(".", "")
        tag = f"cp{{minor}}-cp{{minor}}-linux_x86_64"
        include = sysconfig.get_paths()["include"]
        module = "counted" + sysconfig.get_config_var("EXT_SUFFIX")
        command = ["cc", "-shared", "-fPIC", f"-I{{include}}", "counted.c", "-o", module]
        subprocess.run(command, check=True)
        files[f"{{NAME}}/{{module}}"] = pathlib.Path(module).read_bytes()
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    texts = {{
        "METADATA": ["Metadata-Version: 2.1", f"Name: {{NAME}}", f"Version: {{VERSION}}"],
        "WHEEL": ["Wheel-Version: 1.0", f"Root-Is-Purelib: {{not COMPILED}}", f"Tag: {{tag}}"],
    }}
    for path, lines in texts.items():
        files[f"{{info}}/{{path}}"] = "\\n".join([*lines, ""]).encode()
    rows = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{{path}},sha256={{digest}},{{len(content)}}")
    files[f"{{info}}/RECORD"] = "\\n".join([*rows, f"{{info}}/RECORD,,", ""]).encode()
    wheel = f"{{NAME}}-{{VERSION}}-{{tag}}.whl"
    with zipfile.ZipFile(pathlib.Path(folder, wheel), "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return wheel
"""
C_SOURCE = """\
#include <Python.h>

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "counted", NULL, -1, NULL};

PyMODINIT_FUNC PyInit_counted(void) { return PyModule_Create(&module); }
"""
PROJECT = """\
[project]
name = "{name}"
version = "{version}"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def source_distribution(
    name: str, version: str, *, compiled: bool = False, backend: str = BACKEND
) -> tuple[str, bytes]:
    """Return file name and content of a sdist: pure Python, or with an extension module in C."""
    values = {"name": name, "version": version, "compiled": compiled}
    texts = {
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": PROJECT.format(**values),
        "backend.py": backend.format(**values),
        "counted.c": C_SOURCE,
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, text in texts.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{name}-{version}.tar.gz", content.getvalue()
