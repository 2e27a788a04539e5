-- When each revision was made, so that the oldest are trimmed by age, too. Those that are there already count from now on.

ALTER TABLE change ADD COLUMN time INTEGER NOT NULL DEFAULT 0;

UPDATE change SET time = unixepoch();
