"""Whom the `webhook` plugin asks and tells: a receiver in threads of its own. It verifies each request by the library of Standard
Webhooks, remembers it, and answers as it is told to."""

import base64
import contextlib
import json
import os
import select
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

LOOPBACK = "127.0.0.1"
GONE = (BrokenPipeError, ConnectionResetError)
# Who does not like our certificate says so and goes.
LEFT = (*GONE, ssl.SSLError)


def new_secret():
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def tls_of(certificate):
    """What a server speaks that has this certificate of `trustme`."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    return tls


@dataclass
class Received:
    """A request that was verified."""

    path: str
    headers: dict
    body: bytes
    event: dict
    at: float

    @property
    def id(self):
        return self.headers["webhook-id"]

    @property
    def data(self):
        return self.event["data"]


# What can be answered. Each is called with the handler and what was received.


def answer(status=204, body=None, headers=None):
    """`body` is sent as JSON, or as it is if it is bytes."""

    def give(handler, _):
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    return give


def redirect(url, status=307):
    return answer(status, headers={"Location": url})


def in_turn(*answers):
    """The first request gets the first of them, and so on; the last goes on for ever."""
    left = list(answers)

    def give(handler, received):
        with handler.server.receiver.grown:
            current = left.pop(0) if len(left) > 1 else left[0]
        current(handler, received)

    return give


def chosen(choose):
    """As `choose` says of what was received."""
    return lambda handler, received: choose(received)(handler, received)


def hang(handler, received):
    """Nothing, until the other side goes away or the receiver is stopped."""
    receiver = handler.server.receiver
    receiver.count_hanging(received.path, 1)
    while not receiver.stopped.is_set() and not is_gone(handler.connection):
        pass
    receiver.count_hanging(received.path, -1)
    handler.close_connection = True


def hang_then(then):
    """Nothing until `receiver.release` is set; then another answer."""

    def give(handler, received):
        receiver = handler.server.receiver
        receiver.count_hanging(received.path, 1)
        while not receiver.stopped.is_set() and not receiver.release.is_set() and not is_gone(handler.connection):
            pass
        receiver.count_hanging(received.path, -1)
        if receiver.release.is_set():
            then(handler, received)

    return give


def drip(handler, received):
    """An answer of a thousand bytes, ten of them in a second."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    receiver = handler.server.receiver
    receiver.count_hanging(received.path, 1)
    with contextlib.suppress(*GONE):
        for _ in range(1000):
            if receiver.stopped.is_set() or is_gone(handler.connection):
                break
            handler.wfile.write(b" ")
    receiver.count_hanging(received.path, -1)
    handler.close_connection = True


def flood(size=1 << 30):
    """So many bytes, as fast as they are taken."""

    def give(handler, received):
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        piece = b" " * (64 << 10)
        with contextlib.suppress(*GONE):
            for _ in range(size // len(piece)):
                handler.wfile.write(piece)
                handler.server.receiver.flooded[received.path] += len(piece)
        handler.close_connection = True

    return give


def is_gone(connection):
    """Whether the other side has closed; takes a tenth of a second if it has not."""
    readable, _, _ = select.select([connection], [], [], 0.1)
    if not readable:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not receiver.is_genuine(body, headers):
            answer(401)(self, None)
            receiver.refuse(self.path, headers, body)
            return
        received = Received(self.path, headers, body, json.loads(body), time.monotonic())
        receiver.take(received)
        give = receiver.answers.get(self.path, answer(204))
        give(self, received)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, receiver):
        self.receiver = receiver
        self.open = set()
        super().__init__((LOOPBACK, receiver.port), Handler)

    def get_request(self):
        connection, address = super().get_request()
        if self.receiver.tls:
            # The handshake is left to the thread that reads.
            connection = self.receiver.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.receiver.connections += 1
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_):
        error = sys.exc_info()[1]
        if not isinstance(error, (*LEFT, ValueError)) and not self.receiver.stopped.is_set():
            self.receiver.errors.append(error)


class Receiver:
    """`answers` says by path what is answered; 204 if nothing. Stopped, nobody listens on its port; it can be started there again. With a
    `certificate` it speaks https."""

    def __init__(self, secrets=None, certificate=None):
        self.tls = certificate and tls_of(certificate)
        self.secrets = [new_secret()] if secrets is None else list(secrets)
        self.port = 0
        self.answers = {}
        self.requests = []
        self.refused = []
        self.errors = []
        self.connections = 0
        self.flooded = Counter()
        self.grown = threading.Condition()
        self.stopped = threading.Event()
        self.release = threading.Event()
        self._hanging = Counter()
        self._server = None

    def start(self):
        self.stopped.clear()
        self._server = Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        """Also ends connections that are kept open."""
        if self._server is None:
            return
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server = None

    def url(self, path="/"):
        return f"https://localhost:{self.port}{path}" if self.tls else f"http://{LOOPBACK}:{self.port}{path}"

    # What the handlers report.

    def is_genuine(self, body, headers):
        """Whether one of the secrets says so; without any, all are."""
        for secret in self.secrets:
            with contextlib.suppress(WebhookVerificationError):
                Webhook(secret).verify(body, headers)
                return True
        return not self.secrets

    def take(self, received):
        with self.grown:
            self.requests.append(received)
            self.grown.notify_all()

    def refuse(self, path, headers, body):
        with self.grown:
            self.refused.append((path, headers, body))
            self.grown.notify_all()

    def count_hanging(self, path, change):
        with self.grown:
            self._hanging[path] += change
            self.grown.notify_all()

    # What the tests ask.

    def told(self, path="/"):
        """What came to a path, in its order."""
        with self.grown:
            return [received for received in self.requests if received.path == path]

    def ids(self, path="/"):
        return {received.id for received in self.told(path)}

    def names(self, path="/"):
        return {received.data["file_name"] for received in self.told(path)}

    def hanging(self, path="/"):
        """How many requests have no answer at this moment, while the other side waits for it."""
        with self.grown:
            return self._hanging[path]

    def wait_for(self, condition, what, limit=30):
        with self.grown:
            met = self.grown.wait_for(condition, limit)
            last = [(received.path, received.id) for received in self.requests[-5:]]
        assert met, f"no {what} within {limit} s; {len(self.requests)} requests, last {last}, refused {self.refused[-3:]}"

    def wait_for_ids(self, count, path="/", limit=30):
        """Until so many different questions have come."""
        self.wait_for(lambda: len(self.ids(path)) >= count, f"{count} ids at {path}", limit)
        return self.ids(path)
