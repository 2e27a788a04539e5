//! `settings`: those of ours, among which Rancher 2's have its names. For admins, but for what a client needs before it has a credential.

use axum::http::Method;
use serde_json::{Value, json};

use super::collection;
use super::error::Error;
use super::render;
use super::request::{Asked, Kind};
use super::resource::{self, Verb};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::writable;
use crate::model::{SettingSource, SettingValue};
use crate::operations::settings;
use crate::permission::Caller;

/// What Rancher 2 shows without a credential. We have some of it.
const OPEN: [&str; 5] = ["cacerts", "first-login", "ui-pl", "ui-banners", "ui-issues"];

/// The name of the setting that is asked for, if it is shown without a credential.
pub(super) fn open(asked: &Asked) -> Option<&str> {
    let name = asked.id.as_deref().filter(|_| asked.kind == Some(Kind::Setting) && asked.method == Method::GET)?;
    OPEN.contains(&name).then_some(name)
}

/// Shows it.
pub(super) async fn show_open(app: &App, asked: &Asked, name: &str) -> Result<Answer, Error> {
    asked.check()?;
    Ok(Answer::ok(view(asked, &settings::show_open(&mut *app.store.read().await?, name).await?)))
}

/// Everything else about settings.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let resource = resource::of(Kind::Setting);
    let operation = resource.operation(asked)?;
    match (operation.verb, &asked.id) {
        (Verb::List, _) => {
            let settings = settings::list(&mut *app.store.read().await?, caller).await?;
            collection::answer(asked, Kind::Setting, settings.iter().map(|setting| view(asked, setting)).collect())
        }
        (Verb::Show, Some(name)) => {
            let setting = settings::show(&mut *app.store.read().await?, caller, name).await?;
            Ok(Answer::ok(view(asked, &setting)))
        }
        (Verb::Update, Some(name)) => {
            let given = asked.fields("InvalidBodyContent")?;
            let written = writable(resource.fields, &given, false, false).map_err(|refusal| Error::from(refusal).unreadable())?;
            // The certificates are the operator's to say; what Rancher takes from a file nobody writes by its API.
            if name == crate::setting::CA_CERTS.name {
                return Err(Error::method_not_allowed(&["GET"]));
            }
            let missing = || Error::invalid("MissingRequired", "value", "is missing; an empty one gives the default back");
            let value = written.get("value").and_then(Value::as_str).ok_or_else(missing)?.to_owned();
            let name = name.clone();
            let put = app.change(caller.clone(), async move |change, caller| match value.as_str() {
                "" => settings::unset(change, caller, &name).await,
                _ => settings::set(change, caller, &name, value).await,
            });
            let put = put.await.map_err(|refusal| Error::from(refusal).unreadable())?;
            Ok(Answer::ok(view(asked, &put.value)))
        }
        _ => Err(Error::not_found()),
    }
}

fn view(asked: &Asked, setting: &SettingValue) -> Value {
    let name = setting.known.name;
    let source = setting.source();
    let fields = json!({
        "name": name, "value": setting.value(), "default": setting.known.default, "customized": source != SettingSource::Default,
        "source": match source {
            SettingSource::Default => "default",
            SettingSource::Set => "db",
            SettingSource::Environment => "env",
        },
        "description": setting.known.about,
    });
    render::resource(&asked.base, Kind::Setting, name, None, fields)
}
