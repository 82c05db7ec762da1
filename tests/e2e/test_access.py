"""Who is let in: that is said by `auth.anonymous`, as long as there are no credentials."""

import requests

from gateway import wait_until
from hooks import reload


def test_nobody_is_served_where_nobody_may_come_without_credentials(make_gateway):
    """But supervisors, who only hear how the gateway is."""
    gateway = make_gateway().start()
    (gateway.folder / "config.toml").write_text(
        (gateway.folder / "config.toml").read_text().replace('anonymous = "loopback"', 'anonymous = "nowhere"')
    )
    file = {"file": ("x.json", b"1")}
    assert requests.post(f"{gateway.url}/api/files/upload/a", files=file, timeout=10).status_code == 200
    reload(gateway)

    def asked(method, path, **rest):
        return requests.request(method, gateway.url + path, timeout=10, **rest)

    wait_until(lambda: asked("GET", "/api/files/list").status_code == 403, what="the reload")
    for method, path, rest in [
        ("POST", "/api/files/upload/a", {"files": file}),
        ("POST", "/write_chunk", {"json": {"chunk": "x"}}),
        ("GET", "/fileupload/list_completed_uploads/", {}),
        ("GET", "/api/files/download/a/x.json", {}),
        ("GET", "/v1/admin/hooks", {}),
        ("GET", "/docs", {}),
        ("GET", "/no/such/path", {}),
    ]:
        refused = asked(method, path, **rest)
        assert refused.status_code == 403 and "nowhere" in refused.text, (path, refused.status_code, refused.text)
    assert [asked("GET", path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    assert (gateway.relay_files / "a" / "x.json").read_bytes() == b"1"
