//! `projects`: environments.

use axum::http::{Method, StatusCode};
use keygate_decision::EnvironmentId;
use serde_json::{Value, json};

use super::error::Error;
use super::render::{self, on_its_way, over};
use super::request::{Asked, Kind};
use super::{collection, members, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::text;
use crate::model::Environment;
use crate::name::Name;
use crate::operations::{environments, may, members as memberships};
use crate::permission::{Action, Caller, Tie};

/// Everything about projects.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let Some(id) = &asked.id else {
        return match asked.method {
            Method::GET => collection::answer(asked, Kind::Project, all(app, caller, asked).await?),
            Method::POST if asked.action.is_none() => create(app, caller, asked).await,
            Method::POST => Err(Error::no_such_action()),
            _ => Err(Error::method_not_allowed("projects are listed with GET and made with POST")),
        };
    };
    let id = EnvironmentId::parse(id).map_err(|_| Error::not_found())?;
    match (&asked.method, asked.action.as_deref()) {
        (&Method::GET, _) => show(app, caller, asked, &id).await,
        (&Method::PUT, _) => edit(app, caller, asked, id).await,
        (&Method::DELETE, _) => Ok(Answer::ok(remove(app, caller, asked, id).await?)),
        (&Method::POST, Some(action)) => act(app, caller, asked, id, action).await,
        _ => Err(Error::method_not_allowed("a project takes GET, PUT, DELETE, and POST with ?action=")),
    }
}

/// The projects that the caller sees, as they are shown.
pub(super) async fn all(app: &App, caller: &Caller, asked: &Asked) -> Result<Vec<Value>, Error> {
    let all = environments::list(&mut *app.store.read().await?, caller).await?;
    Ok(all.iter().map(|found| view(caller, asked, found)).collect())
}

/// One project.
pub(super) async fn show(app: &App, caller: &Caller, asked: &Asked, id: &EnvironmentId) -> Result<Answer, Error> {
    let found = environments::show(&mut *app.store.read().await?, caller, id).await?;
    Ok(Answer::ok(view(caller, asked, &found)))
}

/// Its id is given, not drawn: it is what requests to the upstream carry.
async fn create(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    if !may(caller, Action::CreateEnvironment) {
        return Err(Error::not_granted("only an admin makes projects"));
    }
    let given = resource::of(Kind::Project).writable(&asked.fields, true, true)?;
    let missing = || Error::invalid("MissingRequired", "id", "is missing: the id that the upstream knows it by");
    let id = text(&given, "id").ok_or_else(missing)?;
    let id = EnvironmentId::parse(id).map_err(|why| Error::invalid("InvalidFormat", "id", why.to_string()))?;
    let name =
        Name::parse(text(&given, "name").unwrap_or(id.as_str())).map_err(|why| Error::invalid("InvalidFormat", "name", why))?;
    let members = given.get("members").filter(|members| !members.is_null());
    let members = members.map(|members| members::parse_all(Some(members))).transpose()?;
    let made = app.change(caller.clone(), async move |change, caller| {
        let made = environments::create(change, caller, &id, &name).await?;
        match members {
            Some(members) => memberships::replace(change, caller, &id, &members).await,
            None => Ok(made),
        }
    });
    Ok(Answer::new(StatusCode::CREATED, over(on_its_way(view(caller, asked, &made.await?.value), "registering"))))
}

async fn act(app: &App, caller: &Caller, asked: &Asked, id: EnvironmentId, action: &str) -> Result<Answer, Error> {
    environments::show(&mut *app.store.read().await?, caller, &id).await?;
    let given = resource::of(Kind::Project).input(action, &asked.fields);
    if action == "remove" {
        return Ok(Answer::new(StatusCode::ACCEPTED, remove(app, caller, asked, id).await?));
    }
    let members = members::parse_all(given?.get("members"))?;
    let set = app.change(caller.clone(), async move |change, caller| memberships::replace(change, caller, &id, &members).await);
    Ok(Answer::new(StatusCode::ACCEPTED, view(caller, asked, &set.await?.value)))
}

async fn remove(app: &App, caller: &Caller, asked: &Asked, id: EnvironmentId) -> Result<Value, Error> {
    let found = environments::show(&mut *app.store.read().await?, caller, &id).await?;
    app.change(caller.clone(), async move |change, caller| environments::delete(change, caller, &id).await).await?;
    Ok(over(on_its_way(view(caller, asked, &found), "removing")))
}

async fn edit(app: &App, caller: &Caller, asked: &Asked, id: EnvironmentId) -> Result<Answer, Error> {
    let written = resource::of(Kind::Project).writable(&asked.fields, false, false)?;
    let name = match written.get("name").and_then(Value::as_str) {
        Some(name) => match Name::parse(name) {
            Ok(name) => name,
            // Clients send whole resources back: what is as it was may be what nobody could write any more.
            Err(_) if environments::show(&mut *app.store.read().await?, caller, &id).await?.0.name.as_str() == name => {
                return show(app, caller, asked, &id).await;
            }
            Err(why) => return Err(Error::invalid("InvalidFormat", "name", why)),
        },
        None => return show(app, caller, asked, &id).await,
    };
    let edited = app.change(caller.clone(), async move |change, caller| environments::edit(change, caller, &id, &name).await);
    Ok(Answer::ok(on_its_way(view(caller, asked, &edited.await?.value), "updating-active")))
}

/// A project as it is shown. Its actions and its keys are on offer to those who may do more than look.
pub(super) fn view(caller: &Caller, asked: &Asked, (environment, tie): &(Environment, Tie)) -> Value {
    let (created, created_ts) = render::time(environment.created);
    let fields = json!({
        "name": environment.name.as_str(), "description": null, "kind": "project", "state": "active", "members": null,
        "created": created, "createdTS": created_ts, "removed": null,
    });
    let base = asked.base.unscoped();
    let manages = may(caller, Action::ManageEnvironment(*tie));
    let actions: &[&str] = if manages { &["setmembers", "remove"] } else { &[] };
    let mut shown = render::resource(&base, Kind::Project, environment.id.as_str(), fields, &["projectMembers"], actions);
    // The endpoint of the environment: what its keys are for.
    let scoped = base.scoped(environment.id.as_str());
    if let Some(links) = shown.get_mut("links").and_then(Value::as_object_mut) {
        if manages {
            links.insert("apiKeys".to_owned(), scoped.url(&["apikeys"]).into());
        }
        links.insert("schemas".to_owned(), scoped.url(&["schemas"]).into());
    }
    shown
}
