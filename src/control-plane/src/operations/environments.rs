//! What is done with environments.

use keygate_decision::EnvironmentId;

use super::{Missing, Refusal, require};
use crate::model::{Environment, parse_shared_id};
use crate::name::{Label, Name};
use crate::permission::{Action, Caller, Tie};
use crate::setting::{ENVIRONMENT, ENVIRONMENT_URL};
use crate::store::{Change, Connection, StoreError, environment, key, setting};

/// Makes an environment. Only admins do, because the id is what requests carry.
pub(crate) async fn create(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    name: &Name,
) -> Result<(Environment, Tie), Refusal> {
    require(caller, Action::CreateEnvironment, || Missing::environment(id))?;
    if parse_shared_id(id.as_str()).is_some() {
        let message = "an id of 1a and a number of a million or more stands for an account; choose another id";
        return Err(Refusal::conflict("id_reserved", Some("id"), message));
    }
    if environment::is_taken(change.connection(), id).await? {
        let message = format!("an environment {id} exists already (case does not matter); choose another id");
        return Err(Refusal::conflict("id_taken", Some("id"), message));
    }
    Ok((environment::create(change, id, name).await?, Tie::None))
}

/// The environments that the caller sees.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller) -> Result<Vec<(Environment, Tie)>, Refusal> {
    Ok(environment::list(connection, &caller.standing).await?)
}

/// Finds an environment.
pub(crate) async fn show(
    connection: &mut Connection,
    caller: &Caller,
    id: &EnvironmentId,
) -> Result<(Environment, Tie), Refusal> {
    find(connection, caller, id, Action::SeeEnvironment).await
}

/// The environment whose active key has this access key. Whether somebody may enter it is another question.
pub(crate) async fn of_access_key(connection: &mut Connection, access: &Label) -> Result<Option<EnvironmentId>, StoreError> {
    key::environment_of(connection, access).await
}

/// Where an environment is reached, if somebody has said so.
pub(crate) async fn url(connection: &mut Connection, id: &EnvironmentId) -> Result<Option<String>, StoreError> {
    let template = setting::value(connection, &ENVIRONMENT_URL).await?;
    Ok(template.map(|template| template.replace(ENVIRONMENT, id.as_str())))
}

/// Gives an environment another name; its id never changes.
pub(crate) async fn edit(
    change: &mut Change<'_>,
    caller: &Caller,
    id: &EnvironmentId,
    name: &Name,
) -> Result<(Environment, Tie), Refusal> {
    let (environment, tie) = find(change.connection(), caller, id, Action::ManageEnvironment).await?;
    Ok((environment::rename(change, &environment, name).await?, tie))
}

/// Removes an environment with its keys and memberships.
pub(crate) async fn delete(change: &mut Change<'_>, caller: &Caller, id: &EnvironmentId) -> Result<(), Refusal> {
    let (environment, _) = find(change.connection(), caller, id, Action::ManageEnvironment).await?;
    Ok(environment::remove(change, &environment).await?)
}

/// Finds an environment for an operation, if the caller may do it, with what ties the caller to it.
pub(super) async fn find(
    connection: &mut Connection,
    caller: &Caller,
    id: &EnvironmentId,
    action: fn(Tie) -> Action,
) -> Result<(Environment, Tie), Refusal> {
    let missing = || Missing::environment(id);
    let environment = environment::find(connection, id).await?.ok_or_else(missing)?;
    let tie = environment::tie(connection, &caller.standing, environment.number).await?;
    require(caller, action(tie), missing)?;
    Ok((environment, tie))
}
