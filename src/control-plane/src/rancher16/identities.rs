//! `identities`: by what accounts are known. Local accounts are the only ones, so each account has one identity.

use axum::http::Method;
use serde_json::{Value, json};

use super::error::Error;
use super::render::{self, Base};
use super::request::{Asked, Kind};
use crate::api::App;
use crate::dialect::Answer;
use crate::model::{Account, AccountRef, parse_shared_id, shared_id};
use crate::name::AccountName;
use crate::operations::accounts;
use crate::permission::Caller;

/// The type of accounts' identities.
pub(super) const TYPE: &str = "rancher_id";

/// Everything about identities. The caller's own are listed; others are found by their exact name by whoever may make them members, or by a part of it
/// among the accounts that the caller sees.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    if asked.method != Method::GET || asked.link.is_some() {
        return Err(Error::method_not_allowed("identities are only read"));
    }
    let mut reader = app.store.read().await?;
    if let Some(id) = &asked.id {
        let account = id.strip_prefix("rancher_id:").and_then(parse_shared_id).ok_or_else(Error::not_found)?;
        let account = accounts::look_up(&mut reader, caller, &AccountRef::Id(account)).await?;
        return account.map(|account| Answer::ok(view(&asked.base, &account))).ok_or_else(Error::not_found);
    }
    let found = match (asked.parameter("name"), asked.parameter("all")) {
        (Some(name), _) => match AccountName::parse(name) {
            Ok(name) => accounts::look_up(&mut reader, caller, &AccountRef::Name(name)).await?.into_iter().collect(),
            // What cannot be a name is nobody's.
            Err(_) => Vec::new(),
        },
        (None, all) => {
            let part = all.map(str::to_lowercase);
            let mut seen = accounts::list(&mut reader, caller).await?;
            seen.retain(|account| match &part {
                Some(part) => account.name.as_str().to_lowercase().contains(part),
                None => Some(account.id) == caller.standing.account(),
            });
            seen
        }
    };
    let things = found.iter().map(|account| view(&asked.base, account)).collect();
    Ok(Answer::ok(super::list_of("identity", &asked.base.unscoped().url(&["identities"]), things)))
}

/// An account's identity.
pub(super) fn view(base: &Base, account: &Account) -> Value {
    let external = shared_id(account.id);
    let fields = json!({
        "externalId": external, "externalIdType": TYPE, "name": account.name.as_str(), "login": account.name.as_str(), "user": true,
        "profilePicture": null, "profileUrl": null, "role": null, "projectId": null, "all": null,
    });
    render::resource(&base.unscoped(), Kind::Identity, &format!("{TYPE}:{external}"), fields, &[], &[])
}
