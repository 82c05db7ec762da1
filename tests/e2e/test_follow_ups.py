"""What is owed to each publication: a receiver hears of it at least once, whatever falls over meanwhile, under one id; it is waited as
receivers ask; and none waits for another."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import requests

from gateway import wait_until
from hooks import admin, configure, count_of, follow_up, follow_ups, hook, reload, use, wait_for_failures, wait_for_state, webhook
from receiver import answer, chosen, hang, hang_then, in_turn, new_secret
from senders import completed_names, download, in_chunks, listed, upload

# More than can be used up: three kills, and a receiver that is away for as long as a slow machine takes for them.
PATIENT = ["1s", "1s", "2s", "2s", "4s", "4s", "4s", "4s", "8s", "8s"]
QUICK = ["20ms"] * 50


def told_hook(make_gateway, receiver, plugin=None, **options):
    """A gateway that tells the receiver of what the relay takes."""
    gateway = make_gateway()
    plugins = {"erp": webhook(receiver, **(plugin or {}))}
    return configure(gateway, plugins, societes={"post_assembly": [use("erp", **options)]})


def send(gateway, count, first=0):
    names = [f"comptes_{number}.json" for number in range(first, first + count)]
    for name in names:
        assert upload(gateway, "Lefèvre", name, b"[1]").status_code == 200
    return names


def event_ids(gateway, **query):
    return {entry["event_id"] for entry in follow_ups(gateway, **query)}


def test_a_delivery_survives_a_receiver_that_is_down_and_kills_of_the_gateway(make_gateway, receiver):
    """Each publication is told with the id that it had from the start, and nothing with another one."""
    receiver.stop()
    gateway = told_hook(make_gateway, receiver, retry=PATIENT).start()
    names = send(gateway, 5)
    owed = event_ids(gateway)
    assert len(owed) == 5
    for attempts in (1, 2):
        tried = lambda: all(entry["attempts"] >= attempts for entry in follow_ups(gateway))
        wait_until(tried, 30, lambda: f"{attempts} attempts; {follow_ups(gateway)}")
        gateway.kill()
        gateway.start()
        assert event_ids(gateway) == owed
    assert all(entry["state"] in ("owed", "running") and entry["reason"] for entry in follow_ups(gateway))
    receiver.start()
    receiver.wait_for_ids(5, limit=60)
    wait_for_state(gateway, "societes/erp", done=5, owed=0, running=0, dead=0)
    assert receiver.ids() == owed and receiver.names() == set(names)
    assert all(received.data["attempt"] > 2 for received in receiver.told())
    # Twice only where a kill came between the receiver's answer and the gateway's note of it; here none did.
    assert len(receiver.told()) == 5


def test_a_kill_while_the_receiver_thinks_is_another_try_with_the_same_id(make_gateway, receiver):
    """Nobody knows whether it was done, so it is asked again."""
    receiver.answers["/"] = in_turn(hang, answer(204))
    gateway = told_hook(make_gateway, receiver, {"timeout": "60s"}, retry=PATIENT).start()
    send(gateway, 1)
    receiver.wait_for(lambda: receiver.hanging() == 1, "delivery that hangs")
    assert hook(gateway, "societes/erp")["running"] == 1
    gateway.kill()
    receiver.wait_for(lambda: receiver.hanging() == 0, "end of the connection")
    gateway.start()
    receiver.wait_for(lambda: len(receiver.told()) == 2, "second try")
    wait_for_state(gateway, "societes/erp", done=1, owed=0, running=0, dead=0)
    first, second = receiver.told()
    assert first.id == second.id and (first.data["attempt"], second.data["attempt"]) == (1, 2)
    assert first.data | {"attempt": 2} == second.data


def test_a_stop_lets_what_is_under_way_end(make_gateway, receiver):
    """SIGTERM drains: the delivery that the receiver answers meanwhile is not told again after the start."""
    receiver.answers["/"] = hang_then(answer(204))
    gateway = told_hook(make_gateway, receiver, {"timeout": "60s"}).start()
    send(gateway, 1)
    receiver.wait_for(lambda: receiver.hanging() == 1, "delivery that hangs")
    ended = []
    stopping = threading.Thread(target=lambda: ended.append(gateway.stop()))
    stopping.start()
    wait_until(lambda: not gateway.is_ready(), 30, "the gateway to take nothing more")
    receiver.release.set()
    stopping.join()
    assert ended == [0]
    gateway.start()
    wait_for_state(gateway, "societes/erp", done=1, owed=0, running=0, dead=0)
    assert len(receiver.told()) == 1


def seconds_until_due(gateway, number):
    """From the failure to when it is due again."""
    told = follow_up(gateway, number)
    failed = datetime.fromisoformat(told["failed_attempts"][-1]["at"])
    return (datetime.fromisoformat(told["follow_up"]["due"]) - failed).total_seconds()


def test_a_receiver_that_asks_to_be_left_alone_is(make_gateway, receiver):
    """`Retry-After`, in seconds and as a date, is the least that is waited; the use's own wait may be longer."""
    in_two_hours = format_datetime(datetime.now(timezone.utc) + timedelta(hours=2), usegmt=True)
    answers = {
        "comptes_0.json": answer(503, headers={"Retry-After": "3600"}),
        "comptes_1.json": answer(429, headers={"Retry-After": in_two_hours}),
        "comptes_2.json": answer(503, headers={"Retry-After": "0"}),
        "comptes_3.json": answer(503, headers={"Retry-After": "soon"}),
        "comptes_4.json": answer(503, headers={"Retry-After": "9" * 30}),
        "comptes_5.json": answer(200, {"retry": {"reason": "not yet", "after": "3h"}}),
    }
    receiver.answers["/"] = chosen(lambda received: answers[received.data["file_name"]])
    gateway = told_hook(make_gateway, receiver, retry=["60s"]).start()
    send(gateway, 6)
    by_name = {entry["file_name"]: entry["id"] for entry in wait_for_failures(gateway, 6)}
    waits = [seconds_until_due(gateway, by_name[f"comptes_{number}.json"]) for number in range(6)]
    # The failure is noted a moment after the answer was read, so what is left of the hour is a little less.
    hour, slack = 3600, 60
    expected = [hour, 2 * hour, 60, 60, 24 * hour, 3 * hour]
    assert all(wanted - slack < wait < wanted * 1.2 + slack for wait, wanted in zip(waits, expected)), waits


def test_retry_after_is_waited_out(make_gateway, receiver):
    """Where the hook's own waits are none to speak of."""
    receiver.answers["/"] = in_turn(answer(503, headers={"Retry-After": "2"}), answer(204))
    gateway = told_hook(make_gateway, receiver, retry=QUICK).start()
    send(gateway, 1)
    receiver.wait_for(lambda: len(receiver.told()) == 2, "second try")
    first, second = receiver.told()
    assert second.at - first.at >= 2 and first.id == second.id
    wait_for_state(gateway, "societes/erp", done=1)


def test_a_secret_is_changed_without_a_delivery_that_nobody_can_verify(make_gateway, make_receiver):
    """While both secrets are configured, a receiver with the old one and one with the new one take every delivery; when the old one is
    out, a receiver that still has it takes none."""
    old, new = new_secret(), new_secret()
    receivers = {"old": make_receiver(secrets=[old]), "new": make_receiver(secrets=[new])}
    gateway = make_gateway()

    def with_secrets(*secrets):
        plugins = {name: webhook(receiver, secrets=list(secrets)) for name, receiver in receivers.items()}
        uses = [use(name, retry=["1h"]) for name in receivers]
        configure(gateway, plugins, societes={"post_assembly": uses})

    with_secrets(old, new)
    gateway.start()
    send(gateway, 3)
    for receiver in receivers.values():
        receiver.wait_for_ids(3)
        assert all(len(received.headers["webhook-signature"].split()) == 2 for received in receiver.told())
    assert receivers["old"].ids() == receivers["new"].ids(), "one event, told to both"
    with_secrets(new)
    reload(gateway)
    [name] = send(gateway, 1, first=3)
    receivers["new"].wait_for_ids(4)
    receivers["old"].wait_for(lambda: receivers["old"].refused, "delivery that is refused")
    wait_for_state(gateway, "societes/old", owed=1, running=0, done=3)
    assert "401" in follow_ups(gateway, hook="societes/old", state="owed")[0]["reason"]
    # The receiver is given the new one, and what it refused is told again.
    receivers["old"].refused.clear()
    receivers["old"].secrets[:] = [new]
    [owed] = follow_ups(gateway, hook="societes/old", state="owed")
    assert count_of(admin(gateway, "POST", f"/follow-ups/{owed['id']}/retry")) == 1
    receivers["old"].wait_for(lambda: name in receivers["old"].names(), "the delivery")
    assert receivers["old"].ids() == receivers["new"].ids()


def test_a_receiver_that_is_gone_switches_the_hook_off(make_gateway, receiver):
    """By 410. Later files are not told to it and become dead letters; a retry by hand switches the hook on again. Other hooks go on."""
    gateway = make_gateway()
    plugins = {"erp": webhook(receiver), "other": webhook(receiver, "/other")}
    configure(gateway, plugins, societes={"post_assembly": [use("erp", retry=PATIENT), "other"]}).start()
    receiver.answers["/"] = answer(410, b"moved out")
    send(gateway, 1)
    wait_for_state(gateway, "societes/erp", dead=1, owed=0, running=0)
    off = hook(gateway, "societes/erp")["switched_off"]
    assert "410" in off["reason"] and "moved out" in off["reason"] and datetime.fromisoformat(off["since"])
    send(gateway, 4, first=1)
    # Also after a start.
    gateway.kill()
    gateway.start()
    wait_for_state(gateway, "societes/erp", dead=5, owed=0, running=0)
    wait_for_state(gateway, "societes/other", done=5)
    assert len(receiver.told()) == 1, "nothing more was sent to it"
    dead = follow_ups(gateway, hook="societes/erp", state="dead")
    assert all("410" in entry["reason"] for entry in dead)
    assert ["switched off" in entry["reason"] for entry in dead] == [False] + [True] * 4
    listing = gateway.tidegate("hooks", "list")
    assert listing.returncode == 0
    [line] = [line for line in listing.stdout.splitlines() if line.startswith("societes/erp ")]
    assert "off since" in line and "410" in line
    assert hook(gateway, "societes/other")["switched_off"] is None

    # The retry of one letter is enough to switch it on.
    receiver.answers["/"] = answer(204)
    assert count_of(admin(gateway, "POST", f"/follow-ups/{dead[2]['id']}/retry")) == 1
    receiver.wait_for_ids(2)
    wait_for_state(gateway, "societes/erp", dead=4, done=1)
    assert hook(gateway, "societes/erp")["switched_off"] is None
    send(gateway, 1, first=5)
    wait_for_state(gateway, "societes/erp", dead=4, done=2)
    assert count_of(admin(gateway, "POST", "/hooks/societes/erp/retry")) == 4
    wait_for_state(gateway, "societes/erp", dead=0, done=6)
    assert receiver.ids() == receiver.ids("/other") and len(receiver.told()) == 7


def test_a_slow_hook_and_a_broken_one_delay_nobody(make_gateway, receiver):
    """Each of twenty files is told to the good hook while one receiver has answered nothing yet, and another answers 500."""
    gateway = make_gateway()
    receiver.answers |= {"/slow": hang, "/broken": answer(500)}
    plugins = {name: webhook(receiver, f"/{name}", timeout="60s") for name in ("slow", "broken", "good")}
    uses = [use("slow", timeout="5m"), use("broken", retry=QUICK), "good"]
    configure(gateway, plugins, societes={"post_assembly": uses}).start()
    for number in range(20):
        names = send(gateway, 1, first=number)
        receiver.wait_for(lambda: names[0] in receiver.names("/good"), f"delivery of {names}")
        receiver.wait_for(lambda: receiver.hanging("/slow") > 0, "slow delivery")
    receiver.wait_for(lambda: receiver.hanging("/slow") == len(receiver.told("/slow")), "slow deliveries without an end")
    wait_for_state(gateway, "societes/good", done=20, owed=0, running=0)
    assert len(receiver.told("/good")) == 20
    state = hook(gateway, "societes/slow")
    assert state["done"] == state["dead"] == 0 and state["owed"] + state["running"] == 20


def test_a_slow_delivery_of_one_file_does_not_delay_the_next_ones(make_gateway, receiver):
    """Of the same hook."""
    receiver.answers["/"] = chosen(lambda received: hang if received.data["file_name"] == "comptes_0.json" else answer(204))
    gateway = told_hook(make_gateway, receiver, {"timeout": "60s"}).start()
    names = send(gateway, 20)
    receiver.wait_for(lambda: receiver.names() == set(names), "delivery of all")
    wait_for_state(gateway, "societes/erp", done=19, running=1)
    assert receiver.hanging() == 1


def test_uploads_go_on_while_all_hooks_hang(make_gateway, receiver):
    """The clients never wait for a follow-up, and see their files at once."""
    receiver.answers["/"] = hang
    gateway = told_hook(make_gateway, receiver, {"timeout": "60s"}).start()
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda number: upload(gateway, "a", f"x_{number}.json", b"1").status_code, range(60)))
    assert sent == [200] * 60 and len(listed(gateway, "a")) == 60
    receiver.wait_for(lambda: receiver.hanging() > 0, "delivery that hangs")
    assert download(gateway, "a", "x_59.json").content == b"1"


def test_an_upload_in_chunks_is_told_with_the_name_that_it_got(make_gateway, receiver):
    gateway = make_gateway()
    configure(gateway, {"erp": webhook(receiver)}, largefiles={"post_assembly": ["erp"]}).start()
    content = b"x" * 100_000
    assert in_chunks(gateway, "42", "film d'été.mp4", content)["status"] == "completed"
    receiver.wait_for_ids(1)
    [told] = receiver.told()
    assert completed_names(gateway) == ["film d'été_42.mp4"] == [told.data["file_name"]]
    assert told.event["subject"] == "largefiles/film%20d%27%C3%A9t%C3%A9_42.mp4"
    assert (told.data["collection"], told.data["tenant"], told.data["size"]) == ("largefiles", "", len(content))
    wait_for_state(gateway, "largefiles/erp", done=1)


def test_a_media_type_is_told_before_publication_alone(make_gateway, receiver):
    """What the client declared is no part of the record of a file."""
    gateway = make_gateway()
    hooks = {"validate": ["json", "erp"], "post_assembly": ["erp"]}
    configure(gateway, {"erp": webhook(receiver)}, societes=hooks).start()
    send(gateway, 1)
    wait_for_state(gateway, "societes/erp", done=1)
    types = {received.data["stage"]: received.data["content_type"] for received in receiver.told()}
    assert types == {"validate": "application/json", "post_assembly": None}


def test_only_the_files_that_a_use_names_are_told(make_gateway, receiver):
    gateway = told_hook(make_gateway, receiver, files="comptes_*.json").start()
    assert upload(gateway, "a", "notes_1.json", b"1").status_code == 200
    names = send(gateway, 2)
    wait_for_state(gateway, "societes/erp", done=2, owed=0, running=0)
    assert receiver.names() == set(names)


def test_each_version_is_told(make_gateway, receiver):
    """A file that is replaced is another publication, with another id and the version of then; a deletion is none."""
    gateway = told_hook(make_gateway, receiver).start()
    versions = []
    for content in (b"[1]", b"[1, 2]", b"[1]"):
        assert upload(gateway, "a", "x.json", content).status_code == 200
        versions.append(download(gateway, "a", "x.json").headers["ETag"].strip('"'))
    assert len(set(versions)) == 3
    wait_for_state(gateway, "societes/erp", done=3, owed=0, running=0)
    assert {told.data["version"] for told in receiver.told()} == set(versions) and len(receiver.ids()) == 3


def test_what_is_owed_goes_where_the_configuration_says_by_then(make_gateway, make_receiver):
    """A receiver moves: after a reload it gets at its new address what it was owed at the old one, with the same ids."""
    old, new = make_receiver(), make_receiver()
    old.answers["/"] = answer(503)
    gateway = told_hook(make_gateway, old, retry=["1s"] * 30).start()
    names = send(gateway, 3)
    old.wait_for_ids(3)
    configure(gateway, {"erp": webhook(new)}, societes={"post_assembly": [use("erp", retry=["1s"] * 30)]})
    reload(gateway)
    new.wait_for_ids(3)
    wait_for_state(gateway, "societes/erp", done=3, owed=0, running=0, dead=0)
    assert new.ids() == old.ids() and new.names() == set(names) and len(new.told()) == 3


def test_secret_headers_are_sent_and_shown_to_nobody(make_gateway, receiver, tmp_path):
    """Out of a file; neither the configuration that is shown nor the log nor the reason of a failure has them."""
    token = "hunter2-hunter2-hunter2"
    (tmp_path / "token").write_text(token + "\n")
    headers = [f"Authorization: Bearer ${{file:{tmp_path}/token}}"]
    receiver.answers["/"] = chosen(lambda received: answer(500, received.headers["authorization"].encode()))
    gateway = told_hook(make_gateway, receiver, {"secret_headers": headers}, retry=[]).start()
    send(gateway, 1)
    wait_for_state(gateway, "societes/erp", dead=1)
    assert receiver.told()[0].headers["authorization"] == f"Bearer {token}"
    [entry] = follow_ups(gateway)
    shown = gateway.tidegate("config", "show").stdout
    for text in (entry["reason"], shown, gateway.log.read_text(), gateway.tidegate("hooks", "list").stdout):
        assert token not in text and receiver.secrets[0] not in text, text
    assert "secret_headers" in shown


def test_a_dead_letter_of_a_file_that_is_gone_is_told_all_the_same(make_gateway, receiver):
    """The receiver learns of each publication, also if there is nothing left of it to fetch."""
    receiver.answers["/"] = answer(503)
    gateway = told_hook(make_gateway, receiver, retry=[]).start()
    [name] = send(gateway, 1)
    wait_for_state(gateway, "societes/erp", dead=1)
    gone = requests.delete(f"{gateway.url}/api/files/delete/Lefèvre/{name}", timeout=30)
    assert gone.status_code == 200 and listed(gateway, "Lefèvre") == []
    receiver.answers["/"] = answer(204)
    assert count_of(admin(gateway, "POST", "/hooks/societes/erp/retry")) == 1
    wait_for_state(gateway, "societes/erp", done=1, dead=0)
    assert len(receiver.ids()) == 1 and len(receiver.told()) == 2
