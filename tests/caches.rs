//! What every worker remembers outlives no change: a key that is hot everywhere, in every carrier, is refused by the first requests after
//! it, and one that was refused everywhere is let in, with the change detector and without one.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use harness::{Connection, Envoy, Key, Protocol, until};

use crate::edge::{Edge, INSIDE};

/// Drops the filter's statistics, and the change detector with them.
const WITHOUT_STATISTICS: (&str, &str) = (
    "\nstatic_resources:",
    "\nstats_config: { stats_matcher: { exclusion_list: { patterns: [{ prefix: wasmcustom }] } } }\nstatic_resources:",
);

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_outlived_by_what_the_workers_remember() -> Result<()> {
    for statistics in [true, false] {
        changes_are_seen_at_once(statistics).await.with_context(|| format!("with statistics: {statistics}"))?;
    }
    Ok(())
}

async fn changes_are_seen_at_once(statistics: bool) -> Result<()> {
    let edge = edge(statistics).await?;
    let cli = edge.control_plane.cli();
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    edge.change(&["account", "create", "--name", "alice", "--kind", "user"]).await?;
    edge.change(&["member", "add", "--environment", "1a5", "--account", "alice", "--role", "member"]).await?;
    let own = cli.create_key(&["--environment", "1a5", "--name", "own", "--wait"]).await?;
    let alices = cli.create_key(&["--account", "alice", "--name", "hers", "--wait"]).await?;
    let mut workers = Workers::of(&edge.envoys[0]).await?;

    for _ in 0..3 {
        workers.heat(&own).await?;
        edge.change(&["key", "deactivate", &own.id]).await?;
        for _ in 0..3 {
            workers.expect("revoked", "GET", &own, 401).await?;
        }
        edge.change(&["key", "activate", &own.id]).await?;
        workers.expect("activated", "GET", &own, 200).await?;
    }

    workers.heat(&alices).await?;
    edge.change(&["member", "remove", "--environment", "1a5", "--account", "alice"]).await?;
    edge.change(&["member", "add", "--environment", "1a5", "--account", "alice", "--role", "readonly"]).await?;
    workers.expect("scoped down", "POST", &alices, 403).await?;
    workers.heat_with("GET", &alices).await?;
    edge.change(&["member", "remove", "--environment", "1a5", "--account", "alice"]).await?;
    workers.expect("no member any more", "GET", &alices, 403).await?;
    edge.change(&["member", "add", "--environment", "1a5", "--account", "alice", "--role", "member"]).await?;
    workers.heat(&alices).await?;
    edge.change(&["account", "deactivate", "alice"]).await?;
    workers.expect("of a disabled account", "GET", &alices, 401).await?;
    edge.change(&["account", "activate", "alice"]).await?;
    workers.expect("of an account that is enabled again", "GET", &alices, 200).await?;

    let created = cli.json(&["key", "create", "--environment", "1a5", "--name", "short", "--ttl", "8s", "--wait"]).await?;
    let short = Key::from_json(&created)?;
    let expires = humantime::parse_rfc3339(created["expires"].as_str().context("no expiry")?)?;
    workers.heat(&short).await?;
    ensure!(SystemTime::now() < expires, "it took so long to heat the key that this proves nothing");
    until("the second of expiry", async || Ok((SystemTime::now() >= expires).then_some(()))).await?;
    workers.expect("expired", "GET", &short, 401).await?;
    ensure!(SystemTime::now() < expires + Duration::from_secs(30), "the requests took so long that they prove little");
    ensure!(edge.envoys[0].stats("^wasmcustom").await?.is_empty() != statistics, "the statistics are not as they should be");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_of_a_path_is_not_mixed_with_who_asked_for_it() -> Result<()> {
    let edge = edge(true).await?;
    let cli = edge.control_plane.cli();
    for id in ["1a5", "1a6"] {
        edge.change(&["environment", "create", "--id", id, "--name", id]).await?;
    }
    let own = cli.create_key(&["--environment", "1a5", "--name", "own", "--wait"]).await?;
    let other = cli.create_key(&["--environment", "1a6", "--name", "other", "--wait"]).await?;
    let unknown = Key { token: own.token.replace("kg_", "xx_"), ..own.clone() };
    let mut workers = Workers::of(&edge.envoys[0]).await?;
    for _ in 0..20 {
        for connection in &mut workers.0 {
            for (key, expected) in [(Some(&own), 200), (Some(&other), 403), (None, 401), (Some(&unknown), 401)] {
                let headers: Vec<(&str, &str)> = key.map(|key| ("x-api-key", key.token.as_str())).into_iter().collect();
                let answer = connection.get(INSIDE, &headers).await?;
                ensure!(answer.status == expected, "{:?}: {}", key.map(|key| &key.id), answer.status);
                if expected == 200 {
                    let echoed = answer.json()?;
                    let told =
                        echoed["headers"].as_array().and_then(|all| all.iter().find(|header| header[0] == "x-keygate-key"));
                    ensure!(told.is_some_and(|header| header[1] == own.id.as_str()), "told the upstream another key: {echoed}");
                }
            }
        }
    }
    Ok(())
}

/// One Envoy of two workers, and its control plane.
async fn edge(statistics: bool) -> Result<Edge> {
    let mut edge = Edge::start(0).await?;
    let mut config = edge.config("edge-1")?;
    if !statistics {
        config.edits.push(WITHOUT_STATISTICS);
    }
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    edge.envoys.push(envoy);
    Ok(edge)
}

/// Open connections to every worker, of both protocols.
struct Workers(Vec<Connection>);

impl Workers {
    async fn of(envoy: &Envoy) -> Result<Self> {
        let mut connections = envoy.connections_on_every_worker(Protocol::Http1).await?;
        connections.extend(envoy.connections_on_every_worker(Protocol::Http2).await?);
        Ok(Self(connections))
    }

    /// Makes a key hot, to read and to write, in every carrier on every worker.
    async fn heat(&mut self, key: &Key) -> Result<()> {
        self.heat_with("GET", key).await?;
        self.heat_with("POST", key).await
    }

    async fn heat_with(&mut self, method: &str, key: &Key) -> Result<()> {
        for _ in 0..3 {
            self.expect("hot", method, key, 200).await?;
        }
        Ok(())
    }

    /// The first request with each carrier on each connection is answered so.
    async fn expect(&mut self, what: &str, method: &str, key: &Key, status: u16) -> Result<()> {
        let mut found = BTreeSet::new();
        for connection in &mut self.0 {
            for (name, value) in [key.x_api_key(), key.bearer(), key.basic()] {
                found.insert(connection.send(method, INSIDE, &[(name, &value)], "").await?.status);
            }
        }
        ensure!(found.iter().eq([&status]), "{what}: {method} gave {found:?}, not {status} alone");
        Ok(())
    }
}
