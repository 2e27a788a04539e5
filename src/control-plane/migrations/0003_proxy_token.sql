-- By which proxies prove their names. The name need not be in `proxy`: a token is made before its proxy first connects. A name that has
-- a row which is not removed needs a token; forgetting the proxy removes its tokens.

CREATE TABLE proxy_token (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    proxy       TEXT    NOT NULL,
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    description TEXT,
    state       TEXT    NOT NULL CHECK (state IN ('active', 'revoked', 'removed')),
    created     INTEGER NOT NULL
) STRICT;

CREATE INDEX proxy_token_proxy ON proxy_token (proxy);
