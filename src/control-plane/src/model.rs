//! What the control plane manages. Owns the shape of its things, as read from storage or parsed from a request; a value of these
//! types is valid. It knows neither SQL nor HTTP.

use keygate_decision::key::AccessKey;
use keygate_decision::{AccountId, EnvironmentId, KeyId, UnixSeconds};

use crate::name::{AccountName, Description, Name, ProxyName};

/// Defines an enum whose variants each have one word, in storage and in the API.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// Its word.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// Parses its word; the error lists all of them.
            pub(crate) fn parse(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words! {
    /// What an account may do beyond its memberships.
    Kind {
        /// Sees and does everything.
        Admin = "admin",
        /// What its memberships allow.
        User = "user",
    }
}

words! {
    /// Whether a key or an account works. What is removed is never read back, so there is no value for it.
    State {
        /// It works.
        Active = "active",
        /// It is refused until it is activated again.
        Inactive = "inactive",
    }
}

words! {
    /// What a member is in an environment.
    Role {
        /// Manages the environment, its members and its keys.
        Owner = "owner",
        /// Works in it.
        Member = "member",
        /// Works in it; the upstream may treat it as less than a member.
        Restricted = "restricted",
        /// Only reads in it.
        Readonly = "readonly",
    }
}

words! {
    /// Whether a join token works. What is removed is never read back.
    TokenState {
        /// It works.
        Active = "active",
        /// It never works again.
        Revoked = "revoked",
    }
}

/// An account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) name: AccountName,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    pub(crate) created: UnixSeconds,
}

/// How a request names an account: by its number or by its name.
#[derive(Clone, Debug)]
pub(crate) enum AccountRef {
    Id(AccountId),
    Name(AccountName),
}

impl AccountRef {
    /// Parses a reference. A name is never digits alone, so that the two cannot be confused.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match number(text) {
            Some(id) => Ok(Self::Id(AccountId(id))),
            None => AccountName::parse(text).map(Self::Name),
        }
    }
}

/// An environment. Requests carry its id; storage numbers it, because an id may be used again after a removal.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) number: u64,
    pub(crate) id: EnvironmentId,
    pub(crate) name: Name,
    pub(crate) created: UnixSeconds,
}

/// A membership of an account in an environment.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) environment: EnvironmentId,
    pub(crate) account: AccountName,
    pub(crate) role: Role,
    pub(crate) created: UnixSeconds,
}

/// A key, without its secret.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) access: AccessKey,
    pub(crate) holder: KeyHolder,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) state: State,
    pub(crate) created: UnixSeconds,
    pub(crate) expires: Option<UnixSeconds>,
}

/// Whom a key belongs to.
#[derive(Clone, Debug)]
pub(crate) enum KeyHolder {
    Account { id: AccountId, name: AccountName },
    Environment { number: u64, id: EnvironmentId },
}

impl KeyHolder {
    /// The account's number in storage, if an account holds the key.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Account { id, .. } => Some(*id),
            Self::Environment { .. } => None,
        }
    }

    /// The environment's number in storage, if an environment holds the key.
    pub(crate) fn environment(&self) -> Option<u64> {
        match self {
            Self::Account { .. } => None,
            Self::Environment { number, .. } => Some(*number),
        }
    }
}

/// A join token, without its text.
#[derive(Clone, Debug)]
pub(crate) struct ProxyToken {
    pub(crate) id: u64,
    pub(crate) proxy: ProxyName,
    pub(crate) description: Option<Description>,
    pub(crate) state: TokenState,
    pub(crate) created: UnixSeconds,
}

/// Parses the number of a join token.
pub(crate) fn proxy_token_id(text: &str) -> Option<u64> {
    number(text)
}

/// Parses the number of a key.
pub(crate) fn key_id(text: &str) -> Option<KeyId> {
    number(text).map(KeyId)
}

/// Digits alone; `parse` by itself would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
