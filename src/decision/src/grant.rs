//! What a credential may do: the value that the table holds for a digest. Every grant is complete in itself, so that a verdict
//! never depends on two reads.

use std::collections::BTreeMap;

use crate::environment::{EnvironmentId, EnvironmentRef};

/// Seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// A key's number on the control plane; travels upstream as `x-keygate-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u64);

/// An account's number on the control plane; travels upstream as `x-keygate-account`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u64);

/// How much may be done in an environment. `Write` includes `Read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Only requests that change nothing.
    Read,
    /// Every request.
    Write,
}

impl Access {
    /// `read` or `write`, as it travels upstream in `x-keygate-access`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One credential that may pass now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The key it belongs to.
    pub key: KeyId,
    /// Whose key it is, and what follows from that.
    pub holder: Holder,
    /// The first second at which it no longer passes; `None` never expires.
    pub expires_at: Option<UnixSeconds>,
}

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An environment key: everything in this one environment and nothing else.
    Environment(EnvironmentId),
    /// An account's key or token.
    Account {
        /// The account.
        account: AccountId,
        /// The credential was cut to less than its owner may do, and so reaches nothing outside its environments.
        limited: bool,
        /// The environments it reaches.
        reach: Reach,
    },
}

impl Grant {
    /// The account it belongs to; `None` for an environment key.
    pub fn account(&self) -> Option<AccountId> {
        match self.holder {
            Holder::Account { account, .. } => Some(account),
            Holder::Environment(_) => None,
        }
    }
}

/// The environments that an account's credential reaches. "All" is always said, never implied by an absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every environment, with [`Access::Write`], and the upstream's administration.
    All,
    /// These environments; none if empty.
    Only(BTreeMap<EnvironmentRef, Access>),
}

impl Reach {
    /// A reach of the listed environments; of several entries for one environment the strongest wins.
    pub fn only(entries: impl IntoIterator<Item = (EnvironmentRef, Access)>) -> Self {
        let mut map = BTreeMap::new();
        for (environment, access) in entries {
            let strongest = map.entry(environment).or_insert(access);
            *strongest = access.max(*strongest);
        }
        Self::Only(map)
    }

    /// What of this reach lies in one environment; none, if that is out of reach.
    #[must_use]
    pub fn cut(&self, environment: EnvironmentRef) -> Self {
        Self::only(self.access(environment).map(|access| (environment, access)))
    }

    /// What may be done in an environment, or `None` where it is out of reach.
    pub fn access(&self, environment: EnvironmentRef) -> Option<Access> {
        match self {
            Self::All => Some(Access::Write),
            Self::Only(map) => map.get(&environment).copied(),
        }
    }
}
