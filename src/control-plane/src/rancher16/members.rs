//! `projectMembers`: who is a member of an environment, and as what. Memberships are by identity, such as `rancher_id:1a1000007`.

use axum::http::{Method, StatusCode};
use keygate_decision::{AccountId, EnvironmentId};
use serde_json::{Map, Value, json};

use super::error::Error;
use super::render::{self, on_its_way, over};
use super::request::{Asked, Kind};
use super::{collection, identities, resource};
use crate::api::App;
use crate::dialect::Answer;
use crate::model::{AccountRef, Member, Role, parse_shared_id, shared_id};
use crate::operations::{environments, may, members};
use crate::permission::{Action, Caller, Tie};

/// Everything about members.
pub(super) async fn answer(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let Some(id) = &asked.id else {
        return match asked.method {
            Method::GET => list(app, caller, asked).await,
            Method::POST if asked.action.is_none() => add(app, caller, asked).await,
            Method::POST => Err(Error::no_such_action()),
            _ => Err(Error::method_not_allowed("members are listed with GET and added with POST")),
        };
    };
    let (environment, account) = parse_id(id).ok_or_else(Error::not_found)?;
    if asked.link.is_some() || asked.scope.as_deref().is_some_and(|scope| scope != environment.as_str()) {
        return Err(Error::not_found());
    }
    let (member, tie) = members::show(&mut *app.store.read().await?, caller, &environment, account).await?;
    match (&asked.method, asked.action.as_deref()) {
        (&Method::GET, _) => Ok(Answer::ok(view(caller, asked, &member, tie))),
        (&Method::PUT, _) => {
            let given = resource::of(Kind::ProjectMember).writable(&asked.fields, false, false)?;
            let role = if given.contains_key("role") { role(&given)? } else { member.role };
            let (put, tie) = put(app, caller, environment, account, role).await?;
            Ok(Answer::ok(on_its_way(view(caller, asked, &put, tie), "updating-active")))
        }
        (&Method::DELETE, _) => Ok(Answer::ok(remove(app, caller, asked, member, tie).await?)),
        (&Method::POST, Some("remove")) => Ok(Answer::new(StatusCode::ACCEPTED, remove(app, caller, asked, member, tie).await?)),
        (&Method::POST, Some(_)) => Err(Error::no_such_action()),
        _ => Err(Error::method_not_allowed("a member takes GET, PUT, DELETE, and POST with ?action=")),
    }
}

/// Those of one environment, or of all that the caller sees.
async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let mut reader = app.store.read_long().await?;
    let ids = match asked.environment()? {
        Some(environment) => vec![environment],
        None => environments::list(&mut reader, caller).await?.into_iter().map(|(environment, _)| environment.id).collect(),
    };
    let mut things = Vec::new();
    for id in ids {
        let (members, tie) = members::list(&mut reader, caller, &id).await?;
        things.extend(members.iter().map(|member| view(caller, asked, member, tie)));
    }
    drop(reader);
    collection::answer(asked, Kind::ProjectMember, things)
}

async fn add(app: &App, caller: &Caller, asked: &Asked) -> Result<Answer, Error> {
    let given = resource::of(Kind::ProjectMember).writable(&asked.fields, true, false)?;
    let named = given.get("projectId").and_then(Value::as_str);
    if asked.scope.as_deref().zip(named).is_some_and(|(scope, named)| scope != named) {
        return Err(Error::invalid(
            "InvalidReference",
            "projectId",
            "must be the project that the request is about, or be left out",
        ));
    }
    let project = asked.scope.as_deref().or(named);
    let project = project.ok_or_else(|| Error::invalid("MissingRequired", "projectId", "is missing"))?;
    let environment = EnvironmentId::parse(project).map_err(|_| Error::not_found())?;
    let (account, role) = parse(&given)?;
    let (made, tie) = put(app, caller, environment, account, role).await?;
    Ok(Answer::new(StatusCode::CREATED, on_its_way(view(caller, asked, &made, tie), "registering")))
}

/// The member as it is then, with what ties the caller to the environment: it may be themselves whom they gave another role.
async fn put(
    app: &App,
    caller: &Caller,
    environment: EnvironmentId,
    account: AccountId,
    role: Role,
) -> Result<(Member, Tie), Error> {
    let put = app.change(caller.clone(), async move |change, caller| {
        members::put(change, caller, &environment, &AccountRef::Id(account), role).await?;
        members::show(change.connection(), caller, &environment, account).await
    });
    Ok(put.await?.value)
}

async fn remove(app: &App, caller: &Caller, asked: &Asked, member: Member, tie: Tie) -> Result<Value, Error> {
    let (environment, account) = (member.environment.clone(), AccountRef::Id(member.account_id));
    let removed =
        app.change(caller.clone(), async move |change, caller| members::remove(change, caller, &environment, &account).await);
    removed.await?;
    Ok(over(on_its_way(view(caller, asked, &member, tie), "removing")))
}

/// Members as clients give them in lists: as `projectMembers` are shown, or identities with a role.
pub(super) fn parse_all(given: Option<&Value>) -> Result<Vec<(AccountRef, Role)>, Error> {
    let invalid = |why: &str| Error::invalid("InvalidFormat", "members", why);
    let members = given.and_then(Value::as_array).ok_or_else(|| invalid("must be a list of members"))?;
    let one = |member: &Value| {
        let fields = member.as_object().ok_or_else(|| invalid("must be a list of objects"))?;
        parse(fields).map(|(account, role)| (AccountRef::Id(account), role))
    };
    members.iter().map(one).collect()
}

fn parse(given: &Map<String, Value>) -> Result<(AccountId, Role), Error> {
    let text = |field: &str| given.get(field).and_then(Value::as_str);
    if text("externalIdType") != Some(identities::TYPE) {
        let message = format!("must be {}: accounts are members", identities::TYPE);
        return Err(Error::invalid("InvalidOption", "externalIdType", message));
    }
    let invalid = || Error::invalid("InvalidReference", "externalId", "must be the id of an account, as identities show it");
    let account = text("externalId").and_then(parse_shared_id).ok_or_else(invalid)?;
    Ok((account, role(given)?))
}

fn role(given: &Map<String, Value>) -> Result<Role, Error> {
    let role = given.get("role").and_then(Value::as_str).unwrap_or_default();
    Role::parse(role).map_err(|why| Error::invalid("InvalidOption", "role", why))
}

/// `1a5-1a1000007`: an account in an environment. An account's id has no hyphen.
fn parse_id(id: &str) -> Option<(EnvironmentId, AccountId)> {
    let (environment, account) = id.rsplit_once('-')?;
    Some((EnvironmentId::parse(environment).ok()?, parse_shared_id(account)?))
}

/// On offer to those who may do more than look. The last owner stays one.
fn actions(caller: &Caller, member: &Member, tie: Tie) -> &'static [&'static str] {
    if may(caller, Action::ManageEnvironment(tie)) && !member.is_last_owner { &["remove"] } else { &[] }
}

fn view(caller: &Caller, asked: &Asked, member: &Member, tie: Tie) -> Value {
    let (created, created_ts) = render::time(member.created);
    let account = shared_id(member.account_id);
    let fields = json!({
        "name": member.account.as_str(), "externalId": account, "externalIdType": identities::TYPE, "role": member.role.as_str(),
        "projectId": member.environment.as_str(), "kind": "projectMember", "state": "active",
        "created": created, "createdTS": created_ts,
    });
    let id = format!("{}-{account}", member.environment);
    render::resource(&asked.base.unscoped(), Kind::ProjectMember, &id, fields, &[], actions(caller, member, tie))
}
