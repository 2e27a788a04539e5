//! Logging in and out. A login is a credential that a password opens: it goes into the table like a key, and ends by itself.
//!
//! Whoever tries learns nothing of which accounts there are: an unknown name, an account without a password and a wrong password take
//! the same work and get the same answer. Only who knows the password is told that the account is inactive.

use keygate_decision::key::SecretKey;
use keygate_decision::{AccountId, Digest, KeyId, UnixSeconds};
use serde_json::json;

use super::audit::Refusals;
use super::callers::Identity;
use super::{Missing, Refusal, accounts, require};
use crate::login::{Gate, Password, PasswordDigest, Source, Wait};
use crate::model::{Account, AccountRef, Login, Purpose, State};
use crate::name::{AccountName, Lifetime};
use crate::permission::{Action, Caller};
use crate::random;
use crate::setting::{self, Setting};
use crate::store::login::NewLogin;
use crate::store::{Actor, Change, Connection, Store, StoreError, Written, account, login, password, setting as stored};

/// A number that no account has.
const NOBODY: AccountId = AccountId(0);

/// What somebody says to log in.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The account's name as it was typed, which may be none.
    pub(crate) name: String,
    pub(crate) password: Password,
    /// Where the attempt comes from.
    pub(crate) source: Source,
    /// It is made also while logins are switched off, to try the password: then it passes nowhere until they are switched on.
    pub(crate) trial: bool,
}

/// Logs in: the login, which lives as long as [`setting::LOGIN_TTL`] says, or a shorter setting, and its token, which exists nowhere else.
pub(crate) async fn log_in(
    store: &Store,
    gate: &Gate,
    refusals: &Refusals,
    attempt: Attempt,
    or_shorter: Option<&'static Setting<Lifetime>>,
) -> Result<(Written<Login>, SecretKey), Refusal> {
    let token = random::secret()?;
    let digest = Digest::of(token.expose());
    let written = open(store, gate, refusals, attempt, async move |change, account| {
        let mut expires = stored::value(change.connection(), &setting::LOGIN_TTL).await?.end(change.now());
        if let Some(shorter) = or_shorter {
            expires = expires.min(stored::value(change.connection(), shorter).await?.end(change.now()));
        }
        let new = NewLogin { digest, label: None, description: None, expires };
        Ok(login::create(change, account, new).await?)
    });
    Ok((written.await?, token))
}

/// Makes in a change what an account's password opens, if that is the password.
pub(super) async fn open<T, F>(
    store: &Store,
    gate: &Gate,
    refusals: &Refusals,
    attempt: Attempt,
    make: F,
) -> Result<Written<T>, Refusal>
where
    F: AsyncFnOnce(&mut Change<'_>, &Account) -> Result<T, Refusal> + Send + 'static,
    T: Send + 'static,
{
    let Attempt { name, password, source, trial } = attempt;
    let (account, digest) = find(store, &name).await?;
    // Without the account's case, as it is looked up; what is no name is one name.
    let counted = AccountName::parse(&name).map_or_else(|_| String::new(), |name| name.to_string());
    if let Err(refusal) = throttled(store, gate, &counted, source, password, digest.clone()).await {
        note(store, refusals, account.as_ref(), &refusal);
        return Err(refusal);
    }
    let account = account.ok_or(Refusal::WrongPassword)?;
    if account.state == State::Inactive {
        note(store, refusals, Some(&account), &Refusal::InactiveAccount);
        return Err(Refusal::InactiveAccount);
    }
    let id = account.id;
    let written = store.write(Actor::Account(id), async move |change: &mut Change<'_>| {
        if !trial && !stored::value(change.connection(), &setting::LOGIN_ENABLED).await? {
            return Err(Refusal::Forbidden("logging in is switched off; an admin switches it on (login-enabled)"));
        }
        let account = still(change, &AccountRef::Id(id), digest.as_ref()).await?;
        make(change, &account).await
    });
    let written = written.await;
    if let Err(refusal) = &written {
        note(store, refusals, Some(&account), refusal);
    }
    written
}

/// Checks a password within the limits of guessing.
pub(super) async fn throttled(
    store: &Store,
    gate: &Gate,
    name: &str,
    source: Source,
    password: Password,
    digest: Option<PasswordDigest>,
) -> Result<(), Refusal> {
    let now = || store.clock().now();
    gate.throttle.attempt(name, source, now()).map_err(|Wait { seconds }| Refusal::Throttled { seconds })?;
    match gate.hasher.matches(name, source, password, digest).await {
        Ok(true) => {
            gate.throttle.proved(name, source, now());
            Ok(())
        }
        Ok(false) => Err(Refusal::WrongPassword),
        Err(failure) => {
            gate.throttle.unchecked(name, source);
            Err(failure.into())
        }
    }
}

/// The account of this name and its password's hash, as far as there are any.
async fn find(store: &Store, name: &str) -> Result<(Option<Account>, Option<PasswordDigest>), Refusal> {
    let Ok(name) = AccountName::parse(name) else { return Ok((None, None)) };
    let mut reader = store.read().await?;
    let account = account::find(&mut reader, &AccountRef::Name(name)).await?;
    // Asked of nobody, too: who is made to wait before a hash is computed could tell one question from two.
    let id = account.as_ref().map_or(NOBODY, |account| account.id);
    let digest = password::find(&mut reader, id).await?;
    Ok((account, digest))
}

/// What was checked may have changed while the change stood in the queue.
async fn still(change: &mut Change<'_>, account: &AccountRef, checked: Option<&PasswordDigest>) -> Result<Account, Refusal> {
    let account = account::find(change.connection(), account).await?.ok_or(Refusal::WrongPassword)?;
    if password::find(change.connection(), account.id).await?.as_ref() != checked {
        return Err(Refusal::WrongPassword);
    }
    if account.state == State::Inactive {
        return Err(Refusal::InactiveAccount);
    }
    Ok(account)
}

/// Notes a refused attempt at an account that exists. Nobody waits for it: how long the answer takes must not tell that it does.
fn note(store: &Store, refusals: &Refusals, account: Option<&Account>, refusal: &Refusal) {
    let reason = match refusal {
        Refusal::WrongPassword => "wrong password",
        Refusal::Throttled { .. } => "too many wrong passwords",
        Refusal::InactiveAccount => "the account is inactive",
        Refusal::Forbidden(why) => why,
        _ => return,
    };
    let Some(account) = account else { return };
    let (store, refusals) = (store.clone(), refusals.clone());
    let (actor, object) = (Actor::Account(account.id), format!("account {}", account.id.0));
    let detail = json!({"name": account.name.as_str(), "reason": reason});
    tokio::spawn(async move { refusals.note(&store, actor, "login.refuse", object, detail).await });
}

/// Takes away the logins that have expired. They pass nowhere, whether they are there or not.
pub(crate) async fn sweep(store: &Store) -> Result<(), StoreError> {
    while login::any_expired(&mut *store.read().await?, store.clock().now()).await? {
        store.write::<_, StoreError, _>(Actor::Local, async |change: &mut Change<'_>| login::sweep(change).await).await?;
    }
    Ok(())
}

/// The logins that the caller sees, or those of one account.
pub(crate) async fn list(
    connection: &mut Connection,
    caller: &Caller,
    reference: Option<&AccountRef>,
    now: UnixSeconds,
) -> Result<Vec<Login>, Refusal> {
    let account = match reference {
        Some(reference) => {
            let account = accounts::find(connection, caller, reference, Action::ManageLogins).await;
            Some(account.map_err(|refusal| refusal.in_field("account"))?.id)
        }
        None if caller.standing.sees_all() => None,
        None => match caller.standing.account() {
            Some(own) => Some(own),
            None => return Ok(Vec::new()),
        },
    };
    Ok(login::list(connection, account, now).await?)
}

/// Ends the login that the caller uses, as [`end_presented`] does.
pub(crate) async fn log_out(store: &Store, caller: Caller) -> Result<Written<()>, Refusal> {
    require_login(&caller, "this is a key, not a login; deactivate it if it must not pass any more")?;
    Ok(end_own(store, caller).await?)
}

/// Ends an operation that is done by a login alone; the message says the way out to whoever comes with a key.
pub(super) fn require_login(caller: &Caller, message: &'static str) -> Result<(), Refusal> {
    match caller.purpose {
        Purpose::Login => Ok(()),
        Purpose::Key | Purpose::Token => Err(Refusal::conflict("not_a_login", None, message)),
    }
}

/// Ends the login whose token was presented, if it was one. Also one that does not pass now: it would again, once its account is active
/// or logins are switched on. Whoever has the token may end it.
pub(crate) async fn end_presented(store: &Store, identity: Identity) -> Result<(), Refusal> {
    let (Identity::Passes(caller) | Identity::Withdrawn(caller)) = identity else { return Ok(()) };
    if caller.purpose == Purpose::Login {
        end_own(store, caller).await?;
    }
    Ok(())
}

async fn end_own(store: &Store, caller: Caller) -> Result<Written<()>, StoreError> {
    let id = caller.key;
    let end = async move |change: &mut Change<'_>| {
        // One that is gone already is gone.
        match login::find(change.connection(), id, login::ALSO_EXPIRED).await? {
            Some(found) => login::remove(change, &found).await,
            None => Ok(()),
        }
    };
    store.write(Actor::Caller(caller), end).await
}

/// Ends a login.
pub(crate) async fn end(change: &mut Change<'_>, caller: &Caller, id: KeyId) -> Result<(), Refusal> {
    let now = change.now();
    end_if_not_expired(change, caller, id, now).await
}

/// Ends a login, also one that has ended by itself.
pub(super) async fn end_expired(change: &mut Change<'_>, caller: &Caller, id: KeyId) -> Result<(), Refusal> {
    end_if_not_expired(change, caller, id, login::ALSO_EXPIRED).await
}

async fn end_if_not_expired(change: &mut Change<'_>, caller: &Caller, id: KeyId, now: UnixSeconds) -> Result<(), Refusal> {
    let missing = || Missing::login(id.0);
    let found = login::find(change.connection(), id, now).await?.ok_or_else(missing)?;
    require(caller, Action::ManageLogins(found.account.id), missing)?;
    Ok(login::remove(change, &found).await?)
}
