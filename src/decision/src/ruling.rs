//! What the rules say of a request before its credential is looked up. It knows the outcome of the rules, not the rules.

use std::sync::Arc;

use crate::decide::{Decision, decide};
use crate::digest::Digest;
use crate::grant::{Grant, UnixSeconds};
use crate::reason::Reason;
use crate::target::Target;

/// What can be said of a request before its credential is looked up.
#[derive(Debug)]
pub enum Screening {
    /// It is refused whatever its credential.
    Refuse(Reason),
    /// It passes without one.
    Pass {
        /// Credentials travel on.
        keep_credentials: bool,
    },
    /// Its credential decides.
    Check(Check),
}

/// A request that waits for its credential to be looked up.
#[derive(Debug)]
pub struct Check {
    digest: Result<Digest, Reason>,
    demand: Arc<Demand>,
}

/// What the rules say of a request, whatever its credential.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// It is refused.
    Refuse(Reason),
    /// It passes without one.
    Pass {
        /// Credentials travel on.
        keep_credentials: bool,
    },
    /// Its credential must meet this.
    Check(Arc<Demand>),
}

/// What a request asks of its credential, and what becomes of both.
#[derive(Debug)]
pub struct Demand {
    target: Result<Target, Reason>,
    keep_credentials: bool,
    shadow: bool,
}

impl Check {
    pub(crate) fn new(digest: Result<Digest, Reason>, demand: Arc<Demand>) -> Self {
        Self { digest, demand }
    }

    /// The digest to look up.
    ///
    /// # Errors
    /// The [`Reason`] for which there is none.
    pub fn digest(&self) -> Result<Digest, Reason> {
        self.digest
    }

    /// Judges the request by what the table holds for its digest.
    pub fn decide(&self, grant: Option<&Grant>, now: UnixSeconds) -> Decision {
        match (self.digest, grant) {
            (Err(reason), _) => Decision::Deny(reason),
            (Ok(_), None) => Decision::Deny(Reason::UnknownCredential),
            (Ok(_), Some(grant)) => self.demand.decide(grant, now),
        }
    }

    /// What the request asks for.
    ///
    /// # Errors
    /// The [`Reason`] for which no key gets it.
    pub fn target(&self) -> Result<&Target, Reason> {
        self.demand.target()
    }

    /// A refusal with 401 or 403 is only to be reported.
    pub fn is_shadowed(&self) -> bool {
        self.demand.shadow
    }

    /// Credentials travel on if the request passes.
    pub fn keep_credentials(&self) -> bool {
        self.demand.keep_credentials
    }
}

impl Demand {
    pub(crate) fn new(target: Result<Target, Reason>, keep_credentials: bool, shadow: bool) -> Self {
        Self { target, keep_credentials, shadow }
    }

    /// Judges a grant that was found for the request's credential.
    pub fn decide(&self, grant: &Grant, now: UnixSeconds) -> Decision {
        decide(grant, self.target(), now)
    }

    /// As [`Check::target`].
    ///
    /// # Errors
    /// The [`Reason`] for which no key gets it.
    pub fn target(&self) -> Result<&Target, Reason> {
        self.target.as_ref().map_err(|reason| *reason)
    }

    /// As [`Check::is_shadowed`].
    pub fn is_shadowed(&self) -> bool {
        self.shadow
    }

    /// As [`Check::keep_credentials`].
    pub fn keep_credentials(&self) -> bool {
        self.keep_credentials
    }
}
