-- The whole state of a control plane. Rows that are gone for their users stay as 'removed', so that ids are never given out twice
-- and the audit record keeps its objects. Times are seconds since 1970-01-01 UTC.

CREATE TABLE account (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('admin', 'user')),
    state   TEXT    NOT NULL CHECK (state IN ('active', 'inactive', 'removed')),
    created INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX account_name ON account (lower(name)) WHERE state <> 'removed';

-- The id is what requests carry; it may be used again after a removal, the number may not.
CREATE TABLE environment (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    state   TEXT    NOT NULL CHECK (state IN ('active', 'removed')),
    created INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX environment_id ON environment (lower(id)) WHERE state <> 'removed';

CREATE TABLE membership (
    environment INTEGER NOT NULL REFERENCES environment (number),
    account     INTEGER NOT NULL REFERENCES account (id),
    role        TEXT    NOT NULL CHECK (role IN ('owner', 'member', 'restricted', 'readonly')),
    created     INTEGER NOT NULL,
    PRIMARY KEY (environment, account)
) STRICT;

CREATE INDEX membership_account ON membership (account);

-- A secret is stored only as the SHA-256 of its canonical string. A digest is never used twice, not even after a removal.
CREATE TABLE credential (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    access_key  TEXT    NOT NULL UNIQUE,
    account     INTEGER REFERENCES account (id),
    environment INTEGER REFERENCES environment (number),
    name        TEXT    NOT NULL,
    description TEXT,
    state       TEXT    NOT NULL CHECK (state IN ('active', 'inactive', 'removed')),
    created     INTEGER NOT NULL,
    expires     INTEGER,
    CHECK ((account IS NULL) <> (environment IS NULL))
) STRICT;

CREATE INDEX credential_account ON credential (account);
CREATE INDEX credential_environment ON credential (environment);

-- Which grants each revision of the table altered. Every revision has at least one row; the oldest ones are trimmed.
CREATE TABLE change (
    revision INTEGER NOT NULL,
    digest   BLOB    NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (revision, digest)
) STRICT;

-- One row for each start of the server, in order. The running epoch has not ended.
CREATE TABLE epoch (
    number            INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch             BLOB NOT NULL UNIQUE CHECK (length(epoch) = 16),
    ended_at_revision INTEGER
) STRICT;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    time   INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    object TEXT    NOT NULL,
    detail TEXT    NOT NULL
) STRICT;

CREATE TABLE proxy (
    name                    TEXT PRIMARY KEY,
    staleness_limit_seconds INTEGER NOT NULL,
    first_seen              INTEGER NOT NULL
) STRICT;
