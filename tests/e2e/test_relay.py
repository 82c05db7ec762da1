"""Dialect C with the clients that are in the field: `requests` posts, `websockets` listens, scripts write into the folder."""

import hashlib
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
import requests

from accounts import statement
from events import Listener
from gateway import free_port, wait_until

KB, MB = 1000, 1000 * 1000
COMPANIES = {
    "Boulangerie Lefèvre": {"bilan_annuel_2024.json": 10 * KB, "grand livre_2024.json": 700 * KB},
    "Société Générale des Eaux": {"comptes_clôture_2023.json": 5 * MB, "écritures d'été_2024.json": 50 * MB},
    "Øresund & Sønner A-S": {"årsregnskab_2022.json": 150 * KB, "保険_2024.json": 12 * KB, "tva 100%_T1_2024.json": 20 * KB},
}
FILES = [(company, name, size) for company, files in COMPANIES.items() for name, size in files.items()]


def content_of(company, name, size):
    return statement(company, 2024, size, seed=name)


def upload(gateway, company, name, content):
    files = {"file": (name, content, "application/json")}
    return requests.post(f"{gateway.url}/api/files/upload/{company}", files=files, timeout=120)


def listed(gateway, company):
    answer = requests.get(f"{gateway.url}/api/files/societe/{company}/files", timeout=30)
    assert answer.status_code in (200, 404), answer.text
    return {file["filename"]: file for file in answer.json()["files"]} if answer.ok else {}


def download(gateway, company, name):
    # `requests` takes `%` for an escape that is there already.
    return requests.get(f"{gateway.url}/api/files/download/{company}/{name.replace('%', '%25')}", timeout=120)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_three_companies_post_and_a_listener_hears_each(gateway):
    with Listener(gateway) as listener:
        for company, name, size in FILES:
            content = content_of(company, name, size)
            answer = upload(gateway, company, name, content)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert (told["societe"], told["filename"], told["size"]) == (company, name, len(content))
        listener.wait_for_count(len(FILES))
    assert listener.heard("file_uploaded") == [(company, name) for company, name, _ in FILES]
    positions = [message["id"] for message in listener.messages]
    assert positions == sorted(positions)

    assert sorted(requests.get(f"{gateway.url}/api/files/societes").json()["societes"]) == sorted(COMPANIES)
    for company, names in COMPANIES.items():
        files = listed(gateway, company)
        assert sorted(files) == sorted(names)
        for name, size in names.items():
            content = content_of(company, name, size)
            file = files[name]
            assert (file["size"], file["checksum"], file["societe"]) == (len(content), sha256(content), company)
            assert file["type_data"] == name.split("_")[0] and file["annee"] == name[:-5].split("_")[-1]
            changed = datetime.fromisoformat(file["last_modified"])
            assert file["last_modified"].endswith("+00:00") and len(file["last_modified"]) == 29
            assert abs(datetime.now(timezone.utc) - changed) < timedelta(minutes=2)
            answer = download(gateway, company, name)
            assert answer.content == content
            assert answer.headers["Content-Type"] == "application/json"
            # The layout on disk is the relay's.
            assert (gateway.relay_files / company / name).stat().st_size == len(content)
    status = requests.get(f"{gateway.url}/api/files/status").json()
    assert (status["status"], status["societes_count"], status["total_files"]) == ("ready", 3, len(FILES))


def test_the_list_is_right_after_a_kill_in_the_midst(gateway):
    company = "Société Générale des Eaux"
    acknowledged, sent = {}, {}
    some, ended = threading.Event(), threading.Event()

    def keep_uploading():
        number = 0
        while not ended.is_set():
            # Every third replaces one that is there already.
            name = f"écritures_{number // 3 * 2 + number % 2}_2024.json"
            content = statement(company, 2024, (10 + number % 7 * 300) * KB, seed=number)
            sent.setdefault(name, []).append(content)
            try:
                answer = upload(gateway, company, name, content)
            except requests.ConnectionError:
                time.sleep(0.02)
                continue
            if answer.status_code == 503:
                continue
            assert answer.status_code == 200, answer.text
            acknowledged[name] = len(sent[name]) - 1
            number += 1
            if number % 8 == 0:
                some.set()

    with Listener(gateway) as listener:
        client = threading.Thread(target=keep_uploading)
        client.start()
        for _ in range(3):
            some.clear()
            assert some.wait(60), "the client got nothing through"
            gateway.kill()
            gateway.start()
        some.clear()
        assert some.wait(60)
        ended.set()
        client.join()

        files = listed(gateway, company)
        assert set(acknowledged) <= set(files) <= set(sent)
        for name, file in files.items():
            content = download(gateway, company, name).content
            assert file["checksum"] == sha256(content) and file["size"] == len(content)
            # The last that was acknowledged, or one sent after it whose answer was lost.
            assert content in sent[name][acknowledged.get(name, 0) :], name
        on_disk = {path.name for path in (gateway.relay_files / company).iterdir()}
        assert on_disk == set(files)
        listener.wait_for(lambda: {name for _, name in listener.heard("file_uploaded")} == set(files), "every file")
    positions = [message["id"] for message in listener.messages]
    assert positions == sorted(set(positions)), "an event came twice or out of order"
    assert listener.greetings >= 4


def test_a_folder_from_before_the_first_start_is_served(make_gateway):
    gateway = make_gateway()
    content = statement("Vieille Société", 2019, 30 * KB)
    for name, text in {"comptes annuels_2019.json": content, "cassé_2020.json": b'{"a": 1,}', "notes.txt": b"x"}.items():
        path = gateway.relay_files / "Vieille Société" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    (gateway.relay_files / "Vide").mkdir()
    gateway.start()

    assert sorted(requests.get(f"{gateway.url}/api/files/societes").json()["societes"]) == ["Vide", "Vieille Société"]
    files = listed(gateway, "Vieille Société")
    assert list(files) == ["comptes annuels_2019.json"]
    assert files["comptes annuels_2019.json"]["checksum"] == sha256(content)
    assert download(gateway, "Vieille Société", "comptes annuels_2019.json").content == content
    assert download(gateway, "Vieille Société", "cassé_2020.json").status_code == 404
    assert requests.get(f"{gateway.url}/api/files/societe/Vide/files").json() == {"societe": "Vide", "files": []}
    # What is not served is left as it is.
    assert (gateway.relay_files / "Vieille Société" / "cassé_2020.json").read_bytes() == b'{"a": 1,}'


def test_a_script_that_writes_into_the_folder_is_noticed(gateway):
    company, name = "Boulangerie Lefèvre", "export nocturne_2024.json"
    upload(gateway, company, "bilan_2024.json", statement(company, 2024, 10 * KB))
    path = gateway.relay_files / company / name
    with Listener(gateway) as listener:
        first, second = statement(company, 2023, 20 * KB), statement(company, 2024, 40 * KB)
        path.write_bytes(first)
        wait_until(lambda: name in listed(gateway, company), 5, "the new file in the list")
        assert download(gateway, company, name).content == first

        # Written over in place, which leaves the folder as it was: whoever reads the file gets what it is now.
        path.write_bytes(second)
        wait_until(lambda: download(gateway, company, name).content == second, 5, "the changed file")
        assert listed(gateway, company)[name]["checksum"] == sha256(second)

        path.unlink()
        wait_until(lambda: name not in listed(gateway, company), 5, "the list without the removed file")
        assert download(gateway, company, name).status_code == 404

        synced = requests.post(f"{gateway.url}/api/files/sync/{company}")
        assert (synced.status_code, synced.json()["files_count"]) == (200, 1)
        listener.wait_for_count(4)
    kinds = [message["type"] for message in listener.messages]
    assert kinds == ["file_uploaded", "file_uploaded", "file_deleted", "sync_completed"]
    assert listener.messages[-1]["files_count"] == 1


def test_delete_takes_the_file_and_tells_of_it(gateway):
    company, name = "Boulangerie Lefèvre", "bilan annuel_2024.json"
    upload(gateway, company, name, statement(company, 2024, 10 * KB))
    with Listener(gateway) as listener:
        url = f"{gateway.url}/api/files/delete/{company}/{name}"
        assert requests.delete(url).status_code == 200
        assert requests.delete(url).status_code == 404
        listener.wait_for_count(1)
    assert listener.heard("file_deleted") == [(company, name)]
    assert not (gateway.relay_files / company / name).exists()


def test_the_variables_of_the_relay_are_honoured(make_gateway, tmp_path):
    port, folder = free_port(), tmp_path / "fichiers de la relève"
    (folder / "Lefèvre").mkdir(parents=True)
    (folder / "Lefèvre" / "bilan_2020.json").write_bytes(b"{}")
    variables = {
        "RELAY_PORT": str(port),
        "BASE_FILES_DIR": str(folder),
        "ALLOWED_ORIGINS": "https://app.example.org, https://compta.example.org",
    }
    gateway = make_gateway(ports=[port], settings={"server.listen": None}, variables=variables).start()
    listens = [line.strip() for line in gateway.log.read_text().splitlines() if "listens on" in line]
    assert listens and all(line.endswith(f":{port}") for line in listens), listens

    assert requests.get(f"{gateway.url}/api/files/societes").json() == {"societes": ["Lefèvre"]}
    assert upload(gateway, "Lefèvre", "bilan_2021.json", b"[]").status_code == 200
    assert (folder / "Lefèvre" / "bilan_2021.json").read_bytes() == b"[]"

    for origin, status in {"https://compta.example.org": 200, "http://localhost:3000": 403}.items():
        answer = requests.get(f"{gateway.url}/api/files/societes", headers={"Origin": origin})
        assert answer.status_code == status
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert allowed == (origin if status == 200 else None)
        assert ("detail" in answer.json()) == (status == 403)


@pytest.mark.parametrize("broken", [b'{"a": NaN}', b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'{"a": "\xff"}'])
def test_json_that_is_none_is_refused_with_its_place(gateway, broken):
    answer = upload(gateway, "Lefèvre", "bilan_2024.json", broken)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str) and answer.json()["issues"]
    assert requests.get(f"{gateway.url}/api/files/societes").json() == {"societes": []}
    assert not (gateway.relay_files / "Lefèvre").exists()
