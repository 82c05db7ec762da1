"""Dialect B with a large file: chunks shuffled, in parallel, twice, and as the web client in the field sends them."""

import hashlib
import os
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from threading import local

import pytest
import requests

from gateway import wait_until
from wire import Connection

MIB = 1 << 20
STAMP_EVERY = 64 << 10
# For a quick look by hand; the tests are meant with the sizes as they stand.
SCALE = float(os.environ.get("TIDEGATE_TEST_SCALE", "1"))


class LargeFile:
    """A file that is never all in memory: one random chunk, stamped with where it stands."""

    def __init__(self, size, chunk_size):
        # The last chunk is short.
        self.size = int(size * SCALE) - 12_345
        self.chunk_size = chunk_size
        self.base = random.Random(1).randbytes(chunk_size)
        self.count = -(-self.size // chunk_size)

    def chunk(self, index):
        length = min(self.chunk_size, self.size - index * self.chunk_size)
        data = bytearray(self.base[:length])
        for offset in range(0, length - 8, STAMP_EVERY):
            struct.pack_into(">Q", data, offset, index * self.chunk_size + offset)
        return data

    def sha256(self):
        digest = hashlib.sha256()
        for index in range(self.count):
            digest.update(self.chunk(index))
        return digest.hexdigest()


def sha256_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def complete_and_check(gateway, session, file, name, connection, session_in_json=None):
    assert connection.complete(session_in_json or session, fileName=name)[0] == 200
    polled = []

    def status():
        status, answer = connection.send("GET", f"/fileupload/assembly_status/{session}/")
        assert status == 200
        polled.append(answer["status"])
        return answer["status"] != "in_progress"

    wait_until(status, 120, "the end of the assembly")
    # The web client stops polling at anything that is not `in_progress`.
    assert set(polled) <= {"in_progress", "completed"} and polled[-1] == "completed"
    stem, _, extension = name.rpartition(".")
    stored = gateway.large_files / f"{stem}_{session}.{extension}"
    assert stored.stat().st_size == file.size
    assert sha256_of(stored) == file.sha256()
    uploads = requests.get(f"{gateway.url}/fileupload/list_completed_uploads/").json()
    [ours] = [upload for upload in uploads if upload["session_id"] == session]
    assert (ours["file_name"], ours["file_size"], ours["total_chunks"]) == (stored.name, file.size, file.count)
    assert requests.delete(f"{gateway.url}/fileupload/delete_upload/{session}/").status_code == 200
    assert not stored.exists()
    wait_until(lambda: not any((gateway.data / "staging" / "uploads").iterdir()), 5, "an empty staging folder")


@pytest.mark.parametrize("first", [0, 1])
def test_two_gib_shuffled_on_four_connections_some_chunks_twice(gateway, first):
    file = LargeFile(2 << 30, 5 * MIB)
    session = f"session-{first}"
    generator = random.Random(first)
    print(f"seed {first}")
    order = list(range(file.count)) + generator.sample(range(file.count), file.count // 20)
    generator.shuffle(order)
    kept = local()

    def send(index):
        if not hasattr(kept, "connection"):
            kept.connection = Connection(gateway.port)
        fields = {"fileName": "vidéo été.bin", "totalChunks": file.count, "fileSize": file.size}
        answer = kept.connection.upload_chunk(session, index + first, file.chunk(index), **fields)
        assert answer == (200, {"status": "chunk uploaded"})

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(send, index) for index in order]:
            done.result()
    complete_and_check(gateway, session, file, "vidéo été.bin", Connection(gateway.port))


def test_as_the_web_client_in_the_field_sends(gateway):
    file = LargeFile(512 << 20, MIB)
    connection = Connection(gateway.port)
    session = 1732098765432
    for index in range(file.count):
        answer = connection.upload_chunk(session, index + 1, file.chunk(index), bytes_first=True, fileName="film.mp4")
        assert answer == (200, {"status": "chunk uploaded"})
    # The session id is a number in JSON here.
    complete_and_check(gateway, str(session), file, "film.mp4", connection, session_in_json=session)


def test_shuffled_with_the_bytes_first_and_nothing_known_beforehand(gateway):
    file = LargeFile(256 << 20, 5 * MIB)
    order = list(range(file.count))
    random.Random(7).shuffle(order)

    def send(index):
        connection = Connection(gateway.port)
        answer = connection.upload_chunk("blind", index + 1, file.chunk(index), bytes_first=True, fileName="film.mp4")
        connection.close()
        assert answer == (200, {"status": "chunk uploaded"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, order))
    complete_and_check(gateway, "blind", file, "film.mp4", Connection(gateway.port))


def test_a_kill_in_the_midst_loses_no_acknowledged_chunk(gateway):
    file = LargeFile(64 << 20, MIB)
    for index in range(file.count):
        if index in (5, 40):
            gateway.kill()
            gateway.start()
        connection = Connection(gateway.port)
        answer = connection.upload_chunk("killed", index, file.chunk(index), fileName="film.mp4")
        connection.close()
        assert answer == (200, {"status": "chunk uploaded"})
    gateway.kill()
    gateway.start()
    complete_and_check(gateway, "killed", file, "film.mp4", Connection(gateway.port))


def test_missing_chunks_are_named_and_the_upload_stays_open(gateway):
    connection = Connection(gateway.port)
    for number in (0, 2):
        connection.upload_chunk("gap", number, b"x" * 1000, fileName="a.bin", totalChunks=4)
    status, answer = connection.complete("gap")
    assert (status, answer["status"], answer["missing"]) == (409, "error", [1, 3])
    for number in (1, 3):
        assert connection.upload_chunk("gap", number, b"y" * 1000)[0] == 200
    assert connection.complete("gap")[0] == 200
    assert connection.complete("gap")[0] == 200
    done = lambda: connection.send("GET", "/fileupload/assembly_status/gap")[1]["status"] == "completed"
    wait_until(done, 10, "the assembly")
    stored = gateway.large_files / "a_gap.bin"
    assert stored.read_bytes() == b"x" * 1000 + b"y" * 1000 + b"x" * 1000 + b"y" * 1000
    assert connection.upload_chunk("gap", 1, b"z" * 1000)[0] == 409
    assert stored.stat().st_size == 4000
