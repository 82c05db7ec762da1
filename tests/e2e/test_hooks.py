"""Checks that are declared in TOML, seen from the clients' side: what they refuse is told with its place, and is nowhere to be seen
or heard."""

import json
import shutil
import subprocess

import requests

from accounts import statement
from events import Listener
from gateway import BINARY, ROOT, wait_until

SCHEMA = ROOT / "plugins" / "json-schema" / "examples" / "ecritures.schema.json"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes(200)
COMPANIES = ["Boulangerie Lefèvre", "Société Générale des Eaux", "Øresund & Sønner A-S"]

CHECKED = {
    "plugin.ecritures.kind": "json-schema",
    "plugin.ecritures.schema": str(SCHEMA),
    "collection.societes.validate": '["json", { plugin = "ecritures", files = "comptes_*.json" }]',
}
IMAGES_ALONE = {
    "plugin.images.kind": "media-type",
    "plugin.images.allow": '["image/*"]',
    "collection.largefiles.validate": '["images"]',
}


def upload(gateway, company, name, content):
    files = {"file": (name, content, "application/json")}
    return requests.post(f"{gateway.url}/api/files/upload/{company}", files=files, timeout=60)


def listed(gateway, company):
    answer = requests.get(f"{gateway.url}/api/files/societe/{company}/files", timeout=30)
    return [file["filename"] for file in answer.json()["files"]] if answer.ok else []


def spoil(content):
    """Three things that the schema forbids, each at a place of its own."""
    document = json.loads(content)
    document["exercice"] = "deux mille"
    del document["ecritures"][0]["compte"]
    document["ecritures"][2]["debit"] = -1
    return json.dumps(document).encode()


def test_accounts_are_held_against_their_schema(make_gateway):
    gateway = make_gateway(settings=CHECKED).start()
    with Listener(gateway) as listener:
        for company in COMPANIES:
            good = statement(company, 2024, 30_000)
            answer = upload(gateway, company, "comptes_2024.json", spoil(good))
            assert answer.status_code == 422, answer.text
            issues = {issue["path"]: issue for issue in answer.json()["issues"]}
            assert set(issues) == {"/exercice", "/ecritures/0", "/ecritures/2/debit"}, answer.text
            assert issues["/exercice"]["code"] == "schema-type"
            assert "compte" in issues["/ecritures/0"]["message"]
            assert listed(gateway, company) == []
            answer = upload(gateway, company, "comptes_2024.json", good)
            assert answer.status_code == 200, answer.text
            # Another name is none of the schema's business.
            assert upload(gateway, company, "notes.json", b"[1]").status_code == 200
        listener.wait_for_count(2 * len(COMPANIES))
    heard = [(company, name) for company in COMPANIES for name in ("comptes_2024.json", "notes.json")]
    assert listener.heard("file_uploaded") == heard
    # What is there stays when a worse version of it is refused.
    company = COMPANIES[0]
    assert upload(gateway, company, "comptes_2024.json", b'{"exercice": 1').status_code == 422
    kept = requests.get(f"{gateway.url}/api/files/download/{company}/comptes_2024.json", timeout=30)
    assert kept.content == statement(company, 2024, 30_000)


def in_chunks(gateway, session, name, content):
    form = {"sessionId": session, "chunkNumber": "0", "fileName": name}
    sent = requests.post(f"{gateway.url}/fileupload/upload_chunk/", data=form, files={"chunk": content}, timeout=30)
    assert sent.status_code == 200, sent.text
    requests.post(f"{gateway.url}/fileupload/complete_upload/", json={"sessionId": session}, timeout=30)

    def ended():
        told = requests.get(f"{gateway.url}/fileupload/assembly_status/{session}/", timeout=30).json()
        return told["status"] in ("completed", "failed") and told

    return wait_until(ended, what=f"the end of {session}")


def test_a_file_of_a_forbidden_type_ends_as_failed_with_the_reason(make_gateway):
    gateway = make_gateway(settings=IMAGES_ALONE).start()
    assert in_chunks(gateway, "good", "photo.png", PNG)["status"] == "completed"
    told = in_chunks(gateway, "bad", "photo.png", b"%PDF-1.7\n" + bytes(2000))
    assert told["status"] == "failed", told
    assert "application/pdf" in json.dumps(told) and "image/*" in json.dumps(told), told
    completed = requests.get(f"{gateway.url}/fileupload/list_completed_uploads/", timeout=30).json()
    assert [upload["file_name"] for upload in completed] == ["photo_good.png"]


def check(folder):
    return subprocess.run([str(BINARY), "check"], cwd=folder, capture_output=True, text=True, timeout=30)


def test_every_plugin_of_the_shipped_configuration_can_be_switched_on(tmp_path):
    """The examples stand in config.toml, commented: `#: ` before a line says that it belongs to one."""
    text = (ROOT / "config.toml").read_text()
    examples = {}
    for line in text.splitlines():
        if line.startswith("#: [plugin."):
            name = line.removeprefix("#: [plugin.").rstrip("]")
            examples[name] = []
        if line.startswith("#: "):
            examples[name].append(line.removeprefix("#: "))
    kinds = {line.split('"')[1] for lines in examples.values() for line in lines if line.startswith("kind")}
    folders = {path.parent.name for path in ROOT.glob("plugins/*/Cargo.toml")} - {"sdk"}
    assert kinds == folders, "config.toml shows every plugin"
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins", ignore=shutil.ignore_patterns("target", "node_modules"))
    for name, lines in examples.items():
        used = text.replace('validate = ["json"]', f'validate = ["json", "{name}"]')
        assert used != text
        (tmp_path / "config.toml").write_text(used + "\n" + "\n".join(lines) + "\n")
        result = check(tmp_path)
        assert result.returncode == 0, f"{name}: {result.stdout}{result.stderr}"


def test_what_is_wrong_with_a_plugin_is_told_with_its_line(tmp_path):
    text = (ROOT / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(text + '\n[plugin.a]\nkind = "json-schema"\nschema = "no-such.json"\ndepth = 1\n')
    result = check(tmp_path)
    lines = len(text.splitlines())
    said = result.stdout + result.stderr
    assert result.returncode != 0
    assert f"config.toml:{lines + 5}:" in said and "`depth`" in said and "max_depth" in said, said
    (tmp_path / "config.toml").write_text(text + '\n[plugin.a]\nkind = "json-schema"\nschema = "no-such.json"\n')
    said = (result := check(tmp_path)).stdout + result.stderr
    assert f"config.toml:{lines + 4}:" in said and "no-such.json" in said, said
