"""A TLS server on 127.0.0.1 with a certificate signed by a test CA.

The CA's key was deleted, so it can sign nothing else; the certificate is for 127.0.0.1 alone and
is valid until 2120. The server's key is no secret: it only proves to be 127.0.0.1.
"""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ADDRESS = "127.0.0.1"
ANSWER = b"dlimg"

CA = """\
-----BEGIN CERTIFICATE-----
MIIBmTCCAUCgAwIBAgIUOSGr5n/dg93ufp/aSs3H4ZlmCsowCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNZGxpbWcgdGVzdCBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw
MDEwMTAwMDAwMFowGDEWMBQGA1UEAwwNZGxpbWcgdGVzdCBDQTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABIJHuaj2lRyZEN9DTI1KZPO2yHwFy5T2JvAePZCRu3VC
OBAIzmLvhml5i9PABiiEAr0AcXwFrlCz11b+8uaCBzyjZjBkMBIGA1UdEwEB/wQI
MAYBAf8CAQAwDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQWBBRjulRdj/lej6mb1bsH
yd5xPrCC/DAfBgNVHSMEGDAWgBRjulRdj/lej6mb1bsHyd5xPrCC/DAKBggqhkjO
PQQDAgNHADBEAiBuPUFe9FvUmXcgxIG+VIHWjQF3tpqsCn7iFtn3SSYxjgIgMyDS
afDqq/MiDwqMzEk9t6GQE9RGWBCtndWr0SDehvw=
-----END CERTIFICATE-----
"""

SERVER = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUbyujHimCjZ+Qj0P
s10pIp9n4YgVUkm+Fz1q8uMJdWGhRANCAAROttBeGo/33Vkg8ledLTCGiZLO+Ff8
w0hnOmbGBkw1vtBFnfD6wFA/3SlFxx0oJEo8TBoxE1l85ngB+PvhIbUo
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBuDCCAV6gAwIBAgIUcKpwRcY+WZMDy8uM9MyVy/s0uSgwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNZGxpbWcgdGVzdCBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw
MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJMTI3LjAuMC4xMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAETrbQXhqP991ZIPJXnS0whomSzvhX/MNIZzpmxgZMNb7QRZ3w
+sBQP90pRccdKCRKPEwaMRNZfOZ4Afj74SG1KKOBhzCBhDAMBgNVHRMBAf8EAjAA
MA4GA1UdDwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAPBgNVHREECDAG
hwR/AAABMB0GA1UdDgQWBBTBTgmJTn166VF3n+UKcOe1MHZdMzAfBgNVHSMEGDAW
gBRjulRdj/lej6mb1bsHyd5xPrCC/DAKBggqhkjOPQQDAgNIADBFAiBvtbplg+ph
NIZ/0yDwk2ewXdWjEUjpx0LeOVUDyo9uWAIhAJ4aDjkpaAjsbi9Mljz+CtNlkKsT
kMP2TrM+kcuKCeDC
-----END CERTIFICATE-----
"""


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the standard library's name
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        """Print nothing: the last line of stderr is the check's reason."""


class _Server(HTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing about clients that hang up, which the check expects."""


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """Run a server with its files in the folder; yield its port."""
    file = folder / "server.pem"
    file.write_text(SERVER)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with _Server((ADDRESS, 0), _Answer) as running:
        # The handshake is left to the first read: one that fails must not end the server.
        running.socket = context.wrap_socket(
            running.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield running.server_port
        finally:
            running.shutdown()
            thread.join()
