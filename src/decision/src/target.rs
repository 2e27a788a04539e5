//! What a request asks for: where it wants to go, and whether to read or to write there. It never says whether anyone may.

use std::sync::OnceLock;

use crate::environment::{EnvironmentId, EnvironmentRef};
use crate::grant::Access;

/// What a request asks for; public ones never get this far.
#[derive(Clone, Debug)]
pub struct Target {
    place: Place,
    access: Access,
    /// Of the environment that the place names, once somebody asked: many requests may share a target.
    reference: OnceLock<EnvironmentRef>,
}

/// Where a request wants to go. Some rules are about no environment, but the request may name one all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A place of accounts.
    Account(Option<EnvironmentId>),
    /// The upstream's administration.
    Admin,
    /// One environment.
    Environment(EnvironmentId),
    /// The credential's own place: its environment, or none for an account. Where the request names none, an environment key's own
    /// must begin with the prefix, because the others' are another upstream's.
    Own {
        /// The environment that the request names.
        named: Option<EnvironmentId>,
        /// The policy's prefix.
        prefix: String,
        /// Whether any account is meant where none is named, and not only those that reach everything.
        any_account: bool,
    },
}

impl Target {
    /// A place, and what is to be done there.
    pub fn new(place: Place, access: Access) -> Self {
        Self { place, access, reference: OnceLock::new() }
    }

    /// Where.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// To read or to write.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The reference of the environment that the place names; `None` where it names none.
    pub fn environment(&self) -> Option<EnvironmentRef> {
        let named = self.place.environment()?;
        Some(*self.reference.get_or_init(|| named.reference()))
    }
}

impl Place {
    fn environment(&self) -> Option<&EnvironmentId> {
        match self {
            Self::Environment(named) => Some(named),
            Self::Account(named) | Self::Own { named, .. } => named.as_ref(),
            Self::Admin => None,
        }
    }
}
