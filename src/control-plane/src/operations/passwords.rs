//! What is done with passwords. Whoever changes their own proves that they know the former one; an admin sets those of others, and the
//! first one of each account.
//!
//! The former password is checked before the change stands in the queue, for that takes long; inside the change it must still be the
//! one that was checked.

use super::logins::{require_login, throttled};
use super::{Missing, Refusal, accounts, callers, require};
use crate::login::{Gate, HashFailure, Password, PasswordDigest, Source};
use crate::model::{Account, AccountRef, Kind, Purpose, State};
use crate::name::AccountName;
use crate::permission::{Action, Caller};
use crate::setting;
use crate::store::{Actor, Change, Connection, Store, Written, login, password, setting as stored};

/// A password that somebody wants to set.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) account: AccountRef,
    pub(crate) password: Password,
    /// The former one; who changes their own needs it. Whoever says one must know it.
    pub(crate) former: Option<Password>,
    /// Where the request comes from.
    pub(crate) source: Source,
}

/// An account to be made that logs in with a password.
#[derive(Debug)]
pub(crate) struct NewAccount {
    pub(crate) name: AccountName,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    pub(crate) password: Password,
}

/// Makes an account with a password, or nothing.
pub(crate) async fn create_account(
    store: &Store,
    gate: &Gate,
    caller: Caller,
    wish: NewAccount,
) -> Result<Written<Account>, Refusal> {
    let NewAccount { name, kind, state, password } = wish;
    // Before the hashing, which takes long.
    require(&caller, Action::CreateAccount, || Missing::account(&name))?;
    let shortest = stored::value(&mut *store.read().await?, &setting::PASSWORD_MIN_LENGTH).await?;
    password.check(&name, shortest).map_err(|why| Refusal::invalid("password", why))?;
    let digest = gate.hasher.hash(password).await?;
    let written = store.write(Actor::Caller(caller.clone()), async move |change: &mut Change<'_>| {
        let caller = callers::identify_again(change, &caller).await?;
        let account = accounts::create(change, &caller, &name, kind).await?;
        password::set(change, &account, &digest, 0).await?;
        match state {
            State::Active => Ok(account),
            State::Inactive => accounts::deactivate(change, &caller, &AccountRef::Id(account.id)).await,
        }
    });
    written.await
}

/// Sets an account's password and ends its logins, but for the one that asks.
pub(crate) async fn set(store: &Store, gate: &Gate, caller: Caller, wish: Wish) -> Result<Written<()>, Refusal> {
    let Wish { account, password, former, source } = wish;
    let (account, current, shortest) = {
        let mut reader = store.read().await?;
        let account = accounts::find(&mut reader, &caller, &account, Action::ManageLogins).await?;
        let current = password::find(&mut reader, account.id).await?;
        (account, current, stored::value(&mut reader, &setting::PASSWORD_MIN_LENGTH).await?)
    };
    let missing = || Missing::account(&account.name);
    if current.is_none() {
        require(&caller, Action::SetFirstPassword(account.id), missing)?;
    }
    password.check(&account.name, shortest).map_err(|why| Refusal::invalid("password", why))?;
    let own = caller.standing.account() == Some(account.id);
    // Who says one must be right, also where none is asked for.
    if current.is_some() && (own || former.is_some()) {
        let former = former.ok_or(Refusal::Absent("oldPassword"))?;
        throttled(store, gate, account.name.as_str(), source, former, current.clone()).await?;
    }
    let digest = gate.hasher.hash(password).await?;
    let actor = Actor::Caller(caller.clone());
    let written = store.write(actor, async move |change: &mut Change<'_>| {
        let caller = callers::identify_again(change, &caller).await?;
        let account = AccountRef::Id(account.id);
        let account = accounts::find(change.connection(), &caller, &account, Action::ManageLogins).await?;
        put(change, &caller, &account, current.as_ref(), &digest).await
    });
    written.await
}

/// Whether [`confirm`] is open to the caller: whoever has stolen a key must not make another one of it, whatever else they know.
pub(crate) fn may_confirm(caller: &Caller) -> Result<(), Refusal> {
    require_login(caller, "this takes a login; log in with the password first")
}

/// Makes sure that whoever acts in an account's name has logged in and knows its password, before they make what outlives their login.
/// Without a password nobody does.
pub(crate) async fn confirm(
    store: &Store,
    gate: &Gate,
    caller: &Caller,
    source: Source,
    password: Password,
) -> Result<(), Refusal> {
    may_confirm(caller)?;
    let own = caller.standing.account().ok_or(Refusal::WrongPassword)?;
    let (account, digest) = {
        let mut reader = store.read().await?;
        let account = accounts::find(&mut reader, caller, &AccountRef::Id(own), Action::ManageLogins).await?;
        let digest = password::find(&mut reader, account.id).await?;
        (account, digest)
    };
    throttled(store, gate, account.name.as_str(), source, password, digest).await
}

/// Makes sure that somebody knows the name and the password of an admin. One who has no password yet gets this one; nobody is made an
/// admin by being named.
pub(crate) async fn prove_admin(
    store: &Store,
    gate: &Gate,
    caller: &Caller,
    source: Source,
    name: AccountName,
    password: Password,
) -> Result<(), Refusal> {
    let (account, digest) = {
        let mut reader = store.read().await?;
        let account = accounts::show(&mut reader, caller, &AccountRef::Name(name)).await.map_err(|refusal| match refusal {
            Refusal::Missing(_) => Refusal::WrongPassword,
            other => other,
        })?;
        let digest = password::find(&mut reader, account.id).await?;
        (account, digest)
    };
    if account.kind != Kind::Admin {
        return Err(Refusal::WrongPassword);
    }
    if digest.is_none() {
        let wish = Wish { account: AccountRef::Id(account.id), password, former: None, source };
        return set(store, gate, caller.clone(), wish).await.map(drop);
    }
    throttled(store, gate, account.name.as_str(), source, password, digest).await
}

/// The accounts that have a password, of those whose passwords the caller changes; or this one, if it is one of them.
pub(crate) async fn holders(
    connection: &mut Connection,
    caller: &Caller,
    only: Option<&AccountRef>,
) -> Result<Vec<Account>, Refusal> {
    let only = match (only, caller.standing.account()) {
        (Some(reference), _) => Some(accounts::find(connection, caller, reference, Action::ManageLogins).await?.id),
        (None, _) if caller.standing.sees_all() => None,
        (None, Some(own)) => Some(own),
        (None, None) => return Ok(Vec::new()),
    };
    Ok(password::holders(connection, only).await?)
}

async fn put(
    change: &mut Change<'_>,
    caller: &Caller,
    account: &Account,
    checked: Option<&PasswordDigest>,
    digest: &PasswordDigest,
) -> Result<(), Refusal> {
    if password::find(change.connection(), account.id).await?.as_ref() != checked {
        let message = "the password was changed by somebody else meanwhile; look whether it was you, and try again";
        return Err(Refusal::conflict("password_changed", Some("oldPassword"), message));
    }
    let own = (caller.purpose == Purpose::Login).then_some(caller.key);
    let ended = login::remove_others(change, account.id, own).await?;
    Ok(password::set(change, account, digest, ended).await?)
}

impl From<HashFailure> for Refusal {
    fn from(failure: HashFailure) -> Self {
        match failure {
            HashFailure::Busy => Self::Busy,
            HashFailure::Failed(why) => Self::Hash(why),
        }
    }
}
