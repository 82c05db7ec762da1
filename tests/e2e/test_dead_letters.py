"""What cannot succeed ends where operators find it, by HTTP and by `tidegate hooks`: they see why, try it again, or let it be."""

import json
from datetime import datetime

import pytest

from hooks import admin, configure, count_of, follow_up, follow_ups, hook, reload, use, wait_for_failures, wait_for_state, webhook
from receiver import answer, chosen, hang
from senders import download, upload

RETRY = ["10ms", "10ms"]
COMPANY = "Société Générale"


def with_hook(make_gateway, receiver, **options):
    gateway = make_gateway()
    return configure(gateway, {"erp": webhook(receiver)}, societes={"post_assembly": [use("erp", **options)]})


@pytest.fixture
def failing(make_gateway, receiver):
    """A gateway with four dead letters of one hook, whose receiver is out of order."""
    receiver.answers["/"] = answer(503, b"maintenance \x1b[31muntil six")
    gateway = with_hook(make_gateway, receiver, retry=RETRY).start()
    for number in range(4):
        assert upload(gateway, COMPANY, f"comptes_{number}.json", b"[1]").status_code == 200
    wait_for_state(gateway, "societes/erp", dead=4, owed=0, running=0)
    return gateway


def ids_by_name(gateway, **query):
    return {entry["file_name"]: entry["id"] for entry in follow_ups(gateway, **query)}


def dead_ids(gateway):
    return [entry["id"] for entry in follow_ups(gateway, state="dead")]


def assert_problem(refused, status, text):
    assert refused.status_code == status, refused.text
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    problem = refused.json()
    assert problem["status"] == status and text in problem["detail"], problem


def test_the_last_failure_makes_a_dead_letter(failing, receiver):
    """With every attempt and its reason; in the list, by itself, and in the numbers of its hook."""
    assert len(receiver.told()) == 4 * 3 and len(receiver.ids()) == 4
    entries = follow_ups(failing, hook="societes/erp", state="dead")
    assert [entry["file_name"] for entry in entries] == [f"comptes_{number}.json" for number in range(4)]
    for entry in entries:
        assert (entry["hook"], entry["state"], entry["tenant"], entry["size"]) == ("societes/erp", "dead", COMPANY, 3)
        assert entry["event_id"] in receiver.ids() and entry["attempts"] == 3 and entry["due"] is None
        assert entry["version"] == download(failing, COMPANY, entry["file_name"]).headers["ETag"].strip('"')
        assert "503" in entry["reason"] and "until six" in entry["reason"] and "\x1b" not in entry["reason"]
        assert datetime.fromisoformat(entry["published"]) <= datetime.fromisoformat(entry["ended"])
        detail = follow_up(failing, entry["id"])
        assert detail["follow_up"] == entry
        attempts = detail["failed_attempts"]
        assert [attempt["attempt"] for attempt in attempts] == [1, 2, 3]
        assert {attempt["reason"] for attempt in attempts} == {entry["reason"]}
        times = [datetime.fromisoformat(attempt["at"]) for attempt in attempts]
        assert times == sorted(times)
    state = hook(failing, "societes/erp")
    assert state == {"hook": "societes/erp", "configured": True, "owed": 0, "running": 0, "done": 0, "dead": 4, "switched_off": None}
    assert follow_ups(failing, state="owed") == follow_ups(failing, hook="societes/other") == []


def test_the_list_is_read_in_pages(failing):
    ids = dead_ids(failing)
    first = admin(failing, "GET", "/follow-ups", limit=3).json()
    assert [entry["id"] for entry in first["follow_ups"]] == ids[:3] and first["next"] == ids[2]
    second = admin(failing, "GET", "/follow-ups", limit=3, after=first["next"]).json()
    assert [entry["id"] for entry in second["follow_ups"]] == ids[3:] and second["next"] is None


def test_dead_letters_are_retried_and_discarded_by_http(failing, receiver):
    """What is retried is told with the id that it has always had; what is discarded, never again."""
    told_before = receiver.ids()
    first, second, third, fourth = dead_ids(failing)
    event = {entry["id"]: entry["event_id"] for entry in follow_ups(failing)}
    receiver.answers["/"] = answer(204)
    assert count_of(admin(failing, "POST", f"/follow-ups/{first}/retry")) == 1
    wait_for_state(failing, "societes/erp", dead=3, done=1)
    last = receiver.told()[-1]
    assert last.id == event[first] and last.data["attempt"] == 1
    assert follow_up(failing, first)["follow_up"]["reason"] is None

    assert count_of(admin(failing, "DELETE", f"/follow-ups/{second}")) == 1
    assert_problem(admin(failing, "GET", f"/follow-ups/{second}"), 404, str(second))
    assert dead_ids(failing) == [third, fourth]
    # What was done can be done again.
    assert count_of(admin(failing, "POST", f"/follow-ups/{first}/retry")) == 1
    receiver.wait_for(lambda: [told.id for told in receiver.told()].count(event[first]) == 3 + 2, "the same once more")
    wait_for_state(failing, "societes/erp", dead=2, done=1)

    assert count_of(admin(failing, "POST", "/hooks/societes/erp/retry")) == 2
    wait_for_state(failing, "societes/erp", dead=0, done=3)
    assert count_of(admin(failing, "POST", "/hooks/societes/erp/retry")) == 0
    assert count_of(admin(failing, "DELETE", "/hooks/societes/erp/dead")) == 0
    assert receiver.ids() == told_before, "nothing has another id"
    assert [told.id for told in receiver.told()].count(event[second]) == 3


def test_all_dead_letters_of_a_hook_are_discarded(failing, receiver):
    told = len(receiver.told())
    assert count_of(admin(failing, "DELETE", "/hooks/societes/erp/dead")) == 4
    assert follow_ups(failing) == [] and hook(failing, "societes/erp")["dead"] == 0
    failing.kill()
    failing.start()
    assert follow_ups(failing) == [] and len(receiver.told()) == told
    # The files are none of its business.
    assert download(failing, COMPANY, "comptes_0.json").status_code == 200


def test_a_retry_has_every_attempt_before_it(failing, receiver):
    """From the first on, and is a dead letter again after the last."""
    number = dead_ids(failing)[0]
    told = len(receiver.told())
    assert count_of(admin(failing, "POST", f"/follow-ups/{number}/retry")) == 1
    receiver.wait_for(lambda: len(receiver.told()) == told + 3, "three more attempts")
    wait_for_state(failing, "societes/erp", dead=4, owed=0, running=0)
    assert [received.data["attempt"] for received in receiver.told()[told:]] == [1, 2, 3]
    assert [attempt["attempt"] for attempt in follow_up(failing, number)["failed_attempts"]] == [1, 2, 3, 1, 2, 3]


def test_what_does_not_exist_is_a_problem_that_names_it(failing):
    for method, path in {"GET": "/follow-ups/999", "POST": "/follow-ups/999/retry", "DELETE": "/follow-ups/999"}.items():
        assert_problem(admin(failing, method, path), 404, "999")
    for query in ({"state": "lost"}, {"limit": 0}, {"limit": 1001}, {"after": "x"}, {"hook": "erp"}):
        assert_problem(admin(failing, "GET", "/follow-ups", **query), 400, next(iter(query)))
    assert_problem(admin(failing, "GET", "/follow-ups/one"), 400, "id")
    for method, path in {"POST": "/hooks/societes/nobody/retry", "DELETE": "/hooks/nowhere/erp/dead"}.items():
        assert_problem(admin(failing, method, path), 404, path.removeprefix("/hooks/").rsplit("/", 1)[0])
    assert len(dead_ids(failing)) == 4


def test_what_runs_is_left_alone(make_gateway, receiver):
    """Neither retried nor discarded under the attempt that is under way."""
    receiver.answers["/"] = hang
    gateway = with_hook(make_gateway, receiver).start()
    assert upload(gateway, COMPANY, "x.json", b"1").status_code == 200
    receiver.wait_for(lambda: receiver.hanging() == 1, "delivery that hangs")
    [entry] = follow_ups(gateway)
    assert entry["state"] == "running"
    for method, path in {"POST": "/retry", "DELETE": ""}.items():
        assert_problem(admin(gateway, method, f"/follow-ups/{entry['id']}{path}"), 409, "under way")
    for command in ("retry", "discard"):
        result = gateway.tidegate("hooks", command, entry["id"])
        assert result.returncode == 1 and "under way" in result.stderr, result
    assert receiver.hanging() == 1 and follow_ups(gateway) == [entry]


# The same by `tidegate hooks`.


def test_the_command_line_lists_and_shows_them(failing):
    listing = failing.tidegate("hooks", "list")
    assert (listing.returncode, listing.stderr) == (0, "")
    head, row, empty, *entries = listing.stdout.splitlines()
    assert head.split() == ["HOOK", "OWED", "RUNNING", "DEAD", "DONE"]
    assert row.split() == ["societes/erp", "0", "0", "4", "0"] and empty == ""
    assert entries[0].split()[:3] == ["ID", "STATE", "TRY"]
    ids = dead_ids(failing)
    for number, entry, reason in zip(ids, entries[1::2], entries[2::2], strict=True):
        assert entry.split()[:3] == [str(number), "dead", "3"]
        assert entry.endswith(f"societes/erp {COMPANY}/comptes_{number - ids[0]}.json") and "503" in reason
    assert "\x1b" not in listing.stdout

    shown = failing.tidegate("hooks", "show", ids[1])
    assert (shown.returncode, shown.stderr) == (0, "")
    entry = follow_up(failing, ids[1])["follow_up"]
    facts, attempts = shown.stdout.split("failed attempts\n")
    values = {line[2:14].strip(): line[16:] for line in facts.splitlines()[1:]}
    assert shown.stdout.startswith(f"follow-up {ids[1]}\n")
    assert (values["hook"], values["state"], values["file"]) == ("societes/erp", "dead", f"{COMPANY}/comptes_1.json")
    assert (values["event id"], values["version"], values["attempts"]) == (entry["event_id"], entry["version"], "3")
    assert values["reason"] == entry["reason"]
    assert [line.split()[0] for line in attempts.splitlines()] == ["1", "2", "3"]
    assert all(line.endswith(entry["reason"]) for line in attempts.splitlines())


def test_the_command_line_says_the_same_as_json(failing):
    """What HTTP says, for programs."""
    ids = dead_ids(failing)
    listing = failing.tidegate("hooks", "list", "--format", "json")
    assert listing.returncode == 0
    told = json.loads(listing.stdout)
    assert told["hooks"] == [hook(failing, "societes/erp")]
    assert [entry for page in told["states"] for entry in page["follow_ups"]] == follow_ups(failing)
    told = json.loads(failing.tidegate("hooks", "list", "--format", "json", "--state", "dead", "--limit", "2").stdout)
    assert [[entry["id"] for entry in page["follow_ups"]] for page in told["states"]] == [ids[:2]]
    assert told["states"][0]["next"] == ids[1]
    more = failing.tidegate("hooks", "list", "--format", "json", "--state", "dead", "--after", ids[1]).stdout
    assert [entry["id"] for entry in json.loads(more)["states"][0]["follow_ups"]] == ids[2:]
    told = json.loads(failing.tidegate("hooks", "list", "--format", "json", "--state", "owed").stdout)
    assert not any(page["follow_ups"] for page in told["states"])
    shown = failing.tidegate("hooks", "show", ids[0], "--format", "json")
    assert shown.returncode == 0 and json.loads(shown.stdout) == follow_up(failing, ids[0])


def test_the_command_line_retries_and_discards_them(failing, receiver):
    ids = dead_ids(failing)
    event = {entry["id"]: entry["event_id"] for entry in follow_ups(failing)}
    receiver.answers["/"] = answer(204)
    retried = failing.tidegate("hooks", "retry", ids[0], ids[1])
    assert (retried.returncode, retried.stdout) == (0, f"{ids[0]}: owed anew\n{ids[1]}: owed anew\n")
    wait_for_state(failing, "societes/erp", done=2, dead=2)
    assert {told.id for told in receiver.told()[-2:]} == {event[ids[0]], event[ids[1]]}

    discarded = failing.tidegate("hooks", "discard", ids[2])
    assert (discarded.returncode, discarded.stdout) == (0, f"{ids[2]}: discarded\n")
    assert dead_ids(failing) == [ids[3]]
    # Those that can be done are; the exit code says that one could not.
    mixed = failing.tidegate("hooks", "retry", ids[2], ids[3], 999)
    assert mixed.returncode == 1 and mixed.stdout == f"{ids[3]}: owed anew\n"
    assert f"no follow-up {ids[2]}" in mixed.stderr and "no follow-up 999" in mixed.stderr
    wait_for_state(failing, "societes/erp", done=3, dead=0)

    receiver.answers["/"] = answer(503)
    assert upload(failing, COMPANY, "other.json", b"1").status_code == 200
    wait_for_state(failing, "societes/erp", done=3, dead=1)
    of_hook = failing.tidegate("hooks", "retry", "--hook", "societes/erp")
    assert (of_hook.returncode, of_hook.stdout) == (0, "societes/erp: 1 owed anew\n")
    wait_for_state(failing, "societes/erp", done=3, dead=1, owed=0, running=0)
    of_hook = failing.tidegate("hooks", "discard", "--hook", "societes/erp")
    assert (of_hook.returncode, of_hook.stdout) == (0, "societes/erp: 1 discarded\n")
    of_hook = failing.tidegate("hooks", "discard", "--hook", "societes/erp")
    assert (of_hook.returncode, of_hook.stdout) == (0, "societes/erp: 0 discarded\n")


def test_the_command_line_refuses_what_cannot_be(failing):
    for command in ("show", "retry", "discard"):
        result = failing.tidegate("hooks", command, 999)
        assert (result.returncode, result.stdout) == (1, "") and "there is no follow-up 999" in result.stderr, result
    for arguments in (["list", "--hook", "erp"], ["retry", "--hook", "erp"], ["discard", "--hook", "/erp"]):
        result = failing.tidegate("hooks", *arguments)
        assert (result.returncode, result.stdout) == (1, "") and "societes/erp" in result.stderr, result
    for arguments in (["retry"], ["discard"], ["show"], ["show", "one"], ["list", "--state", "lost"], ["list", "--limit", "0"], ["retry", "1", "--hook", "a/b"]):
        result = failing.tidegate("hooks", *arguments)
        assert (result.returncode, result.stdout) == (2, "") and result.stderr, result
    assert len(dead_ids(failing)) == 4


def test_without_a_gateway_the_command_line_says_so(failing):
    """After a stop, and after a kill that leaves the socket behind."""
    failing.stop()
    commands = [["list"], ["list", "--format", "json"], ["show", "1"], ["retry", "1"], ["discard", "--hook", "societes/erp"]]
    for end in (failing.stop, failing.kill):
        for arguments in commands:
            result = failing.tidegate("hooks", *arguments)
            assert (result.returncode, result.stdout) == (1, ""), result
            assert "no gateway answers" in result.stderr and "control.sock" in result.stderr
        if end == failing.stop:
            failing.start()
            failing.kill()
    # Nor is a gateway looked for where it only may be.
    for wrong in ("data_dir = 7\n", 'data_dir "elsewhere"\n'):
        (failing.folder / "config.toml").write_text(wrong)
        result = failing.tidegate("hooks", "list")
        assert (result.returncode, result.stdout) == (78, "") and "config.toml:1:" in result.stderr, result


def test_a_configuration_that_is_being_written_hides_no_dead_letters(failing):
    """Only what says where the gateway is has to be right."""
    path = failing.folder / "config.toml"
    good = path.read_text()
    for wrong in (good + "[collection.more]\nstorage = 7\n", good + "[", good + 'secret = "${file:/run/no/such}"\n'):
        path.write_text(wrong)
        assert failing.tidegate("check").returncode == 78
        result = failing.tidegate("hooks", "list")
        assert result.returncode == 0 and "comptes_3.json" in result.stdout, result
    [first, *_] = dead_ids(failing)
    assert failing.tidegate("hooks", "discard", first).returncode == 0


def test_a_list_is_of_the_hook_that_was_asked_for(make_gateway, receiver):
    plugins = {name: webhook(receiver) for name in ("erp", "archive")}
    gateway = configure(make_gateway(), plugins, societes={"post_assembly": ["erp", "archive"]}).start()
    for number in range(2):
        assert upload(gateway, COMPANY, f"x_{number}.json", b"1").status_code == 200
    for name in plugins:
        wait_for_state(gateway, f"societes/{name}", done=2, owed=0, running=0)
    result = gateway.tidegate("hooks", "list", "--hook", "societes/erp", "--format", "json", "--state", "done")
    listed = json.loads(result.stdout)
    assert [hook["hook"] for hook in listed["hooks"]] == ["societes/erp"]
    assert {entry["hook"] for state in listed["states"] for entry in state["follow_ups"]} == {"societes/erp"}
    for form in ("human", "json"):
        result = gateway.tidegate("hooks", "list", "--hook", "societes/none", "--format", form)
        assert (result.returncode, result.stdout) == (1, "") and "there is no hook `societes/none`" in result.stderr
    # What the list says of more can be pasted as it stands.
    result = gateway.tidegate("hooks", "list", "--hook", "societes/erp", "--state", "done", "--limit", 1)
    [more] = [line.removeprefix("There are more: ") for line in result.stdout.splitlines() if "There are more" in line]
    result = gateway.tidegate("hooks", "list", *more.split())
    assert "x_1.json" in result.stdout and "x_0.json" not in result.stdout and "archive" not in result.stdout


def test_a_hook_without_follow_ups_is_listed(make_gateway, receiver):
    gateway = make_gateway().start()
    result = gateway.tidegate("hooks", "list")
    assert result.returncode == 0 and "post_assembly" in result.stdout
    assert admin(gateway, "GET", "/hooks").json() == {"hooks": []}
    configure(gateway, {"erp": webhook(receiver)}, societes={"post_assembly": ["erp"]})
    reload(gateway)
    result = gateway.tidegate("hooks", "list")
    assert result.returncode == 0 and "societes/erp" in result.stdout and "Nothing of that kind." in result.stdout


# What becomes of those that nobody keeps.


def test_what_may_be_dropped_is_dropped(make_gateway, receiver):
    """`on_failure = "drop"`: after the last attempt nothing is kept of it, and the log tells of it."""
    receiver.answers["/"] = answer(503, b"maintenance")
    gateway = with_hook(make_gateway, receiver, retry=RETRY, on_failure="drop").start()
    for number in range(2):
        assert upload(gateway, COMPANY, f"x_{number}.json", b"1").status_code == 200
    receiver.wait_for(lambda: len(receiver.told()) == 6, "the last attempts")
    wait_for_state(gateway, "societes/erp", owed=0, running=0, dead=0, done=0)
    assert follow_ups(gateway) == [] and len(receiver.told()) == 6
    [first, _] = [line for line in gateway.log_tail().splitlines() if "a follow-up is dropped" in line]
    assert all(word in first for word in ("societes/erp", COMPANY, "x_", "event_id=", "maintenance")), first


def test_what_is_owed_to_a_hook_that_is_off_is_kept(make_gateway, receiver):
    """`on_failure = "drop"` is for a file that cannot be told of, not for all that come while nobody listens."""
    receiver.answers["/"] = answer(410, b"gone")
    gateway = with_hook(make_gateway, receiver, retry=RETRY, on_failure="drop").start()
    for number in range(3):
        assert upload(gateway, COMPANY, f"x_{number}.json", b"1").status_code == 200
        wait_for_state(gateway, "societes/erp", dead=number + 1, owed=0, running=0)
    receiver.answers.clear()
    assert gateway.tidegate("hooks", "retry", "--hook", "societes/erp").stdout == "societes/erp: 3 owed anew\n"
    wait_for_state(gateway, "societes/erp", done=3, dead=0, owed=0, running=0)


def test_a_receiver_can_give_up_at_once(make_gateway, receiver):
    """By the body of a success; no further attempt is made of those that there would be."""
    receiver.answers["/"] = chosen(lambda _: answer(200, {"give_up": {"reason": "exercice clos"}}))
    gateway = with_hook(make_gateway, receiver, retry=RETRY).start()
    assert upload(gateway, COMPANY, "x.json", b"1").status_code == 200
    wait_for_state(gateway, "societes/erp", dead=1, owed=0, running=0)
    [entry] = follow_ups(gateway)
    assert "exercice clos" in entry["reason"] and entry["attempts"] == 1 and len(receiver.told()) == 1


def test_a_hook_that_is_taken_out_leaves_dead_letters_that_can_come_back(make_gateway, receiver):
    """What it owes becomes dead letters with that reason, at the latest a minute after the reload (here a second: what is looked through
    for old follow-ups is looked through for these too); a retry while it is not there is refused, for nobody would carry it out; one after
    it is configured again delivers them, with their ids."""
    receiver.stop()
    gateway, name = make_gateway(), "societes/erp"

    def configure_hook(is_there):
        hooks = {"post_assembly": [use("erp", retry=["1h"])]} if is_there else {}
        configure(gateway, {"erp": webhook(receiver)} if is_there else {}, keep_done="1s", societes=hooks)

    configure_hook(True)
    gateway.start()
    for number in range(3):
        assert upload(gateway, COMPANY, f"x_{number}.json", b"1").status_code == 200
    failed = wait_for_failures(gateway, 3)
    assert [entry["attempts"] for entry in failed] == [1] * 3
    events = {entry["event_id"] for entry in failed}
    configure_hook(False)
    reload(gateway)
    wait_for_state(gateway, name, dead=3, owed=0, running=0)
    assert hook(gateway, name)["configured"] is False
    assert all("not configured any more" in entry["reason"] for entry in follow_ups(gateway, state="dead"))
    assert "not configured any more" in gateway.tidegate("hooks", "list").stdout
    # Nothing new is owed to it.
    assert upload(gateway, COMPANY, "x_3.json", b"1").status_code == 200

    receiver.start()
    reasons = {entry["reason"] for entry in follow_ups(gateway)}
    assert_problem(admin(gateway, "POST", "/hooks/societes/erp/retry"), 409, "not configured any more")
    assert_problem(admin(gateway, "POST", f"/follow-ups/{dead_ids(gateway)[0]}/retry"), 409, "put it back")
    for arguments in (["--hook", "societes/erp"], dead_ids(gateway)[:1]):
        refused = gateway.tidegate("hooks", "retry", *arguments)
        assert (refused.returncode, refused.stdout) == (1, "") and "not configured any more" in refused.stderr, refused
    assert len(dead_ids(gateway)) == 3 and {entry["reason"] for entry in follow_ups(gateway)} == reasons
    assert receiver.told() == []

    configure_hook(True)
    reload(gateway)
    assert hook(gateway, name)["configured"] is True
    assert len(dead_ids(gateway)) == 3, "nobody retries them but an operator"
    retried = gateway.tidegate("hooks", "retry", "--hook", "societes/erp")
    assert (retried.returncode, retried.stdout) == (0, "societes/erp: 3 owed anew\n")
    receiver.wait_for_ids(3)
    wait_for_state(gateway, name, dead=0, owed=0, running=0)
    assert receiver.ids() == events and receiver.names() == {"x_0.json", "x_1.json", "x_2.json"}
