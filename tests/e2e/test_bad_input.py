"""Bad input, byte by byte: each is answered with the right 4xx in the dialect's shape, and leaves nothing but a line in the log."""

import json
import os
import re
import socket
from types import SimpleNamespace

import pytest
import requests

from gateway import Gateway, wait_until
from traces import no_trace
from wire import BOUNDARY, MULTIPART, MULTIPART_END, Connection, field, file_head, raw_exchange

LONG = "a" * 5000
UPLOAD = "/api/files/upload/soci%C3%A9t%C3%A9"
CHUNK = "/fileupload/upload_chunk/"
COMPLETE = "/fileupload/complete_upload/"
MULTIPART_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
DIALECTS = {
    "relay": SimpleNamespace(post=UPLOAD, get="/api/files/societes"),
    "fileupload": SimpleNamespace(post=CHUNK, get="/fileupload/list_completed_uploads/"),
    "chunk_writer": SimpleNamespace(post="/write_chunk_binary", get="/get_file"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("bad-input")).start()
    yield gateway
    gateway.end()


@pytest.fixture
def gateway(running, request):
    request.node.gateways = [running]
    return running


def request_bytes(method, path, body=b"", headers=None, length=None):
    lines = {"Host": "localhost", "Connection": "close", "Content-Length": len(body) if length is None else length}
    lines |= headers or {}
    head = [f"{method} ".encode() + (path if isinstance(path, bytes) else path.encode()) + b" HTTP/1.1"]
    for name, value in lines.items():
        if value is not None:
            head.append(f"{name}: ".encode() + (value if isinstance(value, bytes) else str(value).encode()))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def assert_shape(dialect, status, headers, body):
    assert headers["content-type"].startswith("application/json"), (headers, body)
    answer = json.loads(body)
    if dialect == "relay":
        assert isinstance(answer["detail"], str) and answer["detail"], answer
        assert set(answer) <= {"detail", "issues"}
    elif dialect == "fileupload":
        assert answer["status"] == "error" and isinstance(answer["message"], str) and answer["message"], answer
        assert set(answer) <= {"status", "message", "missing"}
    else:
        assert set(answer) == {"error"} and answer["error"], answer
    # A message is for people: nothing of ours shows, and no name comes back in its whole length.
    assert len(body) < 2000 and not re.search(rb"panick|src/|\.rs:|RUST_BACKTRACE", body), body


def refused(gateway, dialect, request, expected, half_close=False):
    """The answer to a request that is to be refused without a trace."""
    with no_trace(gateway):
        status, headers, body = raw_exchange(gateway.port, request, half_close=half_close)
        assert status in expected, (status, body)
        assert_shape(dialect, status, headers, body)
    return json.loads(body)


# Dialect C.


def relay_upload(name, content=b"{}", path=UPLOAD):
    raw = name if isinstance(name, bytes) else name.encode()
    head = file_head("file", "NAME", "application/json").replace(b"NAME", raw)
    return request_bytes("POST", path, head + content + b"\r\n" + MULTIPART_END, MULTIPART)


BAD_NAMES = {
    "parent": "../../comptes_2024.json",
    "parent in the middle": "a/../../comptes_2024.json",
    "escaped parent": "%2e%2e%2fcomptes_2024.json/../x.json",
    "backslashes": "..\\..\\comptes_2024.json",
    "absolute": "/etc/comptes_2024.json",
    "drive": "C:\\comptes_2024.json",
    "drive without a slash": "C:comptes_2024.json",
    "NUL": "comptes\0_2024.json",
    "escape": "comptes\x1b[2J_2024.json",
    "delete": "comptes\x7f_2024.json",
    "C1": "comptes\u0085_2024.json",
    "dots": "..",
    "5,000 bytes": LONG + ".json",
    "256 bytes": "a" * 251 + ".json",
    "no UTF-8": b"comptes_\xff\xfe.json",
    "overlong UTF-8": b"..\xc0\xafcomptes.json",
    "hidden": ".json",
    "reserved": "NUL.json",
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_relay_names_of_files(gateway, name):
    refused(gateway, "relay", relay_upload(name), {400, 422})


BAD_SEGMENTS = {
    "parent": "..",
    "escaped parent": "%2e%2e",
    "escaped parent and slash": "%2e%2e%2f",
    "parents": "..%2f..%2fetc",
    "absolute": "%2Fetc",
    "drive": "C%3A%5Ctemp",
    "NUL": "a%00b",
    "new line": "a%0d%0ab",
    "no UTF-8": "%ff%fe",
    "5,000 bytes": LONG,
    "dot": ".",
    "empty": "%20",
}


@pytest.mark.parametrize("segment", BAD_SEGMENTS.values(), ids=BAD_SEGMENTS)
def test_relay_names_of_societes(gateway, segment):
    segment = segment if isinstance(segment, bytes) else segment.encode()
    refused(gateway, "relay", relay_upload("a.json", path=b"/api/files/upload/" + segment), {400, 404, 422})
    for method, path in {"GET": b"societe/%s/files", "POST": b"sync/%s"}.items():
        path = b"/api/files/" + path.replace(b"%s", segment)
        refused(gateway, "relay", request_bytes(method, path), {400, 404, 422})
    for method, path in {"GET": b"download", "DELETE": b"delete"}.items():
        for names in (segment + b"/a.json", b"a/" + segment):
            refused(gateway, "relay", request_bytes(method, b"/api/files/" + path + b"/" + names), {400, 404, 422})


RELAY_BODIES = {
    "no field": (field("other", "x") + MULTIPART_END, MULTIPART_TYPE, {422}),
    "a field that is no file": (field("file", "{}") + MULTIPART_END, MULTIPART_TYPE, {400, 422}),
    "no part": (MULTIPART_END, MULTIPART_TYPE, {400, 422}),
    "nothing": (b"", MULTIPART_TYPE, {400, 422}),
    "no boundary": (b"{}", "multipart/form-data", {400}),
    "a boundary that is no text": (b"{}", b"multipart/form-data; boundary=\xff\xfe", {400, 415, 422}),
    "another content type": (b"{}", "application/json", {400, 415, 422}),
    "no content type": (b"{}", None, {400, 415, 422}),
    "no end": (file_head("file", "a.json") + b"{}", MULTIPART_TYPE, {400}),
    "half of a head": (file_head("file", "a.json")[:50], MULTIPART_TYPE, {400, 422}),
    "a head without an end": (file_head("file", "a.json")[:-4] + b"\r\nX: " + b"a" * 100_000, MULTIPART_TYPE, {400, 413, 422, 431}),
    "no disposition": (f"--{BOUNDARY}\r\n\r\n{{}}\r\n".encode() + MULTIPART_END, MULTIPART_TYPE, {400, 422}),
}


@pytest.mark.parametrize("body, content_type, expected", RELAY_BODIES.values(), ids=RELAY_BODIES)
def test_relay_bodies(gateway, body, content_type, expected):
    refused(gateway, "relay", request_bytes("POST", UPLOAD, body, {"Content-Type": content_type}), expected)


BAD_JSON = {
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "513 deep": b"[" * 513 + b"]" * 513,
    "no UTF-8": b'{"a": "\xff"}',
    "a surrogate": b'{"a": "\xed\xa0\x80"}',
    "cut": b'{"a": [1, 2',
    "empty": b"",
    "two documents": b"{} {}",
    "NaN": b'{"a": NaN}',
    "a control character": b'{"a": "\x01"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte-order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_relay_json(gateway, content):
    answer = refused(gateway, "relay", relay_upload("bilan_2024.json", content), {422})
    assert answer["issues"], answer


def test_relay_takes_no_other_kind_of_file(gateway):
    for name in ("bilan_2024.txt", "bilan_2024", "bilan_2024.json.exe"):
        refused(gateway, "relay", relay_upload(name), {400})


def test_a_refused_replacement_leaves_what_was_there(gateway):
    assert raw_exchange(gateway.port, relay_upload("bilan_2024.json", b'{"a": 1}', "/api/files/upload/kept"))[0] == 200
    for content in BAD_JSON.values():
        refused(gateway, "relay", relay_upload("bilan_2024.json", content, "/api/files/upload/kept"), {422})
    assert requests.get(f"{gateway.url}/api/files/download/kept/bilan_2024.json").content == b'{"a": 1}'


def test_links_and_pipes_in_the_folder_are_not_served(gateway, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_bytes(b'{"secret": true}')
    folder = gateway.relay_files / "liens"
    folder.mkdir(parents=True)
    (folder / "vrai_2024.json").write_bytes(b"{}")
    (folder / "lien_2024.json").symlink_to(secret)
    (folder / "vers_2024.json").symlink_to(folder / "vrai_2024.json")
    os.mkfifo(folder / "tube_2024.json")
    (folder / "dossier_2024.json").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "prise_2024.json"))
    (gateway.relay_files / "ailleurs").symlink_to(tmp_path)

    def names():
        files = requests.get(f"{gateway.url}/api/files/societe/liens/files", timeout=10).json()["files"]
        return [file["filename"] for file in files]

    wait_until(lambda: names() == ["vrai_2024.json"], 5, "the true file alone")
    societes = requests.get(f"{gateway.url}/api/files/societes").json()["societes"]
    assert "liens" in societes and "ailleurs" not in societes
    assert requests.post(f"{gateway.url}/api/files/sync/liens", timeout=10).json()["files_count"] == 1
    with no_trace(gateway):
        for name in ("lien_2024", "vers_2024", "tube_2024", "prise_2024"):
            for method, path in {"GET": "download", "DELETE": "delete"}.items():
                answer = requests.request(method, f"{gateway.url}/api/files/{path}/liens/{name}.json", timeout=10)
                assert answer.status_code == 404 and answer.json()["detail"]
        answer = requests.get(f"{gateway.url}/api/files/download/ailleurs/secret.json")
        assert answer.status_code == 404
        # Nor is anything written through a link to a folder, or in the place of a folder.
        refused(gateway, "relay", relay_upload("bilan_2024.json", path="/api/files/upload/ailleurs"), {404, 409})
        refused(gateway, "relay", relay_upload("dossier_2024.json", path="/api/files/upload/liens"), {409})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.json"]
    assert secret.read_bytes() == b'{"secret": true}'


# Dialect B.


def chunk_request(overrides=None, leave_out=(), chunk=b"12345678"):
    fields = {"sessionId": "s", "chunkNumber": "0", "fileName": "a.bin"} | (overrides or {})
    body = b""
    for name, value in fields.items():
        if name not in leave_out:
            raw = value if isinstance(value, bytes) else str(value).encode()
            body += field(name, "VALUE").replace(b"VALUE", raw)
    if "chunk" not in leave_out:
        body += file_head("chunk", "blob") + chunk + b"\r\n"
    return request_bytes("POST", CHUNK, body + MULTIPART_END, MULTIPART)


@pytest.mark.parametrize("missing", ["sessionId", "chunkNumber", "chunk"])
def test_chunks_with_a_field_missing(gateway, missing):
    answer = refused(gateway, "fileupload", chunk_request(leave_out=[missing]), {400})
    assert missing in answer["message"]


BAD_FIELDS = [
    *[("chunkNumber", value) for value in (-1, "-0x1", "abc", "", " ", "1.5", "1e3", "∞", 1_000_001, 2**64, 10**30, b"\xff", "٣")],
    *[("sessionId", value) for value in ("", " ", "..", "../s", "a/b", "a\\b", "a\0b", "a\nb", "s" * 101, LONG, b"\xff\xfe", ".s")],
    *[("fileName", value) for value in BAD_NAMES.values() if value not in (".json", "NUL.json")],
    *[("totalChunks", value) for value in (-1, 0, "x", 1_000_002, 10**30)],
    *[("fileSize", value) for value in (-1, "x", 10**30)],
]


@pytest.mark.parametrize("name, value", BAD_FIELDS, ids=lambda value: repr(value)[:30])
def test_chunks_with_a_bad_field(gateway, name, value):
    refused(gateway, "fileupload", chunk_request({name: value}), {400, 413, 422})


CONTRADICTIONS = {
    "a number past the total": {"chunkNumber": 7, "totalChunks": 3},
    "larger than anything": {"fileSize": 2**60},
}


@pytest.mark.parametrize("fields", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_chunks_that_contradict_themselves(gateway, fields):
    refused(gateway, "fileupload", chunk_request(fields), {400, 409, 413, 422})


def test_chunks_that_contradict_what_was_said(gateway):
    connection = Connection(gateway.port)
    session = "contradicted"
    told = {"fileName": "a.bin", "totalChunks": 3, "fileSize": 24}
    assert connection.upload_chunk(session, 0, b"12345678", **told)[0] == 200
    with no_trace(gateway):
        for more in ({"totalChunks": 4}, {"fileName": "b.bin"}, {"fileSize": 25}):
            status, answer = connection.upload_chunk(session, 1, b"x", **(told | more))
            assert (status, answer["status"]) == (409, "error"), (more, answer)
    for number in (1, 2):
        assert connection.upload_chunk(session, number, b"1234567")[0] == 200
    status, answer = connection.complete(session)
    assert (status, answer["status"]) == (409, "error"), answer
    # It stays open, and what is mended can be completed.
    for number in (1, 2):
        assert connection.upload_chunk(session, number, b"12345678")[0] == 200
    assert connection.complete(session)[0] == 200
    path = f"/fileupload/assembly_status/{session}/"
    wait_until(lambda: connection.send("GET", path)[1]["status"] == "completed", 10, "the assembly")
    assert (gateway.large_files / f"a_{session}.bin").read_bytes() == b"12345678" * 3
    assert connection.send("DELETE", f"/fileupload/delete_upload/{session}/")[0] == 200
    assert not any(gateway.large_files.iterdir())


CHUNK_BODIES = {
    "no end": (chunk_request().partition(b"\r\n\r\n")[2][: -len(MULTIPART_END)], MULTIPART_TYPE),
    "half": (chunk_request().partition(b"\r\n\r\n")[2][:300], MULTIPART_TYPE),
    "no boundary": (b"x", "multipart/form-data"),
    "JSON": (b'{"sessionId": "s"}', "application/json"),
    "no content type": (b"x", None),
    "nothing": (b"", MULTIPART_TYPE),
}


@pytest.mark.parametrize("body, content_type", CHUNK_BODIES.values(), ids=CHUNK_BODIES)
def test_chunk_bodies(gateway, body, content_type):
    request = request_bytes("POST", CHUNK, body, {"Content-Type": content_type})
    refused(gateway, "fileupload", request, {400, 415, 422})


COMPLETIONS = {
    "no session": (b"{}", "application/json", {400}),
    "unknown": (b'{"sessionId": "nobody"}', "application/json", {404}),
    "unknown number": (b'{"sessionId": 17}', "application/json", {404}),
    "a list": (b'{"sessionId": ["s"]}', "application/json", {400}),
    "null": (b'{"sessionId": null}', "application/json", {400}),
    "no JSON": (b"{", "application/json", {400}),
    "JSON of another kind": (b"[]", "application/json", {400}),
    "no UTF-8": (b'{"sessionId": "\xff"}', "application/json", {400}),
    "deep JSON": (b'{"sessionId": ' + b"[" * 100_000, "application/json", {400}),
    "an empty form": (b"", "application/x-www-form-urlencoded", {400}),
    "a form of an unknown one": (b"sessionId=nobody", "application/x-www-form-urlencoded", {404}),
    "a form with a path": (b"sessionId=..%2f..%2fx", "application/x-www-form-urlencoded", {400, 404}),
    "multipart of an unknown one": (field("sessionId", "nobody") + MULTIPART_END, MULTIPART_TYPE, {404}),
    "plain text": (b"sessionId=s", "text/plain", {400, 415}),
}


@pytest.mark.parametrize("body, content_type, expected", COMPLETIONS.values(), ids=COMPLETIONS)
def test_completions(gateway, body, content_type, expected):
    request = request_bytes("POST", COMPLETE, body, {"Content-Type": content_type})
    refused(gateway, "fileupload", request, expected)


@pytest.mark.parametrize("segment", BAD_SEGMENTS.values(), ids=BAD_SEGMENTS)
def test_sessions_in_paths(gateway, segment):
    segment = segment if isinstance(segment, bytes) else segment.encode()
    for method, path in {"GET": b"assembly_status", "DELETE": b"delete_upload"}.items():
        request = request_bytes(method, b"/fileupload/" + path + b"/" + segment + b"/")
        refused(gateway, "fileupload", request, {400, 404, 422})


# Dialect A.

TEXTS = {
    "no chunk": b'{"index": 1}',
    "a number": b'{"chunk": 1}',
    "null": b'{"chunk": null}',
    "an index that is none": b'{"chunk": "a", "index": "x"}',
    "an index that is a fraction": b'{"chunk": "a", "index": 1.5}',
    "an index past all": b'{"chunk": "a", "index": 1' + b"0" * 40 + b"}",
    "cut": b'{"chunk": "a"',
    "a list": b"[]",
    "nothing": b"",
    "no UTF-8": b'{"chunk": "\xff"}',
    "half a surrogate": b'{"chunk": "\\ud800"}',
    "deep": b'{"chunk": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS)
def test_chunks_of_text(gateway, body):
    request = request_bytes("POST", "/write_chunk", body, {"Content-Type": "application/json"})
    refused(gateway, "chunk_writer", request, {400, 422})


def test_empty_binary_chunk(gateway):
    refused(gateway, "chunk_writer", request_bytes("POST", "/write_chunk_binary"), {400})


# All three.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_that_is_cut(gateway, dialect):
    whole = {
        "relay": relay_upload("bilan_2024.json", b'{"a": "' + b"x" * 3_000_000 + b'"}'),
        "fileupload": chunk_request(chunk=b"x" * 3_000_000),
        "chunk_writer": request_bytes("POST", "/write_chunk_binary", b"x" * 3_000_000),
    }[dialect]
    head, _, body = whole.partition(b"\r\n\r\n")
    for cut in (0, 10, 1_000_000, len(body) - 1):
        part = head + b"\r\n\r\n" + body[:cut]
        # The sender says that it is at its end, and can still hear.
        refused(gateway, dialect, part, {400}, half_close=True)
        # It is gone. Until the gateway has seen that, there is a trace, or none yet.
        handled = lambda: gateway.log.read_bytes().count(b"tidegate::access")
        with no_trace(gateway):
            before = handled()
            with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
                connection.sendall(part)
            wait_until(lambda: handled() > before, what="the end of a request that was cut")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", b"\xff", "http://localhost:80@evil.example"])
def test_foreign_origins(gateway, dialect, origin):
    paths = DIALECTS[dialect]
    refused(gateway, dialect, request_bytes("GET", paths.get, headers={"Origin": origin}), {403})
    answer = refused(gateway, dialect, request_bytes("POST", paths.post, b"{}", headers={"Origin": origin}), {403})
    assert "allowed_origins" in json.dumps(answer)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8000", b"\xff\xfe", "localhost:8000@evil.example", None])
def test_foreign_hosts(gateway, dialect, host):
    paths = DIALECTS[dialect]
    request = request_bytes("GET", paths.get, headers={"Host": host})
    refused(gateway, dialect, request, {403} if host == "evil.example" else {400, 403})


def test_a_foreign_page_gets_no_socket(gateway):
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": "https://evil.example",
    }
    refused(gateway, "relay", request_bytes("GET", "/api/files/ws", headers=headers), {403}, half_close=True)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_methods_that_are_none_of_theirs(gateway, dialect):
    paths = DIALECTS[dialect]
    for method, path in (("PUT", paths.get), ("DELETE", paths.get), ("GET", paths.post)):
        refused(gateway, dialect, request_bytes(method, path), {405})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_bodies_past_every_limit(gateway, dialect):
    content_type = None if dialect == "chunk_writer" else MULTIPART_TYPE
    request = request_bytes("POST", DIALECTS[dialect].post, b"", {"Content-Type": content_type}, length=2**50)
    refused(gateway, dialect, request, {413}, half_close=True)


def test_headers_that_are_no_http(gateway):
    """Refused below the dialects, so without their shape; and the gateway goes on."""
    with no_trace(gateway):
        for request in (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Evil\x00: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 3_000_000 + b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /api/files/societe/a\xff\xfeb/files HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /api/files/upload/a\xff HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
            b"\r\n" * 10 + b"\xff" * 100 + b"\r\n\r\n",
        ):
            status, _, _ = raw_exchange(gateway.port, request, half_close=True)
            assert status is None or 400 <= status < 506, (request[:60], status)
    assert requests.get(f"{gateway.url}/readyz").status_code == 200


def test_each_refusal_is_a_line_in_the_log(gateway):
    before = gateway.log.stat().st_size
    refused(gateway, "relay", relay_upload("../x.json"), {400, 422})
    new = lambda: gateway.log.read_bytes()[before:]
    wait_until(lambda: new().count(b"\n") >= 1, 5, "a line in the log")
    assert b"panicked" not in gateway.log.read_bytes()
    # What a client sends cannot pass for a line of ours.
    refused(gateway, "relay", request_bytes("GET", "/api/files/download/a/x%0aINFO%20all%20is%20well"), {400, 404})
    assert not any(line.startswith(b"INFO all is well") for line in gateway.log.read_bytes().splitlines())
