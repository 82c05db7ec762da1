"""`durability = "disk"`, seen from the kernel: what must be on disk is, before anybody is told so."""

import os
import re
from dataclasses import dataclass

import pytest

from accounts import statement
from gateway import wait_until
from wire import MULTIPART, MULTIPART_END, Connection, file_head

SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
ANSWERS = ("write", "writev", "sendto", "sendmsg")
MOVES = ("rename", "renameat", "renameat2", "link", "linkat")
CALLS = ",".join({*SYNCS, *WRITES, *ANSWERS, *MOVES})


@dataclass
class Call:
    """A system call that has come back. `begun` and `ended` are places in the trace."""

    name: str
    arguments: str
    result: int
    begun: int
    ended: int

    @property
    def path(self):
        """Of the file that it is about: `strace -y` writes it behind the descriptor."""
        found = re.match(r"(?:\d+|AT_FDCWD)<([^>]*)>", self.arguments)
        return found.group(1) if found else ""


def calls_of(trace):
    calls, unfinished = [], {}
    for place, line in enumerate(trace.read_text(errors="replace").splitlines()):
        found = re.match(r"(\d+) +(.*)$", line)
        if not found:
            continue
        thread, text = found.groups()
        if text.endswith("<unfinished ...>"):
            unfinished[thread] = (place, text.removesuffix("<unfinished ...>"))
            continue
        begun = place
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            begun, first = unfinished.pop(thread, (place, ""))
            text = first + text[resumed.end() :]
        if whole := re.match(r"(\w+)\((.*)\) += (-?\d+)", text):
            name, arguments, result = whole.groups()
            calls.append(Call(name, arguments, int(result), begun, place))
    return calls


class Trace:
    def __init__(self, calls):
        self.calls = calls

    def find(self, names, wanted, after=-1, before=1 << 60):
        """Calls whose path matches, that began after and ended before a place."""
        return [
            call
            for call in self.calls
            if call.name in names
            and re.search(wanted, call.path)
            and call.begun > after
            and call.ended < before
            and call.result >= 0
        ]

    def answers(self, text):
        """Where answers with this text went out."""
        return [call for call in self.calls if call.name in ANSWERS and "HTTP/1.1 200" in call.arguments and text in call.arguments]


@pytest.fixture
def traced(make_gateway, tmp_path):
    trace = tmp_path / "trace"
    prefix = ["strace", "-f", "-y", "-s", "600", "-o", str(trace), "-e", f"trace={CALLS}", "-e", "signal=none"]
    return make_gateway(settings={"catalog.durability": "disk"}, prefix=prefix), trace


def end_of(gateway, trace):
    """The whole trace."""
    gateway.stop()
    wait_until(lambda: not os.path.exists(f"/proc/{gateway.process.pid}") or gateway.process.poll() is not None)
    return Trace(calls_of(trace))


CATALOG = r"/tidegate\.db-wal$"
SPOOL = r"/staging/uploads/\d+/(spool|part\.\d+)$"


def assert_in_order(trace, answer, since, written, what):
    """Bytes, their fdatasync, the catalog's row, its fsync, the answer; each begun after the one before had ended."""
    window = {"after": since, "before": answer.begun}
    writes = trace.find(WRITES, written, **window)
    assert writes, f"{what}: no bytes were written to staging between the request and the answer"
    last = max(call.ended for call in writes)
    syncs = trace.find(SYNCS, written, after=last, before=answer.begun)
    assert syncs, f"{what}: no fdatasync of the staged bytes after the last of them was written"
    synced = min(call.ended for call in syncs)
    rows = trace.find(WRITES, CATALOG, after=synced, before=answer.begun)
    assert rows, f"{what}: no row was written after the bytes were on disk"
    kept = trace.find(SYNCS, CATALOG, after=min(call.ended for call in rows), before=answer.begun)
    assert kept, f"{what}: the answer went out before the catalog was on disk"


@pytest.mark.parametrize("bytes_first", [False, True], ids=["fields first", "bytes first"])
def test_a_part_is_on_disk_before_it_is_acknowledged(traced, bytes_first):
    gateway, trace_file = traced
    gateway.start()
    connection = Connection(gateway.port)
    # Whose place is known, whose is not yet known, and one sent again.
    numbers = [3, 4, 0, 1, 2, 1]
    for number in numbers:
        chunk = bytes([65 + number]) * 300_000
        answer = connection.upload_chunk("s", number, chunk, bytes_first=bytes_first, fileName="a.bin")
        assert answer[0] == 200
    assert connection.complete("s")[0] == 200
    path = "/fileupload/assembly_status/s/"
    wait_until(lambda: connection.send("GET", path)[1]["status"] == "completed", 20, "the assembly")
    trace = end_of(gateway, trace_file)

    answers = trace.answers("chunk uploaded")
    assert len(answers) == len(numbers)
    since = -1
    for number, answer in zip(numbers, answers):
        assert_in_order(trace, answer, since, SPOOL, f"part {number}")
        since = answer.ended

    # The names of what was staged: their folder, before the first answer.
    assert trace.find(SYNCS, r"/staging/uploads/\d+$", before=answers[0].begun)
    assert trace.find(SYNCS, r"/staging/uploads$", before=answers[0].begun)
    assert_published(trace, r"a_s\.bin", "/large/largefiles", trace.answers("completed")[0])


def test_a_whole_file_is_on_disk_before_it_is_acknowledged(traced):
    gateway, trace_file = traced
    gateway.start()
    connection = Connection(gateway.port)
    for year in (2023, 2024, 2024):
        content = statement("Lefèvre", year, 200_000)
        body = [file_head("file", f"bilan_{year}.json"), content, b"\r\n" + MULTIPART_END]
        assert connection.send("POST", "/api/files/upload/lefevre", body, MULTIPART)[0] == 200
    trace = end_of(gateway, trace_file)

    since = -1
    answers = trace.answers("filename")
    assert len(answers) == 3
    for answer in answers:
        assert_in_order(trace, answer, since, r"/staging/whole/\d+$", "a whole file")
        assert_published(trace, r"bilan_\d+\.json", "/files/lefevre", answer, since)
        since = answer.ended
    # The folder of the societe is new, so its own name is to be kept too.
    assert trace.find(SYNCS, "/data/files$", before=answers[0].begun)


def assert_published(trace, name, folder, answer, since=-1):
    """The move to the final path, the folder's fsync, the catalog's, the answer."""
    moves = [
        call
        for call in trace.calls
        if call.name in MOVES
        and re.search(name, call.arguments)
        and since < call.begun
        and call.ended < answer.begun
        and call.result >= 0
    ]
    assert moves, f"nothing was moved to {name} before the answer"
    moved = max(call.ended for call in moves)
    synced = trace.find(SYNCS, f"{folder}$", after=moved, before=answer.begun)
    assert synced, f"the folder {folder} was not fsynced between the move and the answer"
    rows = trace.find(SYNCS, CATALOG, after=min(call.ended for call in synced), before=answer.begun)
    assert rows, "the catalog was not on disk after the folder was, and before the answer"


def test_an_append_is_on_disk_before_it_is_acknowledged(traced):
    gateway, trace_file = traced
    gateway.start()
    connection = Connection(gateway.port)
    for number in range(4):
        body = [bytes([65 + number]) * 50_000]
        assert connection.send("POST", "/write_chunk_binary", body, {"Content-Type": "text/plain"})[0] == 200
    trace = end_of(gateway, trace_file)
    since = -1
    answers = trace.answers("appended")
    assert len(answers) == 4
    for answer in answers:
        assert_in_order(trace, answer, since, r"/received_chunks\.txt$", "an append")
        since = answer.ended
    assert trace.find(SYNCS, "/chunks/uploads$", before=answers[0].begun)


def test_the_default_does_not_wait_for_the_disk(make_gateway, tmp_path):
    """So that the tests above can fail: without `disk` there is no such wait."""
    trace_file = tmp_path / "trace"
    prefix = ["strace", "-f", "-y", "-s", "600", "-o", str(trace_file), "-e", f"trace={CALLS}", "-e", "signal=none"]
    gateway = make_gateway(prefix=prefix).start()
    connection = Connection(gateway.port)
    for number in range(4):
        assert connection.upload_chunk("s", number, b"x" * 300_000, fileName="a.bin")[0] == 200
    trace = end_of(gateway, trace_file)
    [first, *_, last] = trace.answers("chunk uploaded")
    assert not trace.find(SYNCS, SPOOL, before=last.begun)
    assert not trace.find(SYNCS, CATALOG, after=first.ended, before=last.begun)
