//! What is said to everybody, as far as clients ask it before they log in.

use axum::http::StatusCode;
use serde_json::json;

use super::error::Error;
use super::request::Asked;
use crate::api::App;
use crate::dialect::Answer;
use crate::setting::PASSWORD_MIN_LENGTH;
use crate::store::setting;

/// The release of Portainer whose ways these are; clients look at it before they use what older ones lack.
const VERSION: &str = "2.23.0";

/// GET /status and /system/status
pub(super) fn status() -> Answer {
    Answer::ok(json!({"Version": VERSION, "InstanceID": "keygate"}))
}

/// GET /settings/public
pub(super) async fn settings(app: &App) -> Result<Answer, Error> {
    let shortest = setting::value(&mut *app.store.read().await?, &PASSWORD_MIN_LENGTH).await?;
    Ok(Answer::ok(json!({
        "LogoURL": "", "AuthenticationMethod": 1, "RequiredPasswordLength": shortest, "OAuthLoginURI": "", "OAuthLogoutURI": "",
        "EnableTelemetry": false, "EnableEdgeComputeFeatures": false, "TeamSync": false, "Features": {}, "KubeconfigExpiry": "0",
    })))
}

/// GET /users/admin/check: there is an administrator, for without one nothing is served.
pub(super) fn admin_check() -> Answer {
    Answer::empty(StatusCode::NO_CONTENT)
}

/// POST /users/admin/init: it makes nobody an administrator. The first one was made with `keygate init`, by whoever may read the data,
/// whether or not they have a password yet.
pub(super) fn admin_init(asked: &Asked<'_>) -> Error {
    let checked = asked.payload().and_then(|payload| {
        let name = payload.text("username")?;
        if name.is_empty() || name.contains(' ') {
            return Err(Error::invalid_payload("Invalid username. Must not contain any whitespace"));
        }
        match payload.text("password")? {
            "" => Err(Error::invalid_payload("Invalid password")),
            _ => Ok(()),
        }
    });
    checked.err().unwrap_or_else(Error::admin_exists)
}
