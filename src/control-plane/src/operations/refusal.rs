//! Why an operation is refused, in words for the person who asked: what is wrong and the way out.

use crate::model::AccountRef;
use crate::random::NoRandomness;
use crate::store::StoreError;

/// When to try again what is refused as [`Refusal::Busy`].
pub(crate) const BUSY_SECONDS: u64 = 5;

/// The operation did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("the key may not pass any more")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{message}")]
    Conflict { code: &'static str, field: Option<&'static str>, message: String },
    /// A field says what cannot be taken; the message says what can.
    #[error("{field}: {message}")]
    Invalid { field: &'static str, message: String },
    /// A field is needed after all.
    #[error("{0} is missing")]
    Absent(&'static str),
    #[error("the name or the password is wrong")]
    WrongPassword,
    #[error("the account is inactive; an admin can activate it")]
    InactiveAccount,
    /// Too many wrong passwords.
    #[error("too many wrong passwords; try again in {seconds} s")]
    Throttled { seconds: u64 },
    #[error("too many passwords are being checked at the moment; try again in a few seconds")]
    Busy,
    #[error("a password could not be hashed: {0}")]
    Hash(String),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// It would contradict what is there; the message says the way out.
    pub(crate) fn conflict(code: &'static str, field: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::Conflict { code, field, message: message.into() }
    }

    /// A field says what cannot be taken; the message says what can.
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }

    /// Says which field of the request named the missing thing.
    pub(crate) fn in_field(self, field: &'static str) -> Self {
        match self {
            Self::Missing(missing) => Self::Missing(Missing { field: Some(field), ..missing }),
            other => other,
        }
    }
}

/// A thing that does not exist, as far as the caller may know.
#[derive(Debug, thiserror::Error)]
#[error("there is no {kind} {reference} that this key may see; `{}` shows those it may", shown_by(kind))]
pub(crate) struct Missing {
    kind: &'static str,
    reference: String,
    /// The field of the request that named it, if a field did.
    pub(crate) field: Option<&'static str>,
}

impl Missing {
    /// An account.
    pub(crate) fn account(reference: impl ToString) -> Self {
        Self { kind: "account", reference: reference.to_string(), field: None }
    }

    /// An account, as somebody named it.
    pub(crate) fn account_of(reference: &AccountRef) -> Self {
        match reference {
            AccountRef::Id(id) => Self::account(id.0),
            AccountRef::Name(name) => Self::account(name),
        }
    }

    /// An environment.
    pub(crate) fn environment(reference: impl ToString) -> Self {
        Self { kind: "environment", reference: reference.to_string(), field: None }
    }

    /// A membership, by its account.
    pub(crate) fn member(reference: impl ToString) -> Self {
        Self { kind: "member", reference: reference.to_string(), field: None }
    }

    /// A key.
    pub(crate) fn key(reference: impl ToString) -> Self {
        Self { kind: "key", reference: reference.to_string(), field: None }
    }

    /// A login.
    pub(crate) fn login(reference: impl ToString) -> Self {
        Self { kind: "login", reference: reference.to_string(), field: None }
    }

    /// A setting.
    pub(crate) fn setting(reference: impl ToString) -> Self {
        Self { kind: "setting", reference: reference.to_string(), field: None }
    }

    /// A join token.
    pub(crate) fn proxy_token(reference: impl ToString) -> Self {
        Self { kind: "proxy token", reference: reference.to_string(), field: None }
    }

    /// A proxy.
    pub(crate) fn proxy(reference: impl ToString) -> Self {
        Self { kind: "proxy", reference: reference.to_string(), field: None }
    }
}

/// What shows all of a kind.
fn shown_by(kind: &str) -> String {
    match kind {
        "member" => "keygate member list --environment ID".to_owned(),
        "login" => "GET /keygate/v1/logins".to_owned(),
        kind => format!("keygate {kind} list"),
    }
}
