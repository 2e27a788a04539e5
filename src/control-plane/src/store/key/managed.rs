//! Lists of keys: those that a caller manages, all of them or a page. It knows who manages what only as statements; whether somebody may
//! ask is for [`crate::operations`].

use keygate_decision::AccountId;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use tokio_stream::StreamExt as _;

use super::read;
use crate::model::Key;
use crate::permission::Standing;
use crate::store::{Connection, StoreError, row};

/// Which keys to list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filter {
    All,
    Account(AccountId),
    Environment(u64),
}

/// The keys that a caller manages and that are asked for. Each kind of question has a statement of its own that an index answers: between
/// somebody's few keys there may be millions of others.
#[derive(Clone, Copy, Debug)]
enum Managed {
    Everybodys,
    Of(AccountId),
    In(u64),
    /// An account's own, and those of the environments that it owns.
    OwnAndOwned(AccountId),
    /// Those of an environment, for an account that may own it.
    InOwned(u64, AccountId),
}

/// One statement of each kind of [`Managed`]: `$1` is the account and `$2` the environment, `$3` and `$4` which part of the list.
macro_rules! managed {
    ($which:expr $(, $removed:ident)?) => {
        match $which {
            Managed::Everybodys => keys!($($removed)? "1 ORDER BY c.id LIMIT $3 OFFSET $4"),
            Managed::Of(_) => keys!($($removed)? "c.account = $1 ORDER BY c.id LIMIT $3 OFFSET $4"),
            Managed::In(_) => keys!($($removed)? "c.environment = $2 ORDER BY c.id LIMIT $3 OFFSET $4"),
            Managed::OwnAndOwned(_) => keys!($($removed)? "c.id IN (SELECT id FROM credential WHERE account = $1 UNION ALL SELECT o.id \
                FROM membership m JOIN credential o ON o.environment = m.environment WHERE m.account = $1 AND m.role = 'owner') \
                ORDER BY c.id LIMIT $3 OFFSET $4"),
            Managed::InOwned(..) => keys!($($removed)? "c.environment = $2 AND EXISTS (SELECT 1 FROM membership m \
                WHERE m.environment = $2 AND m.account = $1 AND m.role = 'owner') ORDER BY c.id LIMIT $3 OFFSET $4"),
        }
    };
}

impl Managed {
    /// What that is; `None` if the caller manages none of what is asked for.
    fn of(standing: &Standing, filter: Filter) -> Option<Self> {
        if standing.sees_all() {
            return Some(match filter {
                Filter::All => Self::Everybodys,
                Filter::Account(account) => Self::Of(account),
                Filter::Environment(number) => Self::In(number),
            });
        }
        let own = standing.account()?;
        match filter {
            Filter::All => Some(Self::OwnAndOwned(own)),
            Filter::Account(account) => (account == own).then_some(Self::Of(own)),
            Filter::Environment(number) => Some(Self::InOwned(number, own)),
        }
    }

    /// The part of them that is asked for: at most so many from some place on.
    fn select(self, (most, start): (i64, i64)) -> SqliteQuery {
        self.bind(sqlx::query(managed!(self)), most, start)
    }

    /// Those that were removed and not purged yet, all of them.
    fn select_removed(self) -> SqliteQuery {
        self.bind(sqlx::query(managed!(self, removed)), ALL.0, ALL.1)
    }

    fn bind(self, query: SqliteQuery, most: i64, start: i64) -> SqliteQuery {
        let (account, environment) = match self {
            Self::Everybodys => (None, None),
            Self::Of(account) | Self::OwnAndOwned(account) => (Some(account), None),
            Self::In(number) => (None, Some(number)),
            Self::InOwned(number, account) => (Some(account), Some(number)),
        };
        query.bind(account.map(|account| row::integer(account.0))).bind(environment.map(row::integer)).bind(most).bind(start)
    }
}

type SqliteQuery = Query<'static, Sqlite, SqliteArguments>;

/// All that there is, for [`Managed::select`].
const ALL: (i64, i64) = (-1, 0);

/// The keys that a caller manages, oldest first: all for an admin; a user's own and those of environments that the user owns.
pub(crate) async fn list(connection: &mut Connection, standing: &Standing, filter: Filter) -> Result<Vec<Key>, StoreError> {
    let Some(managed) = Managed::of(standing, filter) else { return Ok(Vec::new()) };
    read_all(connection, managed.select(ALL)).await
}

/// Some of what [`list`] gives: at most so many from this place on, and how many there are in all.
pub(crate) async fn page(
    connection: &mut Connection,
    standing: &Standing,
    filter: Filter,
    start: usize,
    most: usize,
) -> Result<(Vec<Key>, usize), StoreError> {
    let Some(managed) = Managed::of(standing, filter) else { return Ok((Vec::new(), 0)) };
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let keys = read_all(connection, managed.select((number(most), number(start)))).await?;
    let count = format!("SELECT count(*) AS number FROM ({})", managed!(managed));
    // Nothing but the statements above are in it.
    let count = managed.bind(sqlx::query(sqlx::AssertSqlSafe(count)), ALL.0, ALL.1);
    let total = row::number(&count.fetch_one(connection).await?, "number")?;
    Ok((keys, usize::try_from(total).unwrap_or(usize::MAX)))
}

/// As [`list`], one after the other.
pub(crate) async fn each(
    connection: &mut Connection,
    standing: &Standing,
    filter: Filter,
    take: impl FnMut(Key),
) -> Result<(), StoreError> {
    let Some(managed) = Managed::of(standing, filter) else { return Ok(()) };
    take_all(connection, managed.select(ALL), take).await
}

/// As [`each`], those that were removed and not purged yet.
pub(crate) async fn each_removed(
    connection: &mut Connection,
    standing: &Standing,
    filter: Filter,
    take: impl FnMut(Key),
) -> Result<(), StoreError> {
    let Some(managed) = Managed::of(standing, filter) else { return Ok(()) };
    take_all(connection, managed.select_removed(), take).await
}

async fn take_all(connection: &mut Connection, query: SqliteQuery, mut take: impl FnMut(Key)) -> Result<(), StoreError> {
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.next().await {
        take(read(&row?)?);
        // Rows may come as fast as they are asked for, and others want the thread, too.
        tokio::task::coop::consume_budget().await;
    }
    Ok(())
}

async fn read_all(connection: &mut Connection, query: SqliteQuery) -> Result<Vec<Key>, StoreError> {
    // One by one: a row takes many times what is kept of it.
    query.fetch(connection).map(|row| read(&row?)).collect().await
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::api::Scratch;
    use crate::clock::Clock;
    use crate::store::{DataFolder, Store};

    #[tokio::test]
    async fn whoever_lists_their_own_keys_does_not_wait_for_those_of_others() {
        let scratch = Scratch::new();
        let folder = DataFolder::create(scratch.path()).unwrap();
        let (_store, mut writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
        let account = AccountId(1);
        let own = [Managed::Of(account), Managed::In(1), Managed::OwnAndOwned(account), Managed::InOwned(1, account)];
        for (managed, statement) in own.iter().flat_map(|own| [(own, managed!(own)), (own, managed!(own, removed))]) {
            let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            let steps = managed.bind(plan, ALL.0, ALL.1).fetch_all(writer.connection().await.unwrap()).await.unwrap();
            let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
            assert!(!steps.is_empty() && !steps.iter().any(|step| step.starts_with("SCAN")), "{managed:?}: {steps:?}");
        }
    }
}
