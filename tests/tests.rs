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

// Passwords and logins, with the real command line and at the edge.
mod login;

// What goes on when something is away or wrong: no control plane, no table, a bad configuration.
mod fail_closed;

// Requests that are too long, too many-headed or of a strange kind.
mod oddities;

// What nobody would send by mistake: the fuzz targets' corpus, and generated spellings natively and in real Envoy.
mod hostile;

// What may depend on what.
mod dependencies;
