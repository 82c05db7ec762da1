"""HTTP without a library's opinions: multipart bodies with their fields in any order, and requests byte by byte."""

import json
import socket
from http.client import HTTPConnection

BOUNDARY = "----tidegate-tests-8e4c1f"


def field(name, value):
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file_head(name, file_name, content_type="application/octet-stream"):
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()


MULTIPART_END = f"--{BOUNDARY}--\r\n".encode()
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def chunk_body(session, number, chunk, bytes_first=False, **fields):
    """The body of an `upload_chunk` in pieces, as the web client in the field orders them, or fields first."""
    texts = field("sessionId", session) + field("chunkNumber", number)
    texts += b"".join(field(name, value) for name, value in fields.items())
    head = file_head("chunk", "blob")
    if bytes_first:
        return [head, chunk, b"\r\n" + texts + MULTIPART_END]
    return [texts + head, chunk, b"\r\n" + MULTIPART_END]


class Connection:
    """A connection that is kept open, and that reads a whole answer."""

    def __init__(self, port, timeout=120):
        self.inner = HTTPConnection("localhost", port, timeout=timeout)

    def send(self, method, path, pieces=(), headers=None):
        """`pieces` are sent one after another, and never put together."""
        headers = {"Content-Length": str(sum(map(len, pieces)))} | (headers or {})
        self.inner.request(method, path, body=iter(pieces), headers=headers)
        response = self.inner.getresponse()
        body = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(body) if is_json and body else body

    def upload_chunk(self, session, number, chunk, **options):
        return self.send("POST", "/fileupload/upload_chunk/", chunk_body(session, number, chunk, **options), MULTIPART)

    def complete(self, session, **more):
        body = json.dumps({"sessionId": session} | more).encode()
        return self.send("POST", "/fileupload/complete_upload/", [body], {"Content-Type": "application/json"})

    def close(self):
        self.inner.close()


def raw_exchange(port, request, timeout=20, half_close=False):
    """Sends bytes as they are and reads until the other side closes. Gives status, headers and body of the answer; status
    is `None` where there was none. With `half_close` the sender says that nothing more comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        answer = b""
        try:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            # The other side has heard enough; what it says to that is what counts.
            pass
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    return parse_answer(answer)


def parse_answer(answer):
    if not answer:
        return None, {}, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body
