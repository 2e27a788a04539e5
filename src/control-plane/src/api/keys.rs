//! `/keys`. A plain secret is drawn in [`create`], shown in its reply, and exists nowhere else.

use axum::extract::State;
use axum::response::Response;
use keygate_decision::key::KeyPair;
use keygate_decision::{Access, EnvironmentId, Grant, Holder, KeyId, Reach};
use serde_json::{Value, json};

use super::input::{Body, Fields, Parameters, Path, number, text};
use super::{App, Error, reply};
use crate::class::Class;
use crate::clock::rfc3339;
use crate::model::{AccountRef, Key, KeyHolder, key_id};
use crate::name::{Description, Lifetime, Name};
use crate::operations::keys::HolderRef;
use crate::operations::{Missing, Refusal, environments, keys};
use crate::permission::Caller;
use crate::random;
use crate::store::{Change, Connection, StoreError};

/// POST /keys
pub(super) async fn create(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Error> {
    let wish = body.read(|fields| {
        Ok(keys::Wish {
            holder: holder(fields)?.ok_or_else(|| Error::invalid_field("account", "give an account or an environment"))?,
            name: fields.required("name", text(Name::parse))?,
            description: fields.optional("description", text(Description::parse))?.flatten(),
            lifetime: fields.optional("ttlSeconds", number(Lifetime::from_seconds))?,
        })
    })?;
    let pair = random::key_pair().map_err(Refusal::from)?;
    let stored = pair.clone();
    // All that is shown is read in the change: were anything to fail behind it, there would be a key whose secret nobody has.
    let create = async move |change: &mut Change<'_>, caller: &Caller| {
        let key = keys::create(change, caller, wish, &stored).await?;
        let endpoint = endpoint(change.connection(), &key).await?;
        Ok((key, endpoint))
    };
    let written = app.change(caller, create).await?;
    Ok(reply::created(&written, |(key, endpoint)| with_endpoint(created_key(key, &pair), key, endpoint.clone())))
}

/// GET /keys
pub(super) async fn list(State(app): State<App>, caller: Caller, parameters: Parameters) -> Result<Response, Error> {
    let (holder, never_expires) = parameters.read(|fields| {
        let never_expires =
            fields.optional("neverExpires", text(|word| word.parse::<bool>().map_err(|_| "must be true or false")))?;
        Ok((holder(fields)?, never_expires == Some(true)))
    })?;
    let mut keys = keys::list(&mut *app.store.read_long().await?, &caller, holder).await?;
    keys.retain(|key| !never_expires || key.expires.is_none());
    Ok(reply::list(&keys, view))
}

/// GET /keys/{key}
pub(super) async fn show(State(app): State<App>, caller: Caller, Path(key): Path<String>) -> Result<Response, Error> {
    let mut connection = app.store.read().await?;
    let key = keys::show(&mut connection, &caller, reference(&key)?).await?;
    let endpoint = endpoint(&mut connection, &key).await?;
    Ok(reply::one(with_endpoint(view(&key), &key, endpoint)))
}

/// GET /keys/{key}/grant
pub(super) async fn grant(State(app): State<App>, caller: Caller, Path(key): Path<String>) -> Result<Response, Error> {
    let (grant, environments) = keys::grant(&mut *app.store.read().await?, &caller, reference(&key)?).await?;
    Ok(reply::one(grant_view(&grant, &environments)))
}

/// PATCH /keys/{key}
pub(super) async fn edit(State(app): State<App>, caller: Caller, Path(key): Path<String>, body: Body) -> Result<Response, Error> {
    let key = reference(&key)?;
    let (name, description) = body.read(|fields| {
        let name = fields.replaced("name", text(Name::parse))?;
        let description = fields.edited("description", text(Description::parse))?;
        Ok((name, description.map(Option::flatten)))
    })?;
    let written =
        app.change(caller, async move |change, caller| keys::edit(change, caller, key, name, description).await).await?;
    Ok(reply::changed(&written, view))
}

/// POST /keys/{key}/activate
pub(super) async fn activate(State(app): State<App>, caller: Caller, Path(key): Path<String>) -> Result<Response, Error> {
    let key = reference(&key)?;
    let written = app.change(caller, async move |change, caller| keys::activate(change, caller, key).await).await?;
    Ok(reply::changed(&written, view))
}

/// POST /keys/{key}/deactivate
pub(super) async fn deactivate(State(app): State<App>, caller: Caller, Path(key): Path<String>) -> Result<Response, Error> {
    let key = reference(&key)?;
    let written = app.change(caller, async move |change, caller| keys::deactivate(change, caller, key).await).await?;
    Ok(reply::changed(&written, view))
}

/// DELETE /keys/{key}
pub(super) async fn delete(State(app): State<App>, caller: Caller, Path(key): Path<String>) -> Result<Response, Error> {
    let key = reference(&key)?;
    let written = app.change(caller, async move |change, caller| keys::delete(change, caller, key).await).await?;
    Ok(reply::gone(&written))
}

/// A key as its creation shows it, once: with secret and token.
pub(crate) fn created_key(key: &Key, pair: &KeyPair) -> Value {
    let mut value = view(key);
    if let Some(object) = value.as_object_mut() {
        object.insert("secretKey".to_owned(), pair.secret.expose().into());
        object.insert("token".to_owned(), pair.token().into());
    }
    value
}

/// Where the environment of a key is reached, as far as somebody has said so.
async fn endpoint(connection: &mut Connection, key: &Key) -> Result<Option<String>, StoreError> {
    match &key.holder {
        KeyHolder::Environment { id, .. } => environments::url(connection, id).await,
        KeyHolder::Account { .. } => Ok(None),
    }
}

fn with_endpoint(mut shown: Value, key: &Key, endpoint: Option<String>) -> Value {
    if let (KeyHolder::Environment { .. }, Some(object)) = (&key.holder, shown.as_object_mut()) {
        object.insert("endpoint".to_owned(), endpoint.into());
    }
    shown
}

/// At most one of `account` and `environment`.
fn holder(fields: &mut Fields) -> Result<Option<HolderRef>, Error> {
    let account = fields.optional("account", text(AccountRef::parse))?;
    let environment = fields.optional("environment", text(EnvironmentId::parse))?;
    match (account, environment) {
        (Some(_), Some(_)) => Err(Error::invalid_field("environment", "give an account or an environment, not both")),
        (Some(account), None) => Ok(Some(HolderRef::Account(account))),
        (None, Some(environment)) => Ok(Some(HolderRef::Environment(environment))),
        (None, None) => Ok(None),
    }
}

/// What is no number names no key.
fn reference(segment: &str) -> Result<KeyId, Missing> {
    key_id(segment).ok_or_else(|| Missing::key("of such an id"))
}

/// A grant as proxies have it; the account goes by its number, as they tell it to upstreams.
fn grant_view(grant: &Grant, environments: &[(EnvironmentId, Access)]) -> Value {
    let reached = environments.iter().map(|(id, access)| json!({"environment": id.as_str(), "access": access.as_str()}));
    let (field, holder, limited) = match &grant.holder {
        Holder::Environment(id) => ("environment", id.to_string(), false),
        Holder::Account { account, limited, .. } => ("account", account.0.to_string(), *limited),
    };
    let reach = match &grant.holder {
        Holder::Account { reach: Reach::All, .. } => Value::from("all"),
        _ => reached.collect(),
    };
    json!({
        "key": grant.key.0.to_string(),
        field: holder,
        "limited": limited,
        "reach": reach,
        "expires": grant.expires_at.map(rfc3339),
    })
}

fn view(key: &Key) -> Value {
    let mut value = json!({
        "id": key.id.0.to_string(),
        "purpose": key.form.purpose().as_str(),
        "class": Class::of(&key.form).map(Class::as_str),
        "accessKey": key.form.label().as_str(),
        "name": key.name.as_str(),
        "description": key.description.as_ref().map(Description::as_str),
        "state": key.state.as_str(),
        "created": rfc3339(key.created),
        "expires": key.expires.map(rfc3339),
        "lastUsed": key.last_used.map(rfc3339),
        "limitedTo": key.limit.as_ref().map(|limit| limit.id.as_str()),
    });
    let (field, holder) = match &key.holder {
        KeyHolder::Account { name, .. } => ("account", name.as_str()),
        KeyHolder::Environment { id, .. } => ("environment", id.as_str()),
    };
    if let Some(object) = value.as_object_mut() {
        object.insert(field.to_owned(), holder.into());
    }
    value
}
