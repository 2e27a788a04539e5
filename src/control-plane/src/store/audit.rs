//! The audit record in storage: to read it, and to note what was refused. What was done is noted by the change that did it, and written with its batch.

use keygate_decision::{AccountId, KeyId, UnixSeconds};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use super::change::Note;
use super::history::ROWS_IN_A_STATEMENT;
use super::{Change, Connection, StoreError, row};
use crate::model::AuditRecord;

/// Which records to read, newest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    /// From this second on.
    pub(crate) since: Option<UnixSeconds>,
    /// Before this second.
    pub(crate) until: Option<UnixSeconds>,
    /// Done by this account, or to it: also to a key or login of its own, or as to a member.
    pub(crate) account: Option<AccountId>,
    /// Done with this key or login, or to it.
    pub(crate) key: Option<KeyId>,
    /// Older than this record: where the last page ended.
    pub(crate) before: Option<u64>,
    /// At most so many.
    pub(crate) limit: u32,
}

/// Reads records. Who did something is looked up by the words of [`super::Actor`], each condition by an index.
pub(crate) async fn list(connection: &mut Connection, query: Query) -> Result<Vec<AuditRecord>, StoreError> {
    let mut select = QueryBuilder::<Sqlite>::new("SELECT id, time, actor, action, object, detail FROM audit WHERE true");
    if let Some(since) = query.since {
        select.push(" AND time >= ").push_bind(row::integer(since.0));
    }
    if let Some(until) = query.until {
        select.push(" AND time < ").push_bind(row::integer(until.0));
    }
    if let Some(before) = query.before {
        select.push(" AND id < ").push_bind(row::integer(before));
    }
    if let Some(account) = query.account {
        let (words, number) = (format!("account {}", account.0), account.0.to_string());
        // By its password; by a key or a login, whose words follow a space (`!` is the sign after it); to it.
        select.push(" AND (actor = ").push_bind(words.clone());
        select.push(" OR (actor >= ").push_bind(format!("{words} ")).push(" AND actor < ").push_bind(format!("{words}!"));
        select.push(") OR object = ").push_bind(words.clone());
        // To its keys, whose rows stay; to its logins, whose rows do not, but the records of their beginnings; as to a member.
        select.push(" OR object IN (SELECT 'key ' || id FROM credential WHERE account = ").push_bind(row::integer(account.0));
        select.push(" UNION ALL SELECT object FROM audit WHERE action = 'login.create' AND actor = ").push_bind(words);
        select.push(") OR (action IN ('member.put', 'member.remove') AND detail ->> 'account' = ").push_bind(number).push("))");
    }
    if let Some(KeyId(key)) = query.key {
        let (words, key) = ([format!("key {key}"), format!("login {key}")], row::integer(key));
        let [of_key, of_login] = words.clone();
        select.push(" AND (object IN (").push_bind(of_key).push(", ").push_bind(of_login);
        select.push(
            ") OR actor IN (SELECT CASE WHEN c.account IS NULL THEN 'environment ' || e.id ELSE 'account ' || c.account END ",
        );
        select.push("|| ' ' || c.purpose || ' ' || c.id || coalesce(' limited to ' || l.id, '') FROM credential c ");
        select.push("LEFT JOIN environment e ON e.number = c.environment LEFT JOIN environment l ON l.number = c.limited_to ");
        select.push("WHERE c.id = ").push_bind(key);
        // A login that is over has no row; the record of its beginning tells whose it was.
        let [_, of_login] = words;
        select.push(
            ") OR actor IN (SELECT b.actor || ' ' || b.object FROM audit b WHERE b.action = 'login.create' AND b.object = ",
        );
        select.push_bind(of_login).push("))");
    }
    select.push(" ORDER BY id DESC LIMIT ").push_bind(query.limit);
    let rows = select.build().fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// Notes that something was refused. The object and the detail must never hold a secret.
pub(crate) fn refused(change: &mut Change<'_>, action: &'static str, object: String, detail: &Value) {
    change.audit(action, object, detail);
}

/// Writes what a batch of changes has noted, in their order.
pub(super) async fn write(connection: &mut Connection, notes: &[Note]) -> Result<(), StoreError> {
    for chunk in notes.chunks(ROWS_IN_A_STATEMENT) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO audit (time, actor, action, object, detail) ");
        insert.push_values(chunk, |mut values, note| {
            values.push_bind(row::integer(note.time.0)).push_bind(&note.actor).push_bind(note.action);
            values.push_bind(&note.object).push_bind(&note.detail);
        });
        // Seldom are there as many again.
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

fn read(row: &SqliteRow) -> Result<AuditRecord, StoreError> {
    let text = |column| row::text(row, column, |text| Ok::<_, ()>(text.to_owned()));
    Ok(AuditRecord {
        id: row::number(row, "id")?,
        time: row::seconds(row, "time")?,
        actor: text("actor")?,
        action: text("action")?,
        object: text("object")?,
        detail: row::text(row, "detail", |text| serde_json::from_str(text))?,
    })
}
