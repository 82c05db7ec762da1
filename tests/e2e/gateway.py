"""A gateway in a folder of its own: configured, started, killed, started again, and looked into."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / os.environ.get("TIDEGATE_BINARY", "target/release/tidegate")
START_LIMIT = 30.0
STOP_LIMIT = 45.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, limit=10.0, what="a condition"):
    """Asks until the answer is truthy, and gives it; for what the gateway has no event for."""
    deadline = time.monotonic() + limit
    while True:
        if answer := condition():
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {limit} s for {what() if callable(what) else what}")
        time.sleep(0.02)


def environment():
    """This process's own, without what the gateway would take for its configuration."""
    own = ("TIDEGATE_", "RELAY_PORT", "BASE_FILES_DIR", "ALLOWED_ORIGINS", "STATE_DIRECTORY")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def tidegate(folder, *arguments):
    """A command of the binary with the configuration in `folder`, until its end."""
    command = [str(BINARY), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)


class Gateway:
    """Runs the release binary with the configuration at the root of the repository, copied to `folder`, so that all
    data lies there. `settings` are put over it as `--set` does, `None` leaves one out; `variables` are added to the
    environment."""

    def __init__(self, folder, settings=None, variables=None, ports=None, prefix=()):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "config.toml", self.folder)
        self.ports = ports or [free_port()]
        listen = ", ".join(f'"localhost:{port}"' for port in self.ports)
        self.settings = {"server.listen": f"[{listen}]"} | (settings or {})
        self.variables = variables or {}
        self.prefix = list(prefix)
        self.process = None
        self.log = self.folder / "gateway.log"

    # Where things are.

    @property
    def port(self):
        return self.ports[0]

    @property
    def url(self):
        return f"http://localhost:{self.port}"

    @property
    def socket_url(self):
        return f"ws://localhost:{self.port}/api/files/ws"

    @property
    def data(self):
        return self.folder / "data"

    @property
    def relay_files(self):
        return self.data / "files"

    @property
    def large_files(self):
        return self.data / "large" / "largefiles"

    # Its life.

    def spawn(self):
        command = [*self.prefix, str(BINARY)]
        for key, value in self.settings.items():
            if value is None:
                continue
            command += ["--set", f"{key}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment() | self.variables, stdout=log, stderr=log
            )

    def start(self):
        self.spawn()
        deadline = time.monotonic() + START_LIMIT
        while not self.is_ready():
            assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}:\n{self.log_tail()}"
            assert time.monotonic() < deadline, f"the gateway is not ready after {START_LIMIT} s:\n{self.log_tail()}"
            time.sleep(0.02)
        return self

    def is_ready(self):
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def kill(self):
        """`kill -9`."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM, and the drain that follows."""
        if self.process and self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            return self.process.wait(timeout=STOP_LIMIT)

    def end(self):
        """However it stands with it."""
        if self.process and self.process.poll() is None:
            self.kill()

    def tidegate(self, *arguments):
        """Another command of the binary, in the gateway's folder."""
        return tidegate(self.folder, *arguments)

    # What it looks like from outside.

    @property
    def pid(self):
        """The gateway's own, also where something else started it."""
        if not self.prefix:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def anonymous_memory(self):
        """`RssAnon` in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("/proc does not tell RssAnon")

    def log_tail(self, lines=60):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
