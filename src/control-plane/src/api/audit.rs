//! `/audit`: what was done and what was refused, newest first, a page at a time.

use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use keygate_decision::UnixSeconds;
use serde_json::{Value, json};

use super::input::{Parameters, text};
use super::{App, Error, reply};
use crate::clock::{rfc3339, second_of};
use crate::model::{AccountRef, AuditRecord, key_id};
use crate::operations::{accounts, audit};
use crate::permission::Caller;
use crate::store::audit::Query;

const USUAL_LIMIT: u32 = 100;
const HIGHEST_LIMIT: u32 = 1000;

/// GET /audit
pub(super) async fn list(State(app): State<App>, caller: Caller, parameters: Parameters) -> Result<Response, Error> {
    let (account, query) = parameters.read(|fields| {
        let account = fields.optional("account", text(AccountRef::parse))?;
        let query = Query {
            since: fields.optional("since", text(parse_time))?,
            until: fields.optional("until", text(parse_time))?,
            account: None,
            key: fields.optional("key", text(|id| key_id(id).ok_or("must be the number of a key or of a login")))?,
            before: fields.optional("before", text(|id| id.parse().map_err(|_| "must be the id of a record")))?,
            limit: fields.optional("limit", text(parse_limit))?.unwrap_or(USUAL_LIMIT),
        };
        Ok((account, query))
    })?;
    let mut reader = app.store.read().await?;
    // A number may be that of an account that is gone; its records are not.
    let account = match account {
        Some(AccountRef::Id(id)) => Some(id),
        Some(name) => {
            let found = accounts::show(&mut reader, &caller, &name).await;
            Some(found.map_err(|refusal| refusal.in_field("account"))?.id)
        }
        None => None,
    };
    Ok(reply::list(&audit::list(&mut reader, &caller, Query { account, ..query }).await?, view))
}

fn parse_time(text: &str) -> Result<UnixSeconds, String> {
    let time: Result<SystemTime, _> = humantime::parse_rfc3339(text);
    time.map(second_of).map_err(|_| "must be a time in UTC, such as 2026-11-21T20:00:00Z".to_owned())
}

fn parse_limit(text: &str) -> Result<u32, String> {
    let limit = text.parse().ok().filter(|limit| (1..=HIGHEST_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("must be a whole number from 1 to {HIGHEST_LIMIT}"))
}

fn view(record: &AuditRecord) -> Value {
    json!({
        "id": record.id.to_string(),
        "time": rfc3339(record.time),
        "actor": record.actor,
        "action": record.action,
        "object": record.object,
        "detail": record.detail,
    })
}
