"""Hooks that are asked before the first byte: what they deny leaves no trace, and says why in the shape of each dialect."""

import json
import socket

import pytest

from gateway import wait_until
from hooks import configure, use, webhook
from receiver import answer, chosen, hang, in_turn
from senders import assert_nowhere, complete, completed_names, download, end_of, listed, send_chunk, status_of, upload
from traces import no_trace
from wire import MULTIPART, Connection, chunk_body, file_head

REASON = "pas de brouillons ici – « É »"


def deny(status=None, reason=REASON):
    denial = {"reason": reason} | ({"status": status} if status else {})
    return answer(200, {"deny": denial})


def amend(**changes):
    return answer(200, {"amend": changes})


@pytest.fixture
def asked(make_gateway, receiver):
    """A gateway whose both collections ask the receiver before they take a file."""
    gateway = make_gateway()
    plugins = {"policy": webhook(receiver, timeout="60s")}
    hooks = {"admit": [use("policy", timeout="2s")]}
    return configure(gateway, plugins, societes=hooks, largefiles=hooks).start()


def test_the_relay_tells_the_denial(asked, receiver):
    for status in (None, 403, 404, 413, 451, 499):
        receiver.answers["/"] = deny(status)
        with no_trace(asked):
            refused = upload(asked, "Société", "brouillon.json", b"{}")
        assert (refused.status_code, refused.json()) == (status or 403, {"detail": REASON})
    question = receiver.told()[0]
    assert question.event["type"] == "tidegate.file.admit" and question.event["id"] == question.id
    assert question.event["subject"] == "societes/Soci%C3%A9t%C3%A9/brouillon.json"
    assert (question.data["stage"], question.data["size"], question.data["content_type"]) == ("admit", None, "application/json")
    assert "content_base64" not in question.data
    assert len(receiver.ids()) == 6, "each is a question of its own"
    # What is in force is asked of each file anew.
    receiver.answers["/"] = answer(204)
    assert upload(asked, "Société", "brouillon.json", b"{}").status_code == 200


def test_a_denial_comes_before_the_bytes(asked, receiver):
    """The answer is there while the client still has all of the file to send."""
    receiver.answers["/"] = deny(451)
    length = 1 << 30
    head = file_head("file", "film.json", "application/json")
    with no_trace(asked), socket.create_connection(("localhost", asked.port), timeout=30) as connection:
        lines = [
            "POST /api/files/upload/a HTTP/1.1", "Host: localhost", f"Content-Type: {MULTIPART['Content-Type']}",
            f"Content-Length: {length}", "", "",
        ]
        connection.sendall("\r\n".join(lines).encode() + head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 451 ")


def test_an_amended_name_is_the_name_from_then_on(asked, receiver):
    """The file is stored, listed and downloaded under it, and what another hook would say of the first name does not count."""
    receiver.answers["/"] = chosen(lambda question: amend(file_name="reçu_" + question.data["file_name"]))
    taken = upload(asked, "Lefèvre", "comptes_2024.json", b'{"a": 1}')
    assert taken.status_code == 200 and taken.json()["filename"] == "reçu_comptes_2024.json", taken.text
    assert listed(asked, "Lefèvre") == ["reçu_comptes_2024.json"]
    assert download(asked, "Lefèvre", "reçu_comptes_2024.json").content == b'{"a": 1}'
    assert_nowhere(asked, "Lefèvre", "comptes_2024.json")
    sent = send_chunk(asked, "s", b"abc", fileName="film.mp4")
    assert sent.status_code == 200, sent.text
    assert complete(asked, "s").status_code == 200 and end_of(asked, "s")["status"] == "completed"
    assert completed_names(asked) == ["reçu_film_s.mp4"]


def test_what_is_amended_holds_for_the_hooks_after_it(make_gateway, receiver):
    """The next one is asked with the amended name and type, and the checks are those that are meant for that name."""
    receiver.answers["/first"] = amend(file_name="image.json", content_type="image/png")
    receiver.answers["/review"] = answer(204)
    gateway = make_gateway()
    plugins = {name: webhook(receiver, f"/{name}") for name in ("first", "other", "second", "review")}
    plugins["types"] = {"kind": "media-type"}
    admit = ["first", use("other", files="comptes*"), use("second", files="image*")]
    validate = [use("other", files="comptes*"), use("review", files="image*"), use("types", files="image*")]
    configure(gateway, plugins, societes={"admit": admit, "validate": validate}).start()
    with no_trace(gateway):
        refused = upload(gateway, "a", "comptes.json", b"{}")
    assert refused.status_code == 422 and refused.json()["issues"][0]["code"] == "media-type-declared", refused.text
    assert receiver.told("/other") == []
    for path in ("/second", "/review"):
        [asked] = receiver.told(path)
        assert (asked.data["file_name"], asked.data["content_type"]) == ("image.json", "image/png"), path


BAD_NAMES = ["../autre/comptes.json", "/etc/comptes.json", "a/b.json", "..\\b.json", "", "a\u0000.json", "x" * 300 + ".json"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=["parent", "absolute", "folder", "backslash", "empty", "null", "long"])
def test_an_amended_name_that_is_a_path_is_a_denial(asked, receiver, name):
    """A hook may make a name up; it is held to what clients are. The client hears no more than that the hook failed."""
    receiver.answers["/"] = amend(file_name=name)
    with no_trace(asked):
        refused = upload(asked, "a", "comptes.json", b"{}")
        assert (refused.status_code, refused.json()) == (403, {"detail": "the hook `policy` could not be carried out"})
        refused = send_chunk(asked, "s", b"abc", fileName="film.mp4")
        assert refused.status_code == 403
        assert refused.json() == {"status": "error", "message": "the hook `policy` could not be carried out"}
    assert "amends the file's name" in asked.log_tail()


def test_an_amended_name_is_held_to_the_collection_too(asked, receiver):
    """The relay takes `.json` alone."""
    receiver.answers["/"] = amend(file_name="comptes.exe")
    with no_trace(asked):
        refused = upload(asked, "a", "comptes.json", b"{}")
    assert refused.status_code == 400 and ".json" in refused.json()["detail"], refused.text


NO_ANSWERS = {
    "500": answer(500, b"out of order"),
    "404": answer(404),
    "redirect": answer(302, headers={"Location": "http://127.0.0.1:9/"}),
    "no JSON": answer(200, b"<html>yes</html>"),
    "a list": answer(200, b"[]"),
    "another member": answer(200, {"denied": True}),
    "deny and amend": answer(200, {"deny": {"reason": "no"}, "amend": {}}),
    "a status that is none of the client's": answer(200, {"deny": {"status": 200, "reason": "no"}}),
    "too long": answer(200, b" " * 70_000),
    "never": hang,
}


@pytest.mark.parametrize("given", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_a_receiver_that_gives_no_answer_denies(asked, receiver, given):
    """Nothing is let in because nobody could be asked, and nothing of the inside is told."""
    receiver.answers["/"] = given
    with no_trace(asked):
        refused = upload(asked, "a", "comptes.json", b"{}")
        assert refused.status_code == 403, refused.text
        expected = "the hook `policy` took longer than 2s" if given is hang else "the hook `policy` could not be carried out"
        assert refused.json() == {"detail": expected}
    assert "policy" in asked.log_tail() and "comptes.json" in asked.log_tail()


def test_a_receiver_that_is_down_denies_until_it_is_back(asked, receiver):
    receiver.stop()
    with no_trace(asked):
        for _ in range(3):
            refused = upload(asked, "a", "comptes.json", b"{}")
            assert refused.status_code == 403 and refused.json() == {"detail": "the hook `policy` could not be carried out"}
    receiver.start()
    assert upload(asked, "a", "comptes.json", b"{}").status_code == 200


def test_a_receiver_that_is_there_again_within_the_retries_is_not_noticed(make_gateway, receiver):
    receiver.answers["/"] = in_turn(answer(503), answer(500), answer(204))
    gateway = make_gateway()
    hooks = {"admit": [use("policy", retry=["10ms", "10ms"])]}
    configure(gateway, {"policy": webhook(receiver)}, societes=hooks).start()
    assert upload(gateway, "a", "comptes.json", b"{}").status_code == 200
    assert len(receiver.told()) == 3 and len(receiver.ids()) == 1, "the same question, asked again"


@pytest.mark.parametrize("bytes_first", [False, True], ids=["fields first", "bytes first"])
def test_the_first_chunk_is_denied_without_a_trace(asked, receiver, bytes_first):
    """Also where the web client in the field sends the bytes before it says whose they are."""
    receiver.answers["/"] = deny(451)
    connection = Connection(asked.port)
    with no_trace(asked):
        # The second does not fit the memory that is kept for parts whose place is not known.
        for session, chunk in {"small": b"x" * 1000, "large": b"x" * (9 << 20)}.items():
            refused = connection.upload_chunk(session, 1, chunk, bytes_first=bytes_first, fileName="film.mp4", fileSize=len(chunk))
            assert refused == (451, {"status": "error", "message": REASON})
            assert connection.send("GET", f"/fileupload/assembly_status/{session}/")[0] == 404
    question = receiver.told()[0]
    assert question.event["subject"] == "largefiles/film.mp4" and question.data["tenant"] == ""
    assert (question.data["file_name"], question.data["size"]) == ("film.mp4", 1000)
    # The same session may try again with what is allowed.
    receiver.answers["/"] = answer(204)
    assert connection.upload_chunk("small", 1, b"x" * 1000, bytes_first=bytes_first, fileName="film.mp4") == (200, {"status": "chunk uploaded"})
    asked_before = len(receiver.told())
    assert connection.upload_chunk("small", 2, b"x" * 1000, bytes_first=bytes_first, fileName="film.mp4")[0] == 200
    assert len(receiver.told()) == asked_before, "an upload that was admitted is not asked about again"


def test_eight_first_chunks_at_once_are_denied_without_a_trace(asked, receiver):
    """They all wait for the same answer, or each for its own; none makes the upload."""
    receiver.answers["/"] = deny(403)
    with no_trace(asked):
        connections = [socket.create_connection(("localhost", asked.port), timeout=30) for _ in range(8)]
        for number, connection in enumerate(connections):
            body = b"".join(chunk_body("s", number, b"x" * 1000, fileName="film.mp4"))
            head = f"POST /fileupload/upload_chunk/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART['Content-Type']}\r\n"
            connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        for connection in connections:
            assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")
            connection.close()


def test_a_name_that_is_told_at_completion_is_asked_about_there(asked, receiver):
    """The upload stays open with what it has, and nothing of the completion is left; under a name that is allowed it is completed."""
    receiver.answers["/"] = chosen(lambda question: deny(451) if question.data["file_name"] == "brouillon.mp4" else answer(204))
    for number in range(3):
        assert send_chunk(asked, "s", b"x" * 1000, number).status_code == 200
    assert receiver.told() == [], "there is no name to ask about"
    with no_trace(asked):
        refused = complete(asked, "s", fileName="brouillon.mp4")
        assert (refused.status_code, refused.json()) == (451, {"status": "error", "message": REASON})
        assert status_of(asked, "s") == {"status": "pending"}
    assert complete(asked, "s", fileName="film.mp4").status_code == 200
    assert end_of(asked, "s")["status"] == "completed" and completed_names(asked) == ["film_s.mp4"]
    assert (asked.large_files / "film_s.mp4").read_bytes() == b"x" * 3000


def test_a_client_that_goes_away_while_it_is_asked_about_leaves_nothing(asked, receiver):
    receiver.answers["/"] = hang
    with no_trace(asked):
        connection = socket.create_connection(("localhost", asked.port), timeout=30)
        body = b"".join(chunk_body("s", 0, b"x" * 1000, fileName="film.mp4"))
        head = f"POST /fileupload/upload_chunk/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MULTIPART['Content-Type']}\r\n"
        connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        receiver.wait_for(lambda: receiver.hanging() == 1, "question that hangs")
        connection.close()
        wait_until(lambda: receiver.hanging() == 0, 30, "the end of the question")
