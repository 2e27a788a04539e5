//! `settings`: those of ours, by our names; how long a login lives also by Rancher's name and in its unit. For admins alone.

use axum::http::Method;
use serde_json::{Value, json};

use super::error::Error;
use super::request::{Asked, Kind};
use super::{collection, render, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::text;
use crate::model::{SettingSource, SettingValue};
use crate::operations::settings;
use crate::permission::Caller;
use crate::setting::LOGIN_TTL;

/// Rancher's name for [`LOGIN_TTL`], which it counts in milliseconds.
const TOKEN_EXPIRY: &str = "api.auth.jwt.token.expiry";
const MILLISECONDS_A_MINUTE: u64 = 60_000;
/// What the ids of settings begin with.
const PREFIX: &str = "1as!";

/// Everything about settings.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    // Whoever may not see settings does not learn that there are any.
    let all = settings::list(&mut *app.store.read().await?, caller).await.map_err(Error::hiding)?;
    if asked.link.is_some() {
        return Err(Error::not_found());
    }
    let Some(id) = &asked.id else {
        if asked.method != Method::GET {
            return Err(Error::method_not_allowed("settings are listed with GET, and one is set with PUT"));
        }
        let ours = all.iter().map(|setting| view(asked, setting, false));
        let ranchers =
            all.iter().filter(|setting| setting.known.name == LOGIN_TTL.name).map(|setting| view(asked, setting, true));
        return collection::answer(asked, Kind::Setting, ours.chain(ranchers).collect());
    };
    let name = id.strip_prefix(PREFIX).unwrap_or(id);
    let (own, ranchers) = if name == TOKEN_EXPIRY { (LOGIN_TTL.name, true) } else { (name, false) };
    let setting = settings::show(&mut *app.store.read().await?, caller, own).await?;
    match asked.method {
        Method::GET => Ok(Answer::ok(view(asked, &setting, ranchers))),
        Method::PUT => {
            let given = resource::of(Kind::Setting).writable(&asked.fields, false, true)?;
            // An empty value is none: the default holds again.
            let value = text(&given, "value");
            let value = value.map(|value| if ranchers { minutes(value) } else { Ok(value.to_owned()) }).transpose()?;
            let name = setting.known.name;
            let written = app.change(caller.clone(), async move |change, caller| match value {
                Some(value) => settings::set(change, caller, name, value).await,
                None => settings::unset(change, caller, name).await,
            });
            Ok(Answer::ok(view(asked, &written.await?.value, ranchers)))
        }
        _ => Err(Error::method_not_allowed("a setting takes GET and PUT")),
    }
}

fn minutes(milliseconds: &str) -> Result<String, Error> {
    let whole = milliseconds.parse::<u64>().ok().filter(|number| number.is_multiple_of(MILLISECONDS_A_MINUTE));
    let minutes = whole.map(|number| (number / MILLISECONDS_A_MINUTE).to_string());
    minutes.ok_or_else(|| Error::invalid("InvalidFormat", "value", "must be milliseconds of whole minutes, such as 43200000"))
}

fn view(asked: &Asked, setting: &SettingValue, ranchers: bool) -> Value {
    let name = if ranchers { TOKEN_EXPIRY } else { setting.known.name };
    let shown = |value: &str| match value.parse::<u64>() {
        Ok(minutes) if ranchers => minutes.saturating_mul(MILLISECONDS_A_MINUTE).to_string(),
        _ => value.to_owned(),
    };
    let source = match setting.source() {
        SettingSource::Environment => "Environment Variables",
        SettingSource::Set => "Database",
        SettingSource::Default => "Code Packaged Defaults",
    };
    let fields = json!({
        "name": name, "value": setting.set.as_deref().map(shown), "description": setting.known.about,
        "activeValue": shown(setting.value()),
        "source": source, "inDb": setting.set.is_some(),
    });
    render::resource(&asked.base.unscoped(), Kind::Setting, &format!("{PREFIX}{name}"), fields, &[], &[])
}
