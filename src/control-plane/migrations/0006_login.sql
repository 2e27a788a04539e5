-- Passwords, the logins that they open, and settings. A credential may now be something else than a key: then it has no access key.

CREATE TABLE credential_with_purpose (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    purpose     TEXT    NOT NULL DEFAULT 'key' CHECK (purpose IN ('key', 'login')),
    access_key  TEXT    UNIQUE,
    account     INTEGER REFERENCES account (id),
    environment INTEGER REFERENCES environment (number),
    name        TEXT    NOT NULL,
    description TEXT,
    state       TEXT    NOT NULL CHECK (state IN ('active', 'inactive', 'removed')),
    created     INTEGER NOT NULL,
    expires     INTEGER,
    -- When it was removed by itself, not with its holder: it may be looked at until it is purged, too.
    removed     INTEGER,
    purged      INTEGER,
    CHECK ((account IS NULL) <> (environment IS NULL)),
    CHECK ((purpose = 'key') = (access_key IS NOT NULL)),
    CHECK (purpose = 'key' OR (account IS NOT NULL AND expires IS NOT NULL))
) STRICT;

INSERT INTO credential_with_purpose
    (id, digest, purpose, access_key, account, environment, name, description, state, created, expires)
SELECT id, digest, 'key', access_key, account, environment, name, description, state, created, expires FROM credential;

DROP TABLE credential;
ALTER TABLE credential_with_purpose RENAME TO credential;

CREATE INDEX credential_account ON credential (account);
CREATE INDEX credential_environment ON credential (environment);
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
