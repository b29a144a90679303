-- One text for SQLite and PostgreSQL: TEXT and BIGINT only. Times are milliseconds since the Unix epoch. Every table with
-- a state has a version, which guards its updates; `doc` is the whole row as JSON, the other columns are what it is
-- looked up by.

CREATE TABLE lock (name TEXT PRIMARY KEY, version BIGINT NOT NULL);

CREATE TABLE person (
    name TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, admin BIGINT NOT NULL, created BIGINT NOT NULL
);

CREATE TABLE sig (
    name TEXT PRIMARY KEY, version BIGINT NOT NULL, applied_at BIGINT NOT NULL, applied_by TEXT NOT NULL,
    template TEXT NOT NULL, doc TEXT NOT NULL
);

CREATE TABLE request (
    id TEXT PRIMARY KEY, version BIGINT NOT NULL, sig TEXT NOT NULL, target TEXT NOT NULL, package TEXT NOT NULL,
    kind TEXT NOT NULL, asked_by TEXT NOT NULL, open BIGINT NOT NULL, expires BIGINT, doc TEXT NOT NULL
);
CREATE INDEX request_open ON request (open, id);
CREATE INDEX request_package ON request (package, id);
CREATE INDEX request_expires ON request (expires);

CREATE TABLE push (
    repo TEXT NOT NULL, branch TEXT NOT NULL, commit_id TEXT NOT NULL, request TEXT, note TEXT NOT NULL, at BIGINT NOT NULL,
    PRIMARY KEY (repo, branch, commit_id)
);

CREATE TABLE job (
    id TEXT PRIMARY KEY, version BIGINT NOT NULL, request TEXT NOT NULL, sig TEXT NOT NULL, class TEXT NOT NULL,
    arch TEXT NOT NULL, phase TEXT NOT NULL, due BIGINT, builder TEXT, avoid TEXT NOT NULL, created BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX job_request ON job (request);
CREATE INDEX job_phase ON job (phase, due);

CREATE TABLE artifact (
    job TEXT NOT NULL, turn BIGINT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, size BIGINT NOT NULL,
    at BIGINT NOT NULL, PRIMARY KEY (job, turn, name)
);

-- Which blobs of the artifact store are needed, and by what.
CREATE TABLE holding (holder TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (holder, digest));
CREATE INDEX holding_digest ON holding (digest);

CREATE TABLE lookaside (
    package TEXT NOT NULL, file TEXT NOT NULL, kind TEXT NOT NULL, hash TEXT NOT NULL, digest TEXT NOT NULL,
    size BIGINT NOT NULL, uploaded_by TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (package, file, kind, hash)
);

CREATE TABLE build (
    id TEXT PRIMARY KEY, nvr TEXT NOT NULL UNIQUE, package TEXT NOT NULL, sig TEXT NOT NULL, target TEXT NOT NULL,
    request TEXT NOT NULL UNIQUE, doc TEXT NOT NULL
);
CREATE INDEX build_package ON build (package);

-- What a candidate tag holds now: one build of each package.
CREATE TABLE membership (
    tag TEXT NOT NULL, package TEXT NOT NULL, build TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (tag, package)
);

-- `wanted` counts changes of a candidate's membership, `composed` the one that `current` shows.
CREATE TABLE repo (
    tag TEXT PRIMARY KEY, version BIGINT NOT NULL, current TEXT, revision BIGINT NOT NULL, wanted BIGINT NOT NULL,
    composed BIGINT NOT NULL
);

CREATE TABLE snapshot (id TEXT PRIMARY KEY, tag TEXT NOT NULL, content TEXT NOT NULL, doc TEXT NOT NULL);

CREATE TABLE result (job TEXT PRIMARY KEY, content TEXT NOT NULL, doc TEXT NOT NULL);
CREATE INDEX result_content ON result (content);

CREATE TABLE promotion (
    id TEXT PRIMARY KEY, version BIGINT NOT NULL, sig TEXT NOT NULL, target TEXT NOT NULL, stage TEXT NOT NULL,
    settled BIGINT NOT NULL, doc TEXT NOT NULL
);
CREATE INDEX promotion_settled ON promotion (settled, id);

CREATE TABLE builder (name TEXT PRIMARY KEY, seen BIGINT NOT NULL, doc TEXT NOT NULL);
