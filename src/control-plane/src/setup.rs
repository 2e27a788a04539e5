//! `keygate init` and `keygate recover`: what is done on the data folder itself, by whoever may read it, while no server runs. They make
//! an admin's key and print it, once.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use keygate_decision::key::KeyPair;

use crate::api::created_key;
use crate::cli::{OutputFormat, print_key_created};
use crate::clock::Clock;
use crate::model::{Account, AccountRef, Key, KeyHolder, Kind, State};
use crate::name::{AccountName, Name};
use crate::operations::keys;
use crate::random;
use crate::store::{Actor, Change, DataFolder, Store, account, history};

/// Where to begin, and with whom.
#[derive(Debug, clap::Args)]
pub(crate) struct InitOptions {
    /// The data folder; it is made if it does not exist
    #[arg(long, value_name = "DIR", env = "KEYGATE_DATA")]
    data: PathBuf,
    /// What the first admin is called
    #[arg(long, default_value = "admin", value_parser = AccountName::parse)]
    name: AccountName,
}

/// Which admin gets a new key.
#[derive(Debug, clap::Args)]
pub(crate) struct RecoverOptions {
    /// The data folder; stop the server that uses it first
    #[arg(long, value_name = "DIR", env = "KEYGATE_DATA")]
    data: PathBuf,
    /// The admin; made or activated if need be. Without it: the first active admin, else the first inactive one, else a new `admin`
    #[arg(long, value_name = "NAME", value_parser = AccountName::parse)]
    account: Option<AccountName>,
}

/// Creates the schema, an admin and the admin's key.
pub(crate) async fn init(options: InitOptions, output: OutputFormat) -> anyhow::Result<()> {
    let folder = DataFolder::create(&options.data)?;
    let (key, pair) = first_key(folder.database(), options.name).await.with_context(|| options.data.display().to_string())?;
    Ok(print_key_created(&created_key(&key, &pair), output)?)
}

/// Makes another key for an admin.
pub(crate) async fn recover(options: RecoverOptions, output: OutputFormat) -> anyhow::Result<()> {
    let folder = DataFolder::open(&options.data)?;
    let (key, pair) = new_key(folder.database(), options.account).await.with_context(|| options.data.display().to_string())?;
    Ok(print_key_created(&created_key(&key, &pair), output)?)
}

async fn first_key(database: &Path, name: AccountName) -> anyhow::Result<(Key, KeyPair)> {
    let made = make_key(database, "init", async move |change: &mut Change<'_>| {
        ensure!(!account::any(change.connection()).await?, "is initialized already; for a lost key run keygate recover");
        Ok(account::create(change, &name, Kind::Admin).await?)
    });
    made.await
}

async fn new_key(database: &Path, wanted: Option<AccountName>) -> anyhow::Result<(Key, KeyPair)> {
    let made = make_key(database, "recover", async move |change: &mut Change<'_>| {
        ensure!(account::any(change.connection()).await?, "is not initialized; run keygate init");
        let admin = match wanted {
            Some(name) => named_admin(change, name).await?,
            None => any_admin(change).await?,
        };
        match admin.state {
            State::Active => Ok(admin),
            State::Inactive => Ok(account::set_state(change, &admin, State::Active).await?),
        }
    });
    made.await
}

async fn named_admin(change: &mut Change<'_>, name: AccountName) -> anyhow::Result<Account> {
    match account::find(change.connection(), &AccountRef::Name(name.clone())).await? {
        Some(account) if account.kind == Kind::Admin => Ok(account),
        Some(_) => bail!("the account {name} is a user; name an admin, or a new account, with --account"),
        None => Ok(account::create(change, &name, Kind::Admin).await?),
    }
}

async fn any_admin(change: &mut Change<'_>) -> anyhow::Result<Account> {
    let mut admins = account::list(change.connection(), None).await?;
    admins.retain(|account| account.kind == Kind::Admin);
    // The sort is stable: of several, the oldest one comes first.
    admins.sort_by_key(|account| account.state != State::Active);
    match admins.into_iter().next() {
        Some(admin) => Ok(admin),
        None => named_admin(change, AccountName::parse("admin").map_err(anyhow::Error::msg)?).await,
    }
}

/// Makes a key for the admin that `choose` gives, in one change. No proxy is connected: they learn of it at the next start.
async fn make_key<F>(database: &Path, key_name: &str, choose: F) -> anyhow::Result<(Key, KeyPair)>
where
    F: AsyncFnOnce(&mut Change<'_>) -> anyhow::Result<Account> + Send + 'static,
{
    let (store, mut writer) = Store::open(database, Clock::system()).await?;
    history::end_epoch(writer.connection().await?).await?;
    let mut writer = writer.spawn(|_, _| Ok(()))?;
    let pair = random::key_pair()?;
    let name = Name::parse(key_name).map_err(anyhow::Error::msg)?;
    let stored = pair.clone();
    let written = store.write(Actor::Local, async move |change: &mut Change<'_>| {
        let admin = choose(change).await?;
        let holder = KeyHolder::Account { id: admin.id, name: admin.name };
        Ok::<_, anyhow::Error>(keys::issue(change, holder, name, None, None, &stored).await?)
    });
    let written = written.await;
    store.stop().await;
    writer.ended().await?;
    Ok((written?.value, pair))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::api::Scratch;
    use crate::store::caller;

    fn name(text: &str) -> AccountName {
        AccountName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_folder_is_initialized_once_and_for_its_owner_alone() {
        let scratch = Scratch::new();
        assert!(DataFolder::open(scratch.path()).is_err_and(|error| error.to_string().contains("keygate init")));
        let folder = DataFolder::create(scratch.path()).unwrap();
        let (key, pair) = first_key(folder.database(), name("root")).await.unwrap();
        assert!(matches!(&key.holder, KeyHolder::Account { name, .. } if name.as_str() == "root"));
        let again = first_key(folder.database(), name("other")).await.unwrap_err();
        assert!(again.to_string().contains("recover"), "{again}");

        let (store, _writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
        let now = store.clock().now();
        let caller = caller::identify(&mut store.read().await.unwrap(), &pair.digest(), now).await.unwrap();
        assert_eq!(caller.map(|caller| caller.key), Some(key.id));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(scratch.path()), mode(folder.database())), (0o700, 0o600));
    }

    #[tokio::test]
    async fn a_folder_in_use_is_left_alone() {
        let scratch = Scratch::new();
        let used = DataFolder::create(scratch.path()).unwrap();
        for second in [DataFolder::create(scratch.path()), DataFolder::open(scratch.path())] {
            assert!(second.is_err_and(|error| error.to_string().contains("another keygate uses")));
        }
        drop(used);
        assert!(DataFolder::open(scratch.path()).is_ok());
    }

    #[tokio::test]
    async fn recovery_ends_with_an_active_admin_and_a_key() {
        let scratch = Scratch::new();
        let folder = DataFolder::create(scratch.path()).unwrap();
        assert!(new_key(folder.database(), None).await.is_err_and(|error| error.to_string().contains("keygate init")));
        let (first, _) = first_key(folder.database(), name("root")).await.unwrap();
        let (second, _) = new_key(folder.database(), None).await.unwrap();
        assert_eq!(second.holder.account(), first.holder.account());
        assert_ne!(second.id, first.id);

        let (store, writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
        let mut writer = writer.spawn(|_, _| Ok(())).unwrap();
        let spoil = async |change: &mut Change<'_>| {
            account::create(change, &name("alice"), Kind::User).await?;
            let root = account::find(change.connection(), &AccountRef::Name(name("root"))).await?;
            account::set_state(change, &root.unwrap(), State::Inactive).await
        };
        store.write::<_, crate::store::StoreError, _>(Actor::Local, spoil).await.unwrap();
        store.stop().await;
        writer.ended().await.unwrap();

        let (third, _) = new_key(folder.database(), None).await.unwrap();
        assert_eq!(third.holder.account(), first.holder.account(), "the inactive admin is activated");
        let (fourth, _) = new_key(folder.database(), Some(name("backup"))).await.unwrap();
        assert_ne!(fourth.holder.account(), first.holder.account());
        assert!(
            new_key(folder.database(), Some(name("alice"))).await.is_err_and(|error| error.to_string().contains("is a user"))
        );
    }

    #[tokio::test]
    async fn what_is_recovered_is_no_revision_of_the_epoch_that_proxies_know() {
        let scratch = Scratch::new();
        let folder = DataFolder::create(scratch.path()).unwrap();
        first_key(folder.database(), name("root")).await.unwrap();
        let begin = async |epoch| {
            let (_store, mut writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
            history::begin_epoch(writer.connection().await.unwrap(), epoch).await.unwrap().history
        };
        let served = begin([1; 16]).await;
        new_key(folder.database(), None).await.unwrap();
        let after = begin([2; 16]).await;
        assert_eq!(after.revision, served.revision + 1);
        let known: Vec<_> = after.epochs.iter().map(|past| (past.epoch, past.ended_at)).collect();
        assert_eq!(known, [([1; 16], served.revision)]);
    }

    #[tokio::test]
    async fn data_of_a_newer_keygate_is_left_alone_and_named_once() {
        let scratch = Scratch::new();
        let folder = DataFolder::create(scratch.path()).unwrap();
        first_key(folder.database(), name("root")).await.unwrap();
        let (store, mut writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
        sqlx::query("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 2")
            .execute(writer.connection().await.unwrap())
            .await
            .unwrap();
        drop((store, writer, folder));
        let recovered = recover(RecoverOptions { data: scratch.path().to_owned(), account: None }, OutputFormat::Json).await;
        let message = format!("{:#}", recovered.unwrap_err());
        let path = scratch.path().display();
        assert_eq!(message, format!("{path}: made by a newer keygate; use that version or restore a backup"));
    }
}
