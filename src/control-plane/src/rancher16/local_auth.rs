//! `localAuthConfig`: whether people log in with passwords of ours. For admins alone: others do not see that it is there. Switching it
//! off stops logins; it never lifts the need for a credential.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::error::Error;
use super::request::{Asked, Kind};
use super::{collection, render, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::login::{Password, Source};
use crate::model::AccessMode;
use crate::name::AccountName;
use crate::operations::{Refusal, passwords, settings};
use crate::permission::Caller;
use crate::setting::{ACCESS_MODE, LOGIN_ENABLED};
use crate::store::setting;

/// Everything about it.
pub(super) async fn answer(app: &App, caller: &Caller, source: Source, asked: &Asked) -> Result<Answer, Error> {
    // Whoever may not see settings does not learn that it is there.
    let current = current(app, caller, asked).await?;
    if asked.id.is_some() {
        return Err(Error::not_found());
    }
    match asked.method {
        Method::GET => collection::answer(asked, Kind::LocalAuthConfig, vec![current]),
        Method::POST => save(app, caller, source, asked).await,
        _ => Err(Error::method_not_allowed("GET shows it, POST saves it")),
    }
}

async fn current(app: &App, caller: &Caller, asked: &Asked) -> Result<Value, Error> {
    let mut reader = app.store.read().await?;
    settings::list(&mut reader, caller).await.map_err(Error::hiding)?;
    let mode = setting::value(&mut reader, &ACCESS_MODE).await?;
    let enabled = setting::value(&mut reader, &LOGIN_ENABLED).await?;
    Ok(view(asked, mode, enabled, Value::Null))
}

/// Saves it, if the admin who is named has this password; one who has none yet gets it.
async fn save(app: &App, caller: &Caller, source: Source, asked: &Asked) -> Result<Answer, Error> {
    let given = resource::of(Kind::LocalAuthConfig).writable(&asked.fields, true, true)?;
    let text = |field: &str| given.get(field).and_then(Value::as_str);
    let mode = text("accessMode").map_or(Ok(AccessMode::Unrestricted), AccessMode::parse);
    let mode = mode.map_err(|why| Error::invalid("InvalidOption", "accessMode", why))?;
    // Absent and null switch it off, as they always did.
    let enabled = given.get("enabled").and_then(Value::as_bool).unwrap_or(false);
    let username = text("username").ok_or_else(|| Error::invalid("MissingRequired", "username", "is missing"))?;
    let password = text("password").ok_or_else(|| Error::invalid("MissingRequired", "password", "is missing"))?;
    // Before anybody gets a password by it: of a request that is refused nothing is done.
    settings::may_switch_logins(caller, enabled)?;
    prove(app, caller, source, username, password).await?;
    let written = app.change(caller.clone(), async move |change, caller| {
        settings::set(change, caller, ACCESS_MODE.name, mode.as_str().to_owned()).await?;
        settings::set(change, caller, LOGIN_ENABLED.name, enabled.to_string()).await
    });
    written.await?;
    Ok(Answer::new(StatusCode::CREATED, view(asked, mode, enabled, username.into())))
}

async fn prove(app: &App, caller: &Caller, source: Source, username: &str, given: &str) -> Result<(), Error> {
    // What cannot be a name or a password is nobody's.
    let wrong = |_| Error::incorrect_password();
    let (name, password) = (AccountName::parse(username).map_err(wrong)?, Password::parse(given).map_err(wrong)?);
    match passwords::prove_admin(&app.store, &app.gate, caller, source, name, password).await {
        Err(Refusal::WrongPassword) => Err(Error::incorrect_password()),
        other => Ok(other?),
    }
}

fn view(asked: &Asked, mode: AccessMode, enabled: bool, username: Value) -> Value {
    let fields = json!({
        "name": null, "accessMode": mode.as_str(), "enabled": enabled, "username": username, "password": null,
    });
    let mut shown = render::resource(&asked.base.unscoped(), Kind::LocalAuthConfig, "localauthconfig", fields, &[], &[]);
    if let Some(object) = shown.as_object_mut() {
        object.insert("id".to_owned(), Value::Null);
        object.insert("links".to_owned(), json!({"self": asked.base.unscoped().url(&["localauthconfig"])}));
    }
    shown
}
