-- The newest revision of the table, in one row of its own: changes are trimmed, and what counts revisions must never go back.

CREATE TABLE head (
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    revision INTEGER NOT NULL
) STRICT;

INSERT INTO head (only, revision)
SELECT 1, max(
    coalesce((SELECT max(revision) FROM change), 0),
    coalesce((SELECT max(ended_at_revision) FROM epoch), 0)
);

-- Written when storage has failed, to find out whether it takes changes again; what it holds means nothing.
CREATE TABLE probe (
    bytes BLOB NOT NULL
) STRICT;
