"""Notebooks of the tutorials: the address that a page prints."""

import re
import time

import requests


def assert_jupyter_answers(output: str) -> str:
    """Open the one address in an output, which shows JupyterLab; return it."""
    address = str(*re.findall(r"http://\S+", output))
    deadline = time.monotonic() + 60
    while True:
        try:
            assert "JupyterLab" in requests.get(address, timeout=60).text
        except requests.ConnectionError:
            assert time.monotonic() < deadline, address
            time.sleep(0.5)
        else:
            return address
