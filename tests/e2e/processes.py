"""Processes that are known by a mark in their environment or their arguments."""

import time
from pathlib import Path


def marked(mark):
    """The numbers of those that have it, with their arguments."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            arguments, variables = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in arguments + b"\0" + variables:
            found[int(process.name)] = arguments.replace(b"\0", b" ").decode(errors="replace")[:100]
    return found


def children(number):
    """The numbers of a process's own children, also of those that have ended and that it has not asked after."""
    tasks = Path(f"/proc/{number}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def none_is_left(mark):
    """Looked at a few times: a process that is just becoming another program has neither variables nor arguments."""
    for _ in range(3):
        if marked(mark):
            return False
        time.sleep(0.01)
    return True


def is_running(number):
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    # One that has ended and that nobody has asked after is none.
    return stat.rpartition(")")[2].split()[0] != "Z"
