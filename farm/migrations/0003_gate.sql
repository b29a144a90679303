-- The gate and delivery: waivers, withdrawn builds, what was published when, signatures, and the world outside.

-- A release manager's word in place of a result. Never deleted.
CREATE TABLE waiver (id TEXT PRIMARY KEY, version BIGINT NOT NULL, target TEXT NOT NULL, doc TEXT NOT NULL);
CREATE INDEX waiver_target ON waiver (target, id);

-- Builds that must not be published any more.
CREATE TABLE withdrawal (
    build TEXT PRIMARY KEY, by_whom TEXT NOT NULL, reason TEXT NOT NULL, at BIGINT NOT NULL
);

-- Every move of a public repo's pointer. `decision` is the signed statement of why, as it is published.
CREATE TABLE publication (
    tag TEXT NOT NULL, revision BIGINT NOT NULL, snapshot TEXT NOT NULL, content TEXT NOT NULL, promotion TEXT NOT NULL,
    by_whom TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (tag, revision)
);
CREATE INDEX publication_content ON publication (tag, content);
CREATE INDEX publication_snapshot ON publication (snapshot);

-- The public keys that signers told of. `purpose` is `packages` (of a SIG) or `decisions`.
CREATE TABLE signing_key (
    fingerprint TEXT PRIMARY KEY, purpose TEXT NOT NULL, sig TEXT NOT NULL, public TEXT NOT NULL, since BIGINT NOT NULL,
    until BIGINT
);

-- The signed form of an RPM: `body` is what signing leaves unchanged, `digest` the file in the artifact store.
CREATE TABLE signed (
    body TEXT NOT NULL, fingerprint TEXT NOT NULL, digest TEXT NOT NULL, size BIGINT NOT NULL, at BIGINT NOT NULL,
    PRIMARY KEY (body, fingerprint)
);
CREATE INDEX signed_digest ON signed (digest);

-- What a signer has put its name to: the metadata of a snapshot's folders, and the decision that let it through.
-- `keys` are the fingerprints of the keys that signed, with spaces between them.
CREATE TABLE endorsement (snapshot TEXT PRIMARY KEY, at BIGINT NOT NULL, keys TEXT NOT NULL, doc TEXT NOT NULL);

-- What the metadata of repos outside the farm was when it was last looked at.
CREATE TABLE outside (
    baseurl TEXT NOT NULL, arch TEXT NOT NULL, digest TEXT NOT NULL, changed BIGINT NOT NULL, seen BIGINT NOT NULL,
    PRIMARY KEY (baseurl, arch)
);

-- Which open requests may be taken a step on is told by this index alone, without a look at their jobs.
CREATE INDEX job_request_phase ON job (request, phase);
DROP INDEX job_request;

-- What each signer said of itself last: that it is there, and what it cannot do and why.
CREATE TABLE signer (name TEXT PRIMARY KEY, at BIGINT NOT NULL, doc TEXT NOT NULL);

-- Every live public repo as the keeper watches it: what its content was last tested on, and the recheck that is under way.
CREATE TABLE recheck (
    tag TEXT PRIMARY KEY, version BIGINT NOT NULL, request TEXT, changed BIGINT NOT NULL, doc TEXT NOT NULL
);

-- What each environment in which tests ran consists of, for people: the results name it by its digest. `since` is when it was
-- met for the first time.
CREATE TABLE surrounding (environment TEXT PRIMARY KEY, since BIGINT NOT NULL, doc TEXT NOT NULL);
