//! What is done with keys, and with tokens, which are keys in another form. What is presented never changes; of keys in the strict sense
//! only inactive ones can be deleted.

use keygate_decision::key::KeyPair;
use keygate_decision::{Access, Digest, EnvironmentId, Grant, KeyId};

use super::{Missing, Refusal, accounts, environments, require};
use crate::model::{Account, AccountRef, Form, Key, KeyHolder, Limit, Purpose, State};
use crate::name::{Description, Label, Lifetime, Name};
use crate::permission::{Action, Caller, Standing};
use crate::store::key::{Filter, NewKey};
use crate::store::{Change, Connection, compile, environment, key};
use crate::supplied::SuppliedSecret;

/// For whom a key is made.
#[derive(Clone, Debug)]
pub(crate) enum HolderRef {
    Account(AccountRef),
    Environment(EnvironmentId),
}

impl HolderRef {
    /// The one for whom a caller makes keys unless it says otherwise.
    pub(crate) fn of(caller: &Caller) -> Self {
        match &caller.standing {
            Standing::Admin(account) | Standing::User(account) => Self::Account(AccountRef::Id(*account)),
            Standing::Environment(own) | Standing::Limited(_, own) => Self::Environment(own.clone()),
        }
    }
}

/// What someone says of a key to be made.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) holder: HolderRef,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) lifetime: Option<Lifetime>,
}

/// Makes a key of this pair. Only the pair's digest and access key are stored.
pub(crate) async fn create(change: &mut Change<'_>, caller: &Caller, wish: Wish, pair: &KeyPair) -> Result<Key, Refusal> {
    make(change, caller, wish, Label::from(&pair.access), pair.digest()).await
}

/// Makes a key of halves of which an admin brought along one or both.
pub(crate) async fn create_supplied(
    change: &mut Change<'_>,
    caller: &Caller,
    wish: Wish,
    access: Label,
    secret: &SuppliedSecret,
) -> Result<Key, Refusal> {
    require(caller, Action::SupplySecret, || Missing::key("here"))?;
    if key::is_taken(change.connection(), &access).await? {
        let message = "another key or token has it (case does not matter); choose another, or delete that one first";
        return Err(Refusal::conflict("access_key_taken", Some("accessKey"), message));
    }
    let digest = secret.digest(&access);
    if key::is_used(change.connection(), &digest).await? {
        let message = "a key of this access key and this secret was deleted; what is deleted never passes again";
        return Err(Refusal::conflict("secret_used", Some("secretKey"), message));
    }
    make(change, caller, wish, access, digest).await
}

async fn make(change: &mut Change<'_>, caller: &Caller, wish: Wish, access: Label, digest: Digest) -> Result<Key, Refusal> {
    let holder = match &wish.holder {
        HolderRef::Account(reference) => {
            let account = holding_account(change.connection(), caller, reference).await?;
            KeyHolder::Account { id: account.id, name: account.name }
        }
        HolderRef::Environment(id) => {
            let found = environments::find(change.connection(), caller, id, Action::ManageEnvironment).await;
            let (environment, _) = found.map_err(|refusal| refusal.in_field("environment"))?;
            KeyHolder::Environment { number: environment.number, id: environment.id }
        }
    };
    let Wish { name, description, lifetime, .. } = wish;
    let expires = lifetime.map(|lifetime| lifetime.end(change.now()));
    Ok(key::create(change, NewKey { digest, form: Form::Pair(access), holder, limit: None, name, description, expires }).await?)
}

/// What someone says of a token to be made.
#[derive(Clone, Debug)]
pub(crate) struct TokenWish {
    pub(crate) account: AccountRef,
    /// Its form, with what of it is no secret; not [`Form::Pair`].
    pub(crate) form: Form,
    /// Of all that is presented.
    pub(crate) digest: Digest,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) lifetime: Option<Lifetime>,
    /// The one environment that it is limited to, of those that its account reaches.
    pub(crate) limit: Option<EnvironmentId>,
}

/// So many tokens an account may have. Each of them takes room in every proxy, and programs that ask for one more each time never end.
const MOST_TOKENS: u64 = 10_000;

/// Makes a token of an account.
pub(crate) async fn create_token(change: &mut Change<'_>, caller: &Caller, wish: TokenWish) -> Result<Key, Refusal> {
    let account = holding_account(change.connection(), caller, &wish.account).await?;
    if key::count_tokens(change.connection(), account.id).await? >= MOST_TOKENS {
        let message = format!("{} has {MOST_TOKENS} tokens, and no account has more; delete some that nobody uses", account.name);
        return Err(Refusal::conflict("too_many_tokens", None, message));
    }
    let holder = KeyHolder::Account { id: account.id, name: account.name };
    let label = wish.form.label();
    if matches!(wish.form, Form::Named(_)) && key::is_taken(change.connection(), label).await? {
        let message = format!("there is a key or token {} already; choose another name or delete that one first", label.as_str());
        return Err(Refusal::conflict("name_taken", Some("name"), message));
    }
    let limit = match &wish.limit {
        None => None,
        Some(id) => {
            let found = environments::find(change.connection(), caller, id, Action::SeeEnvironment).await;
            let (environment, _) = found.map_err(|refusal| refusal.in_field("environment"))?;
            Some(Limit { number: environment.number, id: environment.id })
        }
    };
    let expires = wish.lifetime.map(|lifetime| lifetime.end(change.now()));
    let (form, digest, name, description) = (wish.form, wish.digest, wish.name, wish.description);
    Ok(key::create(change, NewKey { digest, form, holder, limit, name, description, expires }).await?)
}

async fn holding_account(connection: &mut Connection, caller: &Caller, reference: &AccountRef) -> Result<Account, Refusal> {
    let account = accounts::find(connection, caller, reference, Action::ManageAccountKey).await;
    account.map_err(|refusal| refusal.in_field("account"))
}

/// Makes a key for a holder, without asking who may.
pub(crate) async fn issue(
    change: &mut Change<'_>,
    holder: KeyHolder,
    name: Name,
    description: Option<Description>,
    lifetime: Option<Lifetime>,
    pair: &KeyPair,
) -> Result<Key, crate::store::StoreError> {
    let expires = lifetime.map(|lifetime| lifetime.end(change.now()));
    let form = Form::Pair(Label::from(&pair.access));
    let new = NewKey { digest: pair.digest(), form, holder, limit: None, name, description, expires };
    key::create(change, new).await
}

/// The keys that the caller manages, or those of one holder.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller, holder: Option<HolderRef>) -> Result<Vec<Key>, Refusal> {
    let filter = filter(connection, caller, holder).await?;
    Ok(key::list(connection, &caller.standing, filter).await?)
}

/// Some of what [`list`] gives: at most so many from this place on, and how many there are in all.
pub(crate) async fn page(
    connection: &mut Connection,
    caller: &Caller,
    holder: Option<HolderRef>,
    start: usize,
    most: usize,
) -> Result<(Vec<Key>, usize), Refusal> {
    let filter = filter(connection, caller, holder).await?;
    Ok(key::page(connection, &caller.standing, filter, start, most).await?)
}

/// As [`list`], one after the other: there may be millions.
pub(crate) async fn each(
    connection: &mut Connection,
    caller: &Caller,
    holder: Option<HolderRef>,
    take: impl FnMut(Key),
) -> Result<(), Refusal> {
    let filter = filter(connection, caller, holder).await?;
    Ok(key::each(connection, &caller.standing, filter, take).await?)
}

/// As [`each`], those that were removed and not purged yet.
pub(crate) async fn each_removed(
    connection: &mut Connection,
    caller: &Caller,
    holder: Option<HolderRef>,
    take: impl FnMut(Key),
) -> Result<(), Refusal> {
    let filter = filter(connection, caller, holder).await?;
    Ok(key::each_removed(connection, &caller.standing, filter, take).await?)
}

async fn filter(connection: &mut Connection, caller: &Caller, holder: Option<HolderRef>) -> Result<Filter, Refusal> {
    Ok(match &holder {
        None => Filter::All,
        Some(HolderRef::Account(reference)) => Filter::Account(holding_account(connection, caller, reference).await?.id),
        Some(HolderRef::Environment(id)) => {
            let found = environments::find(connection, caller, id, Action::ManageEnvironment).await;
            Filter::Environment(found.map_err(|refusal| refusal.in_field("environment"))?.0.number)
        }
    })
}

/// Finds a key.
pub(crate) async fn show(connection: &mut Connection, caller: &Caller, id: KeyId) -> Result<Key, Refusal> {
    find(connection, caller, id).await
}

/// What proxies know of a key, with the environments that it reaches by name.
pub(crate) async fn grant(
    connection: &mut Connection,
    caller: &Caller,
    id: KeyId,
) -> Result<(Grant, Vec<(EnvironmentId, Access)>), Refusal> {
    let key = find(connection, caller, id).await?;
    let without = || {
        let inactive =
            if key.state == State::Inactive { format!("key {} is", id.0) } else { format!("key {}'s account is", id.0) };
        let message = format!("{inactive} inactive: no proxy knows the key, and a request that comes with it gets 401");
        Refusal::conflict("no_grant", None, message)
    };
    compile::grant_of(connection, id).await?.ok_or_else(without)
}

/// Gives a key another name or description; what is `None` stays.
pub(crate) async fn edit(
    change: &mut Change<'_>,
    caller: &Caller,
    id: KeyId,
    name: Option<Name>,
    description: Option<Option<Description>>,
) -> Result<Key, Refusal> {
    let key = find(change.connection(), caller, id).await?;
    if name.is_none() && description.is_none() {
        return Ok(key);
    }
    let name = name.unwrap_or_else(|| key.name.clone());
    let description = description.unwrap_or_else(|| key.description.clone());
    Ok(key::edit(change, &key, name, description).await?)
}

/// Lets a key pass again.
pub(crate) async fn activate(change: &mut Change<'_>, caller: &Caller, id: KeyId) -> Result<Key, Refusal> {
    let key = find(change.connection(), caller, id).await?;
    match key.state {
        State::Active => Ok(key),
        State::Inactive => Ok(key::set_state(change, &key, State::Active).await?),
    }
}

/// Stops a key.
pub(crate) async fn deactivate(change: &mut Change<'_>, caller: &Caller, id: KeyId) -> Result<Key, Refusal> {
    let key = find(change.connection(), caller, id).await?;
    match key.state {
        State::Inactive => Ok(key),
        State::Active => Ok(key::set_state(change, &key, State::Inactive).await?),
    }
}

/// Removes a key that is inactive, or a token.
pub(crate) async fn delete(change: &mut Change<'_>, caller: &Caller, id: KeyId) -> Result<(), Refusal> {
    let key = find(change.connection(), caller, id).await?;
    match (key.form.purpose(), key.state) {
        (Purpose::Token, _) | (_, State::Inactive) => Ok(key::remove(change, &key).await?),
        (_, State::Active) => {
            let message = format!("key {} is active; deactivate it first, only an inactive key can be deleted", id.0);
            Err(Refusal::conflict("key_active", None, message))
        }
    }
}

/// Finds a key, also one that was removed and not purged yet.
pub(crate) async fn show_removed(connection: &mut Connection, caller: &Caller, id: KeyId) -> Result<Key, Refusal> {
    let found = match key::find(connection, id).await? {
        Some(key) => Some(key),
        None => key::find_removed(connection, id).await?,
    };
    permit(connection, caller, id, found).await
}

/// Puts a removed key out of sight.
pub(crate) async fn purge(change: &mut Change<'_>, caller: &Caller, id: KeyId) -> Result<(), Refusal> {
    let found = key::find_removed(change.connection(), id).await?;
    let key = permit(change.connection(), caller, id, found).await?;
    Ok(key::purge(change, &key).await?)
}

async fn find(connection: &mut Connection, caller: &Caller, id: KeyId) -> Result<Key, Refusal> {
    let found = key::find(connection, id).await?;
    permit(connection, caller, id, found).await
}

async fn permit(connection: &mut Connection, caller: &Caller, id: KeyId, found: Option<Key>) -> Result<Key, Refusal> {
    let missing = || Missing::key(id.0);
    let key = found.ok_or_else(missing)?;
    let action = match &key.holder {
        KeyHolder::Account { id, .. } => Action::ManageAccountKey(*id),
        KeyHolder::Environment { number, .. } => {
            Action::ManageEnvironmentKey(environment::tie(connection, &caller.standing, *number).await?)
        }
    };
    require(caller, action, missing)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use keygate_decision::AccountId;

    use super::*;
    use crate::api::Scratch;
    use crate::clock::Clock;
    use crate::permission::Standing;
    use crate::store::{Actor, DataFolder, Store};

    #[tokio::test]
    async fn an_account_has_many_tokens_and_not_one_more() {
        let scratch = Scratch::new();
        let folder = DataFolder::create(scratch.path()).unwrap();
        let (store, mut writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
        let connection = writer.connection().await.unwrap();
        let fill = "INSERT INTO credential (digest, purpose, access_key, account, name, state, created) \
                    SELECT randomblob(32), $1, $1 || n, $2, 'k', $3, 1 FROM \
                    (WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $4) SELECT n FROM n)";
        for (id, name) in [(1_i64, "busy"), (2, "other")] {
            let query = sqlx::query("INSERT INTO account (id, name, kind, state, created) VALUES ($1, $2, 'user', 'active', 1)");
            query.bind(id).bind(name).execute(&mut *connection).await.unwrap();
        }
        // Neither keys nor what is gone nor what others have counts.
        let most = i64::try_from(MOST_TOKENS).unwrap();
        for (purpose, account, state, number) in
            [("token", 1_i64, "active", most - 1), ("key", 1, "active", 5), ("token", 1, "removed", 5)]
        {
            let query = sqlx::query(fill).bind(purpose).bind(account).bind(state).bind(number);
            query.execute(&mut *connection).await.unwrap();
        }
        let mut writer = writer.spawn(|_, _| Ok(())).unwrap();
        let make = async |account: u64, name: &'static str| {
            let made = store.write(Actor::Local, async move |change: &mut Change<'_>| {
                let account = AccountId(account);
                let caller = Caller { key: KeyId(1), purpose: Purpose::Key, standing: Standing::User(account) };
                let wish = TokenWish {
                    account: AccountRef::Id(account),
                    form: Form::Named(Label::parse(name).unwrap()),
                    digest: Digest::of(name),
                    name: Name::parse(name).unwrap(),
                    description: None,
                    lifetime: None,
                    limit: None,
                };
                create_token(change, &caller, wish).await
            });
            made.await.map(|written| written.value)
        };
        let last = make(1, "last").await.unwrap();
        let refused = make(1, "further").await.unwrap_err().to_string();
        assert!(refused.contains("busy has 10000 tokens") && refused.contains("delete"), "{refused}");
        make(2, "of-another").await.unwrap();
        let delete = async move |change: &mut Change<'_>| key::remove(change, &last).await;
        store.write::<_, crate::store::StoreError, _>(Actor::Local, delete).await.unwrap();
        make(1, "further").await.unwrap();
        store.stop().await;
        writer.ended().await.unwrap();
    }
}
