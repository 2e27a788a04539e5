//! What is done with accounts. There is always an active admin: nobody could make another one.

use keygate_decision::AccountId;

use super::{Missing, Refusal, may, require};
use crate::model::{Account, AccountRef, Kind, State};
use crate::name::AccountName;
use crate::permission::{Action, Caller};
use crate::store::{Change, Connection, account, environment};

/// The account that `keygate init` made.
const FIRST: AccountId = AccountId(1);

/// Makes an account.
pub(crate) async fn create(change: &mut Change<'_>, caller: &Caller, name: &AccountName, kind: Kind) -> Result<Account, Refusal> {
    require(caller, Action::CreateAccount, || Missing::account(name))?;
    if account::find(change.connection(), &AccountRef::Name(name.clone())).await?.is_some() {
        let message = format!("an account {name} exists already (case does not matter); choose another name");
        return Err(Refusal::conflict("name_taken", Some("name"), message));
    }
    Ok(account::create(change, name, kind).await?)
}

/// All accounts for an admin, its own for a user.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller) -> Result<Vec<Account>, Refusal> {
    match (caller.standing.sees_all(), caller.standing.account()) {
        (true, _) => Ok(account::list(connection, None).await?),
        (false, Some(own)) => Ok(account::list(connection, Some(own)).await?),
        (false, None) => Ok(Vec::new()),
    }
}

/// Finds an account.
pub(crate) async fn show(connection: &mut Connection, caller: &Caller, reference: &AccountRef) -> Result<Account, Refusal> {
    find(connection, caller, reference, Action::SeeAccount).await
}

/// Finds an account for whoever may let it into an environment: they name accounts that they do not see otherwise.
pub(crate) async fn look_up(
    connection: &mut Connection,
    caller: &Caller,
    reference: &AccountRef,
) -> Result<Option<Account>, Refusal> {
    let Some(account) = account::find(connection, reference).await? else { return Ok(None) };
    if may(caller, Action::SeeAccount(account.id)) {
        return Ok(Some(account));
    }
    let environments = environment::list(connection, &caller.standing).await?;
    let lets_in = environments.iter().any(|(_, tie)| may(caller, Action::ManageEnvironment(*tie)));
    Ok(Some(account).filter(|_| lets_in))
}

/// Lets an account's keys pass again.
pub(crate) async fn activate(change: &mut Change<'_>, caller: &Caller, reference: &AccountRef) -> Result<Account, Refusal> {
    let account = find(change.connection(), caller, reference, Action::ManageAccount).await?;
    match account.state {
        State::Active => Ok(account),
        State::Inactive => Ok(account::set_state(change, &account, State::Active).await?),
    }
}

/// Stops all keys of an account.
pub(crate) async fn deactivate(change: &mut Change<'_>, caller: &Caller, reference: &AccountRef) -> Result<Account, Refusal> {
    let account = find(change.connection(), caller, reference, Action::ManageAccount).await?;
    match account.state {
        State::Inactive => Ok(account),
        State::Active => {
            keep_an_admin(change, &account).await?;
            Ok(account::set_state(change, &account, State::Inactive).await?)
        }
    }
}

/// Removes an account with its keys and memberships.
pub(crate) async fn delete(change: &mut Change<'_>, caller: &Caller, reference: &AccountRef) -> Result<(), Refusal> {
    let account = find(change.connection(), caller, reference, Action::ManageAccount).await?;
    keep_an_admin(change, &account).await?;
    Ok(account::remove(change, &account).await?)
}

/// Ends an operation that nobody does to themselves, where a system that Keygate stands in for has such a rule.
pub(crate) fn not_oneself(caller: &Caller, account: AccountId) -> Result<(), Refusal> {
    match caller.standing.account() {
        Some(own) if own == account => {
            Err(Refusal::conflict("own_account", None, "nobody disables or deletes themselves; ask another admin"))
        }
        _ => Ok(()),
    }
}

/// Ends the removal of the account that `keygate init` made, where a system that Keygate stands in for has such a rule.
pub(crate) fn not_the_first(account: AccountId) -> Result<(), Refusal> {
    match account {
        FIRST => Err(Refusal::conflict("first_account", None, "the account that was made first stays; deactivate it instead")),
        _ => Ok(()),
    }
}

/// Finds an account for an operation, if the caller may do it.
pub(super) async fn find(
    connection: &mut Connection,
    caller: &Caller,
    reference: &AccountRef,
    action: fn(AccountId) -> Action,
) -> Result<Account, Refusal> {
    let missing = || Missing::account_of(reference);
    let account = account::find(connection, reference).await?.ok_or_else(missing)?;
    require(caller, action(account.id), missing)?;
    Ok(account)
}

async fn keep_an_admin(change: &mut Change<'_>, going: &Account) -> Result<(), Refusal> {
    let others = account::list(change.connection(), None).await?;
    let is_active_admin = |account: &Account| account.kind == Kind::Admin && account.state == State::Active;
    if is_active_admin(going) && !others.iter().any(|other| other.id != going.id && is_active_admin(other)) {
        let message = "this is the last active admin; create or activate another admin first";
        return Err(Refusal::conflict("last_admin", None, message));
    }
    Ok(())
}
