//! Who may do what. Owns the whole answer in one table; it looks nothing up and changes nothing.

use keygate_decision::{AccountId, EnvironmentId, KeyId};

use crate::model::{Purpose, Role};

/// Whoever makes a request, as proved by a credential.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key, token or login that was presented.
    pub(crate) key: KeyId,
    /// Which of them it is.
    pub(crate) purpose: Purpose,
    /// What it stands for.
    pub(crate) standing: Standing,
}

/// What a caller's key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// An admin's key.
    Admin(AccountId),
    /// A user's key.
    User(AccountId),
    /// An environment key.
    Environment(EnvironmentId),
    /// A key of an account that is limited to an environment: nothing but that is left of what the account may do here.
    Limited(AccountId, EnvironmentId),
}

impl Standing {
    /// The account in whose name the caller acts, if it acts for one.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Admin(account) | Self::User(account) => Some(*account),
            Self::Environment(_) | Self::Limited(..) => None,
        }
    }

    /// The environment as which the caller acts, if it acts for no account.
    pub(crate) fn environment(&self) -> Option<&EnvironmentId> {
        match self {
            Self::Environment(own) | Self::Limited(_, own) => Some(own),
            Self::Admin(_) | Self::User(_) => None,
        }
    }

    /// Whether everything is visible to the caller.
    pub(crate) fn sees_all(&self) -> bool {
        matches!(self, Self::Admin(_))
    }
}

/// What ties a caller to an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    /// Nothing.
    None,
    /// The caller is one of its keys, or limited to it.
    Key,
    /// The caller's account is a member.
    Role(Role),
}

impl Tie {
    /// The caller's role, if it is a member.
    pub(crate) fn role(self) -> Option<Role> {
        match self {
            Self::Role(role) => Some(role),
            Self::None | Self::Key => None,
        }
    }
}

/// What a caller wants to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    CreateAccount,
    SeeAccount(AccountId),
    /// Activate, deactivate, delete.
    ManageAccount(AccountId),
    CreateEnvironment,
    /// The environment and its members.
    SeeEnvironment(Tie),
    /// Edit and delete it, manage its members, make and list its keys.
    ManageEnvironment(Tie),
    /// Make, see and manage a key of this account.
    ManageAccountKey(AccountId),
    /// See and manage a key of an environment.
    ManageEnvironmentKey(Tie),
    /// Change this account's password, see and end its logins.
    ManageLogins(AccountId),
    /// Give this account its first password. Whoever got hold of a key would else open themselves a way in that outlives the key.
    SetFirstPassword(AccountId),
    /// Say oneself what the secret of a key is.
    SupplySecret,
    /// Choose a token's name, which says what it is for.
    NameToken,
    ManageProxies,
    /// See and change them.
    ManageSettings,
    SeeAudit,
    /// Read all digests and grants, for an edge without a control plane.
    ExportTable,
    /// Ask which proxies have a revision, by name.
    AwaitRevision,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// The caller sees the thing but may not do this to it.
    Forbidden,
    /// The caller may not even learn that the thing exists.
    Hidden,
}

/// Whether someone may do something.
pub(crate) fn judge(standing: &Standing, action: Action) -> Verdict {
    use Action::*;
    match (standing, action) {
        (Standing::Admin(_), _) => Verdict::Allowed,

        (Standing::User(me), SeeAccount(it) | ManageAccountKey(it) | ManageLogins(it)) if *me == it => Verdict::Allowed,
        (Standing::User(me), ManageAccount(it) | SetFirstPassword(it)) if *me == it => Verdict::Forbidden,
        (Standing::User(_), SeeEnvironment(Tie::Role(_)) | AwaitRevision) => Verdict::Allowed,
        (Standing::User(_), ManageEnvironment(Tie::Role(Role::Owner)) | ManageEnvironmentKey(Tie::Role(Role::Owner))) => {
            Verdict::Allowed
        }

        (Standing::Environment(_) | Standing::Limited(..), SeeEnvironment(Tie::Key)) => Verdict::Allowed,

        (_, ManageEnvironment(Tie::Role(_) | Tie::Key)) => Verdict::Forbidden,
        (_, CreateAccount | CreateEnvironment | ManageProxies | ExportTable | AwaitRevision) => Verdict::Forbidden,
        (_, ManageSettings | SeeAudit | SupplySecret | NameToken) => Verdict::Forbidden,
        (_, SeeAccount(_) | ManageAccount(_) | SeeEnvironment(_) | ManageEnvironment(_)) => Verdict::Hidden,
        (_, ManageAccountKey(_) | ManageEnvironmentKey(_) | ManageLogins(_) | SetFirstPassword(_)) => Verdict::Hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::Action::*;
    use super::Verdict::*;
    use super::*;

    #[test]
    fn every_caller_may_do_exactly_what_is_written_here() {
        let (me, other) = (AccountId(1), AccountId(2));
        let admin = Standing::Admin(me);
        let user = Standing::User(me);
        let key = Standing::Environment(EnvironmentId::parse("1a5").unwrap());
        let limited = Standing::Limited(me, EnvironmentId::parse("1a5").unwrap());
        let owner = Tie::Role(Role::Owner);
        // Each line: what is asked, then the answer to an admin, a user and an environment key.
        let table = [
            (CreateAccount, [Allowed, Forbidden, Forbidden]),
            (SeeAccount(me), [Allowed, Allowed, Hidden]),
            (SeeAccount(other), [Allowed, Hidden, Hidden]),
            (ManageAccount(me), [Allowed, Forbidden, Hidden]),
            (ManageAccount(other), [Allowed, Hidden, Hidden]),
            (CreateEnvironment, [Allowed, Forbidden, Forbidden]),
            (NameToken, [Allowed, Forbidden, Forbidden]),
            (SeeEnvironment(Tie::None), [Allowed, Hidden, Hidden]),
            (SeeEnvironment(owner), [Allowed, Allowed, Hidden]),
            (SeeEnvironment(Tie::Key), [Allowed, Hidden, Allowed]),
            (ManageEnvironment(Tie::None), [Allowed, Hidden, Hidden]),
            (ManageEnvironment(owner), [Allowed, Allowed, Forbidden]),
            (ManageEnvironment(Tie::Key), [Allowed, Forbidden, Forbidden]),
            (ManageAccountKey(me), [Allowed, Allowed, Hidden]),
            (ManageAccountKey(other), [Allowed, Hidden, Hidden]),
            (ManageEnvironmentKey(Tie::None), [Allowed, Hidden, Hidden]),
            (ManageEnvironmentKey(owner), [Allowed, Allowed, Hidden]),
            (ManageEnvironmentKey(Tie::Key), [Allowed, Hidden, Hidden]),
            (ManageLogins(me), [Allowed, Allowed, Hidden]),
            (ManageLogins(other), [Allowed, Hidden, Hidden]),
            (SetFirstPassword(me), [Allowed, Forbidden, Hidden]),
            (SetFirstPassword(other), [Allowed, Hidden, Hidden]),
            (SupplySecret, [Allowed, Forbidden, Forbidden]),
            (ManageSettings, [Allowed, Forbidden, Forbidden]),
            (SeeAudit, [Allowed, Forbidden, Forbidden]),
            (ManageProxies, [Allowed, Forbidden, Forbidden]),
            (ExportTable, [Allowed, Forbidden, Forbidden]),
            (AwaitRevision, [Allowed, Allowed, Forbidden]),
        ];
        for (action, answers) in table {
            assert_eq!([judge(&admin, action), judge(&user, action), judge(&key, action)], answers, "{action:?}");
            assert_eq!(judge(&limited, action), judge(&key, action), "{action:?}");
        }
        for role in [Role::Member, Role::Restricted, Role::Readonly].map(Tie::Role) {
            assert_eq!(judge(&user, SeeEnvironment(role)), Allowed, "{role:?}");
            assert_eq!(judge(&user, ManageEnvironment(role)), Forbidden, "{role:?}");
            assert_eq!(judge(&user, ManageEnvironmentKey(role)), Hidden, "{role:?}");
        }
    }
}
