"""A full disk under staging and under the catalog: 507, nothing left behind, and on it goes once there is room again."""

import os
import subprocess

import pytest
import requests

from accounts import statement
from gateway import wait_until
from traces import files_of
from wire import Connection

MIB = 1 << 20


@pytest.fixture
def mount(tmp_path):
    """Mounts small file systems that end with the test."""
    if os.geteuid() != 0:
        pytest.fail("only root may mount a tmpfs: run the tests as root")
    mounted = []

    def mount(name, size):
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def gateways(mount, make_gateway):
    """After `mount`, so that the gateway ends before its disk does."""
    return make_gateway


def grow(folder, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def post_json(gateway, company, name, content):
    files = {"file": (name, content, "application/json")}
    return requests.post(f"{gateway.url}/api/files/upload/{company}", files=files, timeout=60)


def names_of(gateway, company):
    answer = requests.get(f"{gateway.url}/api/files/societe/{company}/files", timeout=30)
    return {file["filename"] for file in answer.json()["files"]} if answer.ok else set()


def test_under_staging(mount, gateways):
    disk = mount("staging", "24m")
    gateway = gateways(settings={"staging.path": str(disk)}).start()
    small, large = statement("Lefèvre", 2024, 20_000), statement("a", 1, 40_000_000)

    before = files_of(gateway)
    answer = post_json(gateway, "Lefèvre", "grand_2024.json", large)
    assert (answer.status_code, list(answer.json())) == (507, ["detail"]), answer.text
    assert names_of(gateway, "Lefèvre") == set() and files_of(gateway) == before
    wait_until(lambda: not any((disk / "whole").iterdir()), 5, "an empty staging folder")
    # What was staged of it is gone, so there is room.
    # (Just after: a hash that follows the bytes may have the file open a moment longer.)
    wait_until(lambda: post_json(gateway, "Lefèvre", "petit_2024.json", small).status_code == 200, 5, "room for a file")

    connection = Connection(gateway.port)
    chunks = [bytes([number]) * (5 * MIB) for number in range(8)]
    sent = 0
    while True:
        status, answer = connection.upload_chunk("large", sent, chunks[sent], fileName="a.bin", totalChunks=8)
        if status != 200:
            break
        sent += 1
    assert (status, answer["status"]) == (507, "error") and 0 < sent < 5, answer
    # Again, and with the bytes first: it is still full.
    assert Connection(gateway.port).upload_chunk("large", sent, chunks[sent], bytes_first=True)[0] == 507

    grow(disk, "64m")
    for number in range(sent, 8):
        assert connection.upload_chunk("large", number, chunks[number])[0] == 200
    assert connection.complete("large")[0] == 200
    status = lambda: connection.send("GET", "/fileupload/assembly_status/large/")[1]["status"]
    wait_until(lambda: status() == "completed", 20, "the assembly")
    assert (gateway.large_files / "a_large.bin").read_bytes() == b"".join(chunks)
    assert post_json(gateway, "Lefèvre", "grand_2024.json", large).status_code == 200


def test_under_the_published_files(mount, gateways):
    disk = mount("files", "16m")
    roots = {f"storage.{name}.root": str(disk / name) for name in ("files", "large", "chunks")}
    gateway = gateways(settings=roots).start()
    large = statement("Lefèvre", 2024, 30_000_000)

    answer = post_json(gateway, "Lefèvre", "grand_2024.json", large)
    assert (answer.status_code, list(answer.json())) == (507, ["detail"]), answer.text
    assert names_of(gateway, "Lefèvre") == set()
    left = lambda: [path for path in disk.rglob("*") if path.is_file() and path.stat().st_size]
    wait_until(lambda: not left(), 5, "no file left behind")

    connection = Connection(gateway.port)
    written = b""
    for number in range(10):
        piece = bytes([number + 65]) * (3 * MIB)
        status, answer = connection.send("POST", "/write_chunk_binary", [piece], {"Content-Type": "text/plain"})
        if status != 200:
            break
        written += piece
    assert (status, list(answer)) == (507, ["error"]) and 0 < len(written) < 16 * MIB
    raw = lambda: requests.get(f"{gateway.url}/get_file", headers={"Accept": "application/octet-stream"}).content
    assert raw() == written

    grow(disk, "96m")
    assert connection.send("POST", "/write_chunk_binary", [b"more"], {"Content-Type": "text/plain"})[0] == 200
    assert raw() == written + b"more"
    assert post_json(gateway, "Lefèvre", "grand_2024.json", large).status_code == 200


def test_under_the_catalog(mount, gateways):
    disk = mount("catalog", "4m")
    gateway = gateways(settings={"catalog.path": str(disk / "tidegate.db")}).start()
    content = statement("Lefèvre", 2024, 10_000)
    connection = Connection(gateway.port)
    filler = disk / "filler"
    room = os.statvfs(disk)
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - 100_000)))

    acknowledged, appended = set(), b""
    for number in range(2000):
        answer = post_json(gateway, "Lefèvre", f"n{number}_2024.json", content)
        if answer.status_code != 200:
            break
        acknowledged.add(f"n{number}_2024.json")
        # The log of the catalog is to grow, not to be begun anew.
        connection.upload_chunk("first", number, b"x" * 100, fileName="a.bin")
    assert (answer.status_code, list(answer.json())) == (507, ["detail"]), answer.text
    status, answer = connection.upload_chunk("other", 0, b"x" * 100, fileName="a.bin")
    assert (status, answer["status"]) == (507, "error")
    status, answer = connection.send("POST", "/write_chunk_binary", [b"abc"], {"Content-Type": "text/plain"})
    assert (status, list(answer)) == (507, ["error"])
    assert connection.send("GET", "/fileupload/assembly_status/other/")[0] == 404
    # What is there is read as ever; what was refused is nowhere.
    assert names_of(gateway, "Lefèvre") == acknowledged
    assert {path.name for path in (gateway.relay_files / "Lefèvre").iterdir()} == acknowledged
    assert requests.get(f"{gateway.url}/get_file").json() == {"content": ""}
    if acknowledged:
        name = sorted(acknowledged)[0]
        assert requests.get(f"{gateway.url}/api/files/download/Lefèvre/{name}").content == content

    filler.unlink()
    assert post_json(gateway, "Lefèvre", "enfin_2024.json", content).status_code == 200
    assert names_of(gateway, "Lefèvre") == acknowledged | {"enfin_2024.json"}
    assert connection.upload_chunk("other", 0, b"x" * 100, fileName="a.bin")[0] == 200
    assert connection.send("POST", "/write_chunk_binary", [b"abc"], {"Content-Type": "text/plain"})[0] == 200
    assert requests.get(f"{gateway.url}/get_file").json() == {"content": "abc"}
