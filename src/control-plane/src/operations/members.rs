//! What is done with memberships.

use keygate_decision::EnvironmentId;

use super::{Missing, Refusal, environments};
use crate::model::{Account, AccountRef, Environment, Member, Role};
use crate::permission::{Action, Caller};
use crate::store::{Change, Connection, account, member};

/// The members of an environment.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller, id: &EnvironmentId) -> Result<Vec<Member>, Refusal> {
    let (environment, _) = environments::find(connection, caller, id, Action::SeeEnvironment).await?;
    Ok(member::list(connection, &environment).await?)
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
    Ok(member::remove(change, &environment, &account, member.role).await?)
}

/// An owner names accounts that they do not see otherwise: whom to let in is theirs to say.
async fn find(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    reference: &AccountRef,
) -> Result<(Environment, Account), Refusal> {
    let (environment, _) = environments::find(change.connection(), caller, id, Action::ManageEnvironment).await?;
    let account = account::find(change.connection(), reference).await?.ok_or_else(|| match reference {
        AccountRef::Id(id) => Missing::account(id.0),
        AccountRef::Name(name) => Missing::account(name),
    })?;
    Ok((environment, account))
}
