//! What stands between a password and a login: how passwords are made, hashed and guessed. It knows neither storage nor HTTP.

mod hasher;
mod password;
mod throttle;

pub(crate) use hasher::{HashFailure, Hasher, PasswordDigest};
pub(crate) use password::Password;
pub(crate) use throttle::{Source, Throttle, Wait};

/// What everyone who checks a password must go through; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) hasher: Hasher,
    pub(crate) throttle: Throttle,
}

impl Gate {
    /// A gate that has seen nobody.
    pub(crate) fn new() -> Self {
        Self { hasher: Hasher::new(), throttle: Throttle::new() }
    }
}
