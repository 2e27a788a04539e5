//! What is done with memberships.

use keygate_decision::{AccountId, EnvironmentId};

use super::{Missing, Refusal, environments};
use crate::model::{Account, AccountRef, Environment, Member, Role};
use crate::permission::{Action, Caller, Tie};
use crate::store::{Change, Connection, account, member};

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

/// Makes these the members of an environment, and no others. One of them must be an owner, see [`keep_an_owner`].
pub(crate) async fn replace(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    wanted: &[(AccountRef, Role)],
) -> Result<Vec<Member>, Refusal> {
    let (environment, _) = environments::find(change.connection(), caller, id, Action::ManageEnvironment).await?;
    if !wanted.iter().any(|(_, role)| *role == Role::Owner) {
        return Err(Refusal::invalid("members", "must name at least one owner"));
    }
    let former = member::list(change.connection(), &environment).await?;
    let mut named: Vec<AccountId> = Vec::new();
    for (reference, role) in wanted {
        let account = account::find(change.connection(), reference).await?.ok_or_else(|| Missing::account_of(reference));
        let account = account.map_err(|missing| Refusal::invalid("members", missing.to_string()))?;
        if named.contains(&account.id) {
            return Err(Refusal::invalid("members", format!("names {} twice; an account has one role", account.name)));
        }
        named.push(account.id);
        if !former.iter().any(|former| former.account_id == account.id && former.role == *role) {
            member::put(change, &environment, &account, *role).await?;
        }
    }
    for gone in former.iter().filter(|former| !named.contains(&former.account_id)) {
        if let Some(account) = account::find(change.connection(), &AccountRef::Id(gone.account_id)).await? {
            member::remove(change, &environment, &account, gone.role).await?;
        }
    }
    Ok(member::list(change.connection(), &environment).await?)
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
        if let Some(current) = &current {
            keep_an_owner(change, &environment, current).await?;
        }
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
    keep_an_owner(change, &environment, &member).await?;
    Ok(member::remove(change, &environment, &account, member.role).await?)
}

/// Without an owner only an admin could change the members again.
async fn keep_an_owner(change: &mut Change<'_>, environment: &Environment, going: &Member) -> Result<(), Refusal> {
    let is_owner = |member: &Member| member.role == Role::Owner;
    let members = member::list(change.connection(), environment).await?;
    if is_owner(going) && !members.iter().any(|other| other.account_id != going.account_id && is_owner(other)) {
        let message = format!("{} is the last owner of {}; make another account an owner first", going.account, environment.id);
        return Err(Refusal::conflict("last_owner", None, message));
    }
    Ok(())
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
