//! `projects`: environments, and who is a member of them.

use axum::http::Method;
use keygate_decision::EnvironmentId;
use serde_json::{Value, json};

use super::error::Error;
use super::render;
use super::request::{Asked, Kind};
use super::{Answer, collection, resource};
use crate::api::App;
use crate::model::{AccountRef, Environment, Member, shared_id};
use crate::name::Name;
use crate::operations::{environments, members as memberships};
use crate::permission::Caller;
use crate::store::account;

/// Everything about projects.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let reads = matches!(asked.method, Method::GET | Method::HEAD);
    let Some(id) = &asked.id else {
        if !reads {
            return Err(Error::method_not_allowed("projects are listed with GET, and made with keygate environment create"));
        }
        let all = environments::list(&mut *app.store.read().await?, caller).await?;
        return collection::answer(asked, Kind::Project, all.iter().map(|(environment, _)| view(asked, environment)).collect());
    };
    let id = EnvironmentId::parse(id).map_err(|_| Error::not_found())?;
    let members = |link: &str| link.eq_ignore_ascii_case("projectmembers");
    match asked.link.as_deref() {
        Some(link) if reads && members(link) => list_members(app, caller, asked, &id).await,
        Some(link) if members(link) => Err(Error::method_not_allowed("members are changed with keygate member")),
        Some(_) => Err(Error::not_found()),
        None if reads => show(app, caller, asked, &id).await,
        None if asked.method == Method::PUT => edit(app, caller, asked, id).await,
        None => Err(Error::method_not_allowed("a project takes GET and PUT")),
    }
}

/// `/projectMembers` alone, of the project that the request names elsewhere.
pub(super) async fn members(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let id = asked.environment()?.ok_or_else(Error::not_found)?;
    match asked.method {
        Method::GET | Method::HEAD if asked.id.is_none() => list_members(app, caller, asked, &id).await,
        _ => Err(Error::method_not_allowed("members are listed with GET, and changed with keygate member")),
    }
}

/// One project.
pub(super) async fn show(app: &App, caller: &Caller, asked: &Asked, id: &EnvironmentId) -> Result<Answer, Error> {
    let (environment, _) = environments::show(&mut *app.store.read().await?, caller, id).await?;
    Ok(Answer::ok(view(asked, &environment)))
}

async fn edit(app: &App, caller: &Caller, asked: &Asked, id: EnvironmentId) -> Result<Answer, Error> {
    let written = resource::of(Kind::Project).writable(&asked.fields, false, false)?;
    let name = match written.get("name").and_then(Value::as_str) {
        Some(name) => Name::parse(name).map_err(|why| Error::invalid("InvalidFormat", "name", why))?,
        None => return show(app, caller, asked, &id).await,
    };
    let edited = app.change(caller.clone(), async move |change, caller| environments::edit(change, caller, &id, &name).await);
    let (environment, _) = edited.await?.value;
    Ok(Answer::ok(render::on_its_way(view(asked, &environment), "updating-active")))
}

async fn list_members(app: &App, caller: &Caller, asked: &Asked, id: &EnvironmentId) -> Result<Answer, Error> {
    let mut reader = app.store.read().await?;
    let mut things = Vec::new();
    for member in memberships::list(&mut reader, caller, id).await? {
        let found = account::find(&mut reader, &AccountRef::Name(member.account.clone())).await?;
        if let Some(account) = found {
            things.push(member_view(asked, &member, &shared_id(account.id)));
        }
    }
    collection::answer(asked, Kind::ProjectMember, things)
}

fn view(asked: &Asked, environment: &Environment) -> Value {
    let (created, created_ts) = render::time(environment.created);
    let fields = json!({
        "name": environment.name.as_str(), "description": null, "kind": "project", "state": "active", "members": null,
        "created": created, "createdTS": created_ts, "removed": null,
    });
    let base = asked.base.unscoped();
    let mut shown = render::resource(&base, Kind::Project, environment.id.as_str(), fields, &["projectMembers"], &[]);
    // The endpoint of the environment: what its keys are for.
    let scoped = base.scoped(environment.id.as_str());
    if let Some(links) = shown.get_mut("links").and_then(Value::as_object_mut) {
        links.insert("apiKeys".to_owned(), scoped.url(&["apikeys"]).into());
        links.insert("schemas".to_owned(), scoped.url(&["schemas"]).into());
    }
    shown
}

fn member_view(asked: &Asked, member: &Member, account: &str) -> Value {
    let (created, created_ts) = render::time(member.created);
    let id = format!("{}-{account}", member.environment);
    let fields = json!({
        "name": member.account.as_str(), "externalId": account, "externalIdType": "rancher_id", "role": member.role.as_str(),
        "projectId": member.environment.as_str(), "kind": "projectMember", "state": "active",
        "created": created, "createdTS": created_ts,
    });
    render::resource(&asked.base.unscoped(), Kind::ProjectMember, &id, fields, &[], &[])
}
