//! `tokens`: what passes in the caller's name. A token leaves in one place, the answer to its creation or to a login.

use axum::http::StatusCode;
use keygate_decision::{AccountId, EnvironmentId, KeyId, UnixSeconds};
use serde_json::{Map, Value, json};

use super::error::Error;
use super::render::{self, Base};
use super::request::{Asked, Kind};
use super::resource::{self, Verb};
use super::{caller, collection, users};
use crate::api::App;
use crate::clock::rfc3339;
use crate::dialect::Answer;
use crate::dialect::field::{text, writable};
use crate::model::{Form, Key, KeyHolder, Login, State};
use crate::name::{Description, Label, Lifetime};
use crate::operations::tokens::{self, Plain, Token, TokenRef, Wish, user_id};
use crate::permission::Caller;

/// Everything about tokens.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let operation = resource::of(Kind::Token).operation(asked)?;
    match (operation.verb, &asked.id) {
        (Verb::List, _) => list(app, caller, asked).await,
        (Verb::Create, _) => create(app, caller, asked).await,
        (Verb::ActOnAll(_), _) => log_out(app, caller).await,
        (Verb::Show, Some(id)) => {
            let token = find(app, caller, id).await?;
            Ok(Answer::ok(view(&asked.base, Shown::of(&token), Some(caller), app.store.clock().now(), None)))
        }
        (Verb::Remove, Some(id)) => delete(app, caller, id).await,
        _ => Err(Error::not_found()),
    }
}

async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let now = app.store.clock().now();
    let mut reader = app.store.read_long().await?;
    let tokens = tokens::list(&mut reader, caller).await?;
    let shown = tokens.iter().map(|token| view(&asked.base, Shown::of(token), Some(caller), now, None));
    collection::answer(asked, Kind::Token, shown.collect())
}

async fn create(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let given = asked.fields("InvalidFormat")?;
    let written = writable(resource::of(Kind::Token).fields, &given, true, caller.standing.sees_all())?;
    let wrong = |field: &'static str| move |why: String| Error::invalid("InvalidFormat", field, why);
    let wish = Wish {
        account: text(&written, "userId").map(users::reference).transpose()?,
        name: text(&written, "name").map(Label::parse).transpose().map_err(wrong("name"))?,
        description: description(text(&written, "description"))?,
        // A negative one asks for no end, as 0 does.
        lifetime: written.get("ttl").and_then(Value::as_u64).and_then(Lifetime::from_milliseconds),
        limit: text(&written, "clusterId").map(cluster).transpose()?,
    };
    let made = app.change(caller.clone(), async move |change, caller| tokens::create(change, caller, wish).await);
    let (key, plain) = made.await?.value;
    let shown = view(&asked.base, Shown::of_key(&key), Some(caller), app.store.clock().now(), Some(&plain));
    Ok(Answer::new(StatusCode::CREATED, shown))
}

/// A description as it was given.
pub(super) fn description(given: Option<&str>) -> Result<Option<Description>, Error> {
    let parsed = given.map(Description::parse).transpose();
    Ok(parsed.map_err(|why| Error::invalid("InvalidFormat", "description", why))?.flatten())
}

/// A cluster as a field names it. What is no id names none that anybody may see.
pub(super) fn cluster(id: &str) -> Result<EnvironmentId, Error> {
    EnvironmentId::parse(id).map_err(|_| Error::invisible("clusterId", "cluster"))
}

async fn log_out(app: &App, caller: &Caller) -> Result<Answer, Error> {
    app.change(caller.clone(), async move |change, caller| tokens::log_out(change, caller).await).await?;
    Ok(Answer::empty(StatusCode::OK).with(caller::forget_cookies()))
}

async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Answer, Error> {
    let token = find(app, caller, id).await?;
    if matches!(&token, Token::Login(login) if login.id == caller.key) {
        return Err(Error::current_login());
    }
    app.change(caller.clone(), async move |change, caller| tokens::end(change, caller, &token).await).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// One of the caller's own, or one that an admin has named; others are not there.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<Token, Error> {
    let number = |text: &str| text.parse().map(KeyId).map_err(|_| Error::not_found());
    let reference = match id.split_once(':') {
        Some(("key", text)) => TokenRef::Key(number(text)?),
        Some(("login", text)) => TokenRef::Login(number(text)?),
        _ => TokenRef::Named(Label::parse(id).map_err(|_| Error::not_found())?),
    };
    let token = tokens::find(&mut *app.store.read().await?, caller, &reference).await?;
    // A name has one spelling, and what has one is not found by its number.
    if Shown::of(&token).name == id { Ok(token) } else { Err(Error::not_found()) }
}

/// What is shown of a token, whatever it is.
pub(super) struct Shown<'t> {
    id: KeyId,
    name: String,
    account: Option<AccountId>,
    limit: Option<&'t str>,
    description: Option<&'t str>,
    is_derived: bool,
    is_enabled: bool,
    created: UnixSeconds,
    expires: Option<UnixSeconds>,
    last_used: Option<UnixSeconds>,
}

impl<'t> Shown<'t> {
    fn of(token: &'t Token) -> Self {
        match token {
            Token::Lasting(key) => Self::of_key(key),
            Token::Login(login) => Self::of_login(login),
        }
    }

    /// A key or a token. What has no name has a number, after a colon, which no name has.
    pub(super) fn of_key(key: &'t Key) -> Self {
        let (account, environment) = match &key.holder {
            KeyHolder::Account { id, .. } => (Some(*id), None),
            KeyHolder::Environment { id, .. } => (None, Some(id.as_str())),
        };
        Self {
            id: key.id,
            name: match &key.form {
                Form::Named(label) | Form::Pair(label) => label.as_str().to_owned(),
                Form::Whole(_) => format!("key:{}", key.id.0),
            },
            account,
            limit: key.limit.as_ref().map(|limit| limit.id.as_str()).or(environment),
            description: key.description.as_ref().map(Description::as_str),
            is_derived: true,
            is_enabled: key.state == State::Active,
            created: key.created,
            expires: key.expires,
            last_used: key.last_used,
        }
    }

    /// What a password opened.
    pub(super) fn of_login(login: &'t Login) -> Self {
        let unnamed = || format!("login:{}", login.id.0);
        Self {
            id: login.id,
            name: login.label.as_ref().map_or_else(unnamed, |label| label.as_str().to_owned()),
            account: Some(login.account.id),
            limit: None,
            description: login.description.as_ref().map(Description::as_str),
            is_derived: false,
            is_enabled: true,
            created: login.created,
            expires: Some(login.expires),
            last_used: None,
        }
    }
}

impl Shown<'_> {
    /// What it is for, where it is for something of its own.
    fn kind(&self) -> Option<&'static str> {
        match () {
            () if !self.is_derived => Some("session"),
            () if self.name.starts_with("kubeconfig-") => Some("kubeconfig"),
            () => None,
        }
    }
}

/// A token; as it is presented in the answer that makes it.
pub(super) fn view(base: &Base, token: Shown<'_>, caller: Option<&Caller>, now: UnixSeconds, plain: Option<&Plain>) -> Value {
    let user = token.account.map(user_id);
    let ttl = token.expires.map_or(0, |end| end.0.saturating_sub(token.created.0).saturating_mul(1000));
    let labels: Map<String, Value> =
        [("authn.management.cattle.io/token-userId", user.as_deref()), ("authn.management.cattle.io/kind", token.kind())]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect();
    let mut fields = json!({
        "name": token.name, "description": token.description.unwrap_or_default(), "userId": user,
        "userPrincipal": user.as_ref().map(|user| format!("local://{user}")), "groupPrincipals": [], "authProvider": "local",
        "isDerived": token.is_derived, "current": caller.is_some_and(|caller| caller.key == token.id),
        "clusterId": token.limit.unwrap_or_default(), "ttl": ttl, "expired": token.expires.is_some_and(|end| end <= now),
        "expiresAt": token.expires.map(rfc3339).unwrap_or_default(), "enabled": token.is_enabled,
        "lastUsedAt": token.last_used.map(rfc3339), "state": if token.is_enabled { "active" } else { "inactive" },
        "labels": labels,
    });
    if let (Some(fields), Some(plain)) = (fields.as_object_mut(), plain) {
        fields.insert("token".to_owned(), plain.expose().into());
    }
    render::resource(base, Kind::Token, &token.name, Some(token.created), fields)
}
