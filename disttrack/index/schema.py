"""The tables of the index: one DDL for SQLite, and with other placeholders for PostgreSQL.

The index is a cache, so there are no migrations: whoever changes a table, the meaning of a blob, the
decoding of records or journal.segment.FORMAT_VERSION raises SCHEMA_VERSION, and every reader of that
version builds a file of its own.
"""

from __future__ import annotations

__all__ = ["DDL", "RUN_TABLES", "SCHEMA_VERSION"]

SCHEMA_VERSION = 3

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
-- that is the same. generation counts the seals.
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL,
    directory TEXT NOT NULL,
    inode BIGINT NOT NULL,
    log_ns BIGINT NOT NULL,
    is_over INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    facts BYTEA NOT NULL,
    sealed BYTEA,
    UNIQUE (project, directory)
);
CREATE INDEX run_not_over ON run (project) WHERE is_over = 0;

-- Every id a run answers to: its own (alias 0), and those its ranks gave before they knew it (alias 1).
CREATE TABLE answer (run INTEGER NOT NULL, name TEXT NOT NULL, alias INTEGER NOT NULL, PRIMARY KEY (run, name));
CREATE INDEX answer_name ON answer (name);

-- One incarnation in one run. facts and sealed as above (SourceFacts, squeezed), cursor: how to go on from sealed.
CREATE TABLE source (
    run INTEGER NOT NULL,
    src INTEGER NOT NULL,
    facts BYTEA NOT NULL,
    sealed BYTEA,
    cursor BYTEA,
    PRIMARY KEY (run, src)
);

CREATE TABLE key (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- keys: msgpack list of key ids, kinds: a letter for each of them.
CREATE TABLE schema (run INTEGER NOT NULL, sid INTEGER NOT NULL, keys BYTEA NOT NULL, kinds TEXT NOT NULL,
    PRIMARY KEY (run, sid));

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
"""

RUN_TABLES = ("answer", "source", "schema", "axis", "chunk")
"""Tables whose column `run` is run.id: what goes when a run goes."""
