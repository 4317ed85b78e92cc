"""A real S3-compatible server in a process of its own, which writes down what it was asked."""

import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from programs import HANGS

BUCKET = "trials"


@dataclass(frozen=True)
class Server:
    """Attributes: ``url`` of the server, ``log`` of its requests."""

    url: str
    log: Path

    def count(self, method: str, name: str) -> int:
        """How often objects whose name has ``name`` in it were asked for."""
        lines = self.log.read_text().splitlines()
        return sum(f'"{method} /{BUCKET}/' in line and name in line for line in lines)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], Server]:
    """The server and its process, once it answers and holds an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", folder / "requests.log")
    with server.log.open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    end = time.monotonic() + HANGS
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(
                urllib.request.Request(f"{server.url}/{BUCKET}", method="PUT")
            ).close()
            return process, server
        except OSError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    raise TimeoutError(server.log.read_text())
