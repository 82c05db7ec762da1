"""Whom the gateway trusts when it goes out by https: whoever the machine trusts, and for `webhook` whoever `ca_file` names. Anybody else
gets nothing, and what is owed to him stays owed."""

import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from hooks import configure, follow_ups, reload, use, wait_for_failures, wait_for_state, webhook
from receiver import LOOPBACK, answer, tls_of
from senders import download, listed, upload

# A machine that trusts nobody, as a small image of a container.
NOBODY = {"SSL_CERT_FILE": "/no-such-file", "SSL_CERT_DIR": "/no-such-folder"}
LATER = ["1h"]


class Authority:
    """Signs certificates, and is in a file."""

    def __init__(self, path):
        self.made = trustme.CA()
        self.file = str(path)
        self.made.cert_pem.write_to_path(self.file)

    def certificate(self, *hosts, **options):
        return self.made.issue_cert(*(hosts or ("localhost",)), **options)

    def trusted(self):
        """The environment of a machine that trusts it."""
        return NOBODY | {"SSL_CERT_FILE": self.file}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority.pem")


@pytest.fixture
def receiver(make_receiver, authority):
    return make_receiver(certificate=authority.certificate())


def told_hook(gateway, receiver, **options):
    return configure(gateway, {"erp": webhook(receiver, **options)}, societes={"post_assembly": [use("erp", retry=LATER)]})


def reason_of_the_failure(gateway):
    [entry] = wait_for_failures(gateway, 1)
    return entry["reason"]


def test_a_receiver_with_an_authority_of_ones_own_is_asked_and_told(make_gateway, receiver, authority):
    """At all stages, by the path as it stands in the configuration: from its folder."""
    gateway = make_gateway()
    (gateway.folder / "authority.pem").write_bytes(authority.made.cert_pem.bytes())
    uses = {"admit": ["erp"], "validate": ["json", "erp"], "post_assembly": ["erp"]}
    configure(gateway, {"erp": webhook(receiver, ca_file="authority.pem")}, societes=uses).start()
    assert receiver.url().startswith("https://")
    assert upload(gateway, "Lefèvre", "comptes.json", b"[1]").status_code == 200
    wait_for_state(gateway, "societes/erp", done=1, owed=0, dead=0)
    stages = [received.data["stage"] for received in receiver.told()]
    assert stages == ["admit", "validate", "post_assembly"]
    receiver.answers["/"] = answer(200, {"deny": {"reason": "not today"}})
    assert upload(gateway, "Lefèvre", "bilan.json", b"[1]").status_code == 403
    assert receiver.connections == 1, "a connection is used again"


def test_a_receiver_that_the_machine_trusts_is_told(make_gateway, receiver, authority):
    gateway = told_hook(make_gateway(variables=authority.trusted()), receiver).start()
    assert upload(gateway, "a", "x.json", b"[1]").status_code == 200
    wait_for_state(gateway, "societes/erp", done=1, owed=0, dead=0)
    assert receiver.names() == {"x.json"}


def test_a_file_of_authorities_does_not_replace_those_of_the_machine(make_gateway, receiver, authority, tmp_path):
    other = Authority(tmp_path / "other.pem")
    gateway = told_hook(make_gateway(variables=authority.trusted()), receiver, ca_file=other.file).start()
    assert upload(gateway, "a", "x.json", b"[1]").status_code == 200
    wait_for_state(gateway, "societes/erp", done=1, owed=0, dead=0)


def test_what_a_stranger_was_owed_is_told_when_he_is_trusted(make_gateway, receiver, authority):
    """The file is there at once, and the reason says what to look for; the operator names the authority, and retries."""
    gateway = told_hook(make_gateway(), receiver).start()
    assert upload(gateway, "a", "x.json", b"[1]").status_code == 200
    assert "invalid peer certificate: UnknownIssuer" in reason_of_the_failure(gateway)
    assert receiver.connections > 0 and receiver.told() == [] and receiver.refused == []
    [owed] = follow_ups(gateway)
    told_hook(gateway, receiver, ca_file=authority.file)
    reload(gateway)
    assert gateway.tidegate("hooks", "retry", owed["id"]).returncode == 0
    wait_for_state(gateway, "societes/erp", done=1, owed=0, dead=0)
    assert receiver.ids() == {owed["event_id"]} and download(gateway, "a", "x.json").content == b"[1]"


def yesterday():
    return datetime.now(timezone.utc) - timedelta(days=1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda authority: authority.certificate("example.org"), "not valid for name"),
        (lambda authority: authority.certificate(not_after=yesterday()), "expired"),
    ],
    ids=["of another host", "expired"],
)
def test_a_certificate_that_does_not_hold_is_refused(make_gateway, make_receiver, authority, make, said):
    receiver = make_receiver(certificate=make(authority))
    gateway = told_hook(make_gateway(), receiver, ca_file=authority.file).start()
    assert upload(gateway, "a", "x.json", b"[1]").status_code == 200
    reason = reason_of_the_failure(gateway)
    assert "invalid peer certificate" in reason and said in reason, reason
    assert receiver.told() == []


def test_a_receiver_that_does_not_speak_tls_is_told_nothing(make_gateway, make_receiver, authority):
    plain = make_receiver()
    url = f"https://localhost:{plain.port}/"
    gateway = told_hook(make_gateway(), plain, ca_file=authority.file, url=url).start()
    assert upload(gateway, "a", "x.json", b"[1]").status_code == 200
    assert "InvalidContentType" in reason_of_the_failure(gateway)
    assert plain.told() == []


def test_a_machine_that_trusts_nobody_speaks_http_and_to_authorities_of_its_own(make_gateway, make_receiver, receiver, authority):
    plain = make_receiver()
    gateway = make_gateway(variables=NOBODY)
    plugins = {"plain": webhook(plain), "erp": webhook(receiver, ca_file=authority.file)}
    configure(gateway, plugins, societes={"post_assembly": ["plain", "erp"]}).start()
    assert upload(gateway, "a", "x.json", b"[1]").status_code == 200
    for name in plugins:
        wait_for_state(gateway, f"societes/{name}", done=1, owed=0, dead=0)
    # To anybody else it cannot, and says so before it takes a file for him.
    told_hook(gateway, receiver)
    refused = gateway.tidegate("reload")
    assert refused.returncode != 0 and "`erp`" in refused.stdout and "ca_file" in refused.stdout, refused
    assert upload(gateway, "a", "y.json", b"[1]").status_code == 200
    wait_for_state(gateway, "societes/plain", done=2)
    gateway.stop()
    gateway.spawn()
    assert gateway.process.wait(timeout=30) != 0
    assert "No CA certificates were loaded" in gateway.log_tail() and "ca-certificates" in gateway.log_tail()


SCHEMA = b'{"type": "array"}'


class Documents(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(SCHEMA)))
        self.end_headers()
        self.wfile.write(SCHEMA)

    def log_message(self, *_):
        pass


@pytest.fixture
def make_host():
    """Each has one schema, at any path."""
    made = []

    def make(certificate=None):
        server = ThreadingHTTPServer((LOOPBACK, 0), Documents)
        server.handle_error = lambda *_: None
        if certificate:
            server.socket = tls_of(certificate).wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        made.append(server)
        return f"localhost:{server.server_port}"

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


def checked_by(gateway, reference, host):
    """A gateway with a schema that refers to a host, and what it says of a good file and a bad one."""
    (gateway.folder / "schema.json").write_text(json.dumps({"$ref": reference}))
    plugins = {"shape": {"kind": "json-schema", "schema": "schema.json", "allowed_hosts": [host]}}
    configure(gateway, plugins, societes={"validate": ["shape"]}).start()
    return [upload(gateway, "a", name, content).status_code for name, content in (("x.json", b"[1]"), ("y.json", b"{}"))]


def test_a_schema_comes_from_a_host_that_the_machine_trusts(make_gateway, authority, make_host):
    host = make_host(authority.certificate())
    gateway = make_gateway(variables=authority.trusted())
    assert checked_by(gateway, f"https://{host}/a.json", host) == [200, 422]


def test_a_schema_of_a_host_that_nobody_trusts_is_none(make_gateway, authority, make_host):
    """So no file can be checked, and none is taken."""
    host = make_host(authority.certificate())
    gateway = make_gateway()
    assert checked_by(gateway, f"https://{host}/a.json", host) == [422, 422] and listed(gateway, "a") == []
    assert "invalid peer certificate: UnknownIssuer" in gateway.log_tail()


def test_a_schema_comes_by_http_to_a_machine_that_trusts_nobody(make_gateway, make_host):
    root = f"http://{make_host()}"
    assert checked_by(make_gateway(variables=NOBODY), f"{root}/a.json", root) == [200, 422]
