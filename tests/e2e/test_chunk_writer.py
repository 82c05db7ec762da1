"""Dialect A: `curl`, many writers at once, bytes that are no text, and the page in a real browser."""

import base64
import json
import random
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from gateway import free_port
from wire import Connection

NO_UTF8 = b"\x00\xff\xfe binary \x80\r\n"


def curl(*arguments, body=None):
    """The status and the body of the answer."""
    command = ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *arguments]
    done = subprocess.run(command, input=body, capture_output=True, check=True, timeout=60)
    answer, _, status = done.stdout.rpartition(b"\n")
    return int(status), answer


def curl_json(*arguments, **options):
    status, answer = curl(*arguments, **options)
    return status, json.loads(answer)


@pytest.fixture
def gateway(make_gateway):
    # As the configuration does: one port for all, and the one that the clients of the chunk writer know.
    return make_gateway(ports=[free_port(), free_port()]).start()


@pytest.fixture
def writer(gateway):
    return f"http://localhost:{gateway.ports[1]}"


def stored_file(gateway):
    return gateway.data / "chunks" / "uploads" / "received_chunks.txt"


def test_curl_writes_reads_and_clears(gateway, writer):
    assert curl_json(f"{writer}/get_file") == (200, {"content": ""})
    assert curl_json("-X", "POST", f"{writer}/clear_file")[0] == 200

    text = ["-X", "POST", "-H", "Content-Type: application/json", f"{writer}/write_chunk", "-d"]
    status, answer = curl_json(*text, '{"chunk": "première ligne\\n", "index": 7}')
    assert (status, answer["success"], answer["chunk"]) == (200, True, "première ligne\n")
    assert "7" in answer["message"]
    assert curl_json(*text, '{"chunk": "sans numéro\\n"}')[0] == 200

    # As `curl` does it by itself, as a form, with no content type at all, and as what it is.
    for header in ([], ["-H", "Content-Type:"], ["-H", "Content-Type: application/octet-stream"]):
        status, answer = curl_json(*header, "--data-binary", "@-", f"{writer}/write_chunk_binary", body="octets é\n".encode())
        assert (status, answer["success"], answer["size"]) == (200, True, 10)

    expected = "première ligne\nsans numéro\n" + "octets é\n" * 3
    assert curl_json(f"{writer}/get_file") == (200, {"content": expected})
    # The other port serves the same.
    assert curl_json(f"{gateway.url}/get_file") == (200, {"content": expected})
    assert stored_file(gateway).read_bytes() == expected.encode()

    assert curl_json("-X", "POST", f"{writer}/clear_file")[1]["success"] is True
    assert curl_json(f"{writer}/get_file") == (200, {"content": ""})


def test_curl_hears_what_is_wrong(writer):
    text = ["-X", "POST", "-H", "Content-Type: application/json", f"{writer}/write_chunk", "-d"]
    for body in ('{"index": 1}', "{", '{"chunk": 5}', '{"chunk": "a", "index": "x"}', "[]", ""):
        status, answer = curl_json(*text, body)
        assert (status, list(answer)) == (400, ["error"]), (body, answer)
    status, answer = curl_json("-X", "POST", f"{writer}/write_chunk_binary")
    assert (status, list(answer)) == (400, ["error"])
    assert curl_json(f"{writer}/get_file") == (200, {"content": ""})


def test_bytes_that_are_not_utf8(writer):
    assert curl_json("--data-binary", "@-", f"{writer}/write_chunk_binary", body=NO_UTF8)[1]["size"] == len(NO_UTF8)
    answer = curl_json(f"{writer}/get_file")[1]
    assert answer["encoding"] == "base64"
    assert base64.b64decode(answer["content"]) == NO_UTF8
    for accept in ("application/octet-stream", "text/plain"):
        assert curl("-H", f"Accept: {accept}", f"{writer}/get_file") == (200, NO_UTF8)
        assert curl("-H", f"Accept: {accept}", "-r", "3-8", f"{writer}/get_file") == (206, NO_UTF8[3:9])


def test_eight_writers_at_once_never_interleave(gateway):
    counts = 40

    def write(writer):
        connection = Connection(gateway.port)
        generator = random.Random(writer)
        for number in range(counts):
            length = generator.choice([1, 100, 5_000, 300_000])
            head = f"<{writer}:{number}:{length}>".encode()
            piece = bytes([ord("a") + writer]) * length
            if number % 2:
                body = [head, piece]
                status, _ = connection.send("POST", "/write_chunk_binary", body, {"Content-Type": "text/plain"})
            else:
                body = [json.dumps({"chunk": (head + piece).decode(), "index": number}).encode()]
                status, _ = connection.send("POST", "/write_chunk", body, {"Content-Type": "application/json"})
            assert status == 200
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    written = chunks_of(stored_file(gateway).read_bytes())
    for writer in range(8):
        assert [number for who, number in written if who == writer] == list(range(counts))
    assert requests.get(f"{gateway.url}/get_file").json()["content"] == stored_file(gateway).read_text()


def chunks_of(content):
    """Who wrote which chunk, in the file's order; fails where a chunk is not whole."""
    chunks, offset = [], 0
    while offset < len(content):
        head = re.compile(rb"<(\d+):(\d+):(\d+)>").match(content, offset)
        assert head, f"no chunk begins at {offset}: {content[offset:offset + 40]}"
        writer, number, length = map(int, head.groups())
        offset = head.end() + length
        assert content[head.end() : offset] == bytes([ord("a") + writer]) * length, f"{writer}:{number} is not whole"
        chunks.append((writer, number))
    return chunks


def test_acknowledged_chunks_survive_a_kill_whole(gateway):
    acknowledged, ended, begun = [], threading.Event(), threading.Event()

    def write(writer):
        for number in range(100_000):
            if ended.is_set():
                return
            length = 1000 * (1 + number % 50)
            body = f"<{writer}:{number}:{length}>".encode() + bytes([ord("a") + writer]) * length
            try:
                answer = requests.post(f"{gateway.url}/write_chunk_binary", data=body, timeout=20)
            except requests.ConnectionError:
                continue
            if answer.status_code == 200:
                acknowledged.append((writer, number))
                begun.set()

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        for _ in range(3):
            begun.clear()
            assert begun.wait(30), "nothing was acknowledged"
            gateway.kill()
            gateway.start()
        ended.set()
        for writer in writers:
            writer.result()
    raw = requests.get(f"{gateway.url}/get_file", headers={"Accept": "application/octet-stream"}).content
    written = chunks_of(raw)
    assert set(acknowledged) <= set(written)
    assert len(set(written)) == len(written)


@pytest.fixture
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def test_the_page_in_a_browser(gateway, writer, browser, tmp_path):
    browser.get(f"{writer}/site_chunk_writer.html")
    element = lambda name: browser.find_element(By.ID, name)
    waiting = WebDriverWait(browser, 20)
    shows = lambda text: waiting.until(lambda _: element("content").get_property("textContent") == text, text)
    says = lambda where, text: waiting.until(lambda _: text in element(where).text, f"«{text}» in {where}")
    waiting.until(lambda _: element("empty").is_displayed(), "the page that says that there is nothing yet")

    element("text").send_keys("première ligne")
    element("send-text").click()
    says("text-said", "Done")
    shows("première ligne\n")
    element("newline").click()
    element("text").send_keys("sans fin de ligne")
    element("send-text").click()
    shows("première ligne\nsans fin de ligne")
    element("send-text").click()
    says("text-said", "Write something first")

    # A file in several chunks, that is text.
    notes = tmp_path / "notes.txt"
    notes.write_text("été " * 50_000)
    element("chunk-size").send_keys("64 KiB")
    element("file").send_keys(str(notes))
    element("send-file").click()
    says("file-said", "Done")
    expected = "première ligne\nsans fin de ligne" + "été " * 50_000
    waiting.until(lambda _: element("excerpt").is_displayed(), "the end of a long file")
    shown = element("content").get_property("textContent")
    assert expected.endswith(shown) and len(shown) > 10_000
    assert requests.get(f"{writer}/get_file").json()["content"] == expected

    # And one that is not.
    binary = tmp_path / "image.bin"
    binary.write_bytes(NO_UTF8)
    element("file").send_keys(str(binary))
    element("send-file").click()
    says("excerpt", "Not all of it is UTF-8")
    assert "ff fe" in element("content").get_property("textContent")
    assert stored_file(gateway).read_bytes() == expected.encode() + NO_UTF8

    element("clear").click()
    element("keep").click()
    assert stored_file(gateway).exists()
    element("clear").click()
    element("really").click()
    waiting.until(lambda _: element("empty").is_displayed(), "the page that says that it is empty")
    assert requests.get(f"{writer}/get_file").json() == {"content": ""}

    # A gateway that is away is said to be.
    gateway.kill()
    element("text").send_keys("personne")
    element("send-text").click()
    says("text-said", "did not answer")
    # The browser's own list holds no error but what it says of the gateway that was killed.
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert all("ERR_CONNECTION" in message for message in complaints), complaints
