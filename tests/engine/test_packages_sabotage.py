"""`pip_check` in a real image: packages that are not the lock's, and files that are not theirs."""

from collections.abc import Iterator

import pytest

from dlimg.checks.execute import RunningContainer
from dlimg.checks.inputs import lock_json
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage, CheckStatus
from tests.support.real_jax import OVERLAY, PACKAGES, check_verdict, spoilt_container
from tests.support.rows import first_values
from tests.support.sabotage import (
    Sabotage,
    distribution,
    installed,
    sabotage,
    script_of,
    unnamed,
)

pytestmark = pytest.mark.engine

CHECK = "pip_check"
FORGED = f"""cd {PACKAGES}/jax; /opt/env/bin/python - <<'END'
import marshal, pathlib
(path,) = pathlib.Path("__pycache__").glob("__init__.*")
code = marshal.dumps(compile("raise SystemExit", "x", "exec"))
path.write_bytes(path.read_bytes()[:16] + code)
END"""
# RECORD is changed together with a file: nothing in the image says that it was another.
RECORDED = """/opt/env/bin/python - <<'END'
import base64, hashlib, pathlib, re
content = pathlib.Path("numpy/version.py").read_bytes()
digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
(record,) = pathlib.Path(".").glob("numpy-*/RECORD")
row = f"numpy/version.py,sha256={digest},{len(content)}"
record.write_text(re.sub(r"(?m)^numpy/version.py,.*$", row, record.read_text()))
END
rm numpy/__pycache__/version.*"""
LIBRARY = f"{PACKAGES}/jaxlib/libjax_common.so"
NOTED = "/etc/dlimg/requirements.txt"

# Of byte code, and of files without a package, a check names the first.
PACKAGE_LISTS = {
    "another NumPy in the home": [
        sabotage(installed(f"--target {PACKAGES}"), "greeting: locked not, installed 1.0"),
        sabotage(distribution(OVERLAY, "numpy", "2.3.0"), "numpy: locked 2.5.5, installed 2.3.0"),
        sabotage(f"rm -r {PACKAGES}/opt_einsum", "files are gone or changed: opt_einsum/"),
        sabotage(f"truncate -s -1 {LIBRARY}", "jaxlib/libjax_common.so"),
        sabotage(f"sed -i /^scipy/d {NOTED}", "the image notes none"),
    ],
    "NumPy twice": [
        sabotage(installed(f"--target {OVERLAY}"), "greeting: locked not, installed 1.0"),
        sabotage(distribution(OVERLAY, "numpy", "2.5.5"), "numpy: installed 2 times"),
        sabotage(
            f"printf x | dd of={LIBRARY} bs=1 seek=200000000 conv=notrunc",
            "1 files are gone or changed: jaxlib/libjax_common.so",
        ),
        sabotage(
            f"sed -i '/^scipy/s/sha256:..../sha256:0000/' {NOTED}",
            "scipy: the image notes another sha256 than the lock's",
        ),
        sabotage(
            f"cd {PACKAGES}/jax/numpy/__pycache__; cp fft.*.pyc linalg.*.pyc",
            "byte code of another source",
        ),
    ],
    "NumPy of two versions": [
        sabotage(distribution(PACKAGES, "numpy", "2.3.0"), "numpy: installed 2 times"),
        sabotage(
            f"sed -i s/cp313-cp313/cp313-abi3/ {PACKAGES}/jaxlib-*/WHEEL",
            "_x86_64.whl, installed is one for cp313-abi3-manylinux_2_27_x86_64",
        ),
        sabotage(f"rm {PACKAGES}/jax/numpy/fft.py", "byte code without its source"),
    ],
    "a changed file": [
        sabotage(f"sed -i s/2/3/ {PACKAGES}/numpy/version.py", "gone or changed: numpy/version.py"),
        sabotage(f"touch {PACKAGES}/sitecustomize.py", "/sitecustomize.py came with no package"),
        sabotage(FORGED, "jax/__pycache__/__init__.cpython-313.pyc: not what its source compiles"),
    ],
    "a changed list of files, and a file in the home": [
        sabotage(
            f"cd {PACKAGES}; echo '# x' >> numpy/version.py; {RECORDED}",
            "numpy: its RECORD is not that of the lock's wheel",
        ),
        sabotage(f"touch {OVERLAY}/jax.pth", "/jax.pth came with no package"),
    ],
    "lists of files": [
        sabotage(
            f"sed -i 's/^scipy.version.py,.*/scipy\\/version.py,,/' {PACKAGES}/scipy-*/RECORD",
            "gone or changed: scipy/version.py",
        ),
        sabotage(f"rm {PACKAGES}/ml_dtypes-*/RECORD", "ml_dtypes: its RECORD is gone"),
        sabotage(
            f"sed -i 's/^Version: .*/Version: 99.0/' {PACKAGES}/opt_einsum-*/METADATA",
            "opt-einsum: locked 3.4.0, installed 99.0",
        ),
    ],
    "what pip itself says": [
        sabotage(f"rm -r {PACKAGES}/opt_einsum-*", "requires opt-einsum, which is not installed"),
        sabotage(distribution(OVERLAY, "numpy", "1.0"), "but you have numpy 1.0"),
    ],
    "no pip": [sabotage(f"rm -r {PACKAGES}/pip", "No module named pip")],
    "no lock": [sabotage(f"rm {NOTED}", "there is no lock")],
    "a lock without a version": [
        sabotage(f"sed -i 's/^numpy==.*/numpy/' {NOTED}", "pins no version: numpy")
    ],
}


@pytest.mark.parametrize(
    "sabotages", first_values(PACKAGE_LISTS.values(), 2, pytest.mark.sabotage), ids=PACKAGE_LISTS
)
def test_packages_that_the_lock_does_not_name_fail(
    sabotages: list[Sabotage], engine: Engine, jax_image: BuiltImage
) -> None:
    with spoilt_container(engine, jax_image, script_of(sabotages)) as container:
        verdict = check_verdict(container, jax_image, CHECK)
    assert verdict.status is CheckStatus.FAILED
    assert unnamed(sabotages, verdict.reason) == [], verdict.reason


@pytest.fixture(scope="module")
def container(engine: Engine, jax_image: BuiltImage) -> Iterator[RunningContainer]:
    """A container of the image as it is."""
    with spoilt_container(engine, jax_image) as running:
        yield running


LOCKS = {
    "other wheels": [
        ('"2.5.5"', '"2.5.4"', "numpy: locked 2.5.4, installed 2.5.5"),
        ('"sha256": "', '"sha256": "0', "another sha256 than the lock's"),
        ("cp313-cp313", "cp312-cp312", "installed is one for cp313-cp313-"),
        ('"name": "scipy"', '"name": "sympy"', "scipy: locked not, installed 1."),
        ('{"name": "jax",', '{"name": "jaxx",', "jaxx: locked 0.12.0.1, installed not"),
    ],
    "not JSON": [("[", "{", "is no lock")],
}


@pytest.mark.parametrize("name", LOCKS)
def test_another_lock_fails(name: str, container: RunningContainer, jax_image: BuiltImage) -> None:
    text = lock_json(jax_image.planned.image.lock)
    for old, new, _ in LOCKS[name]:
        assert old in text
        text = text.replace(old, new)
    script = f"cat > /srv/lock.json <<'END'\n{text}\nEND"
    assert container.container.exec_run(["bash", "-euc", script], user="0").exit_code == 0
    verdict = check_verdict(container, jax_image, CHECK, DLIMG_LOCK="/srv/lock.json")
    assert verdict.status is CheckStatus.FAILED
    assert [reason for _, _, reason in LOCKS[name] if reason not in verdict.reason] == []
