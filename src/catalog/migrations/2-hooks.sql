-- What an admission hook made of the name that a client announced; null where it left it alone.
ALTER TABLE upload ADD COLUMN admitted_as TEXT;
-- What the checks found, as a JSON array; null where nothing.
ALTER TABLE upload ADD COLUMN issues TEXT;

-- The runs of post-assembly hooks that publications owe.
CREATE TABLE follow_up (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- COLLECTION/PLUGIN
    hook TEXT NOT NULL,
    -- owed, running, done or dead.
    state TEXT NOT NULL,
    event_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    file_name TEXT NOT NULL,
    storage TEXT NOT NULL,
    path TEXT NOT NULL,
    version TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB,
    published INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due INTEGER NOT NULL,
    -- Why the last attempt failed.
    reason TEXT,
    ended INTEGER
) STRICT;

CREATE INDEX follow_up_due ON follow_up (hook, due) WHERE state = 'owed';
CREATE INDEX follow_up_by_state ON follow_up (state);
CREATE INDEX follow_up_by_hook ON follow_up (hook);
CREATE INDEX follow_up_by_hook_and_state ON follow_up (hook, state);
CREATE INDEX follow_up_done ON follow_up (ended) WHERE state = 'done';

-- The attempts that failed.
CREATE TABLE follow_up_attempt (
    follow_up INTEGER NOT NULL REFERENCES follow_up (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE INDEX follow_up_attempt_by_follow_up ON follow_up_attempt (follow_up);

-- Hooks that their counterpart wants no more of.
CREATE TABLE hook_off (
    hook TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
