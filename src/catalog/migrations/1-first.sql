-- Times are milliseconds since the epoch; unsigned 64-bit numbers (sizes, CRCs, inodes) are kept as the signed number
-- with the same bits. AUTOINCREMENT stands wherever a number must never be given twice.

PRAGMA application_id = 0x54494445; -- "TIDE"

-- What this database knows of itself: one row.
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- The machine's boot under which it was last opened, and how durable commits were then.
    boot_id TEXT,
    durability TEXT,
    -- The last event that retention removed.
    pruned_to INTEGER NOT NULL
) STRICT;

INSERT INTO meta (only_row, pruned_to) VALUES (1, 0);

CREATE TABLE upload (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    principal TEXT NOT NULL,
    session TEXT NOT NULL,
    state TEXT NOT NULL,
    file_name TEXT,
    size INTEGER,
    total_parts INTEGER,
    user TEXT,
    storage TEXT NOT NULL,
    path TEXT,
    sha256 INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    created INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    reason TEXT,
    version TEXT,
    stored_size INTEGER,
    stored_at INTEGER,
    -- How many rows of `part` it has, or had when it ended.
    parts INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX upload_by_key ON upload (collection, principal, session);
CREATE INDEX upload_by_state ON upload (state, collection);
-- The reservation of paths: one upload under way for each.
CREATE UNIQUE INDEX upload_by_path ON upload (storage, path)
    WHERE path IS NOT NULL AND state IN ('receiving', 'received');

CREATE TABLE part (
    upload INTEGER NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    -- Exactly one of the two: an offset in the spool, or the number of an overflow file.
    spool_offset INTEGER,
    overflow INTEGER,
    length INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (upload, number),
    CHECK ((spool_offset IS NULL) <> (overflow IS NULL))
) STRICT, WITHOUT ROWID;

-- An identity is local where `etag` is null; of an object `mtime` is the store's time of change.
CREATE TABLE file (
    collection TEXT NOT NULL,
    tenant TEXT NOT NULL,
    file_name TEXT NOT NULL,
    storage TEXT NOT NULL,
    path TEXT NOT NULL,
    version TEXT NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    sha256 BLOB,
    modified INTEGER NOT NULL,
    identity_size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    device INTEGER,
    inode INTEGER,
    ctime INTEGER,
    etag TEXT,
    PRIMARY KEY (storage, path)
) STRICT, WITHOUT ROWID;

-- The primary key follows the named columns, so this is the whole order of a listing.
CREATE INDEX file_by_name ON file (collection, tenant, file_name);
CREATE INDEX file_by_modified ON file (collection, modified);

CREATE TABLE unserved (
    collection TEXT NOT NULL,
    tenant TEXT NOT NULL,
    file_name TEXT NOT NULL,
    storage TEXT NOT NULL,
    path TEXT NOT NULL,
    identity_size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    device INTEGER,
    inode INTEGER,
    ctime INTEGER,
    etag TEXT,
    reason TEXT NOT NULL,
    PRIMARY KEY (storage, path)
) STRICT, WITHOUT ROWID;

CREATE INDEX unserved_by_name ON unserved (collection, tenant, file_name);

CREATE TABLE intent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    action TEXT NOT NULL,
    upload INTEGER,
    mark TEXT NOT NULL,
    mark_device INTEGER,
    mark_inode INTEGER,
    collection TEXT NOT NULL,
    tenant TEXT NOT NULL,
    file_name TEXT NOT NULL,
    storage TEXT NOT NULL,
    path TEXT NOT NULL,
    version TEXT NOT NULL,
    size INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    sha256 BLOB,
    modified INTEGER NOT NULL,
    identity_size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    device INTEGER,
    inode INTEGER,
    ctime INTEGER,
    etag TEXT
) STRICT;

CREATE INDEX intent_by_upload ON intent (upload) WHERE upload IS NOT NULL;

CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    collection TEXT NOT NULL,
    tenant TEXT NOT NULL,
    file_name TEXT NOT NULL,
    version TEXT,
    size INTEGER,
    files_count INTEGER,
    at INTEGER NOT NULL
) STRICT;

-- Positions in (after, up_to] were skipped, for the log's tail may have been lost.
CREATE TABLE event_gap (
    after INTEGER PRIMARY KEY,
    up_to INTEGER NOT NULL
) STRICT;

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    due INTEGER NOT NULL,
    claimed INTEGER NOT NULL,
    -- Why it was last put off.
    reason TEXT
) STRICT;

CREATE INDEX job_due ON job (kind, due) WHERE claimed = 0;
CREATE INDEX job_by_subject ON job (subject, kind);

CREATE TABLE append_file (
    collection TEXT PRIMARY KEY,
    storage TEXT NOT NULL,
    path TEXT NOT NULL,
    generation INTEGER NOT NULL,
    length INTEGER NOT NULL,
    device INTEGER,
    inode INTEGER,
    -- The bytes that begin a code point; null once something was appended that is not UTF-8.
    utf8_open BLOB,
    modified INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
