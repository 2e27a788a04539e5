//! What is done with memberships.

use keygate_decision::{AccountId, EnvironmentId};

use super::{Missing, Refusal, environments};
use crate::model::{Account, AccountRef, Environment, Member, Role, State};
use crate::permission::{Action, Caller, Tie};
use crate::store::{Change, Connection, account, environment, member};

/// The members of an environment, with what ties the caller to it.
pub(crate) async fn list(
    connection: &mut Connection,
    caller: &Caller,
    id: &EnvironmentId,
) -> Result<(Vec<Member>, Tie), Refusal> {
    let (environment, tie) = environments::find(connection, caller, id, Action::SeeEnvironment).await?;
    Ok((member::list(connection, &environment).await?, tie))
}

/// One member of an environment, with what ties the caller to it.
pub(crate) async fn show(
    connection: &mut Connection,
    caller: &Caller,
    id: &EnvironmentId,
    account: AccountId,
) -> Result<(Member, Tie), Refusal> {
    let (environment, tie) = environments::find(connection, caller, id, Action::SeeEnvironment).await?;
    let member = member::find(connection, &environment, account).await?;
    Ok((member.ok_or_else(|| Missing::member(account.0))?, tie))
}

/// Makes these the members of an environment, and no others. One of them must be an owner, see [`keep_an_owner`]. The environment, with
/// what ties the caller to it then.
pub(crate) async fn replace(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    wanted: &[(AccountRef, Role)],
) -> Result<(Environment, Tie), Refusal> {
    let (environment, _) = environments::find(change.connection(), caller, id, Action::ManageEnvironment).await?;
    let mut named: Vec<(Account, Role)> = Vec::new();
    for (reference, role) in wanted {
        let account = account::find(change.connection(), reference).await?.ok_or_else(|| Missing::account_of(reference));
        let account = account.map_err(|missing| Refusal::invalid("members", missing.to_string()))?;
        if named.iter().any(|(other, _)| other.id == account.id) {
            return Err(Refusal::invalid("members", format!("names {} twice; an account has one role", account.name)));
        }
        named.push((account, *role));
    }
    if !named.iter().any(|(account, role)| *role == Role::Owner && account.state == State::Active) {
        return Err(Refusal::invalid("members", "must name at least one owner whose account is active"));
    }
    let former = member::list(change.connection(), &environment).await?;
    for (account, role) in &named {
        if !former.iter().any(|former| former.account_id == account.id && former.role == *role) {
            member::put(change, &environment, account, *role).await?;
        }
    }
    for gone in former.iter().filter(|former| !named.iter().any(|(account, _)| account.id == former.account_id)) {
        if let Some(account) = account::find(change.connection(), &AccountRef::Id(gone.account_id)).await? {
            member::remove(change, &environment, &account, gone.role).await?;
        }
    }
    let tie = environment::tie(change.connection(), &caller.standing, environment.number).await?;
    Ok((environment, tie))
}

/// Makes an account a member, or gives a member another role.
pub(crate) async fn put(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    reference: &AccountRef,
    role: Role,
) -> Result<Member, Refusal> {
    let (environment, account) = find(change, caller, id, reference).await?;
    let current = member::find(change.connection(), &environment, account.id).await?;
    if current.as_ref().is_none_or(|current| current.role != role) {
        current.as_ref().map_or(Ok(()), keep_an_owner)?;
        member::put(change, &environment, &account, role).await?;
    }
    let member = member::find(change.connection(), &environment, account.id).await?;
    Ok(member.ok_or_else(|| Missing::member(&account.name))?)
}

/// Ends a membership.
pub(crate) async fn remove(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    reference: &AccountRef,
) -> Result<(), Refusal> {
    let (environment, account) = find(change, caller, id, reference).await?;
    let member = member::find(change.connection(), &environment, account.id).await?;
    let member = member.ok_or_else(|| Missing::member(&account.name))?;
    keep_an_owner(&member)?;
    Ok(member::remove(change, &environment, &account, member.role).await?)
}

/// Without an owner who can act only an admin could change the members again.
fn keep_an_owner(going: &Member) -> Result<(), Refusal> {
    if !going.is_last_owner {
        return Ok(());
    }
    let Member { account, environment, .. } = going;
    let message = format!(
        "{account} is the last owner of {environment}, no other has an account that is active; make another account an owner first"
    );
    Err(Refusal::conflict("last_owner", None, message))
}

/// An owner names accounts that they do not see otherwise: whom to let in is theirs to say.
async fn find(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    reference: &AccountRef,
) -> Result<(Environment, Account), Refusal> {
    let (environment, _) = environments::find(change.connection(), caller, id, Action::ManageEnvironment).await?;
    let account = account::find(change.connection(), reference).await?.ok_or_else(|| Missing::account_of(reference))?;
    Ok((environment, account))
}
