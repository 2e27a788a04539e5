//! `users`: accounts, by Rancher 2's ids. Whoever is disabled passes nowhere, at no proxy, until they are enabled again.

use axum::http::StatusCode;
use keygate_decision::AccountId;
use serde_json::{Map, Value, json};

use super::collection;
use super::error::Error;
use super::render;
use super::request::{Asked, Kind};
use super::resource::{self, Verb};
use crate::api::App;
use crate::dialect::Answer;
use crate::dialect::field::{text, writable};
use crate::login::{Password, Source};
use crate::model::{Account, AccountRef, Kind as Rank, State};
use crate::name::AccountName;
use crate::operations::tokens::user_id;
use crate::operations::{accounts, passwords};
use crate::permission::Caller;

/// Everything about users.
pub(super) async fn answer(app: &App, caller: &Caller, source: Source, asked: &Asked) -> Result<Answer, Error> {
    let operation = resource::of(Kind::User).operation(asked)?;
    let input = operation.input.map(|(_, fields)| fields).unwrap_or_default();
    let given = || Ok::<_, Error>(writable(input, &asked.fields("InvalidBodyContent")?, true, false)?);
    match (operation.verb, &asked.id) {
        (Verb::List, _) => list(app, caller, asked).await,
        (Verb::Create, _) => create(app, caller, asked).await,
        (Verb::ActOnAll(_), _) => {
            let own = caller.standing.account().ok_or_else(Error::not_found)?;
            set_password(app, caller, source, own, &given()?).await?;
            Ok(Answer::empty(StatusCode::OK))
        }
        (Verb::Show, Some(id)) => Ok(Answer::ok(view(asked, caller, &find(app, caller, id).await?))),
        (Verb::Update, Some(id)) => update(app, caller, source, asked, id).await,
        (Verb::Remove, Some(id)) => remove(app, caller, asked, id).await,
        (Verb::Act(_), Some(id)) => {
            let account = find(app, caller, id).await?;
            set_password(app, caller, source, account.id, &given()?).await?;
            Ok(Answer::ok(view(asked, caller, &account)))
        }
        _ => Err(Error::not_found()),
    }
}

async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let accounts = accounts::list(&mut *app.store.read().await?, caller).await?;
    collection::answer(asked, Kind::User, accounts.iter().map(|account| view(asked, caller, account)).collect())
}

async fn create(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let given = asked.fields("InvalidBodyContent")?;
    let written = writable(resource::of(Kind::User).fields, &given, true, false)?;
    let missing = |field: &'static str| move || Error::invalid("MissingRequired", field, "is missing");
    let name = AccountName::parse(text(&written, "username").ok_or_else(missing("username"))?);
    let name = name.map_err(|why| Error::invalid("InvalidFormat", "username", why))?;
    let password = password(&written, "password")?.ok_or_else(missing("password"))?;
    let state = match written.get("enabled").and_then(Value::as_bool) {
        Some(false) => State::Inactive,
        Some(true) | None => State::Active,
    };
    let wish = passwords::NewAccount { name, kind: Rank::User, state, password };
    let made = passwords::create_account(&app.store, &app.gate, caller.clone(), wish).await;
    let made = made.map_err(|refusal| Error::from(refusal).renamed("name", "username"))?;
    Ok(Answer::new(StatusCode::CREATED, view(asked, caller, &made.value)))
}

async fn update(app: &App, caller: &Caller, source: Source, asked: &Asked, id: &str) -> Result<Answer, Error> {
    let account = find(app, caller, id).await?;
    let given = asked.fields("InvalidBodyContent")?;
    let written = writable(resource::of(Kind::User).fields, &given, false, false)?;
    let wanted = written.get("enabled").and_then(Value::as_bool).filter(|enabled| *enabled != (account.state == State::Active));
    if let Some(password) = password(&written, "password")? {
        // They are two changes, and of a request that is refused nothing is done.
        if wanted.is_some() {
            return Err(Error::invalid(
                "InvalidFormat",
                "password",
                "is not changed together with enabled; ask one after the other",
            ));
        }
        let wish = passwords::Wish { account: AccountRef::Id(account.id), password, former: None, source };
        set(app, caller, wish).await?;
    }
    let Some(enabled) = wanted else {
        return Ok(Answer::ok(view(asked, caller, &account)));
    };
    let reference = AccountRef::Id(account.id);
    let changed = app.change(caller.clone(), async move |change, caller| match enabled {
        true => accounts::activate(change, caller, &reference).await,
        false => {
            accounts::not_oneself(caller, account.id)?;
            accounts::deactivate(change, caller, &reference).await
        }
    });
    Ok(Answer::ok(view(asked, caller, &changed.await?.value)))
}

async fn remove(app: &App, caller: &Caller, asked: &Asked, id: &str) -> Result<Answer, Error> {
    let account = find(app, caller, id).await?;
    let (own, reference) = (account.id, AccountRef::Id(account.id));
    let removed = app.change(caller.clone(), async move |change, caller| {
        accounts::not_oneself(caller, own)?;
        accounts::delete(change, caller, &reference).await
    });
    removed.await?;
    let mut shown = view(asked, caller, &account);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("state".to_owned(), "removing".into());
    }
    Ok(Answer::ok(shown))
}

/// The fields of either action: the new password, and the former one, which whoever changes their own needs.
async fn set_password(
    app: &App,
    caller: &Caller,
    source: Source,
    account: AccountId,
    given: &Map<String, Value>,
) -> Result<(), Error> {
    let missing = || Error::invalid("MissingRequired", "newPassword", "is missing");
    let wish = passwords::Wish {
        account: AccountRef::Id(account),
        password: password(given, "newPassword")?.ok_or_else(missing)?,
        former: password(given, "currentPassword")?,
        source,
    };
    set(app, caller, wish).await.map_err(|error| error.renamed("password", "newPassword"))
}

async fn set(app: &App, caller: &Caller, wish: passwords::Wish) -> Result<(), Error> {
    let set = passwords::set(&app.store, &app.gate, caller.clone(), wish).await;
    set.map(drop).map_err(|refusal| Error::from(refusal).renamed("oldPassword", "currentPassword"))
}

fn password(written: &Map<String, Value>, field: &'static str) -> Result<Option<Password>, Error> {
    let parsed = text(written, field).map(Password::parse).transpose();
    parsed.map_err(|why| Error::invalid("InvalidFormat", field, why))
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<Account, Error> {
    let reference = reference(id).map_err(|_| Error::not_found())?;
    Ok(accounts::show(&mut *app.store.read().await?, caller, &reference).await?)
}

/// A user as a field names it.
pub(super) fn reference(id: &str) -> Result<AccountRef, Error> {
    let missing = || Error::invalid("InvalidReference", "userId", "there is no such user that you may see");
    let number = id.strip_prefix("user-").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|digits| digits.parse().ok()).ok_or_else(missing)?;
    Ok(AccountRef::Id(AccountId(number)))
}

fn view(asked: &Asked, caller: &Caller, account: &Account) -> Value {
    let id = user_id(account.id);
    let fields = json!({
        "username": account.name.as_str(), "name": account.name.as_str(), "description": "",
        "enabled": account.state == State::Active, "mustChangePassword": false, "principalIds": [format!("local://{id}")],
        "me": caller.standing.account() == Some(account.id), "state": account.state.as_str(),
    });
    render::resource(&asked.base, Kind::User, &id, Some(account.created), fields)
}
