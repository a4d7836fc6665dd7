"""TLS in Python trusts the system's CAs and a given CA, and refuses unknown CAs and other names.

needs: image
seconds: 60
"""

import contextlib
import http.client
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tls
import _verdict

LEAST = 100  # CAs: Mozilla's list, which every distribution ships, has about 150
OWN = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def trusted() -> int:
    """Return the number of CAs that Python finds, in a file or in a folder of hashes."""
    in_file = ssl.create_default_context().cert_store_stats()["x509_ca"]
    folder = ssl.get_default_verify_paths().capath
    in_folder = len(list(Path(folder).glob("*.0"))) if folder else 0
    return max(in_file, in_folder)


def ask(host: str, port: int) -> str:
    """Return the result of a request with Python's defaults: `ok`, or the error."""
    connection = http.client.HTTPSConnection(host, port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/")
            answer = connection.getresponse().read()
        except ssl.SSLCertVerificationError as error:
            return f"refused: {error.verify_message}"
        except OSError as error:
            return f"failed: {error}"
    return "ok" if answer == _tls.ANSWER else f"failed: it answers {answer[:80]!r}"


@contextlib.contextmanager
def given(ca: str) -> Iterator[None]:
    """Set SSL_CERT_FILE to this file, or unset it, for a while."""
    before = {name: os.environ.pop(name) for name in OWN if name in os.environ}
    os.environ.update({"SSL_CERT_FILE": ca} if ca else {})
    try:
        yield
    finally:
        os.environ.pop("SSL_CERT_FILE", None)
        os.environ.update(before)


def answers(folder: Path) -> dict[str, str]:
    """Return the results of requests without our CA, with it, and under another host name."""
    ca = folder / "ca.pem"
    ca.write_text(_tls.CA)
    with _tls.server(folder) as port:
        with given(""):
            unknown = ask(_tls.ADDRESS, port)
        with given(str(ca)):
            return {
                "unknown": unknown,
                "known": ask(_tls.ADDRESS, port),
                "renamed": ask("localhost", port),
            }


def faults(results: dict[str, str], cas: int) -> list[str]:
    """Return results that differ from the expected ones."""
    known, mismatches = results["known"], []
    if known != "ok":
        mismatches.append(f"a server whose CA is in SSL_CERT_FILE is not trusted: {known}")
    for case, flaw in (("unknown", "of an unknown CA"), ("renamed", "of another name")):
        if not results[case].startswith("refused: "):
            mismatches.append(
                f"a server {flaw} is not refused for its certificate: {results[case]}"
            )
    if cas < LEAST:
        mismatches.append(f"the system's list holds {cas} CAs for Python, fewer than {LEAST}")
    return mismatches


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = answers(Path(folder))
    with given(""):
        cas = trusted()
    _verdict.show(cas=cas, openssl=ssl.OPENSSL_VERSION, **results)
    mismatches = faults(results, cas)
    _verdict.demand(not mismatches, "; ".join(mismatches))


if __name__ == "__main__":
    main()
