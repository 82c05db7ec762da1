"""Clients that send files and look for them, in the dialects that take whole files and chunks."""

import requests

from gateway import wait_until


def upload(gateway, company, name, content):
    """A whole file, by the relay's dialect."""
    files = {"file": (name, content, "application/json")}
    return requests.post(f"{gateway.url}/api/files/upload/{company}", files=files, timeout=120)


def download(gateway, company, name):
    return requests.get(f"{gateway.url}/api/files/download/{company}/{name}", timeout=60)


def listed(gateway, company):
    answer = requests.get(f"{gateway.url}/api/files/societe/{company}/files", timeout=30)
    return [file["filename"] for file in answer.json()["files"]] if answer.ok else []


def assert_nowhere(gateway, company, name):
    """Nobody sees a file: in the list, by a download, in the folder."""
    assert name not in listed(gateway, company)
    assert download(gateway, company, name).status_code == 404
    assert not (gateway.relay_files / company / name).exists()


def send_chunk(gateway, session, content, number=0, **fields):
    form = {"sessionId": session, "chunkNumber": str(number)} | fields
    return requests.post(f"{gateway.url}/fileupload/upload_chunk/", data=form, files={"chunk": content}, timeout=60)


def complete(gateway, session, **more):
    return requests.post(f"{gateway.url}/fileupload/complete_upload/", json={"sessionId": session} | more, timeout=60)


def status_of(gateway, session):
    return requests.get(f"{gateway.url}/fileupload/assembly_status/{session}/", timeout=30).json()


def end_of(gateway, session, limit=30):
    """The status of an upload in chunks when it has ended."""

    def ended():
        told = status_of(gateway, session)
        return told["status"] in ("completed", "failed") and told

    return wait_until(ended, limit, f"the end of {session}")


def in_chunks(gateway, session, name, content):
    """A file in one chunk, until its end."""
    sent = send_chunk(gateway, session, content, fileName=name)
    assert sent.status_code == 200, sent.text
    assert complete(gateway, session).status_code == 200
    return end_of(gateway, session)


def completed_names(gateway):
    answer = requests.get(f"{gateway.url}/fileupload/list_completed_uploads/", timeout=30)
    return [upload["file_name"] for upload in answer.json()]
