"""The walks of plugins/README.md, from nothing to a plugin that decides, followed to the letter.

A walk is a section under "Write one", and its blocks are all there is to do, in their order. What a block is says the second word after its
fence:

    ```sh run                 is pasted into the terminal; there is one for the whole walk
    ```json seen              stands in what the block before it has printed. Blanks and ends of lines make no difference
    ```rust path/to/file.rs   is the content of that file, below the folder that the terminal is in

A block without such a word is an error, so none is passed over. How long each block took is printed (`pytest -rA` shows it).
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from gateway import BINARY, ROOT

PAGE = ROOT / "plugins" / "README.md"
PORT = 8010
FENCE = re.compile(r"(`{3,})\w*(?: (\S+))?$")
MARK = "-- block"
END_OF_FILE = "-- end of file"


def walk(title):
    """The blocks of a section: what each is, and its text."""
    blocks, heading, fence, before = [], None, None, ""
    for line in PAGE.read_text().splitlines(keepends=True):
        opened = FENCE.match(line)
        if fence:
            if line.strip() == fence:
                fence = None
            elif heading == title:
                blocks[-1][1] += line
        elif opened:
            fence, what = opened.groups()
            if heading == title:
                assert what, f"a block of `{title}` does not say what it is: {line}"
                assert what in ("run", "seen") or f"`{what}`" in before, f"nobody who reads the page sees the name {what}"
                blocks.append([what, ""])
            before = ""
        else:
            before += line
            if line.startswith("#"):
                heading = line.strip("# \n")
    assert {"run", "seen"} <= {what for what, _ in blocks}, f"there is nothing to do and to see in `{title}`"
    return blocks


def script_of(blocks):
    """What somebody who follows the walk types, with the number and the time of each block before what it prints."""
    lines = ["set -euo pipefail"]
    for number, (what, text) in enumerate(blocks):
        lines.append(f'printf "\\n{MARK} {number} %s\\n" "$EPOCHREALTIME"')
        if what == "run":
            lines.append(text)
        elif what != "seen":
            assert END_OF_FILE not in text
            lines.append(f"cat > '{what}' <<'{END_OF_FILE}'\n{text}{END_OF_FILE}")
    return "\n".join(lines) + "\n"


def printed_by(blocks, output):
    """What each block has printed, and when it began."""
    parts = re.split(rf"^{MARK} (\d+) ([\d.,]+)\n", output, flags=re.MULTILINE)[1:]
    numbers, times, texts = (parts[start::3] for start in range(3))
    assert [int(number) for number in numbers] == list(range(len(blocks)))
    return texts, [float(at.replace(",", ".")) for at in times]


def is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def follow(title, folder, tmp_path, limit):
    """Follows a walk in `folder`, and holds what is printed against what the page says."""
    blocks = walk(title)
    assert not is_taken(PORT), f"something listens on the port {PORT}, where the walk's gateway is to listen"
    script, log = tmp_path / "walk.sh", tmp_path / "walk.out"
    script.write_text(script_of(blocks))
    own = ("TIDEGATE_", "STATE_DIRECTORY", "RELAY_PORT", "BASE_FILES_DIR", "ALLOWED_ORIGINS", "CARGO_TARGET_DIR")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    variables["PATH"] = f"{BINARY.parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as out:
        terminal = subprocess.Popen(
            ["bash", str(script)],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            code = terminal.wait(timeout=limit)
            ended, is_left_running = time.time(), is_taken(PORT)
        finally:
            output = log.read_text(errors="replace")
            # What was started in the background, if the walk did not come to its end.
            try:
                os.killpg(terminal.pid, signal.SIGKILL)
                terminal.wait()
            except ProcessLookupError:
                pass
            print(output)
    assert code == 0, f"the walk ended with {code} in the block after the last `{MARK}`"
    assert not is_left_running, "the walk has left its gateway running"
    texts, times = printed_by(blocks, output)
    for number, (what, text) in enumerate(blocks):
        if what == "seen":
            assert "".join(text.split()) in "".join(texts[number - 1].split()), f"not seen:\n{text}"
    for (what, text), begun, over in zip(blocks, times, [*times[1:], ended]):
        if what == "run":
            print(f"{over - begun:7.1f} s  {text.splitlines()[-1].strip()}")
    print(f"{ended - times[0]:7.1f} s  {title}, in all")


@pytest.fixture
def checkout(tmp_path):
    """The repository as it is now, to be changed. Its `target` is that of the real one, or CARGO_TARGET_DIR: what is compiled there is
    taken from there, since copies keep their times."""
    left_out = {ROOT: {".git", "target", "data"}, ROOT / "tests": {".cache"}}
    always = {"node_modules", "__pycache__"}
    copy = tmp_path / "tidegate"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=lambda at, _: always | left_out.get(Path(at), set()))
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    target.mkdir(parents=True, exist_ok=True)
    (copy / "target").symlink_to(target)
    return copy


def test_a_plugin_in_python(tmp_path):
    folder = tmp_path / "own-name"
    folder.mkdir()
    follow("In Python, by `command`", folder, tmp_path, limit=120)


def test_a_plugin_in_rust(checkout, tmp_path):
    follow("In Rust", checkout, tmp_path, limit=1800)
