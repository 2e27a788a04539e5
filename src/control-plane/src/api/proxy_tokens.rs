//! `/proxies/{proxy}/tokens` and `/proxy-tokens`. A plain token is drawn in [`create`], shown in its reply, and exists nowhere else.

use axum::extract::State;
use axum::response::Response;
use keygate_wire::JoinToken;
use serde_json::{Value, json};

use super::input::{Body, Path, text};
use super::{App, Error, reply};
use crate::clock::rfc3339;
use crate::model::{ProxyToken, proxy_token_id};
use crate::name::{Description, ProxyName};
use crate::operations::{Missing, Refusal, proxy_tokens};
use crate::permission::Caller;
use crate::random;

/// POST /proxies/{proxy}/tokens
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(proxy): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let proxy = name(&proxy)?;
    let description = body.read(|fields| Ok(fields.optional("description", text(Description::parse))?.flatten()))?;
    let token = random::join_token().map_err(Refusal::from)?;
    let stored = token.clone();
    let written = app
        .change(caller, async move |change, caller| proxy_tokens::create(change, caller, proxy, description, &stored).await)
        .await?;
    Ok(reply::created(&written, |created| created_view(created, &token)))
}

/// GET /proxies/{proxy}/tokens
pub(super) async fn list_of_proxy(State(app): State<App>, caller: Caller, Path(proxy): Path<String>) -> Result<Response, Error> {
    list_some(&app, &caller, Some(name(&proxy)?)).await
}

/// GET /proxy-tokens
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    list_some(&app, &caller, None).await
}

/// DELETE /proxy-tokens/{token}
pub(super) async fn revoke(State(app): State<App>, caller: Caller, Path(token): Path<String>) -> Result<Response, Error> {
    let id = proxy_token_id(&token).ok_or_else(|| Refusal::from(Missing::proxy_token(&token)))?;
    // Whoever asked may hang up: what is revoked in storage must be so at the proxies, too.
    let revoked = tokio::spawn(async move {
        let written = app.change(caller, async move |change, caller| proxy_tokens::revoke(change, caller, id).await).await?;
        if let Some(proxy) = &written.value {
            app.publisher.revoke(proxy.as_str(), &[id]);
        }
        Ok::<_, Error>(written)
    });
    Ok(reply::gone(&revoked.await.map_err(|error| Error::unavailable(&error))??))
}

async fn list_some(app: &App, caller: &Caller, proxy: Option<ProxyName>) -> Result<Response, Error> {
    Ok(reply::list(&proxy_tokens::list(&mut *app.store.read().await?, caller, proxy).await?, view))
}

fn name(text: &str) -> Result<ProxyName, Error> {
    ProxyName::parse(text).map_err(|why| Error::invalid_field("proxy", why))
}

/// A token as its creation shows it, once: with its text.
fn created_view(created: &ProxyToken, token: &JoinToken) -> Value {
    let mut value = view(created);
    if let Some(object) = value.as_object_mut() {
        object.insert("token".to_owned(), token.expose().into());
    }
    value
}

fn view(token: &ProxyToken) -> Value {
    json!({
        "id": token.id.to_string(),
        "proxy": token.proxy.as_str(),
        "description": token.description.as_ref().map(Description::as_str),
        "state": token.state.as_str(),
        "created": rfc3339(token.created),
    })
}
