"""The README's commands, as they stand."""

import os
import re
import subprocess

import pytest

from gateway import BINARY, ROOT

def blocks():
    """The blocks that the README marks to be tried, in its order."""
    readme = (ROOT / "README.md").read_text()
    return re.findall(r"^```sh try\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def gateway(make_gateway):
    # Where the README says that it listens.
    return make_gateway(ports=[8000, 5001], settings={"server.listen": None}).start()


def test_what_the_readme_says_to_try_works(gateway):
    assert len(blocks()) >= 3, "one thing to try for each dialect"
    path = f"{BINARY.parent}{os.pathsep}{os.environ['PATH']}"
    for block in blocks():
        # In one folder, one after another, as somebody would paste them.
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=gateway.folder,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        # `curl` without `--fail` takes a refusal for success.
        for said in ('"detail"', '"error"', "command not found"):
            assert said not in done.stdout + done.stderr, f"{block}\n{done.stdout}\n{done.stderr}"
