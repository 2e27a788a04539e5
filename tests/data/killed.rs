//! The control plane killed with -9, again and again, while clients make and revoke keys. CHANGES says how many changes, KILLS how often;
//! each by default so many that it takes some seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use harness::{Connection, Key, Protocol, Scratch, until};
use tokio::task::JoinSet;

use super::client::{Client, status};
use crate::edge::Edge;

const CLIENTS: usize = 4;

/// What a client knows of a key that it wished for.
struct Wish {
    name: String,
    /// Absent if no answer came.
    key: Option<Key>,
    revoked: Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revoked {
    No,
    Yes,
    /// It was asked for, and no answer came.
    Perhaps,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reported_done_holds_in_storage_and_at_the_edge_however_often_the_control_plane_is_killed() -> Result<()> {
    let (changes, kills) = (number("CHANGES", 1_000)?, number("KILLS", 6)?);
    let mut edge = Edge::start(1).await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client::admin(&edge.control_plane);
        clients.spawn(make_and_revoke(client, number, changes / CLIENTS, done.clone()));
    }
    for kill in 1..=kills {
        until("enough changes", async || Ok((done.load(Ordering::SeqCst) >= kill * changes / (kills + 1)).then_some(()))).await?;
        edge.control_plane.kill();
        edge.control_plane.serve().await?;
    }
    let mut wishes = Vec::new();
    while let Some(client) = clients.join_next().await {
        wishes.extend(client??);
    }
    let unanswered = wishes.iter().filter(|wish| wish.key.is_none() || wish.revoked == Revoked::Perhaps).count();
    println!("{} keys wished for, {kills} kills, {unanswered} without an answer", wishes.len());

    // The next one is later than all of these: when it is everywhere, they are.
    edge.control_plane.kill();
    edge.control_plane.serve().await?;
    edge.change(&["environment", "create", "--id", "1a6", "--name", "fence"]).await?;
    verify(&edge, &wishes).await?;
    backup_is_whole(&edge).await
}

/// Makes keys and revokes every second one. A change without an answer is not tried again.
async fn make_and_revoke(mut client: Client, number: usize, changes: usize, done: Arc<AtomicUsize>) -> Result<Vec<Wish>> {
    let mut wishes = Vec::new();
    let mut made = 0;
    while made < changes {
        let name = format!("{number}-{}", wishes.len());
        let created = client.create_key(&name).await;
        let key = match created {
            Ok(key) => Some(key.context("a change was refused")?),
            Err(_) => None,
        };
        let mut revoked = Revoked::No;
        if let Some(key) = key.as_ref().filter(|_| wishes.len() % 2 == 0) {
            let path = format!("/keygate/v1/keys/{}/deactivate", key.id);
            revoked = match client.ask("POST", &path, None).await {
                Ok(answer) => {
                    ensure!(answer.status == 200, "revoking answered {}: {}", answer.status, answer.text());
                    Revoked::Yes
                }
                Err(_) => Revoked::Perhaps,
            };
            made += 1;
            done.fetch_add(1, Ordering::SeqCst);
        }
        if key.is_none() || revoked == Revoked::Perhaps {
            client.until_ready(200).await?;
        }
        made += 1;
        done.fetch_add(1, Ordering::SeqCst);
        wishes.push(Wish { name, key, revoked });
    }
    Ok(wishes)
}

async fn verify(edge: &Edge, wishes: &[Wish]) -> Result<()> {
    let mut client = Client::admin(&edge.control_plane);
    let mut stored: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (name, id, state) in client.keys().await? {
        ensure!(stored.insert(name.clone(), (id, state)).is_none(), "{name} is there twice");
    }
    let active = stored.values().filter(|(_, state)| state == "active").count();
    stored.remove("init").context("the admin's key is gone")?;
    let known: BTreeSet<&String> = wishes.iter().map(|wish| &wish.name).collect();
    ensure!(stored.keys().all(|name| known.contains(name)), "a key is there that nobody wished for");
    let mut workers = edge.envoys[0].connections_on_every_worker(Protocol::Http2).await?;
    for Wish { name, key, revoked } in wishes {
        let found = stored.get(name);
        let Some(key) = key else {
            // It may have been made or not, but not by half.
            if let Some((id, state)) = found {
                let grant = client.ask("GET", &format!("/keygate/v1/keys/{id}/grant"), None).await?;
                ensure!(state == "active" && grant.status == 200, "{name} half-exists: {state}, {}", grant.status);
            }
            continue;
        };
        let (id, state) = found.with_context(|| format!("{name} was reported made and is not there"))?;
        ensure!(*id == key.id, "{name} has another id");
        match revoked {
            Revoked::No => ensure!(state == "active", "{name} is {state}, and nobody revoked it"),
            Revoked::Yes => ensure!(state == "inactive", "{name} was reported revoked and is {state}"),
            Revoked::Perhaps => {}
        }
        let expected = if state == "active" { 200 } else { 401 };
        expect_everywhere(&mut workers, key, expected).await.with_context(|| name.clone())?;
    }
    let metrics = client.ask("GET", "/metrics", None).await?.text();
    ensure!(metrics.contains(&format!("keygate_table_keys {active}\n")), "the table does not hold {active} keys: {metrics}");
    Ok(())
}

async fn expect_everywhere(workers: &mut [Connection], key: &Key, expected: u16) -> Result<()> {
    for worker in workers {
        let found = status(worker, key).await?;
        ensure!(found == expected, "it gets {found} at the edge instead of {expected}");
    }
    Ok(())
}

/// A backup is read from its first page to its last.
async fn backup_is_whole(edge: &Edge) -> Result<()> {
    let scratch = Scratch::new("keygate-backup")?;
    let (file, data) = (scratch.path().join("backup"), edge.control_plane.data());
    edge.control_plane.cli().text(&["backup", &file.to_string_lossy(), "--data", &data.to_string_lossy()]).await.map(|_| ())
}

/// A number from the environment.
fn number(name: &str, default: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}
