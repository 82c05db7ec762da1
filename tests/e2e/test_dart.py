"""A Dart client generated from the OpenAPI document by the public generator, in a real Dart VM."""

import hashlib
import json
import random
import re

import pytest

import dart
from accounts import statement

SOCIETE = "Société Générale des Eaux"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dart") / "client"
    warnings = [line for line in dart.generate(folder).splitlines() if "[WARN]" in line or "ERROR" in line]
    folder.joinpath("warnings.txt").write_text("\n".join(warnings))
    return folder


@pytest.fixture
def run(client):
    """Starts programs that end with the test."""
    packages, started = dart.write_package_config(client), []

    def run(program, *arguments):
        started.append(dart.Program(packages, program, *arguments))
        return started[-1]

    yield run
    for program in started:
        program.end()


def test_the_generator_has_nothing_to_complain_of(client):
    assert client.joinpath("warnings.txt").read_text() == ""


def test_names_read_well(client):
    methods = []
    for path in client.glob("lib/api/*_api.dart"):
        methods += re.findall(r"^  Future<[^ ]+> (\w+)\(", path.read_text(), re.MULTILINE)
    methods = [name for name in methods if not name.endswith("WithHttpInfo")]
    wanted = "uploadFile listFiles downloadFile deleteFile listSocietes syncSociete getStatus uploadChunk completeUpload"
    wanted += " getAssemblyStatus listCompletedUploads deleteUpload writeChunk writeChunkBinary getFile clearFile"
    assert set(wanted.split()) <= set(methods)
    # One verb and what it is done to; no path, no HTTP method, no number that tells two of a name apart.
    for name in methods:
        assert not re.search(r"^api|Get$|Post$|Put$|Delete$|\d$", name), name
        assert len(re.findall("[A-Z]", name)) <= 3, name
    classes = [path.stem for path in client.glob("lib/model/*.dart")]
    # The generator calls what has no name of its own after where it found it.
    assert [name for name in classes if re.search(r"_inner|_request$|response_?\d|_\d+$|one_of|any_of", name)] == []


def test_a_program_uploads_lists_downloads_and_deletes(gateway, run, tmp_path):
    documents = {
        "bilan_annuel_2024.json": statement(SOCIETE, 2024, 20_000),
        "écritures d'été_2023.json": statement(SOCIETE, 2023, 1_500_000),
    }
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, content in documents.items():
        (folder / name).write_bytes(content)
    large = tmp_path / "vidéo été.bin"
    large.write_bytes(random.Random(3).randbytes(3_000_001))

    listener = run("listen.dart", gateway.socket_url)
    assert listener.message()["type"] == "connection"

    program = run("relay_and_upload.dart", gateway.url, folder, large)
    session = program.message()["stored"]
    stored = gateway.large_files / f"vidéo été_{session}.bin"
    assert stored.read_bytes() == large.read_bytes()
    program.say("go on")
    told = program.message()
    assert_relay(told["relay"], documents)
    assert_upload(told["upload"], session, large)
    assert not stored.exists()

    heard = [listener.message() for _ in range(len(documents) + 2)]
    assert [message["type"] for message in heard] == ["file_uploaded"] * 2 + ["sync_completed", "file_deleted"]
    assert {message["filename"] for message in heard[:2]} == set(documents)

    # The listener comes back by itself, with the position of what it heard last.
    gateway.kill()
    gateway.start()
    program = run("relay_and_upload.dart", gateway.url, folder, large)
    assert program.message()["stored"]
    heard += (again := [listener.message() for _ in range(5)])[1:]
    assert [message["type"] for message in again] == [
        "connection", "file_uploaded", "file_uploaded", "sync_completed", "file_deleted"
    ]
    positions = [message["id"] for message in heard]
    assert positions == sorted(set(positions))


def assert_relay(told, documents):
    assert told["sizes"] == {name: len(content) for name, content in documents.items()}
    assert told["societes"] == [SOCIETE]
    assert (told["status"], told["synced"]) == ("ready", len(documents))
    assert {file["filename"]: file["checksum"] for file in told["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in documents.items()
    }
    assert {(file["type_data"], file["annee"]) for file in told["files"]} == {
        ("bilan", "2024"),
        ("écritures d'été", "2023"),
    }
    assert told["content"].encode() == documents[told["downloaded"]]
    assert told["left"] == [name for name in documents if name != told["downloaded"]]
    missing, broken = told["refusals"]
    assert missing["code"] == 404 and isinstance(missing["body"]["detail"], str)
    assert broken["code"] == 422 and broken["body"]["issues"]


def assert_upload(told, session, large):
    assert (told["session"], told["status"], told["left"]) == (session, "completed", 0)
    [listed] = told["listed"]
    assert listed["file_name"] == f"vidéo été_{session}.bin"
    assert (listed["file_size"], listed["user_id"]) == (large.stat().st_size, "dart")
    [gone] = told["refusals"]
    assert gone["code"] == 404 and gone["body"]["status"] == "error"
