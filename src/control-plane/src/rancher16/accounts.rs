//! `accounts`: the people and programs, as an admin or they themselves see them.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::error::Error;
use super::render::{self, on_its_way};
use super::request::{Asked, Kind};
use super::{Answer, collection, resource};
use crate::api::App;
use crate::model::{Account, AccountRef, State, parse_shared_id, shared_id};
use crate::operations::accounts;
use crate::permission::{Caller, Standing};

/// Everything about accounts.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let reads = matches!(asked.method, Method::GET | Method::HEAD);
    let Some(id) = &asked.id else {
        if !reads {
            return Err(Error::method_not_allowed("accounts are listed with GET, and made with keygate account create"));
        }
        let accounts = accounts::list(&mut *app.store.read().await?, caller).await?;
        return collection::answer(asked, Kind::Account, accounts.iter().map(|account| view(caller, asked, account)).collect());
    };
    let reference = AccountRef::Id(parse_shared_id(id).ok_or_else(Error::not_found)?);
    match (asked.link.as_deref(), asked.action.as_deref()) {
        (Some(_), _) => Err(Error::not_found()),
        (None, _) if reads => show(app, caller, asked, reference).await,
        (None, Some(action)) if asked.method == Method::POST => act(app, caller, asked, reference, action).await,
        _ => Err(Error::method_not_allowed("an account takes GET, and POST with ?action=")),
    }
}

/// One account.
pub(super) async fn show(app: &App, caller: &Caller, asked: &Asked, reference: AccountRef) -> Result<Answer, Error> {
    let account = accounts::show(&mut *app.store.read().await?, caller, &reference).await?;
    Ok(Answer::ok(view(caller, asked, &account)))
}

async fn act(app: &App, caller: &Caller, asked: &Asked, reference: AccountRef, action: &str) -> Result<Answer, Error> {
    let account = accounts::show(&mut *app.store.read().await?, caller, &reference).await?;
    if !resource::of(Kind::Account).has_action(action) {
        return Err(Error::no_such_action());
    }
    if !actions(caller, &account).contains(&action) {
        return Err(Error::action_not_available());
    }
    let activates = action == "activate";
    let changed = app.change(caller.clone(), async move |change, caller| match activates {
        true => accounts::activate(change, caller, &reference).await,
        false => accounts::deactivate(change, caller, &reference).await,
    });
    let shown = view(caller, asked, &changed.await?.value);
    Ok(Answer::new(StatusCode::ACCEPTED, on_its_way(shown, if activates { "activating" } else { "deactivating" })))
}

/// On offer to those who may do more than look.
fn actions(caller: &Caller, account: &Account) -> &'static [&'static str] {
    match (&caller.standing, account.state) {
        (Standing::Admin(_), State::Active) => &["deactivate"],
        (Standing::Admin(_), State::Inactive) => &["activate"],
        _ => &[],
    }
}

fn view(caller: &Caller, asked: &Asked, account: &Account) -> Value {
    let id = shared_id(account.id);
    let (created, created_ts) = render::time(account.created);
    let fields = json!({
        "name": account.name.as_str(), "kind": account.kind.as_str(), "state": account.state.as_str(),
        "created": created, "createdTS": created_ts, "externalId": id, "externalIdType": "rancher_id",
        "identity": format!("rancher_id:{id}"), "description": null, "removed": null,
    });
    render::resource(&asked.base.unscoped(), Kind::Account, &id, fields, &[], actions(caller, account))
}
