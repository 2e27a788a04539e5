//! What the control plane manages. Owns the shape of its things, as read from storage or parsed from a request; a value of these
//! types is valid. It knows neither SQL nor HTTP.

use keygate_decision::{AccountId, EnvironmentId, KeyId, UnixSeconds};

use crate::name::{AccountName, Description, Label, Name, ProxyName};
use crate::setting::Known;

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
    /// What a credential is for.
    Purpose {
        /// An access key and a secret.
        Key = "key",
        /// A name and a secret, or one string, as systems make them that Keygate stands in for.
        Token = "token",
        /// A password opened it; it ends by itself.
        Login = "login",
    }
}

words! {
    /// Who may log in of those whom a directory knows. Local accounts count as allowed in each.
    AccessMode {
        /// Everybody.
        Unrestricted = "unrestricted",
        /// Allowed identities, and members of environments.
        Restricted = "restricted",
        /// Allowed identities.
        Required = "required",
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

/// What is added to an account's number where accounts and environments share one kind of id (`1a1000007`): so high that no
/// environment of a real system has it.
const SHARED_ID_BASE: u64 = 1_000_000;

/// An account's id where accounts and environments share one kind of id.
pub(crate) fn shared_id(account: AccountId) -> String {
    format!("1a{}", SHARED_ID_BASE.saturating_add(account.0))
}

/// The account of such an id, in any letter case. No environment may have one.
pub(crate) fn parse_shared_id(text: &str) -> Option<AccountId> {
    let digits = text.strip_prefix("1a").or_else(|| text.strip_prefix("1A"))?;
    number(digits)?.checked_sub(SHARED_ID_BASE).map(AccountId)
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
    pub(crate) account_id: AccountId,
    pub(crate) account: AccountName,
    pub(crate) role: Role,
    pub(crate) created: UnixSeconds,
    /// Whether it is an owner beside whom there is none whose account is active.
    pub(crate) is_last_owner: bool,
}

/// A key or a token, without its secret: what was made to last.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) form: Form,
    pub(crate) holder: KeyHolder,
    /// What it reaches of what its account does, if not all.
    pub(crate) limit: Option<Limit>,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) state: State,
    pub(crate) created: UnixSeconds,
    pub(crate) expires: Option<UnixSeconds>,
    /// When a proxy last let it pass, as far as proxies have reported; about a minute behind.
    pub(crate) last_used: Option<UnixSeconds>,
    /// When it was removed: then nothing is left to do with it but to look at it and to purge it.
    pub(crate) removed: Option<UnixSeconds>,
}

/// How a key is presented, and what of it is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Access key and secret.
    Pair(Label),
    /// A token of name and secret, such as `token-x7k2p:...`.
    Named(Label),
    /// A token of one string, known by its first characters, such as `ptr_Ab1`.
    Whole(Label),
}

impl Form {
    /// What is no secret of it: the access key, the name, or the first characters.
    pub(crate) fn label(&self) -> &Label {
        match self {
            Self::Pair(label) | Self::Named(label) | Self::Whole(label) => label,
        }
    }

    /// What it is stored as.
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Pair(_) => Purpose::Key,
            Self::Named(_) | Self::Whole(_) => Purpose::Token,
        }
    }
}

/// The one environment to which a key of an account may be limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) number: u64,
    pub(crate) id: EnvironmentId,
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

/// A login of an account, without its token.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) id: KeyId,
    /// The name, if its token is one of name and secret.
    pub(crate) label: Option<Label>,
    pub(crate) description: Option<Description>,
    pub(crate) account: Account,
    pub(crate) created: UnixSeconds,
    /// The first second at which it no longer passes.
    pub(crate) expires: UnixSeconds,
}

/// A setting as it stands.
#[derive(Clone, Debug)]
pub(crate) struct SettingValue {
    pub(crate) known: &'static Known,
    /// What was set; `None` while the default holds.
    pub(crate) set: Option<String>,
    /// What the server's environment says, which goes before.
    pub(crate) fixed: Option<&'static str>,
}

/// Where a setting has its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingSource {
    Default,
    Set,
    Environment,
}

impl SettingValue {
    /// What holds.
    pub(crate) fn value(&self) -> &str {
        self.fixed.or(self.set.as_deref()).unwrap_or(self.known.default)
    }

    /// Where that comes from.
    pub(crate) fn source(&self) -> SettingSource {
        match (self.fixed, &self.set) {
            (Some(_), _) => SettingSource::Environment,
            (None, Some(_)) => SettingSource::Set,
            (None, None) => SettingSource::Default,
        }
    }
}

/// One record of what was done, or refused.
#[derive(Clone, Debug)]
pub(crate) struct AuditRecord {
    /// Counts up; later records have higher ones.
    pub(crate) id: u64,
    pub(crate) time: UnixSeconds,
    /// Who: `account 1 key 7`, `account 1 login 9`, `environment 1a5 key 8`, `account 1` (by password), `local`, `sync`.
    pub(crate) actor: String,
    /// What, such as `key.create`.
    pub(crate) action: String,
    /// To what, such as `key 7`.
    pub(crate) object: String,
    /// Further words, as a JSON object; never a secret.
    pub(crate) detail: serde_json::Value,
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

/// Parses the number of a key or of a login.
pub(crate) fn key_id(text: &str) -> Option<KeyId> {
    number(text).map(KeyId)
}

/// Digits alone; `parse` by itself would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
