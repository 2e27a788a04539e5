//! `/v3-public`: what needs no credential. The ways to log in, of which there is one, and logging in. A token leaves in one place, the
//! answer to a login.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::request::{Asked, Kind};
use super::resource::{self, Verb};
use super::tokens::{self as shown, Shown};
use super::{caller, collection, render, schemas};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::{text, writable};
use crate::login::{Password, Source};
use crate::operations::logins::Attempt;
use crate::operations::tokens;

/// The id of the one way to log in.
const LOCAL: &str = "local";
/// What asks for a token for kubectl; the id of a cluster may follow.
const FOR_KUBECTL: &str = "kubeconfig";

/// Everything that needs no credential.
pub(super) async fn answer(app: &App, source: Source, asked: &Asked) -> Result<Answer, Error> {
    let kind = match asked.kind {
        None if asked.id.is_none() => return schemas::root(asked),
        Some(Kind::Schema) => return schemas::answer(asked),
        Some(kind @ (Kind::AuthProvider | Kind::LocalProvider)) => kind,
        Some(_) | None => return Err(Error::not_found()),
    };
    let operation = resource::of(kind).operation(asked)?;
    if asked.id.as_deref().is_some_and(|id| id != LOCAL) {
        return Err(Error::not_found());
    }
    let local = || render::resource(&asked.base, Kind::LocalProvider, LOCAL, None, json!({}));
    match operation.verb {
        Verb::List => collection::answer(asked, kind, vec![local()]),
        Verb::Show => Ok(Answer::ok(local())),
        _ => {
            let fields = operation.input.map(|(_, fields)| fields).unwrap_or_default();
            let mut given = asked.fields("InvalidBodyContent")?;
            // A login lives as long as is set, whatever this says.
            given.remove("ttl");
            log_in(app, source, asked, &writable(fields, &given, true, false)?).await
        }
    }
}

/// How the token of a login is given.
enum Given<'g> {
    Json,
    Cookie,
    /// As one for kubectl, for one cluster or all.
    ForKubectl(Option<&'g str>),
}

impl<'g> Given<'g> {
    fn parse(text: &'g str) -> Result<Self, Error> {
        match (text, text.strip_prefix(FOR_KUBECTL)) {
            ("cookie", _) => Ok(Self::Cookie),
            (_, Some("")) => Ok(Self::ForKubectl(None)),
            (_, Some(rest)) if rest.starts_with('_') => Ok(Self::ForKubectl(rest.strip_prefix('_'))),
            // A token for kubectl lives for longer: whoever mistypes that is not given something else.
            (_, Some(_)) => {
                let known = "must be json, cookie, kubeconfig or kubeconfig_<clusterId>";
                Err(Error::invalid("InvalidOption", "responseType", known))
            }
            // As in Rancher: `json`, and whatever else it does not know.
            _ => Ok(Self::Json),
        }
    }
}

async fn log_in(app: &App, source: Source, asked: &Asked, given: &Map<String, Value>) -> Result<Answer, Error> {
    let response = Given::parse(text(given, "responseType").unwrap_or("json"))?;
    let description = shown::description(text(given, "description"))?;
    let name = text(given, "username").unwrap_or_default().to_owned();
    // What cannot be a password is nobody's.
    let password = Password::parse(text(given, "password").unwrap_or_default()).map_err(|_| Error::wrong_password())?;
    let attempt = Attempt { name, password, source, trial: false };
    let (store, gate, refusals) = (&app.store, &app.gate, &app.refusals);
    let (base, now) = (asked.base.of_api(), store.clock().now());
    match response {
        Given::ForKubectl(cluster) => {
            let cluster = cluster.map(shown::cluster).transpose()?;
            let (key, plain) = tokens::log_in_for_kubectl(store, gate, refusals, attempt, cluster).await?;
            Ok(Answer::new(StatusCode::CREATED, shown::view(&base, Shown::of_key(&key), None, now, Some(&plain))))
        }
        Given::Json => {
            let (login, plain) = tokens::log_in(store, gate, refusals, attempt, description).await?;
            Ok(Answer::new(StatusCode::CREATED, shown::view(&base, Shown::of_login(&login), None, now, Some(&plain))))
        }
        Given::Cookie => {
            let (_, plain) = tokens::log_in(store, gate, refusals, attempt, description).await?;
            Ok(Answer::empty(StatusCode::OK).with(caller::session_cookie(&base, plain.expose())))
        }
    }
}
