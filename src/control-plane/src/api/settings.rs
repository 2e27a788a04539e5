//! `/settings`.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::input::{Body, Path, text};
use super::{App, Error, reply};
use crate::model::{SettingSource, SettingValue};
use crate::operations::settings;
use crate::permission::Caller;

/// GET /settings
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    Ok(reply::list(&settings::list(&mut *app.store.read().await?, &caller).await?, view))
}

/// GET /settings/{setting}
pub(super) async fn show(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Error> {
    Ok(reply::one(view(&settings::show(&mut *app.store.read().await?, &caller, &name).await?)))
}

/// PUT /settings/{setting}
pub(super) async fn set(State(app): State<App>, caller: Caller, Path(name): Path<String>, body: Body) -> Result<Response, Error> {
    let value = body.read(|fields| fields.required("value", text(|value| Ok::<_, String>(value.to_owned()))))?;
    let written = app.change(caller, async move |change, caller| settings::set(change, caller, &name, value).await).await?;
    Ok(reply::changed(&written, view))
}

/// DELETE /settings/{setting}
pub(super) async fn unset(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Error> {
    let written = app.change(caller, async move |change, caller| settings::unset(change, caller, &name).await).await?;
    Ok(reply::changed(&written, view))
}

fn view(setting: &SettingValue) -> Value {
    let known = setting.known;
    json!({
        "name": known.name,
        "value": setting.value(),
        "default": known.default,
        "source": match setting.source() {
            SettingSource::Default => "default",
            SettingSource::Set => "set",
            SettingSource::Environment => "environment",
        },
        "about": known.about,
    })
}
