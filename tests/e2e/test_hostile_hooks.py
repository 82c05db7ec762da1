"""Hooks that loop, fork, write without end, never answer or lead elsewhere, all at once: each has its declared outcome, those who have
nothing to do with them are served as ever, and when they are over nothing of them is left."""

import itertools
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import requests

from gateway import wait_until
from hooks import admin, configure, follow_ups, hook, use, wait_for_state, webhook
from processes import children, marked, none_is_left
from receiver import drip, flood, hang, redirect
from senders import complete, completed_names, download, listed, send_chunk, upload

MIB = 1 << 20
MOST_MEMORY = 150 * MIB
# Of each hostile hook at each stage.
FILES = 3
TIMEOUT = "2s"

# What would be a yes in the end, were it not stopped, or a failure after the harm is done.
COMMANDS = {
    "loops": "while :; do :; done",
    "lingers": "(while :; do sleep 1; done) & setsid sh -c 'while :; do sleep 1; done' & nohup sleep 1000 & exit 3",
    # A hundred processes of three kinds, none of which ends; no more than four of them run at once.
    "forks": "for n in $(seq 30); do sleep 1000 & (sleep 1000; :) & setsid sleep 1000 & done; wait",
    "shouts": "yes",
    "complains": "yes >&2",
    "fills": "cat /dev/zero > big; exit 3",
    "hoards": "exec python3 -c 'kept = [bytearray(1 << 20) for _ in range(1 << 20)]'",
    "ignores": "trap '' TERM INT HUP QUIT PIPE ALRM USR1 USR2; while :; do sleep 1000; done",
}
LIMITS = {"max_memory": "64 MiB", "max_file": "4 MiB", "at_once": 4}


@pytest.fixture
def hostile(make_gateway, make_receiver, tmp_path):
    """A gateway with all of them at all stages. Who they are meant for is in the names of files in `societes`; each file of `largefiles`
    owes every one of them."""
    mark, runs = uuid.uuid4().hex, tmp_path / "runs"
    runs.mkdir()
    receiver, private = make_receiver(), make_receiver(secrets=[])
    receiver.answers |= {"/silent": hang, "/drips": drip, "/floods": flood(1 << 30), "/leads": redirect(private.url("/inside"))}
    plugins = {
        name: {"kind": "command", "command": ["/bin/sh", "-c", script], "environment": {"MARK": mark}, "temp_dir": str(runs)} | LIMITS
        for name, script in COMMANDS.items()
    }
    plugins |= {name: webhook(receiver, f"/{name}") for name in ("silent", "floods", "leads")}
    # It is cut off by the plugin, which has seen the status by then.
    plugins["drips"] = webhook(receiver, "/drips", timeout="1s")
    # By a name, which `tidegate check` does not look up.
    inside = {"kind": "webhook", "secrets": []}
    plugins["hidden"] = inside | {"url": f"https://localhost:{private.port}/inside"}
    plugins["plain"] = inside | {"url": f"http://localhost:{private.port}/inside", "insecure_http": True}
    admit = [use(name, files=f"{name}_admit_*.json", timeout=TIMEOUT) for name in plugins]
    validate = ["json"] + [use(name, files=f"{name}_check_*.json", timeout=TIMEOUT) for name in plugins]
    owed = [use(name, timeout=TIMEOUT, retry=["50ms"]) for name in plugins]
    gateway = make_gateway()
    configure(gateway, plugins, societes={"admit": admit, "validate": validate}, largefiles={"post_assembly": owed})
    gateway.start()
    return SimpleNamespace(gateway=gateway, names=list(plugins), mark=mark, runs=runs, receiver=receiver, private=private)


class Memory:
    """The most of it that was seen."""

    def __init__(self, gateway):
        self.most = 0
        self._gateway = gateway
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _look(self):
        while not self._ended.wait(0.02):
            self.most = max(self.most, self._gateway.anonymous_memory())


class Traffic:
    """Whoever has nothing to do with the hooks: files come, are listed, read and replaced."""

    def __init__(self, gateway, threads=2):
        self.rounds = 0
        self._gateway = gateway
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(threads)
        self._running = [self._pool.submit(self._run, f"client-{number}") for number in range(threads)]

    def _run(self, company):
        gateway = self._gateway
        for number in itertools.count():
            if self._ended.is_set():
                return
            content = json.dumps([company, number]).encode()
            name = f"notes_{number % 5}.json"
            assert upload(gateway, company, name, content).status_code == 200
            assert name in listed(gateway, company)
            assert download(gateway, company, name).content == content
            refused = upload(gateway, company, "bad.json", b"{")
            assert refused.status_code == 422 and refused.json()["issues"][0]["code"] == "json-syntax"
            self.rounds += 1

    def end(self):
        """Fails if anybody was answered wrongly."""
        self._ended.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()


def send_all(hostile):
    """Everything at once; gives what was answered to each, by name of the file."""
    gateway = hostile.gateway
    names = [f"{name}_{stage}_{number}.json" for name in hostile.names for stage in ("admit", "check") for number in range(FILES)]
    for number in range(FILES):
        assert send_chunk(gateway, f"s{number}", b"x" * 1000, fileName="film.mp4").status_code == 200
        assert complete(gateway, f"s{number}").status_code == 200
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda name: upload(gateway, "hostile", name, b"[1]"), names)))


def test_hostile_hooks_hurt_nobody_else(hostile):
    gateway, names = hostile.gateway, hostile.names
    assert len(names) >= 10
    traffic = Traffic(gateway)
    with Memory(gateway) as memory:
        answers = send_all(hostile)
        beside = traffic.rounds
        for name in names:
            wait_for_state(gateway, f"largefiles/{name}", owed=0, running=0, limit=90)
        traffic.end()
    assert beside >= 10, f"only {beside} rounds of normal traffic beside all of them"

    # Each has its outcome.
    for file, refused in answers.items():
        name, stage, _ = file.split("_")
        if stage == "admit":
            assert refused.status_code == 403, (file, refused.text)
            said = refused.json()["detail"]
        else:
            assert refused.status_code == 422, (file, refused.text)
            [issue] = refused.json()["issues"]
            assert issue["code"] in ("hook-failed", "hook-timeout") and issue["path"] == "", (file, issue)
            said = issue["message"]
        assert f"`{name}`" in said and ("could not be carried out" in said or f"took longer than {TIMEOUT}" in said), (file, said)
    # A success is one, whatever the receiver sends behind its status.
    done = {"floods", "drips"}
    for name in names:
        state = hook(gateway, f"largefiles/{name}")
        assert (state["done"], state["dead"]) == ((FILES, 0) if name in done else (0, FILES)), state
    for entry in follow_ups(gateway, state="dead"):
        # Who writes too much does so the next time, too, and has no second one; unless its turn did not even come.
        once = "max_output" in (entry["reason"] or "")
        assert entry["attempts"] in ((1, 2) if once else (2,)) and entry["reason"], entry

    # Nobody sees what they were to decide on; what they follow up was published before them.
    assert listed(gateway, "hostile") == [] and not (gateway.relay_files / "hostile").exists()
    assert all(download(gateway, "hostile", file).status_code == 404 for file in answers)
    assert sorted(completed_names(gateway)) == [f"film_s{number}.mp4" for number in range(FILES)]

    # The private target was never called, by a redirect nor by its name.
    assert hostile.private.connections == 0
    assert len(hostile.receiver.told("/leads")) > 0
    # A gigabyte is not taken: what the system has on its way, and no more.
    calls = len(hostile.receiver.told("/floods"))
    assert calls == 3 * FILES and hostile.receiver.flooded["/floods"] < calls * 32 * MIB

    # And nothing of them is left.
    wait_until(lambda: none_is_left(hostile.mark), 30, lambda: f"the end of {marked(hostile.mark)}")
    wait_until(lambda: not children(gateway.pid), 30, lambda: f"the end of {children(gateway.pid)}")
    wait_until(lambda: not any(hostile.runs.iterdir()), 30, "the end of the private folders")
    wait_until(lambda: hostile.receiver.hanging("/silent") == 0, 30, "the end of connections that hang")
    log = gateway.log.read_text()
    for name in names:
        lines = [line for line in log.splitlines() if f"hook={name} " in line and " WARN " in line]
        assert all(any(f"{name}_{stage}_{number}.json" in line for line in lines) for stage in ("admit", "check") for number in range(FILES)), name
        assert name in done or f"kind=largefiles/{name} " in log
    assert "panicked" not in log
    assert memory.most < MOST_MEMORY, f"{memory.most / MIB:.0f} MiB"
    assert gateway.is_ready()


def test_a_flood_of_files_for_a_hook_that_hangs_is_bounded(make_gateway, receiver):
    """A hundred uploads wait for a check that does not answer; others are served, and none of the hundred is seen when time is out."""
    receiver.answers["/"] = hang
    gateway = make_gateway()
    plugins = {"review": webhook(receiver, content="base64")}
    checks = ["json", use("review", files="review_*.json", timeout="3s")]
    configure(gateway, plugins, societes={"validate": checks}).start()
    content = json.dumps(["x" * 100_000]).encode()
    with Memory(gateway) as memory, ThreadPoolExecutor(100) as pool:
        waiting = [pool.submit(upload, gateway, "a", f"review_{number}.json", content) for number in range(100)]
        receiver.wait_for(lambda: receiver.hanging() > 0, "question that hangs")
        for number in range(20):
            assert upload(gateway, "b", f"x_{number}.json", b"1").status_code == 200
        assert len(listed(gateway, "b")) == 20 and admin(gateway, "GET", "/hooks").status_code == 200
        answers = [one.result() for one in waiting]
    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json()["issues"][0]["code"] for answer in answers} == {"hook-timeout"}
    assert listed(gateway, "a") == [] and memory.most < MOST_MEMORY, f"{memory.most / MIB:.0f} MiB"


def test_a_name_that_leads_inside_is_not_dialled(make_gateway, make_receiver):
    """The name is looked up when it is dialled, and each address that it has is checked: nothing connects, and the reason that operators
    see names the address and the option that would allow it."""
    private = make_receiver(secrets=[])
    gateway = make_gateway()
    plugin = {"kind": "webhook", "url": f"http://localhost:{private.port}/", "insecure_http": True, "secrets": []}
    hooks = {"post_assembly": [use("inside", retry=["10ms"] * 3)]}
    configure(gateway, {"inside": plugin}, societes=hooks).start()
    assert upload(gateway, "a", "x.json", b"1").status_code == 200
    wait_for_state(gateway, "societes/inside", dead=1, owed=0, running=0)
    [entry] = follow_ups(gateway)
    assert private.connections == 0 and entry["attempts"] == 4
    assert "not a public address" in entry["reason"] and "allow_networks" in entry["reason"], entry["reason"]


def test_a_redirect_is_named_and_not_followed(make_gateway, make_receiver, receiver):
    private = make_receiver(secrets=[])
    gateway = make_gateway()
    configure(gateway, {"erp": webhook(receiver)}, societes={"post_assembly": [use("erp", retry=[])]}).start()
    for number, status in enumerate((301, 302, 303, 307, 308)):
        receiver.answers["/"] = redirect(private.url("/inside?token=hunter2"), status)
        assert upload(gateway, "a", f"x_{number}.json", b"1").status_code == 200
        wait_for_state(gateway, "societes/erp", dead=number + 1, owed=0, running=0)
        reason = follow_ups(gateway)[-1]["reason"]
        assert str(status) in reason and "not followed" in reason and "hunter2" not in reason, reason
    assert private.connections == 0 and "hunter2" not in gateway.log.read_text()


def test_an_upload_in_chunks_under_a_check_that_hangs_can_be_deleted(make_gateway, receiver):
    """A delete wins, and does not wait for the check."""
    receiver.answers["/"] = hang
    gateway = make_gateway()
    plugins = {"review": webhook(receiver, timeout="60s")}
    configure(gateway, plugins, largefiles={"validate": ["review"]}).start()
    assert send_chunk(gateway, "s", b"x" * 1000, fileName="film.mp4").status_code == 200
    assert complete(gateway, "s").status_code == 200
    receiver.wait_for(lambda: receiver.hanging() == 1, "question that hangs")
    deleted = requests.delete(f"{gateway.url}/fileupload/delete_upload/s/", timeout=30)
    assert deleted.status_code == 200
    receiver.wait_for(lambda: receiver.hanging() == 0, "the end of the question")
    assert requests.get(f"{gateway.url}/fileupload/assembly_status/s/", timeout=30).status_code == 404
    assert completed_names(gateway) == []


def test_a_check_that_nothing_can_halt_does_not_keep_the_gateway_from_its_end(make_gateway, tmp_path):
    """One match of a pattern over a long text: its client hears in time, others are served, and the process ends within its bound."""
    gateway = make_gateway()
    (tmp_path / "slow.json").write_text(json.dumps({"items": {"pattern": "[ab][a-z]{1,3000}x"}}))
    slow = {"kind": "json-schema", "schema": str(tmp_path / "slow.json")}
    configure(gateway, {"slow": slow}, societes={"validate": [use("slow", files="slow_*", timeout="1s")]}).start()
    refused = upload(gateway, "a", "slow_1.json", json.dumps(["a" * 3_000_000]).encode())
    assert refused.status_code == 422 and refused.json()["issues"][0]["code"] == "hook-timeout", refused.text
    assert upload(gateway, "a", "x.json", b"1").status_code == 200
    begun = time.monotonic()
    assert gateway.stop() == 0
    took = time.monotonic() - begun
    assert 8 < took < 25, f"{took} s: it was not halted, and was not waited for longer than is said"
