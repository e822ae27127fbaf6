"""The tables of the index: one DDL for SQLite, and with other placeholders for PostgreSQL.

The index is a cache, so there are no migrations: whoever changes a table, the meaning of a blob, the
decoding of records, what query files of runs (query.subjects.describe) or journal.segment.FORMAT_VERSION
raises SCHEMA_VERSION, and every reader of that version builds a file of its own. Every blob has a checksum
(checksums.py): a disk's mistakes are found and the index is built again, instead of wrong numbers being shown.
"""

from __future__ import annotations

__all__ = ["DDL", "RUN_TABLES", "SCHEMA_VERSION"]

SCHEMA_VERSION = 6

DDL = """
-- How many runs were ever given an id here: ids of dropped runs are not used again, so that a reader
-- half way through a run meets an empty answer, never another run's rows.
CREATE TABLE counter (runs BIGINT NOT NULL);
INSERT INTO counter VALUES (0);

-- What was last seen of a project's directory: modification times in ns, -1 where too young to trust.
CREATE TABLE project (
    id INTEGER PRIMARY KEY,
    directory TEXT NOT NULL UNIQUE,
    listed_ns BIGINT NOT NULL,
    live_ns BIGINT NOT NULL,
    deleted_ns BIGINT NOT NULL,
    edits BIGINT NOT NULL -- bytes of its list of edited runs that were followed
);

-- facts: RunFacts as far as the log was applied. sealed: RunFacts as far as rows lie in chunks, NULL where
-- that is the same. generation counts the seals. is_filed: lists need not look at it, its facets say all they ask
-- (or it is none that they show). Only runs that are over are.
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL,
    directory TEXT NOT NULL,
    inode BIGINT NOT NULL,
    log_ns BIGINT NOT NULL,
    is_over INTEGER NOT NULL,
    is_filed INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    facts BYTEA NOT NULL,
    sealed BYTEA,
    UNIQUE (project, directory)
);
CREATE INDEX run_not_filed ON run (project) WHERE is_filed = 0;

-- Every id a run answers to: its own (alias 0), and those its ranks gave before they knew it (alias 1).
-- (WITHOUT ROWID: short rows that are as good as their key are not stored twice. PostgreSQL does without.)
CREATE TABLE answer (run INTEGER NOT NULL, name TEXT NOT NULL, alias INTEGER NOT NULL, PRIMARY KEY (run, name))
    WITHOUT ROWID;
CREATE INDEX answer_name ON answer (name);

-- One incarnation in one run. facts and sealed as above (SourceFacts, squeezed), cursor: how to go on from sealed.
CREATE TABLE source (
    run INTEGER NOT NULL,
    src INTEGER NOT NULL,
    facts BYTEA NOT NULL,
    sealed BYTEA,
    cursor BYTEA,
    PRIMARY KEY (run, src)
) WITHOUT ROWID;

CREATE TABLE key (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- keys: msgpack of the list of key ids and a checksum of what they stand for, kinds: a letter for each of them.
CREATE TABLE schema (run INTEGER NOT NULL, sid INTEGER NOT NULL, keys BYTEA NOT NULL, kinds TEXT NOT NULL,
    PRIMARY KEY (run, sid)) WITHOUT ROWID;

-- A sealed block of rows of one schema, sorted by (source, step, offset), and its columns: one in a part, or
-- several where the block is short (blocks.columns_together).
CREATE TABLE axis (
    run INTEGER NOT NULL,
    ax INTEGER NOT NULL,
    sid INTEGER NOT NULL,
    n INTEGER NOT NULL,
    min_step BIGINT NOT NULL,
    max_step BIGINT NOT NULL,
    src BYTEA NOT NULL,
    step BYTEA NOT NULL,
    at BYTEA NOT NULL,
    time BYTEA NOT NULL,
    PRIMARY KEY (run, ax)
);
CREATE TABLE chunk (run INTEGER NOT NULL, ax INTEGER NOT NULL, part INTEGER NOT NULL, data BYTEA NOT NULL,
    PRIMARY KEY (run, ax, part));

-- What a source printed, in pieces: at is the offset of the first record in it (console.py).
CREATE TABLE console (run INTEGER NOT NULL, src INTEGER NOT NULL, at BIGINT NOT NULL, data BYTEA NOT NULL,
    PRIMARY KEY (run, src, at));

-- What lists ask of runs: one field of the runs numbered block * facets.BLOCK_RUNS and on.
CREATE TABLE facet (block INTEGER NOT NULL, scope INTEGER NOT NULL, key INTEGER NOT NULL, data BYTEA NOT NULL,
    PRIMARY KEY (block, scope, key)) WITHOUT ROWID;
"""

RUN_TABLES = ("answer", "source", "schema", "axis", "chunk", "console")
"""Tables whose column `run` is run.id: what goes when a run goes."""
