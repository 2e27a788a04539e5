//! The headers by which the upstream learns who makes a request. It owns their names and what each says; whoever writes them has
//! removed before what the client said under such names.

use std::fmt;

use crate::decide::Permit;

/// How the names of all identity headers begin.
pub const PREFIX: &str = "x-keygate-";

/// One identity header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityHeader {
    /// The key's number.
    Key,
    /// The number of the account whose key it is, or that it acts for; an environment's own key has none.
    Account,
    /// The environment that the request is about; a request about none has none.
    Environment,
    /// What the key may do there.
    Access,
}

impl IdentityHeader {
    /// All that there are, as they are written unless somebody wants fewer.
    pub const ALL: [Self; 4] = [Self::Key, Self::Account, Self::Environment, Self::Access];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "x-keygate-key",
            Self::Account => "x-keygate-account",
            Self::Environment => "x-keygate-environment",
            Self::Access => "x-keygate-access",
        }
    }

    /// Finds a header by its name, in any case.
    ///
    /// # Errors
    /// [`UnknownIdentityHeader`] for any other name.
    pub fn parse(name: &str) -> Result<Self, UnknownIdentityHeader> {
        Self::ALL.into_iter().find(|header| header.name().eq_ignore_ascii_case(name)).ok_or(UnknownIdentityHeader)
    }

    /// Gives what it says of a permit, in printable ASCII, to `set`; nothing where it has nothing to say.
    ///
    /// # Errors
    /// What `set` gives.
    pub fn write<E>(self, permit: &Permit, set: &mut impl FnMut(&str, &str) -> Result<(), E>) -> Result<(), E> {
        let mut number = itoa::Buffer::new();
        let value = match self {
            Self::Key => Some(number.format(permit.key().0)),
            Self::Account => permit.account().map(|account| number.format(account.0)),
            Self::Environment => permit.environment().map(|environment| environment.as_str()),
            Self::Access => Some(permit.access().as_str()),
        };
        value.map_or(Ok(()), |value| set(self.name(), value))
    }
}

impl fmt::Display for IdentityHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No identity header is called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownIdentityHeader;

impl fmt::Display for UnknownIdentityHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be x-keygate-key, x-keygate-account, x-keygate-environment or x-keygate-access")
    }
}

impl std::error::Error for UnknownIdentityHeader {}
