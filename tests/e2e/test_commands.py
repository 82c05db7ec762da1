"""The `command` plugin with the programs that it comes with, and a few one-liners: what they refuse is refused, what they are to copy is
copied whole, and what is wrong with them is told before anything serves."""

import contextlib
import json
import os
import signal
import threading
import time
import uuid
from decimal import Decimal

import pytest
import requests

from accounts import statement
from events import Listener
from gateway import ROOT, tidegate, wait_until
from hooks import configuration, configure, follow_ups, reload, use, wait_for_state
from processes import children, is_running, marked, none_is_left
from senders import assert_nowhere, completed_names, download, in_chunks, upload
from traces import no_trace

EXAMPLES = ROOT / "plugins" / "command" / "examples"
BALANCE = {"kind": "command", "command": ["python3", str(EXAMPLES / "balance.py")]}


def shell(script, **options):
    return {"kind": "command", "command": ["/bin/sh", "-c", script, "sh"]} | options


@pytest.fixture
def mark():
    """Of processes; whatever still has it when the test has ended is killed."""
    mark = uuid.uuid4().hex
    yield mark
    end_all(mark)


def end_all(mark):
    while left := [number for number in marked(mark) if is_running(number)]:
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def balanced(company, size):
    """Accounts whose last entry makes up for the others."""
    document = json.loads(statement(company, 2024, size), parse_float=Decimal)
    total = sum(Decimal(entry["debit"]) - Decimal(entry["credit"]) for entry in document["ecritures"])
    made_up = {"debit": max(-total, 0), "credit": max(total, 0)}
    document["ecritures"].append(document["ecritures"][0] | made_up)
    return json.dumps(document, default=float).encode()


# In memory while it is checked, and in a file.
@pytest.mark.parametrize("size", [20_000, 300_000])
def test_accounts_that_do_not_balance_are_refused(make_gateway, size):
    checks = ["json", use("balance", files="comptes_*.json", timeout="60s")]
    gateway = configure(make_gateway(), {"balance": BALANCE}, societes={"validate": checks}).start()
    good, name = balanced("Lefèvre", size), "comptes_2024.json"
    with Listener(gateway) as listener:
        document = json.loads(good, parse_float=Decimal)
        document["ecritures"][1]["debit"] += Decimal("0.01")
        apart = json.dumps(document, default=float).encode()
        with no_trace(gateway):
            refused = upload(gateway, "Lefèvre", name, apart)
            assert refused.status_code == 422, refused.text
            [issue] = refused.json()["issues"]
            assert (issue["path"], issue["code"]) == ("/ecritures", "unbalanced") and "0.01 apart" in issue["message"]
            document["ecritures"][2]["credit"] = "douze"
            document["ecritures"][3]["debit"] = 0.001
            refused = upload(gateway, "Lefèvre", name, json.dumps(document, default=float).encode())
            places = {issue["path"]: issue["code"] for issue in refused.json()["issues"]}
            assert places == {"/ecritures/2/credit": "no-amount", "/ecritures/3/debit": "part-of-a-cent"}, refused.text
        assert_nowhere(gateway, "Lefèvre", name)
        assert upload(gateway, "Lefèvre", name, good).status_code == 200
        listener.wait_for_count(1)
    assert listener.heard("file_uploaded") == [("Lefèvre", name)]
    assert download(gateway, "Lefèvre", name).content == good


def test_accounts_that_come_in_chunks_are_checked_too(make_gateway):
    gateway = configure(make_gateway(), {"balance": BALANCE}, largefiles={"validate": ["balance"]}).start()
    assert in_chunks(gateway, "good", "comptes.json", balanced("a", 20_000))["status"] == "completed"
    told = in_chunks(gateway, "bad", "comptes.json", b'{"ecritures": [{"debit": 1}]}')
    assert told["status"] == "failed" and told["issues"] == [
        {"path": "/ecritures", "code": "unbalanced", "message": "debits are 1.00 and credits 0.00: 1.00 apart"}
    ]
    assert completed_names(gateway) == ["comptes_good.json"]


def test_a_command_says_whether_a_file_may_come(make_gateway):
    """By its exit code and a line, or by an answer; what it writes that is neither denies, and nothing of it is told."""
    script = """
        case $(cat) in
            *brouillon*) echo 'pas de brouillons'; exit 65;;
            *secret*) echo '{"deny": {"status": 451, "reason": "légal"}}';;
            *old*) echo '{"amend": {"file_name": "new.json"}}';;
            *odd*) echo 'all is well';;
            *broken*) echo 'the password is 1234' >&2; exit 1;;
        esac
    """
    gateway = configure(make_gateway(), {"policy": shell(script)}, societes={"admit": ["policy"]}).start()
    with no_trace(gateway):
        for name, (status, detail) in {
            "brouillon.json": (403, "pas de brouillons"),
            "secret.json": (451, "légal"),
            "odd.json": (403, "the hook `policy` could not be carried out"),
            "broken.json": (403, "the hook `policy` could not be carried out"),
        }.items():
            refused = upload(gateway, "a", name, b"1")
            assert (refused.status_code, refused.json()) == (status, {"detail": detail})
    assert "the password is 1234" in gateway.log_tail(), "that is for the operator"
    assert upload(gateway, "a", "old.json", b"1").json()["filename"] == "new.json"


def test_a_command_gets_nothing_of_the_gateway(make_gateway, tmp_path):
    """Neither its variables nor its folder nor its open files; what `environment` says it gets. Nothing that it leaves lies about."""
    runs = tmp_path / "runs"
    runs.mkdir()
    script = (
        "import json, os; from pathlib import Path; Path('left').write_text('x'); "
        "told = {'variables': dict(os.environ), 'folder': os.getcwd(), 'files': os.listdir('/proc/self/fd')}; "
        "print(json.dumps({'reject': [{'message': json.dumps(told)}]}))"
    )
    plugin = {"kind": "command", "command": ["python3", "-c", script], "environment": {"ERP_TOKEN": "abc"}, "temp_dir": str(runs)}
    gateway = make_gateway(variables={"PRIVATE_TO_THE_GATEWAY": "hunter2"})
    configure(gateway, {"nosy": plugin}, societes={"validate": ["nosy"]}).start()
    refused = upload(gateway, "a", "x.json", b"1")
    assert refused.status_code == 422, refused.text
    told = json.loads(refused.json()["issues"][0]["message"])
    assert set(told["variables"]) - {"LC_CTYPE"} == {"PATH", "LANG", "HOME", "TMPDIR", "TIDEGATE_RUN", "ERP_TOKEN"}
    assert told["folder"].startswith(f"{runs}/") and len(told["files"]) == 4, "its three, and the list of them"
    wait_until(lambda: not any(runs.iterdir()), 10, "the end of the private folder")
    assert "hunter2" not in refused.text


# Archives.


class Archive:
    """A folder that `archive.sh` fills, and someone who looks into it all the time: whatever has a name is to be whole."""

    def __init__(self, folder, contents):
        self.folder = folder
        self.folder.mkdir()
        self.runs = folder.with_name("runs")
        self.runs.mkdir()
        self.contents = contents
        self.broken = []
        self.looks = 0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self._watch.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._watch.join()

    def plugin(self, **options):
        command = ["/bin/sh", str(EXAMPLES / "archive.sh"), str(self.folder), "{path}"]
        return {"kind": "command", "command": command, "temp_dir": str(self.runs)} | options

    def kept(self):
        """Names and contents, without what is being copied."""
        try:
            names = [name for name in os.listdir(self.folder) if not name.startswith(".")]
        except FileNotFoundError:
            return {}
        return {name: (self.folder / name).read_bytes() for name in names}

    def is_copying(self):
        return any(name.endswith(".part") for name in os.listdir(self.folder))

    def _look(self):
        while not self._ended.is_set():
            for name, content in self.kept().items():
                if content not in self.contents:
                    self.broken.append((name, len(content)))
            self.looks += 1


NAMES = ["comptes_2024.json", "Société d'Œuvre – été.json", "$(touch pwned).json", "-rf a;b.json", "{path}.json", "id:x.json"]


def test_what_was_published_is_copied_into_an_archive(make_gateway, tmp_path):
    """Each version once, whole, and with the id of its publication before its name; whatever the name looks like to a shell."""
    contents = [json.dumps([name] * 2000).encode() for name in NAMES] + [b"[1]", b"%PDF" + bytes(100_000)]
    with Archive(tmp_path / "archive", contents) as archive:
        gateway = make_gateway()
        hooks = {"post_assembly": ["archive"]}
        configure(gateway, {"archive": archive.plugin()}, societes=hooks, largefiles=hooks).start()
        for name, content in zip(NAMES, contents):
            assert upload(gateway, "Lefèvre", name, content).status_code == 200
        assert upload(gateway, "Lefèvre", NAMES[0], b"[1]").status_code == 200
        assert in_chunks(gateway, "s", "scan.pdf", contents[-1])["status"] == "completed"
        wait_for_state(gateway, "societes/archive", owed=0, running=0, dead=0, done=len(NAMES) + 1)
        wait_for_state(gateway, "largefiles/archive", owed=0, running=0, dead=0, done=1)
        owed = {entry["event_id"]: entry["file_name"] for entry in follow_ups(gateway, state="done")}
        kept = archive.kept()
    assert archive.broken == [] and archive.looks > 0
    # The first version may have been replaced before its turn came; then there is nothing to follow up.
    first = f"{next(id for id, name in owed.items() if name == NAMES[0])}-{NAMES[0]}"
    wanted = {f"{event}-{name}" for event, name in owed.items()}
    assert wanted - {first} <= set(kept) <= wanted
    assert sorted(content for name, content in kept.items() if name != first) == sorted(contents[1:])
    assert not archive.is_copying() and not list(tmp_path.rglob("pwned"))


SLOW_CP = """#!/bin/sh
# As `cp -- FROM TO`, with both files open from the start, and a pause after a part of it until there is a file.
{{
    head -c {first}
    touch {began}
    while [ ! -e {go} ]; do sleep 0.02; done
    cat
}} < "$2" > "$3"
"""


class SlowCopies:
    """A `cp` for the archive that stops in the midst of a copy: `NAME.began` is there then, and it goes on when `NAME.go` is."""

    def __init__(self, folder):
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.path = f"{self.programs}:/usr/bin:/bin"

    def stop_after(self, name, first):
        """From now on, after so many bytes. The shell of a copy that is under way goes on with the program that it began."""
        program = self.programs / f"{name}.cp"
        program.write_text(SLOW_CP.format(first=first, began=self.folder / f"{name}.began", go=self.folder / f"{name}.go"))
        program.chmod(0o755)
        program.rename(self.programs / "cp")

    def no_more(self):
        (self.programs / "cp").unlink()

    def wait_for(self, name):
        wait_until((self.folder / f"{name}.began").exists, 30, f"the copy `{name}`")

    def go_on(self, name):
        (self.folder / f"{name}.go").touch()


def test_an_archive_is_whole_after_kills_of_the_gateway(make_gateway, tmp_path, mark):
    """Killed while a copy is being made, with all that it started (as service managers do), the gateway has it made after its start; at no
    moment is there half of one, and what was copied of it goes."""
    contents = [bytes([65 + number]) * (1 << 20) for number in range(4)]
    copies = SlowCopies(tmp_path)
    with Archive(tmp_path / "archive", contents) as archive:
        gateway = make_gateway()
        plugin = archive.plugin(environment={"PATH": copies.path, "MARK": mark})
        configure(gateway, {"archive": plugin}, largefiles={"post_assembly": [use("archive", retry=["100ms"] * 20)]}).start()
        for number, content in enumerate(contents):
            copies.stop_after(f"copy-{number}", 300_000)
            assert in_chunks(gateway, f"s{number}", "film.mp4", content)["status"] == "completed"
            copies.wait_for(f"copy-{number}")
            gateway.kill()
            end_all(mark)
            assert archive.is_copying() and len(archive.kept()) == number
            copies.no_more()
            gateway.start()
            wait_for_state(gateway, "largefiles/archive", owed=0, running=0, dead=0, done=number + 1)
            assert not archive.is_copying()
        kept = archive.kept()
    assert archive.broken == []
    owed = {f"{entry['event_id']}-{entry['file_name']}" for entry in follow_ups(gateway, state="done")}
    assert set(kept) == owed and sorted(kept.values()) == contents


def test_a_copy_that_outlives_its_gateway_spoils_nothing(make_gateway, tmp_path, mark):
    """The gateway is killed while a long copy is being made, which goes on; after the start a second one is made beside it. What has a name
    in the archive is whole all the time."""
    content = b"[" + b"1," * 5000 + b"1]"
    copies = SlowCopies(tmp_path)
    with Archive(tmp_path / "archive", [content]) as archive:
        copies.stop_after("one", 4000)
        environment = {"PATH": copies.path, "MARK": mark}
        gateway = make_gateway()
        hooks = {"post_assembly": [use("archive", retry=["100ms"] * 10)]}
        configure(gateway, {"archive": archive.plugin(environment=environment)}, societes=hooks).start()
        assert upload(gateway, "a", "x.json", content).status_code == 200
        copies.wait_for("one")
        [first] = [number for number, arguments in marked(mark).items() if "archive.sh" in arguments]
        copies.stop_after("two", 2000)
        gateway.kill()
        gateway.start()
        copies.wait_for("two")
        copies.go_on("one")
        wait_until(lambda: not is_running(first), 30, "the end of the first run")
        looks = archive.looks
        wait_until(lambda: archive.looks > looks + 2, 10, "a look at the archive")
        copies.go_on("two")
        wait_for_state(gateway, "societes/archive", owed=0, running=0, dead=0, done=1)
        kept = archive.kept()
    assert archive.broken == [], "a name in the archive stood for what was no whole file"
    assert list(kept.values()) == [content]


def test_an_archive_that_is_not_mounted_is_waited_for(make_gateway, tmp_path):
    """By the exit code for "not now", with the line that the script wrote as the reason."""
    with Archive(tmp_path / "archive", [b"[1]"]) as archive:
        archive.folder.rmdir()
        gateway = make_gateway()
        hooks = {"post_assembly": [use("archive", retry=["100ms"] * 100)]}
        configure(gateway, {"archive": archive.plugin()}, societes=hooks).start()
        assert upload(gateway, "a", "x.json", b"[1]").status_code == 200
        tried = lambda: (found := follow_ups(gateway)) and found[0]["reason"] and found
        [owed] = wait_until(tried, 30, "the first attempt")
        assert "no folder" in owed["reason"] and str(archive.folder) in owed["reason"]
        archive.folder.mkdir()
        wait_for_state(gateway, "societes/archive", done=1, dead=0)
        assert list(archive.kept().values()) == [b"[1]"]


# The end of a run.


def cut_off(make_gateway, tmp_path, mark):
    """A killed gateway, the processes that its command left, and their folder."""
    runs = tmp_path / "runs"
    runs.mkdir()
    plugin = shell("sleep 1000 & setsid sleep 1000 & wait", environment={"MARK": mark}, temp_dir=str(runs))
    gateway = make_gateway(settings={"server.deadlines.drain": "1s"})
    configure(gateway, {"stuck": plugin}, societes={"post_assembly": [use("stuck", retry=["1h"])]}).start()
    assert upload(gateway, "a", "x.json", b"1").status_code == 200
    wait_until(lambda: len(marked(mark)) == 3, 30, lambda: f"the command; there are {marked(mark)}")
    left = set(marked(mark))
    gateway.kill()
    [folder] = runs.iterdir()
    return gateway, left, folder


def test_the_next_gateway_clears_away_what_a_killed_one_left(make_gateway, tmp_path, mark):
    """Processes and private folders of runs that a kill cut off a while ago."""
    gateway, left, folder = cut_off(make_gateway, tmp_path, mark)
    an_hour_ago = time.time() - 3600
    os.utime(folder, (an_hour_ago, an_hour_ago))
    gateway.start()
    wait_until(lambda: not any(map(is_running, left)), 30, lambda: f"their end; there are {marked(mark)}")
    wait_until(lambda: not folder.exists(), 30, "the end of the folder")
    # What is owed runs anew, and ends with the gateway's own stop.
    wait_until(lambda: len(marked(mark)) == 3, 30, lambda: f"the next run; there are {marked(mark)}")
    gateway.stop()
    wait_until(lambda: none_is_left(mark), 30, lambda: f"the end of all; there are {marked(mark)}")


def test_a_gateway_that_is_started_again_at_once_clears_away_what_it_left(make_gateway, tmp_path, mark):
    """As service managers do after a crash."""
    gateway, left, folder = cut_off(make_gateway, tmp_path, mark)
    gateway.start()
    wait_until(lambda: set(marked(mark)) - left, 30, "the next run")
    wait_until(lambda: not any(map(is_running, left)) and not folder.exists(), 3, lambda: f"their end; there are {marked(mark)}")


def test_a_client_that_goes_away_or_a_reload_ends_no_check(make_gateway, tmp_path, mark):
    """From the last byte on the work is finished, whoever waits for it."""
    go = tmp_path / "go"
    plugin = shell(f"while [ ! -e {go} ]; do sleep 0.02; done", environment={"MARK": mark})
    gateway = configure(make_gateway(), {"slow": plugin}, societes={"validate": ["json", "slow"]}).start()
    with pytest.raises(requests.exceptions.ReadTimeout):
        files = {"file": ("x.json", b"1", "application/json")}
        requests.post(f"{gateway.url}/api/files/upload/a", files=files, timeout=1)
    wait_until(lambda: marked(mark), 30, "the command")
    configure(gateway)
    reload(gateway)
    assert_nowhere(gateway, "a", "x.json")
    go.touch()
    wait_until(lambda: download(gateway, "a", "x.json").status_code == 200, 30, "the file")
    wait_until(lambda: none_is_left(mark) and not children(gateway.pid), 30, "the end of the command")


def test_a_command_that_does_not_exist_is_refused_where_it_stands(tmp_path):
    """By `tidegate check`, with file, line and column; so is a script that is not there."""
    for command, what in {
        '["no-such-program", "{path}"]': "no-such-program",
        '["/no/such/program"]': "/no/such/program",
        '["./program"]': "program",
        '["python3", "{base}/no-such-script.py"]': "no-such-script.py",
        '["/etc/passwd"]': "may not be executed",
        '[]': "missing",
    }.items():
        text = configuration(societes={"validate": ["check"]})
        line = len(text.splitlines()) + 4
        (tmp_path / "config.toml").write_text(text + f'\n\n[plugin.check]\nkind = "command"\n   command = {command}\n')
        result = tidegate(tmp_path, "check")
        assert result.returncode == 78, result.stdout
        column = len("   command = ") + 1
        assert f"config.toml:{line + 1}:{column}\n" in result.stdout and what in result.stdout, result.stdout


def test_a_follow_up_that_waits_for_its_turn_has_not_begun(make_gateway, tmp_path):
    """All of them together take longer than one may: each is carried out all the same, at its first attempt."""
    slow = shell(f"sleep 0.5; echo >> {tmp_path}/runs", at_once=2)
    uses = {"post_assembly": [use("slow", timeout="3s", retry=["10ms"])]}
    gateway = configure(make_gateway(), {"slow": slow}, societes=uses).start()
    for number in range(20):
        assert upload(gateway, "a", f"x_{number}.json", b"1").status_code == 200
    wait_for_state(gateway, "societes/slow", done=20, dead=0, owed=0, running=0)
    assert {entry["attempts"] for entry in follow_ups(gateway, state="done")} == {1}
    assert (tmp_path / "runs").read_text() == "\n" * 20


def test_what_hangs_in_one_use_holds_up_no_other_use_of_the_same_instance(make_gateway):
    """Not a check, and not what another collection owes."""
    script = """case "$(cat)" in *'"stage":"post_assembly"'*'"collection":"societes"'*) sleep 1000 ;; esac"""
    once = {"timeout": "60s", "retry": []}
    uses = {
        "societes": {"validate": ["json", use("program", timeout="30s")], "post_assembly": [use("program", **once)]},
        "largefiles": {"post_assembly": [use("program", **once)]},
    }
    gateway = configure(make_gateway(), {"program": shell(script, at_once=1)}, **uses).start()
    for number in range(3):
        assert upload(gateway, "a", f"x_{number}.json", b"1").status_code == 200
    wait_for_state(gateway, "societes/program", running=1, owed=2, dead=0, done=0)
    assert upload(gateway, "a", "x_3.json", b"1").status_code == 200
    in_chunks(gateway, "demo", "film.mp4", b"x" * 100)
    wait_for_state(gateway, "largefiles/program", done=1, owed=0, running=0, dead=0)
    wait_for_state(gateway, "societes/program", running=1, owed=3, dead=0, done=0)
