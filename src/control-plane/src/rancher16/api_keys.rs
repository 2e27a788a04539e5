//! `apiKeys`: account keys, and environment keys below a project. The secret leaves in one place, the answer to a creation.

use axum::http::{Method, StatusCode};
use keygate_decision::{EnvironmentId, KeyId};
use serde_json::{Map, Value, json};

use super::collection::{self, Gathered};
use super::error::Error;
use super::render::{self, on_its_way, over};
use super::request::{Asked, Kind};
use super::{accounts, projects, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::text;
use crate::model::{AccountRef, Key, KeyHolder, State, key_id, parse_shared_id, shared_id};
use crate::name::{Description, Label, Name};
use crate::operations::keys::{self, HolderRef, Wish};
use crate::permission::Caller;
use crate::random;
use crate::supplied::{self, SuppliedSecret};

/// Everything about keys.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let Some(id) = &asked.id else {
        return match asked.method {
            Method::GET => list(app, caller, asked).await,
            Method::POST if asked.action.is_none() => create(app, caller, asked).await,
            Method::POST => Err(Error::no_such_action()),
            _ => Err(Error::method_not_allowed("keys are listed with GET and made with POST")),
        };
    };
    let id = id.strip_prefix("1c").and_then(key_id).ok_or_else(Error::not_found)?;
    let key = find(app, caller, asked, id).await?;
    match (&asked.method, asked.link.as_deref(), asked.action.as_deref()) {
        (&Method::GET, None, _) => Ok(Answer::ok(view(asked, &key, None))),
        (&Method::GET, Some("account"), _) => holder(app, caller, asked, &key).await,
        (&Method::PUT, None, _) => edit(app, caller, asked, &key).await,
        (&Method::POST, None, Some(action)) => act(app, caller, asked, key, action).await,
        (&Method::DELETE, None, _) => delete(app, caller, asked, key).await,
        (_, Some(_), _) => Err(Error::not_found()),
        _ => Err(Error::method_not_allowed("a key takes GET, PUT, DELETE, and POST with ?action=")),
    }
}

/// A key, if it is there where it is asked for: one of an environment is not there in another one.
async fn find(app: &App, caller: &Caller, asked: &Asked, id: KeyId) -> Result<Key, Error> {
    let key = keys::show_removed(&mut *app.store.read().await?, caller, id).await?;
    let is_here = |environment| matches!(&key.holder, KeyHolder::Environment { id, .. } if *id == environment);
    if asked.environment()?.is_none_or(is_here) { Ok(key) } else { Err(Error::not_found()) }
}

/// Whose keys a request is about: those of its environment, else the caller's own; all for an admin.
fn place(caller: &Caller, environment: Option<EnvironmentId>) -> Option<HolderRef> {
    match environment {
        Some(environment) => Some(HolderRef::Environment(environment)),
        None if caller.standing.sees_all() => None,
        None => Some(HolderRef::of(caller)),
    }
}

async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let place = place(caller, asked.environment()?);
    if let Some(page) = collection::plain_page(asked, Kind::ApiKey)? {
        let (keys, total) = keys::page(&mut *app.store.read().await?, caller, place, page.start, page.most).await?;
        let things = keys.iter().map(|key| view(asked, key, None)).collect();
        return Ok(collection::one_page(asked, Kind::ApiKey, &page, things, total));
    }
    let mut gathered = Gathered::new(asked, Kind::ApiKey)?;
    let mut reader = app.store.read_long().await?;
    keys::each(&mut reader, caller, place.clone(), |key| gathered.take(view(asked, &key, None))).await?;
    let removed_wanted = ["_removed", "removed_notnull"].iter().any(|name| asked.parameter(name).is_some());
    if removed_wanted || asked.parameter("state").is_some_and(|state| state.eq_ignore_ascii_case("removed")) {
        keys::each_removed(&mut reader, caller, place, |key| gathered.take(view(asked, &key, None))).await?;
    }
    drop(reader);
    Ok(gathered.answer())
}

async fn create(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let written = resource::of(Kind::ApiKey).writable(&asked.fields, true, caller.standing.sees_all())?;
    // An empty holder is not none: it is nobody.
    let holder = match (asked.environment()?, written.get("accountId").and_then(Value::as_str)) {
        (Some(environment), _) => HolderRef::Environment(environment),
        (None, Some(holder)) => named_holder(holder)?,
        (None, None) => HolderRef::of(caller),
    };
    let invalid = |field| move |why: String| Error::invalid("InvalidFormat", field, why);
    let access = text(&written, "publicValue").map(supplied::access_key).transpose().map_err(invalid("publicValue"))?;
    let secret = text(&written, "secretValue").map(SuppliedSecret::parse).transpose().map_err(invalid("secretValue"))?;
    let drawn = random::key_pair()?;
    let is_drawn = access.is_none() && secret.is_none();
    let access = access.unwrap_or_else(|| Label::from(&drawn.access));
    let wish =
        Wish { holder, name: name(&written, access.as_str())?, description: description(&written)?.flatten(), lifetime: None };
    let secret = match secret {
        Some(secret) => secret,
        None => SuppliedSecret::from(&drawn.secret),
    };
    let stored = secret.clone();
    let made = app.change(caller.clone(), async move |change, caller| match is_drawn {
        true => keys::create(change, caller, wish, &drawn).await,
        false => keys::create_supplied(change, caller, wish, access, &stored).await,
    });
    let shown = on_its_way(view(asked, &made.await?.value, Some(secret.expose())), "registering");
    Ok(Answer::new(StatusCode::CREATED, shown))
}

/// An account, or an environment by its own id.
fn named_holder(text: &str) -> Result<HolderRef, Error> {
    if let Some(account) = parse_shared_id(text) {
        return Ok(HolderRef::Account(AccountRef::Id(account)));
    }
    let invalid = || Error::invalid("InvalidReference", "accountId", "must be the id of an account or of a project");
    EnvironmentId::parse(text).map(HolderRef::Environment).map_err(|_| invalid())
}

async fn edit(app: &App, caller: &Caller, asked: &Asked, key: &Key) -> Result<Answer, Error> {
    if key.removed.is_some() {
        return Err(Error::method_not_allowed("a removed key is not edited"));
    }
    let mut written = resource::of(Kind::ApiKey).writable(&asked.fields, false, false)?;
    // Clients send whole resources back: what is as it was may be what nobody could write any more.
    let former = [("name", Some(key.name.as_str())), ("description", key.description.as_ref().map(Description::as_str))];
    for (field, stored) in former {
        if stored.is_some() && written.get(field).and_then(Value::as_str) == stored {
            written.remove(field);
        }
    }
    let name = if written.contains_key("name") { Some(name(&written, key.form.label().as_str())?) } else { None };
    let description = description(&written)?;
    let id = key.id;
    let edited = app.change(caller.clone(), async move |change, caller| keys::edit(change, caller, id, name, description).await);
    let edited = edited.await?.value;
    let state = format!("updating-{}", edited.state.as_str());
    Ok(Answer::ok(on_its_way(view(asked, &edited, None), &state)))
}

/// What an action makes of a key: its states are the model's, and what lies between two of them is only shown.
async fn act(app: &App, caller: &Caller, asked: &Asked, key: Key, action: &str) -> Result<Answer, Error> {
    let id = key.id;
    if !resource::of(Kind::ApiKey).has_action(action) {
        return Err(Error::no_such_action());
    }
    if !actions(&key).contains(&action) {
        return Err(Error::action_not_available());
    }
    let (key, passing) = match action {
        "activate" => {
            let done = app.change(caller.clone(), async move |change, caller| keys::activate(change, caller, id).await);
            (done.await?.value, "activating")
        }
        "deactivate" => {
            let done = app.change(caller.clone(), async move |change, caller| keys::deactivate(change, caller, id).await);
            (done.await?.value, "deactivating")
        }
        "purge" => {
            app.change(caller.clone(), async move |change, caller| keys::purge(change, caller, id).await).await?;
            (key, "purging")
        }
        _ => (remove(app, caller, key).await?, "removing"),
    };
    Ok(Answer::new(StatusCode::ACCEPTED, over(on_its_way(view(asked, &key, None), passing))))
}

async fn delete(app: &App, caller: &Caller, asked: &Asked, key: Key) -> Result<Answer, Error> {
    if key.removed.is_some() {
        return Err(Error::not_found());
    }
    if key.state == State::Active {
        return Err(Error::method_not_allowed("an active key is not deleted; deactivate it first"));
    }
    let key = remove(app, caller, key).await?;
    Ok(Answer::ok(over(on_its_way(view(asked, &key, None), "removing"))))
}

async fn remove(app: &App, caller: &Caller, key: Key) -> Result<Key, Error> {
    let id: KeyId = key.id;
    app.change(caller.clone(), async move |change, caller| keys::delete(change, caller, id).await).await?;
    Ok(Key { removed: Some(app.store.clock().now()), ..key })
}

async fn holder(app: &App, caller: &Caller, asked: &Asked, key: &Key) -> Result<Answer, Error> {
    match &key.holder {
        KeyHolder::Account { id, .. } => accounts::show(app, caller, asked, AccountRef::Id(*id)).await,
        KeyHolder::Environment { id, .. } => projects::show(app, caller, asked, id).await,
    }
}

/// The actions that the state of a key allows.
fn actions(key: &Key) -> &'static [&'static str] {
    match (key.removed, key.state) {
        (Some(_), _) => &["purge"],
        (None, State::Active) => &["deactivate"],
        (None, State::Inactive) => &["activate", "remove"],
    }
}

/// A key; with its secret in the answer that makes it.
fn view(asked: &Asked, key: &Key, secret: Option<&str>) -> Value {
    let id = format!("1c{}", key.id.0);
    let (created, created_ts) = render::time(key.created);
    let (removed, _) = key.removed.map(render::time).unzip();
    let (base, account) = match &key.holder {
        KeyHolder::Account { id, .. } => (asked.base.unscoped(), shared_id(*id)),
        KeyHolder::Environment { id, .. } => (asked.base.unscoped().scoped(id.as_str()), id.to_string()),
    };
    // A key without a name is called by its access key.
    let name = Some(key.name.as_str()).filter(|name| *name != key.form.label().as_str());
    let state = if key.removed.is_some() { "removed" } else { key.state.as_str() };
    let fields = json!({
        "accountId": account, "name": name, "description": key.description.as_ref().map(Description::as_str),
        "kind": "apiKey", "state": state, "created": created, "createdTS": created_ts, "removed": removed,
        "removeTime": removed, "publicValue": key.form.label().as_str(), "secretValue": secret,
    });
    let mut shown = render::resource(&base, Kind::ApiKey, &id, fields, &["account"], actions(key));
    // Where the environment of the key is, with links to all that is in it.
    if let (KeyHolder::Environment { id, .. }, Some(links)) = (&key.holder, shown.get_mut("links").and_then(Value::as_object_mut))
    {
        links.insert("project".to_owned(), asked.base.unscoped().url(&["projects", id.as_str()]).into());
    }
    shown
}

fn name(written: &Map<String, Value>, access: &str) -> Result<Name, Error> {
    Name::parse(text(written, "name").unwrap_or(access)).map_err(|why| Error::invalid("InvalidFormat", "name", why))
}

/// Absent; none; or a text.
fn description(written: &Map<String, Value>) -> Result<Option<Option<Description>>, Error> {
    let Some(value) = written.get("description") else { return Ok(None) };
    let parsed = Description::parse(value.as_str().unwrap_or_default());
    parsed.map(Some).map_err(|why| Error::invalid("InvalidFormat", "description", why))
}
