"""Memory is bounded by configuration and the number of connections, never by the size of what goes through."""

import os
import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts import statement
from gateway import wait_until
from wire import MULTIPART, MULTIPART_END, Connection, chunk_body, file_head

MIB = 1 << 20
LIMIT = 100 * MIB
# Smaller for a quick look by hand; the test is meant with the numbers as they stand.
UPLOADS = int(os.environ.get("TIDEGATE_TEST_UPLOADS", "50"))
SIZE = int(os.environ.get("TIDEGATE_TEST_UPLOAD_SIZE", "200_000_000"))
SUBSCRIBERS = 100
# How the bytes of an upload through B are cut; each upload takes the next.
CHUNK_SIZES = [MIB, 5 * MIB, SIZE]


class Sampler:
    """Looks at the gateway's anonymous memory all the time, and keeps the most that it saw."""

    def __init__(self, gateway):
        self.most, self.at_first = 0, gateway.anonymous_memory()
        self._gateway, self._ended = gateway, threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _sample(self):
        while not self._ended.wait(0.02):
            self.most = max(self.most, self._gateway.anonymous_memory())


class Repeated:
    """`count` times the same bytes, as the pieces of a body that is never all in memory."""

    def __init__(self, piece, size):
        self.piece, self.size = memoryview(piece), size

    def pieces(self):
        left = self.size
        while left > 0:
            yield self.piece[: min(left, len(self.piece))]
            left -= len(self.piece)


def json_pieces():
    """One valid document of `SIZE` bytes: an array of statements, and a string that fills what is left."""
    block = statement("Société Générale des Eaux", 2024, MIB) + b","
    count = (SIZE - 100) // len(block)
    rest = SIZE - 1 - count * len(block) - 3
    yield b"["
    for _ in range(count):
        yield block
    yield b'"' + b"x" * rest + b'"]'


def send_pieces(connection, path, pieces, length):
    """The status of the answer; a body of `length` bytes."""
    headers = MULTIPART | {"Content-Length": str(length)}
    connection.inner.request("POST", path, body=pieces, headers=headers)
    response = connection.inner.getresponse()
    body = response.read()
    assert response.status == 200, (response.status, body[:300])


def through_relay(gateway, number, ready):
    connection = Connection(gateway.port, timeout=600)
    head = file_head("file", f"comptes_{number}_2024.json", "application/json")
    tail = b"\r\n" + MULTIPART_END

    def body():
        yield head
        for index, piece in enumerate(json_pieces()):
            if index == 2:
                # All uploads are under way before any of them goes on.
                ready.wait()
            yield piece
        yield tail

    length = len(head) + SIZE + len(tail)
    send_pieces(connection, "/api/files/upload/M%C3%A9moire", body(), length)


def through_fileupload(gateway, number, ready):
    chunk_size = CHUNK_SIZES[number % len(CHUNK_SIZES)]
    connection = Connection(gateway.port, timeout=600)
    block = random.Random(number).randbytes(MIB)
    session, sent, index = f"m{number}", 0, 0
    while sent < SIZE:
        chunk = Repeated(block, min(chunk_size, SIZE - sent))
        head, _, tail = chunk_body(session, index + 1, b"", bytes_first=True, fileName=f"film {number}.bin")

        def body(head=head, chunk=chunk, tail=tail, first=index == 0):
            yield head
            for place, piece in enumerate(chunk.pieces()):
                yield piece[: len(piece) // 2]
                if first and place == 0:
                    ready.wait()
                yield piece[len(piece) // 2 :]
            yield tail

        send_pieces(connection, "/fileupload/upload_chunk/", body(), len(head) + chunk.size + len(tail))
        sent += chunk.size
        index += 1
    assert connection.complete(session)[0] == 200
    path = f"/fileupload/assembly_status/{session}/"
    wait_until(lambda: connection.send("GET", path)[1]["status"] == "completed", 300, "the assembly")


def slow_subscriber(gateway):
    """A socket that is opened, and never read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.connect(("127.0.0.1", gateway.port))
    sock.sendall(
        b"GET /api/files/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert sock.recv(12) == b"HTTP/1.1 101"
    return sock


def fill_chunk_writer(gateway, size, block):
    connection = Connection(gateway.port)
    for _ in range(size // len(block)):
        status, _ = connection.send("POST", "/write_chunk_binary", [block], {"Content-Type": "text/plain"})
        assert status == 200


def read_slowly(gateway, ended):
    """`get_file`, again and again, at the reader's own pace. Gives how many bytes the last whole one had."""
    whole = 0
    while True:
        connection = Connection(gateway.port, timeout=600)
        connection.inner.request("GET", "/get_file")
        response = connection.inner.getresponse()
        assert response.status == 200
        length = 0
        while piece := response.read(MIB):
            length += len(piece)
            if not ended.is_set():
                time.sleep(0.02)
        whole = length
        connection.close()
        if ended.is_set():
            return whole


@pytest.mark.parametrize("content", ["text", "binary"])
def test_get_file_larger_than_the_limit(gateway, content):
    block = ("é\n" * (2 * MIB) if content == "text" else "").encode() or b"\xff" * (6 * MIB)
    fill_chunk_writer(gateway, 2 * LIMIT, block)
    ended = threading.Event()
    ended.set()
    with Sampler(gateway) as sampler:
        whole = read_slowly(gateway, ended)
    size = 2 * LIMIT // len(block) * len(block)
    # In JSON a line break takes two bytes; base64 takes four for three.
    assert whole > size * 4 // 3
    assert sampler.most < LIMIT, f"{sampler.most / MIB:.0f} MiB"


def test_fifty_uploads_at_once(gateway):
    fill_chunk_writer(gateway, LIMIT * 3 // 2, b"\xff\n" * (2 * MIB))
    subscribers = [slow_subscriber(gateway) for _ in range(SUBSCRIBERS)]
    ready, ended = threading.Barrier(UPLOADS, timeout=120), threading.Event()
    begun = time.monotonic()
    with Sampler(gateway) as sampler, ThreadPoolExecutor(UPLOADS + 2) as pool:
        readers = [pool.submit(read_slowly, gateway, ended) for _ in range(2)]
        ways = [through_relay if number % 2 else through_fileupload for number in range(UPLOADS)]
        uploads = [pool.submit(way, gateway, number, ready) for number, way in enumerate(ways)]
        try:
            for upload in uploads:
                upload.result()
        finally:
            ended.set()
        for reader in readers:
            assert reader.result() > LIMIT
    print(f"{UPLOADS} uploads of {SIZE} bytes in {time.monotonic() - begun:.0f} s; RssAnon {sampler.at_first / MIB:.0f} MiB"
          f" at first, {sampler.most / MIB:.0f} MiB at most")
    assert sampler.most < LIMIT, f"{sampler.most / MIB:.0f} MiB"
    assert len(list((gateway.relay_files / "Mémoire").iterdir())) == UPLOADS // 2
    sizes = {path.stat().st_size for path in gateway.large_files.iterdir()}
    assert sizes == {SIZE}
    for subscriber in subscribers:
        subscriber.close()


def test_many_events_for_subscribers_that_do_not_read(gateway):
    subscribers = [slow_subscriber(gateway) for _ in range(SUBSCRIBERS)]
    connection = Connection(gateway.port)
    with Sampler(gateway) as sampler:
        for number in range(3000):
            body = [file_head("file", f"n{number % 50}_{'é' * 80}.json"), b"{}", b"\r\n" + MULTIPART_END]
            assert connection.send("POST", "/api/files/upload/evenements", body, MULTIPART)[0] == 200
    # Nobody waited for them, and nothing was kept for each of them.
    assert sampler.most < LIMIT, f"{sampler.most / MIB:.0f} MiB"
    for subscriber in subscribers:
        linger = struct.pack("ii", 1, 0)
        subscriber.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        subscriber.close()
