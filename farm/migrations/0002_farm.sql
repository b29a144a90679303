-- A farm of many machines: builders that are let in, fair shares, chains, and changes told to the outside.

ALTER TABLE job ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN height BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN memory_mb BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN disk_mb BIGINT NOT NULL DEFAULT 0;
-- When its present attempt began; NULL while nobody is at work.
ALTER TABLE job ADD COLUMN began BIGINT;
CREATE INDEX job_queue ON job (phase, sig, arch, class, height DESC, created, id, due);

-- What operators want of a builder, and the digest of the secret it shows.
ALTER TABLE builder ADD COLUMN secret TEXT;
ALTER TABLE builder ADD COLUMN wish TEXT NOT NULL DEFAULT 'work';
CREATE TABLE enrolment (
    token TEXT PRIMARY KEY, builder TEXT NOT NULL, made_by TEXT NOT NULL, expires BIGINT NOT NULL, used BIGINT
);

-- Machine-seconds a SIG used, as of `at`; they decay from then on.
CREATE TABLE usage (
    sig TEXT NOT NULL, arch TEXT NOT NULL, class TEXT NOT NULL, milliseconds BIGINT NOT NULL, at BIGINT NOT NULL,
    PRIMARY KEY (sig, arch, class)
);

-- How long work like this took before.
CREATE TABLE timing (
    job TEXT PRIMARY KEY, package TEXT NOT NULL, label TEXT NOT NULL, arch TEXT NOT NULL, milliseconds BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX timing_like ON timing (package, label, arch, at);

ALTER TABLE request ADD COLUMN chain TEXT;
CREATE INDEX request_chain ON request (chain);
CREATE TABLE source (request TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE provide (build TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (build, name));
CREATE INDEX provide_name ON provide (name);

-- Changes that are still to be told.
CREATE TABLE event (id TEXT PRIMARY KEY, at BIGINT NOT NULL, doc TEXT NOT NULL);

-- Who does what only one process should do at a time, and until when.
CREATE TABLE duty (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until BIGINT NOT NULL);

-- Since when hubs have been able to take in what builders say, without a gap.
CREATE TABLE pulse (id BIGINT PRIMARY KEY, since BIGINT NOT NULL, last BIGINT NOT NULL);
