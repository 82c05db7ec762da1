"""Checks that are declared in TOML, seen from the clients' side: what they refuse is told with its place, and is nowhere to be seen
or heard."""

import base64
import hashlib
import json
from datetime import datetime

import requests

from accounts import statement
from events import Listener
from gateway import ROOT
from hooks import configure, reload, use, wait_for_state, webhook
from receiver import answer, chosen, hang
from senders import (
    assert_nowhere, complete, completed_names, download, end_of, in_chunks, listed, send_chunk, status_of, upload,
)
from traces import no_trace

SCHEMA = ROOT / "plugins" / "json-schema" / "examples" / "ecritures.schema.json"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes(200)
PDF = b"%PDF-1.7\n" + bytes(2000)
COMPANIES = ["Boulangerie Lefèvre", "Société Générale des Eaux", "Øresund & Sønner A-S"]

ENTRIES = {"kind": "json-schema", "schema": str(SCHEMA)}
IMAGES = {"kind": "media-type", "allow": ["image/*"]}


def spoil(content):
    """Three things that the schema forbids, each at a place of its own."""
    document = json.loads(content)
    document["exercice"] = "deux mille"
    del document["ecritures"][0]["compte"]
    document["ecritures"][2]["debit"] = -1
    return json.dumps(document).encode()


def test_accounts_are_held_against_their_schema(make_gateway, receiver):
    """A bad statement is refused with every issue at its place, and nobody sees it or hears of it; a good one is announced, listed, and
    told of to the receiver, with the digest, the size and the version that its download has."""
    gateway = make_gateway()
    plugins = {"ecritures": ENTRIES, "erp": webhook(receiver)}
    checks = ["json", use("ecritures", files="comptes_*.json")]
    configure(gateway, plugins, societes={"validate": checks, "post_assembly": ["erp"]}).start()
    good = {company: statement(company, 2024, 30_000) for company in COMPANIES}
    with Listener(gateway) as listener:
        for company in COMPANIES:
            refused = upload(gateway, company, "comptes_2024.json", spoil(good[company]))
            assert refused.status_code == 422, refused.text
            issues = {issue["path"]: issue for issue in refused.json()["issues"]}
            assert set(issues) == {"/exercice", "/ecritures/0", "/ecritures/2/debit"}, refused.text
            assert issues["/exercice"]["code"] == "schema-type"
            assert "compte" in issues["/ecritures/0"]["message"]
            assert_nowhere(gateway, company, "comptes_2024.json")
            taken = upload(gateway, company, "comptes_2024.json", good[company])
            assert taken.status_code == 200, taken.text
            # Another name is none of the schema's business.
            assert upload(gateway, company, "notes.json", b"[1]").status_code == 200
        listener.wait_for_count(2 * len(COMPANIES))
    heard = [(company, name) for company in COMPANIES for name in ("comptes_2024.json", "notes.json")]
    assert listener.heard("file_uploaded") == heard

    receiver.wait_for_ids(2 * len(COMPANIES))
    told = {(one.data["tenant"], one.data["file_name"]): one for one in receiver.told()}
    assert set(told) == set(heard) and len(receiver.told()) == len(heard)
    for company in COMPANIES:
        assert_told_of(told[company, "comptes_2024.json"], company, good[company], download(gateway, company, "comptes_2024.json"))

    # What is there stays when a worse version of it is refused.
    company = COMPANIES[0]
    assert upload(gateway, company, "comptes_2024.json", b'{"exercice": 1').status_code == 422
    assert download(gateway, company, "comptes_2024.json").content == good[company]
    wait_for_state(gateway, "societes/erp", done=len(heard), owed=0, running=0, dead=0)
    assert len(receiver.told()) == len(heard)


def assert_told_of(received, company, content, downloaded):
    """The CloudEvent of a publication; its signature was verified when it came."""
    event, data = received.event, received.data
    assert received.headers["content-type"] == "application/cloudevents+json"
    assert (event["specversion"], event["type"]) == ("1.0", "tidegate.file.published")
    assert event["id"] == received.id == data["id"] and event["source"] == "tidegate"
    assert event["datacontenttype"] == "application/json"
    escaped = {"Boulangerie Lefèvre": "Boulangerie%20Lef%C3%A8vre", "Øresund & Sønner A-S": "%C3%98resund%20%26%20S%C3%B8nner%20A-S"}
    if company in escaped:
        assert event["subject"] == f"societes/{escaped[company]}/comptes_2024.json"
    assert (data["stage"], data["collection"], data["tenant"]) == ("post_assembly", "societes", company)
    assert (data["file_name"], data["attempt"]) == ("comptes_2024.json", 1)
    assert downloaded.status_code == 200 and downloaded.content == content
    assert data["size"] == len(content)
    assert data["sha256"] == hashlib.sha256(content).hexdigest()
    assert data["version"] and f'"{data["version"]}"' == downloaded.headers["ETag"]
    published = datetime.fromisoformat(data["published"])
    assert event["time"] == data["published"] and published.utcoffset().total_seconds() == 0


def test_a_file_of_a_forbidden_type_ends_as_failed_with_the_reason(make_gateway):
    gateway = configure(make_gateway(), {"images": IMAGES}, largefiles={"validate": ["images"]}).start()
    assert in_chunks(gateway, "good", "photo.png", PNG)["status"] == "completed"
    told = in_chunks(gateway, "bad", "photo.png", PDF)
    assert told["status"] == "failed", told
    issues = {issue["code"]: issue for issue in told["issues"]}
    assert set(issues) == {"media-type-not-allowed", "media-type-extension"}, told
    assert all(issue["path"] == "" for issue in told["issues"])
    message = issues["media-type-not-allowed"]["message"]
    assert "application/pdf" in message and "image/*" in message, told
    assert message in told["message"], told
    assert completed_names(gateway) == ["photo_good.png"]
    assert [path.name for path in gateway.large_files.iterdir()] == ["photo_good.png"]


def test_a_check_that_is_added_or_removed_by_a_reload_holds_for_the_next_upload(make_gateway):
    """No restart, and nothing that was taken before is touched."""
    gateway = make_gateway().start()
    company = COMPANIES[0]
    bad = spoil(statement(company, 2024, 3_000))
    assert upload(gateway, company, "comptes_2022.json", bad).status_code == 200
    configure(gateway, {"ecritures": ENTRIES}, societes={"validate": ["json", "ecritures"]})
    # As long as nobody says so, nothing changes.
    assert upload(gateway, company, "comptes_2023.json", bad).status_code == 200
    reload(gateway)
    refused = upload(gateway, company, "comptes_2024.json", bad)
    assert refused.status_code == 422 and len(refused.json()["issues"]) == 3, refused.text
    assert sorted(listed(gateway, company)) == ["comptes_2022.json", "comptes_2023.json"]
    # A reload that is refused leaves the checks as they are.
    configure(gateway, {}, societes={"validate": ["json", "ecriture"]})
    result = gateway.tidegate("reload")
    assert result.returncode == 78 and "ecriture" in result.stdout + result.stderr
    assert upload(gateway, company, "comptes_2024.json", bad).status_code == 422
    configure(gateway)
    reload(gateway)
    assert upload(gateway, company, "comptes_2024.json", bad).status_code == 200


def test_an_upload_in_parts_has_the_checks_of_when_its_work_is_claimed(make_gateway):
    """Whatever they were when it began."""
    gateway = make_gateway().start()
    assert send_chunk(gateway, "before", PDF, fileName="scan.png").status_code == 200
    configure(gateway, {"images": IMAGES}, largefiles={"validate": ["images"]})
    reload(gateway)
    assert complete(gateway, "before").status_code == 200
    assert end_of(gateway, "before")["status"] == "failed"

    assert send_chunk(gateway, "after", PDF, fileName="scan.png").status_code == 200
    configure(gateway)
    reload(gateway)
    assert complete(gateway, "after").status_code == 200
    assert end_of(gateway, "after")["status"] == "completed"
    assert completed_names(gateway) == ["scan_after.png"]


def test_the_checks_that_began_end_with_the_old_configuration(make_gateway, receiver):
    """A reload swaps the hooks under a check that is under way, and neither waits for the other."""
    receiver.answers["/"] = hang
    gateway = make_gateway()
    plugins = {"review": webhook(receiver, timeout="60s")}
    configure(gateway, plugins, largefiles={"validate": ["review"]}).start()
    assert send_chunk(gateway, "slow", PDF, fileName="scan.pdf").status_code == 200
    assert complete(gateway, "slow").status_code == 200
    receiver.wait_for(lambda: receiver.hanging() == 1, "question that hangs")
    configure(gateway)
    reload(gateway)
    assert in_chunks(gateway, "quick", "scan.pdf", PDF)["status"] == "completed"
    assert status_of(gateway, "slow") == {"status": "in_progress"} and receiver.hanging() == 1
    # The receiver goes: what it was asked by the old configuration fails there.
    receiver.stop()
    told = end_of(gateway, "slow")
    assert told["status"] == "failed" and told["issues"][0]["code"] == "hook-failed", told
    assert "review" in told["issues"][0]["message"]


def test_a_receiver_checks_the_content_and_its_issues_reach_the_client(make_gateway, receiver):
    """With `content = "base64"` it gets the very bytes; a file that it rejects, or that is too large for it to be asked about, is nowhere."""
    found = [
        {"path": "/solde", "code": "unbalanced", "message": "le solde n'est pas nul"},
        {"path": "/devise", "message": "ni € ni $"},
    ]
    good, bad, large = b'{"solde": 0}', b'{"solde": 1}', b'["' + b"x" * 70_000 + b'"]'

    def review(received):
        content = base64.b64decode(received.data["content_base64"], validate=True)
        return answer(200, {"reject": found}) if content == bad else answer(200, {})

    receiver.answers["/"] = chosen(review)
    gateway = make_gateway()
    plugins = {"review": webhook(receiver, content="base64", max_content="64 KiB")}
    configure(gateway, plugins, societes={"validate": ["json", "review"]}).start()
    company = "Société"
    assert upload(gateway, company, "good.json", good).status_code == 200
    [asked] = receiver.told()
    assert asked.event["type"] == "tidegate.file.validate" and asked.event["subject"] == "societes/Soci%C3%A9t%C3%A9/good.json"
    assert (asked.data["stage"], asked.data["size"], asked.data["content_type"]) == ("validate", len(good), "application/json")
    assert base64.b64decode(asked.data["content_base64"]) == good and asked.event["id"] == asked.id
    with no_trace(gateway):
        refused = upload(gateway, company, "bad.json", bad)
        assert refused.status_code == 422, refused.text
        assert refused.json()["issues"] == [found[0], found[1] | {"code": "rejected"}]
        # What is not even JSON is not asked about: the first check that says no decides.
        assert upload(gateway, company, "broken.json", b"{").status_code == 422
        assert len(receiver.told()) == 2
        refused = upload(gateway, company, "large.json", large)
        assert refused.status_code == 422 and refused.json()["issues"][0]["code"] == "hook-failed", refused.text
        receiver.stop()
        refused = upload(gateway, company, "good.json", good)
        assert refused.status_code == 422 and refused.json()["issues"][0]["code"] == "hook-failed", refused.text
    assert len(receiver.told()) == 2 and listed(gateway, company) == ["good.json"]
    assert "max_content" in gateway.log_tail(), "the log says which bound it was"


def test_a_check_that_fails_can_be_set_to_accept(make_gateway, receiver):
    """`on_failure = "accept"` is about a check that could not be carried out, and not about one that says no."""
    receiver.answers["/"] = answer(200, {"reject": [{"message": "no"}]})
    gateway = make_gateway()
    plugins = {"review": webhook(receiver)}
    configure(gateway, plugins, societes={"validate": ["json", use("review", on_failure="accept")]}).start()
    assert upload(gateway, "a", "one.json", b"1").status_code == 422
    receiver.stop()
    assert upload(gateway, "a", "two.json", b"2").status_code == 200
    assert listed(gateway, "a") == ["two.json"]
    assert "review" in gateway.log_tail() and "accepted" in gateway.log_tail()


def test_what_scripts_put_into_the_folder_passes_the_same_hooks(make_gateway, receiver):
    """It is checked before it is listed and told of when it is; nobody is asked whether it may come, for it is there."""
    gateway = make_gateway()
    plugins = {"ecritures": ENTRIES, "policy": webhook(receiver, "/policy"), "erp": webhook(receiver)}
    hooks = {"admit": ["policy"], "validate": ["json", "ecritures"], "post_assembly": ["erp"]}
    configure(gateway, plugins, societes=hooks).start()
    company, good = COMPANIES[0], statement(COMPANIES[0], 2024, 3_000)
    folder = gateway.relay_files / company
    folder.mkdir(parents=True)
    (folder / "good.json").write_bytes(good)
    (folder / "bad.json").write_bytes(spoil(good))
    (folder / "broken.json").write_bytes(good[:-1])
    with Listener(gateway) as listener:
        synced = requests.post(f"{gateway.url}/api/files/sync/{company}", timeout=30)
        assert synced.status_code == 200 and synced.json()["files_count"] == 1
        listener.wait_for(lambda: listener.heard("file_uploaded"), "event")
    assert listener.heard("file_uploaded") == [(company, "good.json")] and listed(gateway, company) == ["good.json"]
    assert [download(gateway, company, name).status_code for name in ("good.json", "bad.json", "broken.json")] == [200, 404, 404]
    receiver.wait_for_ids(1)
    wait_for_state(gateway, "societes/erp", done=1, owed=0, running=0)
    [told] = receiver.told()
    assert (told.data["file_name"], told.data["sha256"]) == ("good.json", hashlib.sha256(good).hexdigest())
    assert receiver.told("/policy") == []
