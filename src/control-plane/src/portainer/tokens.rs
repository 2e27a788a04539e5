//! `users/{id}/tokens`: what lasts of an account's credentials, whichever dialect made them. A token's text and its digest leave in one
//! place, the answer that makes it.

use axum::http::{Method, StatusCode};
use keygate_decision::{AccountId, KeyId};
use serde_json::{Value, json};

use super::access_token::{AccessToken, digest_text, start};
use super::error::Error;
use super::request::{Asked, Payload, account_id, number};
use super::users;
use crate::api::App;
use crate::dialect::Answer;
use crate::login::{Password, Source};
use crate::model::{AccountRef, Form, Key, Kind};
use crate::name::Name;
use crate::operations::keys::{self, HolderRef, TokenWish};
use crate::operations::{Refusal, passwords};
use crate::permission::Caller;
use crate::store::key;

/// So many characters a description may not reach.
const DESCRIPTION_END: usize = 128;

/// GET and POST /users/{id}/tokens
pub(super) async fn answer(app: &App, caller: &Caller, source: Source, asked: &Asked<'_>, user: &str) -> Result<Answer, Error> {
    if asked.method == Method::POST {
        return create(app, caller, source, asked, user).await;
    }
    let (id, denied) = (account_id(user)?, || Error::denied("Permission denied to get user access tokens"));
    let account = users::find(app, caller, id, denied).await?;
    let own = caller.standing.account() == Some(account.id);
    if !own && account.kind == Kind::Admin {
        return Err(denied());
    }
    let holder = Some(HolderRef::Account(AccountRef::Id(account.id)));
    let mut reader = app.store.read_long().await?;
    let keys = keys::list(&mut reader, caller, holder).await?;
    Ok(Answer::ok(keys.iter().map(|key| view(key, account.id)).collect()))
}

async fn create(app: &App, caller: &Caller, source: Source, asked: &Asked<'_>, user: &str) -> Result<Answer, Error> {
    passwords::may_confirm(caller)?;
    let (name, password) = wish(&asked.payload()?)?;
    let id = account_id(user)?;
    if caller.standing.account() != Some(id) {
        return Err(Error::denied("Permission denied to create user access token"));
    }
    // What cannot be a password is nobody's.
    let password = Password::parse(&password).map_err(|_| Error::wrong_password())?;
    passwords::confirm(&app.store, &app.gate, caller, source, password).await?;
    let token = AccessToken::draw()?;
    let digest = token.digest();
    let form = Form::Whole(token.label().map_err(|why| Error::unavailable(&why))?);
    let account = AccountRef::Id(id);
    let wish = TokenWish { account, form, digest, name, description: None, lifetime: None, limit: None };
    let made = app.change(caller.clone(), async move |change, caller| keys::create_token(change, caller, wish).await).await?;
    let mut shown = view(&made.value, id);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("digest".to_owned(), digest_text(&digest).into());
    }
    Ok(Answer::new(StatusCode::CREATED, json!({"rawAPIKey": token.expose(), "apiKey": shown})))
}

/// The description, which is the token's name here, and the password that is said again.
fn wish(payload: &Payload) -> Result<(Name, String), Error> {
    let (password, description) = (payload.text("password")?, payload.text("description")?);
    if password.is_empty() {
        return Err(Error::invalid_payload("invalid password: cannot be empty"));
    }
    if description.is_empty() {
        return Err(Error::invalid_payload("invalid description: cannot be empty"));
    }
    if description.trim().is_empty() {
        return Err(Error::invalid_payload("invalid description: cannot contain only whitespaces"));
    }
    if description.chars().count() >= DESCRIPTION_END {
        return Err(Error::invalid_payload("invalid description: cannot be longer than 128 characters"));
    }
    let name = Name::parse(description).map_err(|why| Error::invalid_payload(&format!("invalid description: it {why}")))?;
    Ok((name, password.to_owned()))
}

/// DELETE /users/{id}/tokens/{keyID}
pub(super) async fn remove(app: &App, caller: &Caller, user: &str, token: &str) -> Result<Answer, Error> {
    let user = account_id(user)?;
    let id = number(token).map(KeyId).ok_or_else(|| Error::no_number("Invalid api-key identifier route variable"))?;
    users::find(app, caller, user, || Error::denied("Permission denied to get user access tokens")).await?;
    let denied = || Error::denied("Permission denied to remove api-key");
    let key = {
        let mut reader = app.store.read().await?;
        match keys::show(&mut reader, caller, id).await {
            Ok(key) => key,
            // Numbers count up: that one is in use tells nothing.
            Err(Refusal::Missing(_)) if key::find(&mut reader, id).await?.is_some() => return Err(denied()),
            Err(Refusal::Missing(_)) => return Err(Error::no_such_token()),
            Err(other) => return Err(other.into()),
        }
    };
    if key.holder.account() != Some(user) {
        return Err(denied());
    }
    let is_pair = matches!(key.form, Form::Pair(_));
    let removed = app.change(caller.clone(), async move |change, caller| {
        // Portainer knows no inactive ones: what it deletes is refused from then on, and so this is.
        if is_pair {
            keys::deactivate(change, caller, id).await?;
        }
        keys::delete(change, caller, id).await
    });
    match removed.await {
        Ok(_) => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        Err(Refusal::Missing(_)) => Err(Error::no_such_token()),
        Err(other) => Err(other.into()),
    }
}

fn view(key: &Key, user: AccountId) -> Value {
    json!({
        "id": key.id.0, "userId": user.0, "description": key.name.as_str(), "prefix": start(key.form.label().as_str()),
        "dateCreated": key.created.0, "lastUsed": key.last_used.map_or(0, |time| time.0),
    })
}
