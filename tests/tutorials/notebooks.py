"""Notebooks of the tutorials: the address that a page prints."""

import re
import time

import requests


def assert_jupyter_answers(output: str) -> str:
    """Open the one address in an output, which shows JupyterLab; return it."""
    address = str(*re.findall(r"^Jupyter: (http://\S+)", output, re.MULTILINE))
    deadline = time.monotonic() + 60
    while True:
        try:
            assert "JupyterLab" in requests.get(address, timeout=60).text
        except requests.ConnectionError:
            assert time.monotonic() < deadline, address
            time.sleep(0.5)
        else:
            return address


# Talks to a kernel of the running server, as JupyterLab does, from inside of its container.
CLIENT = """\
import json, pathlib, sys, urllib.request
from jupyter_client import BlockingKernelClient
from jupyter_core.paths import jupyter_runtime_dir

def ask(path, method="POST"):
    address, token = sys.argv[1].split("/lab?token=")
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:8888{path}", headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)

is_new, cell = sys.argv[2] == "new", sys.argv[3]
kernels = ask("/api/kernels", "GET")
if not kernels:
    kernel = ask("/api/kernels")["id"]
else:
    kernel = kernels[0]["id"]
    if is_new:
        ask(f"/api/kernels/{kernel}/restart")
(file,) = pathlib.Path(jupyter_runtime_dir()).glob(f"kernel-{kernel}.json")
client = BlockingKernelClient(connection_file=str(file))
client.load_connection_file()
client.hb_channel.time_to_dead = 60.0  # the machine of the tests may be busy
client.start_channels()
client.wait_for_ready(timeout=120)

def show(message):
    content = message["content"]
    match message["msg_type"]:
        case "stream":
            print(content["text"], end="")
        case "execute_result":
            print(f"Out[{content['execution_count']}]: {content['data']['text/plain']}")
        case "error":
            print("\\n".join(content["traceback"]))

reply = client.execute_interactive(cell, timeout=240, output_hook=show)
client.stop_channels()
"""
