"""Makes the Dart client from the OpenAPI document, and runs Dart programs with it."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from gateway import ROOT

DART = ROOT / "tests/.cache/dart/dart"
HERE = Path(__file__).parent / "dart"
STAND_INS = ("collection", "http", "intl", "meta")


def generate(folder):
    """As openapi/README.md says."""
    generator = Path(sys.executable).with_name("openapi-generator-cli")
    command = [generator, "generate", "--config", "openapi/dart.yaml", "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def write_package_config(client):
    """What `dart pub get` would write, with the stand-ins in the places of the packages."""
    packages = {name: (HERE / "stand_ins" / name, "3.0") for name in STAND_INS}
    packages["tidegate_client"] = (client, "2.18")
    config = {
        "configVersion": 2,
        "packages": [
            {"name": name, "rootUri": folder.as_uri(), "packageUri": "lib/", "languageVersion": version}
            for name, (folder, version) in packages.items()
        ],
    }
    path = client / ".dart_tool" / "package_config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config))
    return path


class Program:
    """A Dart program that runs, and the lines that it prints."""

    def __init__(self, package_config, program, *arguments):
        command = [DART, f"--packages={package_config}", "--enable-asserts", HERE / "bin" / program, *arguments]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def message(self, limit=60):
        """The next line, which is JSON."""
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            line = None
        if line is None:
            self.errors.seek(0)
            raise AssertionError(f"the program said no more: {self.errors.read()}")
        return json.loads(line)

    def say(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.wait()
