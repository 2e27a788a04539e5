//! `accounts`: the people and programs, as an admin or they themselves see them, and projects, which are accounts of a kind of their own
//! and are changed where projects are.

use axum::http::{Method, StatusCode};
use keygate_decision::EnvironmentId;
use serde_json::{Value, json};

use super::error::Error;
use super::render::{self, on_its_way, over};
use super::request::{Asked, Kind};
use super::{collection, projects, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::text;
use crate::model::{Account, AccountRef, Kind as AccountKind, State, parse_shared_id, shared_id};
use crate::name::AccountName;
use crate::operations::{accounts, environments, may};
use crate::permission::{Action, Caller};

/// Everything about accounts.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let Some(id) = &asked.id else {
        return match asked.method {
            Method::GET => list(app, caller, asked).await,
            Method::POST if asked.action.is_none() => create(app, caller, asked).await,
            Method::POST => Err(Error::no_such_action()),
            _ => Err(Error::method_not_allowed("accounts are listed with GET and made with POST")),
        };
    };
    let Some(account) = parse_shared_id(id) else {
        let project = EnvironmentId::parse(id).ok().filter(|_| asked.method == Method::GET && asked.link.is_none());
        return projects::show(app, caller, asked, &project.ok_or_else(Error::not_found)?).await;
    };
    let reference = AccountRef::Id(account);
    match (asked.link.as_deref(), asked.action.as_deref()) {
        (Some(_), _) => Err(Error::not_found()),
        (None, _) if asked.method == Method::GET => show(app, caller, asked, reference).await,
        (None, _) if asked.method == Method::DELETE => delete(app, caller, asked, reference).await,
        (None, Some(action)) if asked.method == Method::POST => act(app, caller, asked, reference, action).await,
        _ => Err(Error::method_not_allowed("an account takes GET, DELETE, and POST with ?action=")),
    }
}

/// Whoever acts as a project sees that one. Everybody else sees themselves, and an admin all there are.
async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let acting = asked.environment()?.or_else(|| caller.standing.environment().cloned());
    let things = match acting {
        Some(project) => {
            let found = environments::show(&mut *app.store.read().await?, caller, &project).await?;
            vec![projects::view(caller, asked, &found)]
        }
        None => {
            let accounts = accounts::list(&mut *app.store.read().await?, caller).await?;
            let mut things: Vec<Value> = accounts.iter().map(|account| view(caller, asked, account)).collect();
            if caller.standing.sees_all() {
                things.extend(projects::all(app, caller, asked).await?);
            }
            things
        }
    };
    collection::answer(asked, Kind::Account, things)
}

/// One account.
pub(super) async fn show(app: &App, caller: &Caller, asked: &Asked, reference: AccountRef) -> Result<Answer, Error> {
    let account = accounts::show(&mut *app.store.read().await?, caller, &reference).await?;
    Ok(Answer::ok(view(caller, asked, &account)))
}

async fn create(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    if !may(caller, Action::CreateAccount) {
        return Err(Error::not_granted("only an admin makes accounts"));
    }
    let given = resource::of(Kind::Account).writable(&asked.fields, true, true)?;
    let text = |field: &str| text(&given, field).unwrap_or_default();
    let name = AccountName::parse(text("name")).map_err(|why| Error::invalid("InvalidFormat", "name", why))?;
    let kind = AccountKind::parse(text("kind")).map_err(|why| Error::invalid("InvalidOption", "kind", why))?;
    let made = app.change(caller.clone(), async move |change, caller| accounts::create(change, caller, &name, kind).await);
    let made = made.await?.value;
    Ok(Answer::new(StatusCode::CREATED, over(on_its_way(view(caller, asked, &made), "registering"))))
}

/// Only one that is inactive is removed, as it is with keys.
async fn delete(app: &App, caller: &Caller, asked: &Asked, reference: AccountRef) -> Result<Answer, Error> {
    let account = accounts::show(&mut *app.store.read().await?, caller, &reference).await?;
    if !may(caller, Action::ManageAccount(account.id)) {
        return Err(Error::not_granted("only an admin deletes accounts"));
    }
    if account.state == State::Active {
        return Err(Error::method_not_allowed("an active account is not deleted; deactivate it first"));
    }
    remove(app, caller, reference).await?;
    Ok(Answer::ok(over(on_its_way(view(caller, asked, &account), "removing"))))
}

async fn remove(app: &App, caller: &Caller, reference: AccountRef) -> Result<(), Error> {
    app.change(caller.clone(), async move |change, caller| accounts::delete(change, caller, &reference).await).await?;
    Ok(())
}

async fn act(app: &App, caller: &Caller, asked: &Asked, reference: AccountRef, action: &str) -> Result<Answer, Error> {
    let account = accounts::show(&mut *app.store.read().await?, caller, &reference).await?;
    if !resource::of(Kind::Account).has_action(action) {
        return Err(Error::no_such_action());
    }
    if !may(caller, Action::ManageAccount(account.id)) {
        return Err(Error::action_not_granted("only an admin does that to accounts"));
    }
    if !actions(caller, &account).contains(&action) {
        return Err(Error::action_not_available());
    }
    let (account, passing) = match action {
        "activate" => {
            let done =
                app.change(caller.clone(), async move |change, caller| accounts::activate(change, caller, &reference).await);
            (done.await?.value, "activating")
        }
        "deactivate" => {
            let done =
                app.change(caller.clone(), async move |change, caller| accounts::deactivate(change, caller, &reference).await);
            (done.await?.value, "deactivating")
        }
        _ => {
            remove(app, caller, reference).await?;
            (account, "removing")
        }
    };
    Ok(Answer::new(StatusCode::ACCEPTED, over(on_its_way(view(caller, asked, &account), passing))))
}

/// On offer to those who may do more than look.
fn actions(caller: &Caller, account: &Account) -> &'static [&'static str] {
    match account.state {
        _ if !may(caller, Action::ManageAccount(account.id)) => &[],
        State::Active => &["deactivate"],
        State::Inactive => &["activate", "remove"],
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
