//! `passwords`: by what people log in. The name that they log in by is their account's; the password itself is never shown.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::error::Error;
use super::render::{self, on_its_way};
use super::request::{Asked, Kind};
use super::{collection, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::text;
use crate::login::{Password, Source};
use crate::model::{Account, AccountRef, parse_shared_id, shared_id};
use crate::operations::passwords::{self, Wish};
use crate::operations::{Refusal, accounts, may};
use crate::permission::{Action, Caller};

/// What the ids of passwords begin with; an account's number follows.
const PREFIX: &str = "1p";

/// Everything about passwords.
pub(super) async fn answer(app: &App, caller: &Caller, source: Source, asked: &Asked) -> Result<Answer, Error> {
    let Some(id) = &asked.id else {
        return match asked.method {
            Method::GET => {
                let holders = passwords::holders(&mut *app.store.read().await?, caller, None).await?;
                collection::answer(asked, Kind::Password, holders.iter().map(|account| view(asked, account)).collect())
            }
            Method::POST if asked.action.is_none() => create(app, caller, source, asked).await,
            Method::POST => Err(Error::no_such_action()),
            _ => Err(Error::method_not_allowed("passwords are listed with GET and made with POST")),
        };
    };
    let reference = id.strip_prefix(PREFIX).and_then(|number| number.parse().ok()).map(keygate_decision::AccountId);
    let reference = AccountRef::Id(reference.ok_or_else(Error::not_found)?);
    let holders = passwords::holders(&mut *app.store.read().await?, caller, Some(&reference)).await?;
    let account = holders.into_iter().next().filter(|_| asked.link.is_none()).ok_or_else(Error::not_found)?;
    match (&asked.method, asked.action.as_deref()) {
        (&Method::GET, _) => Ok(Answer::ok(view(asked, &account))),
        (&Method::POST, Some(action)) => {
            let given = resource::of(Kind::Password).input(action, &asked.fields)?;
            let wish = Wish {
                account: reference,
                password: password(&given, "newSecret")?,
                former: text(&given, "oldSecret").map(|_| password(&given, "oldSecret")).transpose()?,
                source,
            };
            let set = passwords::set(&app.store, &app.gate, caller.clone(), wish).await;
            set.map_err(|refusal| match refusal {
                Refusal::WrongPassword => Error::wrong_old_password(),
                Refusal::Invalid { field: "password", message } => Error::invalid("InvalidFormat", "newSecret", message),
                Refusal::Absent(_) => Error::invalid("MissingRequired", "oldSecret", "is missing"),
                other => other.into(),
            })?;
            Ok(Answer::new(StatusCode::ACCEPTED, on_its_way(view(asked, &account), "updating-active")))
        }
        _ => Err(Error::method_not_allowed("a password takes GET, and POST with ?action=changesecret")),
    }
}

async fn create(app: &App, caller: &Caller, source: Source, asked: &Asked) -> Result<Answer, Error> {
    let given = resource::of(Kind::Password).writable(&asked.fields, true, caller.standing.sees_all())?;
    let own = caller.standing.account();
    let account = match text(&given, "accountId") {
        Some(id) => parse_shared_id(id),
        None => own,
    };
    let invalid = || Error::invalid("InvalidReference", "accountId", "must be the id of an account");
    let reference = AccountRef::Id(account.ok_or_else(invalid)?);
    let (account, holders) = {
        let mut reader = app.store.read().await?;
        let account = accounts::show(&mut reader, caller, &reference).await?;
        (account, passwords::holders(&mut reader, caller, Some(&reference)).await?)
    };
    if !may(caller, Action::SetFirstPassword(account.id)) {
        return Err(Error::not_granted("only an admin gives an account its first password"));
    }
    if text(&given, "publicValue").is_some_and(|name| !name.eq_ignore_ascii_case(account.name.as_str())) {
        return Err(Error::invalid("InvalidFormat", "publicValue", "must be the account's name, by which people log in"));
    }
    if !holders.is_empty() {
        let message = "the account has a password already; change it with ?action=changesecret";
        return Err(Error::invalid("NotUnique", "publicValue", message));
    }
    let wish = Wish { account: reference, password: password(&given, "secretValue")?, former: None, source };
    let set = passwords::set(&app.store, &app.gate, caller.clone(), wish).await;
    set.map_err(|refusal| match refusal {
        Refusal::Invalid { field: "password", message } => Error::invalid("InvalidFormat", "secretValue", message),
        other => other.into(),
    })?;
    Ok(Answer::new(StatusCode::CREATED, on_its_way(view(asked, &account), "registering")))
}

fn password(given: &Map<String, Value>, field: &'static str) -> Result<Password, Error> {
    Password::parse(text(given, field).unwrap_or_default()).map_err(|why| Error::invalid("InvalidFormat", field, why))
}

fn view(asked: &Asked, account: &Account) -> Value {
    let fields = json!({
        "accountId": shared_id(account.id), "kind": "password", "state": "active", "name": null,
        "publicValue": account.name.as_str(), "secretValue": null,
    });
    let id = format!("{PREFIX}{}", account.id.0);
    render::resource(&asked.base.unscoped(), Kind::Password, &id, fields, &[], &["changesecret"])
}
