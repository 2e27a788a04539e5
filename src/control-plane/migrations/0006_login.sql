-- Passwords, the logins that they open, and settings. A credential may now be something else than a key: a token, which is presented as
-- one string or as name and secret, or a login.

CREATE TABLE credential_with_purpose (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    purpose     TEXT    NOT NULL DEFAULT 'key' CHECK (purpose IN ('key', 'token', 'login')),
    -- The half that is no secret: a key's access key, the name of a token or of a login that has one.
    access_key  TEXT,
    -- The first characters of a token that has no such half, by which people know it.
    prefix      TEXT,
    account     INTEGER REFERENCES account (id),
    environment INTEGER REFERENCES environment (number),
    -- What it reaches of what its account does, if not all: this environment.
    limited_to  INTEGER REFERENCES environment (number),
    name        TEXT    NOT NULL,
    description TEXT,
    state       TEXT    NOT NULL CHECK (state IN ('active', 'inactive', 'removed')),
    created     INTEGER NOT NULL,
    expires     INTEGER,
    last_used   INTEGER,
    -- When it was removed by itself, not with its holder: it may be looked at until it is purged, too.
    removed     INTEGER,
    purged      INTEGER,
    CHECK ((account IS NULL) <> (environment IS NULL)),
    CHECK (purpose = 'login' OR (access_key IS NULL) <> (prefix IS NULL)),
    CHECK (purpose <> 'key' OR access_key IS NOT NULL),
    CHECK (purpose = 'key' OR account IS NOT NULL),
    CHECK (purpose <> 'login' OR expires IS NOT NULL),
    CHECK (limited_to IS NULL OR account IS NOT NULL)
) STRICT;

INSERT INTO credential_with_purpose
    (id, digest, purpose, access_key, account, environment, name, description, state, created, expires)
SELECT id, digest, 'key', access_key, account, environment, name, description, state, created, expires FROM credential;

DROP TABLE credential;
ALTER TABLE credential_with_purpose RENAME TO credential;

CREATE INDEX credential_account ON credential (account);
CREATE INDEX credential_environment ON credential (environment);
-- How many tokens an account has is asked before it gets another one.
CREATE INDEX credential_token ON credential (account) WHERE purpose = 'token' AND state <> 'removed';
CREATE INDEX credential_limited_to ON credential (limited_to) WHERE limited_to IS NOT NULL;
-- The name of a token that is gone may be given again; its digest may not.
CREATE UNIQUE INDEX credential_access_key ON credential (lower(access_key)) WHERE state <> 'removed';
-- Logins go by themselves once they have expired.
CREATE INDEX credential_login ON credential (expires) WHERE purpose = 'login';

-- Argon2id, as a PHC string with its parameters and salt.
CREATE TABLE password (
    account INTEGER PRIMARY KEY REFERENCES account (id),
    hash    TEXT    NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

-- Only what differs from its default.
CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_actor ON audit (actor);
CREATE INDEX audit_object ON audit (object);
