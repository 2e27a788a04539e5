//! What the writer hands to the push: every revision, in order, and always the table that storage would compile afresh.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::push::EncodedGrant;
use crate::store::compile;

async fn connect(plane: &Plane) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(plane.database())).await.unwrap()
}

async fn assert_table_is_fresh(plane: &Plane) {
    let compiled: HashMap<_, _> = compile::table(&mut connect(plane).await).await.unwrap().into_iter().collect();
    assert_eq!(plane.pushed.lock().unwrap().table, compiled);
}

fn assert_revisions_are_dense(plane: &Plane) -> u64 {
    let revisions: Vec<u64> = plane.pushed.lock().unwrap().revisions.iter().map(|(revision, _)| *revision).collect();
    assert!(revisions.iter().copied().eq(1..=revisions.len() as u64), "{revisions:?}");
    revisions.len() as u64
}

#[tokio::test]
async fn what_was_pushed_is_what_storage_holds() {
    let plane = Plane::start().await;
    let (key, _) = plane.account("alice", "user").await;
    plane.account("bob", "user").await;
    plane.account("carol", "admin").await;
    for environment in ["1a5", "1a6", "1a7"] {
        plane.environment(environment).await;
        plane.member(environment, "alice", "readonly").await;
        plane.member(environment, "bob", "member").await;
        plane.key(json!({"environment": environment, "name": "machine", "ttlSeconds": 60})).await;
    }
    for (method, path) in [
        ("DELETE", "environments/1a6"),
        ("POST", "accounts/bob/deactivate"),
        ("DELETE", "environments/1a7/members/alice"),
        ("POST", "accounts/carol/deactivate"),
        ("POST", "accounts/carol/activate"),
    ] {
        plane.call(&plane.admin, method, path, None).await;
        assert_table_is_fresh(&plane).await;
    }
    plane.admin("POST", &format!("keys/{key}/deactivate"), None, 200).await;
    plane.admin("DELETE", &format!("keys/{key}"), None, 204).await;
    plane.admin("DELETE", "accounts/bob", None, 204).await;
    assert_table_is_fresh(&plane).await;
    assert_revisions_are_dense(&plane);
}

#[tokio::test]
async fn changes_made_together_are_committed_together_and_spoil_no_other() {
    let plane = Plane::start().await;
    let plane = &plane;
    let before = assert_revisions_are_dense(plane);
    let wish = || Some(json!({"account": "root", "name": "many"}));
    let taken = || Some(json!({"name": "ROOT", "kind": "user"}));
    let mut answers = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (path, body) = if number % 3 == 0 { ("accounts", taken()) } else { ("keys", wish()) };
        let request = plane.client.post(format!("{}/keygate/v1/{path}", plane.url)).bearer_auth(&plane.admin).json(&body);
        running.spawn(read(request));
    }
    while let Some(answer) = running.join_next().await {
        answers.push(answer.unwrap());
    }
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((made.len(), refused.len()), (200, 100));
    assert!(refused.iter().all(|answer| answer.status == 409 && answer.body["field"] == "name"));
    let mut revisions: Vec<u64> = made.iter().map(|answer| answer.revision.unwrap()).collect();
    revisions.sort_unstable();
    assert!(revisions.iter().copied().eq(before + 1..=before + 200), "each change has a revision of its own");
    for answer in &made {
        assert!(plane.grant(answer.body["token"].as_str().unwrap()).is_some());
    }
    assert_eq!(assert_revisions_are_dense(plane), before + 200);
    assert_table_is_fresh(plane).await;
}

#[tokio::test]
async fn a_failed_operation_leaves_no_trace() {
    let plane = Plane::start().await;
    let failing = async move |change: &mut Change<'_>| {
        account::create(change, &AccountName::parse("ghost").unwrap(), Kind::User).await?;
        Err::<(), _>(StoreError::Stopped)
    };
    assert!(plane.store.write(Actor::Local, failing).await.is_err());
    plane.admin("GET", "accounts/ghost", None, 404).await;
    let ghosts = sqlx::query("SELECT id FROM audit WHERE detail LIKE '%ghost%'");
    assert!(ghosts.fetch_all(&mut connect(&plane).await).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_change_is_in_the_audit_record_without_its_secret() {
    use sqlx::Row as _;
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    let (id, token) = plane.key(json!({"environment": "1a5", "name": "machine"})).await;
    plane.admin("POST", &format!("keys/{id}/deactivate"), None, 200).await;
    let rows = sqlx::query("SELECT time, actor, action, object, detail FROM audit ORDER BY id");
    let rows = rows.fetch_all(&mut connect(&plane).await).await.unwrap();
    let record: Vec<(String, String, String)> = rows.iter().map(|row| (row.get(1), row.get(2), row.get(3))).collect();
    let expected = [
        ("local", "account.create", "account 1"),
        ("local", "key.create", "key 1"),
        ("account 1 key 1", "environment.create", "environment 1a5"),
        ("account 1 key 1", "key.create", "key 2"),
        ("account 1 key 1", "key.deactivate", "key 2"),
    ];
    assert_eq!(record, expected.map(|(actor, action, object)| (actor.to_owned(), action.to_owned(), object.to_owned())));
    let secret = keygate_decision::key::KeyPair::parse_token(&token).unwrap();
    assert!(rows.iter().all(|row| !row.get::<String, _>(4).contains(secret.secret.expose())));
    assert!(rows.iter().all(|row| row.get::<i64, _>(0) == START as i64));
}

#[tokio::test]
async fn an_epoch_ends_where_the_next_one_begins() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    let ended_at = assert_revisions_are_dense(&plane);
    let mut connection = connect(&plane).await;
    let start = history::begin_epoch(&mut connection, [7; 16]).await.unwrap();
    assert_eq!((start.history.revision, start.history.epochs.last().map(|epoch| epoch.ended_at)), (ended_at, Some(ended_at)));
    let revisions: Vec<u64> = start.history.changes.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, [1, 2]);
    let encoded = |(digest, grant): (&Digest, &Grant)| (*digest, EncodedGrant::from(grant));
    let pushed: HashMap<_, _> = plane.pushed.lock().unwrap().table.iter().map(encoded).collect();
    assert_eq!(pushed, start.table.into_iter().collect());
    let start = history::begin_epoch(&mut connection, [8; 16]).await.unwrap();
    assert_eq!(start.history.epochs.last().map(|epoch| epoch.epoch), Some([7; 16]));
}

#[tokio::test]
async fn a_proxy_is_remembered_until_it_is_forgotten() {
    let plane = Plane::start().await;
    let proxy = |limit| crate::push::KnownProxy { name: "edge-1".to_owned(), staleness_limit_seconds: limit };
    let register = plane.store.proxy_register();
    register(proxy(60)).await.unwrap();
    register(proxy(3600)).await.unwrap();
    let start = history::begin_epoch(&mut connect(&plane).await, [7; 16]).await.unwrap();
    assert_eq!(start.history.proxies, [proxy(3600)]);
    let forget = async |change: &mut Change<'_>| crate::store::proxy::forget(change, "edge-1").await;
    plane.store.write::<_, StoreError, _>(Actor::Local, forget).await.unwrap();
    let start = history::begin_epoch(&mut connect(&plane).await, [8; 16]).await.unwrap();
    assert_eq!(start.history.proxies, []);
}

#[tokio::test]
async fn a_revision_is_awaited_by_those_who_know_it() {
    let plane = Plane::start().await;
    let revision = plane.key(json!({"account": "root", "name": "x"})).await;
    let newest = assert_revisions_are_dense(&plane);
    assert!(!revision.0.is_empty());
    let answer = plane.admin("GET", &format!("revisions/{newest}?wait=300"), None, 200).await.body;
    assert_eq!((&answer["revision"], &answer["missing"]), (&json!(newest), &json!([])), "no proxy is known, none is missing");
    assert!(plane.admin("GET", "proxies", None, 200).await.body["data"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn the_writer_outlives_a_batch_that_fails() {
    let plane = Plane::start().await;
    let mut connection = connect(&plane).await;
    let wish = || Some(json!({"account": "root", "name": "x"}));
    sqlx::query("ALTER TABLE change RENAME TO hidden").execute(&mut connection).await.unwrap();
    let answer = plane.admin("POST", "keys", wish(), 503).await;
    assert_eq!(answer.body["code"], "unavailable");
    assert!(!answer.body.to_string().contains("hidden"), "the cause is for the log: {}", answer.body);
    sqlx::query("ALTER TABLE hidden RENAME TO change").execute(&mut connection).await.unwrap();
    plane.admin("POST", "keys", wish(), 201).await;
    assert_revisions_are_dense(&plane);
    assert_table_is_fresh(&plane).await;
}

/// Deactivates a key as a commit does that is reported as failed and has succeeded.
async fn commit_unseen(connection: &mut SqliteConnection, key: &str) {
    sqlx::query("UPDATE credential SET state = 'inactive' WHERE id = $1").bind(key).execute(&mut *connection).await.unwrap();
    for statement in [
        "INSERT INTO change (revision, digest) SELECT revision + 1, (SELECT digest FROM credential WHERE id = $1) FROM head",
        "UPDATE head SET revision = revision + 1",
    ] {
        sqlx::query(statement).bind(key).execute(&mut *connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_revision_that_nobody_saw_committed_is_published_before_the_next() {
    let plane = Plane::start().await;
    let (id, token) = plane.key(json!({"account": "root", "name": "lost"})).await;
    let mut connection = connect(&plane).await;
    let newest = history::revision(&mut connection).await.unwrap();
    commit_unseen(&mut connection, &id).await;
    assert!(plane.grant(&token).is_some());
    let again = plane.admin("POST", &format!("keys/{id}/deactivate"), None, 200).await;
    assert_eq!(again.revision, Some(newest + 1));
    assert_eq!(plane.grant(&token), None);
    assert_eq!(assert_revisions_are_dense(&plane), newest + 1);
}

#[tokio::test]
async fn a_revision_is_never_given_out_twice_whatever_is_forgotten() {
    let plane = Plane::start().await;
    plane.key(json!({"account": "root", "name": "one"})).await;
    let newest = assert_revisions_are_dense(&plane);
    sqlx::query("DELETE FROM change").execute(&mut connect(&plane).await).await.unwrap();
    let (_, token) = plane.key(json!({"account": "root", "name": "two"})).await;
    assert_eq!(assert_revisions_are_dense(&plane), newest + 1);
    assert!(plane.grant(&token).is_some());
}

#[tokio::test]
async fn a_change_of_very_many_keys_is_one_revision() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    sqlx::query(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500) \
         INSERT INTO credential (digest, access_key, account, name, state, created) \
         SELECT randomblob(32), printf('%020d', n), 2, 'many', 'active', 1 FROM n",
    )
    .execute(&mut connect(&plane).await)
    .await
    .unwrap();
    let off = plane.admin("POST", "accounts/alice/deactivate", None, 200).await;
    assert_eq!(plane.pushed.lock().unwrap().revisions.last(), Some(&(off.revision.unwrap(), 2501)));
    plane.admin("POST", "accounts/alice/activate", None, 200).await;
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "owner").await;
    assert_table_is_fresh(&plane).await;
    plane.admin("DELETE", "environments/1a5", None, 204).await;
    assert_table_is_fresh(&plane).await;
    assert_revisions_are_dense(&plane);
}

#[tokio::test]
async fn storage_that_fails_is_not_ready_until_it_works_again() {
    let plane = Plane::start().await;
    let ready = async || read(plane.client.get(format!("{}/readyz", plane.url))).await.status;
    let mut connection = connect(&plane).await;
    sqlx::query("ALTER TABLE change RENAME TO hidden").execute(&mut connection).await.unwrap();
    plane.admin("POST", "keys", Some(json!({"account": "root", "name": "x"})), 503).await;
    assert_eq!(ready().await, 503);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ready().await, 503, "trying again was no success");
    sqlx::query("ALTER TABLE hidden RENAME TO change").execute(&mut connection).await.unwrap();
    let back = async {
        while ready().await != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("ready again without another change");
}

#[tokio::test]
async fn a_revision_that_nobody_saw_committed_is_published_without_another_change() {
    let plane = Plane::start().await;
    let (id, token) = plane.key(json!({"account": "root", "name": "lost"})).await;
    let mut connection = connect(&plane).await;
    // The batch that fails is the one whose commit is in doubt.
    sqlx::query("ALTER TABLE change RENAME TO hidden").execute(&mut connection).await.unwrap();
    plane.admin("POST", &format!("keys/{id}/deactivate"), None, 503).await;
    sqlx::query("ALTER TABLE hidden RENAME TO change").execute(&mut connection).await.unwrap();
    commit_unseen(&mut connection, &id).await;
    let published = async {
        while plane.grant(&token).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), published).await.expect("the writer tries again by itself");
    assert_revisions_are_dense(&plane);
}

#[tokio::test]
async fn a_change_that_cannot_be_published_is_no_success_and_ends_the_writer() {
    let mut plane = Plane::start().await;
    plane.app.publisher.publish(1000, Vec::new()).unwrap();
    plane.admin("POST", "keys", Some(json!({"account": "root", "name": "x"})), 503).await;
    let end = plane.writer.ended().await.unwrap_err();
    assert!(end.to_string().contains("already at revision 1000"), "{end}");
    plane.admin("POST", "keys", Some(json!({"account": "root", "name": "x"})), 503).await;
    assert_eq!(read(plane.client.get(format!("{}/readyz", plane.url))).await.status, 503);
}

#[tokio::test]
async fn a_writer_that_dies_is_noticed() {
    let mut plane = Plane::start().await;
    let died = plane.store.write::<(), StoreError, _>(Actor::Local, async |_: &mut Change<'_>| panic!("on purpose"));
    assert!(died.await.is_err());
    let end = plane.writer.ended().await.unwrap_err();
    assert!(end.to_string().contains("died"), "{end}");
}

#[tokio::test]
async fn a_stop_is_not_lost_with_a_batch_that_fails() {
    let mut plane = Plane::start().await;
    sqlx::query("ALTER TABLE change RENAME TO hidden").execute(&mut connect(&plane).await).await.unwrap();
    let change = plane.store.write(Actor::Local, async |_: &mut Change<'_>| Ok::<_, StoreError>(()));
    let (changed, ()) = tokio::join!(change, plane.store.stop());
    assert!(changed.is_err());
    tokio::time::timeout(Duration::from_secs(5), plane.writer.ended()).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_key_proves_its_own_revocation() {
    let plane = Plane::start().await;
    let (id, token) = plane.account("alice", "user").await;
    let known = crate::push::KnownProxy { name: "edge-1".to_owned(), staleness_limit_seconds: 60 };
    plane.store.proxy_register()(known).await.unwrap();
    let answer = plane.call(&token, "POST", &format!("keys/{id}/deactivate?wait=1"), None).await;
    assert_eq!((answer.status, answer.body["state"].as_str()), (200, Some("inactive")), "{}", answer.body);
    for header in ["keygate-acknowledged", "keygate-closed", "keygate-missing"] {
        assert!(answer.headers.contains_key(header), "{header}");
    }
    let plain = plane.admin("POST", &format!("keys/{id}/activate"), None, 200).await;
    assert!(!plain.headers.contains_key("keygate-missing"));
}
