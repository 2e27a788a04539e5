//! `/environments`.

use axum::extract::State;
use axum::response::Response;
use keygate_decision::EnvironmentId;
use serde_json::{Value, json};

use super::input::{Body, Path, text};
use super::{App, Error, reply};
use crate::clock::rfc3339;
use crate::model::{Environment, Role, State as Lifecycle};
use crate::name::Name;
use crate::operations::{Missing, environments};
use crate::permission::{Caller, Tie};

/// POST /environments
pub(super) async fn create(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Error> {
    let (id, name) = body
        .read(|fields| Ok((fields.required("id", text(EnvironmentId::parse))?, fields.required("name", text(Name::parse))?)))?;
    let written = app.change(caller, async move |change, caller| environments::create(change, caller, &id, &name).await).await?;
    Ok(reply::created(&written, view))
}

/// GET /environments
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    let environments = environments::list(&mut *app.store.read().await?, &caller).await?;
    Ok(reply::list(&environments, view))
}

/// GET /environments/{environment}
pub(super) async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, Error> {
    let environment = environments::show(&mut *app.store.read().await?, &caller, &reference(&id)?).await?;
    Ok(reply::one(view(&environment)))
}

/// PATCH /environments/{environment}
pub(super) async fn edit(State(app): State<App>, caller: Caller, Path(id): Path<String>, body: Body) -> Result<Response, Error> {
    let id = reference(&id)?;
    let name = body.read(|fields| fields.required("name", text(Name::parse)))?;
    let written = app.change(caller, async move |change, caller| environments::edit(change, caller, &id, &name).await).await?;
    Ok(reply::changed(&written, view))
}

/// DELETE /environments/{environment}
pub(super) async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, Error> {
    let id = reference(&id)?;
    let written = app.change(caller, async move |change, caller| environments::delete(change, caller, &id).await).await?;
    Ok(reply::gone(&written))
}

/// What is no id names no environment.
pub(super) fn reference(segment: &str) -> Result<EnvironmentId, Missing> {
    EnvironmentId::parse(segment).map_err(|_| Missing::environment("of such an id"))
}

fn view((environment, tie): &(Environment, Tie)) -> Value {
    json!({
        "id": environment.id.as_str(),
        "name": environment.name.as_str(),
        "state": Lifecycle::Active.as_str(),
        "created": rfc3339(environment.created),
        "role": tie.role().map(Role::as_str),
    })
}
