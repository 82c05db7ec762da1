"""A subscriber of the relay's WebSocket that comes back where it was when the connection is lost."""

import json
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Listener:
    """Collects every message in a thread of its own."""

    def __init__(self, gateway):
        self.messages = []
        self.greetings = 0
        self._gateway = gateway
        self._grown = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self):
        self._thread.start()
        self.wait_for(lambda: self.greetings, "the greeting")
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _listen(self):
        position = None
        while not self._ended.is_set():
            query = "" if position is None else f"?after={position}"
            try:
                with connect(f"{self._gateway.socket_url}{query}") as socket:
                    while not self._ended.is_set():
                        try:
                            message = json.loads(socket.recv(timeout=0.1))
                        except TimeoutError:
                            continue
                        position = message.get("id", position)
                        self._take(message)
            except (ConnectionClosed, OSError):
                time.sleep(0.05)

    def _take(self, message):
        with self._grown:
            if message["type"] == "connection":
                self.greetings += 1
            else:
                self.messages.append(message)
            self._grown.notify_all()

    def wait_for(self, condition, what, limit=15):
        with self._grown:
            assert self._grown.wait_for(condition, limit), f"no {what} within {limit} s; heard {self.messages[-5:]}"

    def wait_for_count(self, count):
        self.wait_for(lambda: len(self.messages) >= count, f"{count} messages")
        return self.messages

    def heard(self, kind):
        return [(message["societe"], message["filename"]) for message in self.messages if message["type"] == kind]
