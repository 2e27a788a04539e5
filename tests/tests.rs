//! Everything is tested from outside: the real binary, the real module in real Envoy, real clients.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test that panics has failed, as it should")]

// Who and what the tests are about: two environments, an admin, a user, keys of every kind.
mod world;

// Envoys, an upstream and a control plane together, and many requests over all their workers.
mod edge;

// tests/vectors/*.json, decided natively and in real Envoy: the answers are equal.
mod vectors;

// curl as the documents use it: -u, --netrc-file, headers; and the details of answers.
mod clients;

// Every change, seen by 10,000 requests over all workers: nothing passes after a withdrawal, everything after a grant.
mod revocation;

// The same for keys that are hot in all that the workers remember.
mod caches;

// When keys were last used, as proxies tell it.
mod usage;

// Passwords and logins, with the real command line and at the edge.
mod login;

// One URL for managing keys and for using them: no spelling leads past the rules, and links lead back.
mod one_url;

// Clients that other people wrote, unchanged: rancher_yarl, gdapi-python and cattle, curl, httpie.
mod real_clients;

// Rancher 1.6 behind one URL: from a password to a key that passes, and to its end.
mod rancher16;

// Where clients of Rancher 1.6 say which environment they mean, beside the path.
mod users;

// Portainer behind one URL: from a password to an access token, and tokens that Portainer issued.
mod portainer;

// Rancher 2 behind one URL: tokens by every carrier, clusters, ttls, users, and kubectl's logins.
mod rancher2;

// What goes on when something is away or wrong: no control plane, no table, a bad configuration.
mod fail_closed;

// The way between proxies and control plane when others are on it: certificates, join tokens, HTTPS.
mod tls;

// What may happen between Envoy and the control plane, under load: cuts, kills, silence, slowness, and messages of every bad kind.
mod faults;

// What is kept through kills, full disks, restores and stops, and what a server refuses to start with.
mod data;

// Several processes of one proxy: hot restart, kill and restart, new code of another layout, a listener that goes and returns.
mod processes;

// Clocks that are wrong: the control plane's, the host's.
mod clocks;

// Requests that are too long, too many-headed or of a strange kind.
mod oddities;

// Other ways through Envoy than a plain request's: internal redirects, tunnels.
mod detours;

// Shadow mode, end to end: what passes that would be refused, what never does, and where it is told.
mod shadow;

// `keygate filter explain` beside what Envoy answers.
mod explain;

// What nobody would send by mistake: the fuzz targets' corpus, and generated spellings natively and in real Envoy.
mod hostile;

// Where load balancers ask whether an edge is ready.
mod readiness;

// An edge without a control plane: the table in the filter's configuration.
mod embedded;

// Workers of the filter that die: the leader, all of them, whoever writes a message.
mod traps;

// The README: its figures are those that were measured.
mod readme;

// What may depend on what.
mod dependencies;
