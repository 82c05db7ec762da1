"""What a request leaves behind: files under the gateway's data, and rows in its catalog."""

import contextlib
import sqlite3

from gateway import wait_until

CATALOG = "tidegate.db"


def files_of(gateway):
    """Every file and folder under the data, but for those of the catalog itself."""
    return {
        str(path.relative_to(gateway.data))
        for path in gateway.data.rglob("*")
        if not path.name.startswith(CATALOG) and path.name != "control.sock"
    }


def rows_of(gateway):
    """All there is in the catalog, but for its counters of ids: a number that was given out is no trace."""
    with contextlib.closing(sqlite3.connect(f"file:{gateway.data / CATALOG}?mode=ro", uri=True)) as catalog:
        tables = [name for (name,) in catalog.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        tables.remove("sqlite_sequence")
        return {name: sorted(catalog.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}


@contextlib.contextmanager
def no_trace(gateway):
    """Fails if what was done meanwhile left anything."""
    files, rows = files_of(gateway), rows_of(gateway)
    yield
    # What a request that was cut off had staged goes when its handler ends, a moment after the answer.
    wait_until(lambda: files_of(gateway) == files, 5, lambda: f"no trace; {files ^ files_of(gateway)} came or went")
    changed = lambda: {name: now for name, now in rows_of(gateway).items() if now != rows[name]}
    wait_until(lambda: not changed(), 5, lambda: f"no trace; the catalog now has {changed()}")
