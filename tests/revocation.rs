//! What a change does to the keys it touches, once `--wait` says that it is everywhere.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use harness::until;

use crate::edge::{Edge, INSIDE};

const PROJECTS: &str = "/v1/projects";

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_life_is_followed_at_once_by_every_worker() -> Result<()> {
    let (edge, key) = Edge::with_key(2).await?;
    let cli = edge.control_plane.cli();
    edge.expect("created", &key, INSIDE, 200).await?;
    edge.change(&["key", "deactivate", &key.id]).await?;
    edge.expect("deactivated", &key, INSIDE, 401).await?;
    edge.change(&["key", "activate", &key.id]).await?;
    edge.expect("activated", &key, INSIDE, 200).await?;
    edge.change(&["key", "deactivate", &key.id]).await?;
    edge.change(&["key", "delete", &key.id]).await?;
    edge.expect("deleted", &key, INSIDE, 401).await?;

    let other = cli.create_key(&["--environment", "1a5", "--name", "other", "--wait"]).await?;
    edge.expect("created beside it", &other, INSIDE, 200).await?;
    edge.change(&["environment", "delete", "1a5"]).await?;
    edge.expect("its environment deleted", &other, INSIDE, 401).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_keys_follow_the_account_and_its_memberships() -> Result<()> {
    let edge = Edge::start(1).await?;
    let cli = edge.control_plane.cli();
    for command in [
        &["environment", "create", "--id", "1a5", "--name", "production"][..],
        &["account", "create", "--name", "alice", "--kind", "user"],
    ] {
        edge.change(command).await?;
    }
    let key = cli.create_key(&["--account", "alice", "--name", "ci", "--wait"]).await?;
    edge.expect("no member", &key, INSIDE, 403).await?;
    edge.change(&["member", "add", "--environment", "1a5", "--account", "alice", "--role", "member"]).await?;
    edge.expect("member", &key, INSIDE, 200).await?;
    edge.change(&["account", "deactivate", "alice"]).await?;
    edge.expect("account inactive", &key, INSIDE, 401).await?;
    edge.change(&["account", "activate", "alice"]).await?;
    edge.expect("account active again", &key, INSIDE, 200).await?;
    edge.change(&["member", "remove", "--environment", "1a5", "--account", "alice"]).await?;
    edge.expect("member no more", &key, INSIDE, 403).await?;
    edge.expect("still somebody", &key, PROJECTS, 200).await?;
    edge.change(&["account", "delete", "alice"]).await?;
    edge.expect("account deleted", &key, PROJECTS, 401).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires_at_its_second_without_any_message() -> Result<()> {
    let mut edge = Edge::start(1).await?;
    let cli = edge.control_plane.cli();
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let created = cli.json(&["key", "create", "--environment", "1a5", "--name", "short", "--ttl", "6s", "--wait"]).await?;
    let key = harness::Key::from_json(&created)?;
    let expires = humantime::parse_rfc3339(created["expires"].as_str().context("no expiry")?)?;
    // Nobody is there to tell the edge.
    edge.control_plane.kill();
    let mut connections = edge.envoys[0].connections_on_every_worker(harness::Protocol::Http1).await?;
    for connection in &mut connections {
        let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
        anyhow::ensure!(answer.status == 200 && SystemTime::now() < expires, "not valid before its expiry: {}", answer.status);
    }
    until("the second of expiry", async || Ok((SystemTime::now() >= expires).then_some(()))).await?;
    edge.expect("expired", &key, INSIDE, 401).await?;
    anyhow::ensure!(SystemTime::now() < expires + Duration::from_secs(30), "the requests took so long that they prove little");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_says_how_many_acknowledged_and_names_those_that_did_not() -> Result<()> {
    let (mut edge, key) = Edge::with_key(2).await?;
    let cli = edge.control_plane.cli();

    let output = cli.run(&["key", "deactivate", &key.id, "--wait"]).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success() && said.contains("2 proxies") && said.contains(" ms"), "it said {said:?}");

    // A proxy that hangs has not acknowledged.
    edge.envoys[1].process().signal("STOP")?;
    let output = cli.run(&["key", "activate", &key.id, "--wait", "1"]).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    edge.envoys[1].process().signal("CONT")?;
    anyhow::ensure!(output.status.code() == Some(3), "exit code {:?}: {said}", output.status.code());
    anyhow::ensure!(said.contains("edge-2") && !said.contains("edge-1"), "it named the wrong ones: {said:?}");
    edge.change(&["key", "deactivate", &key.id]).await?;
    edge.expect("deactivated", &key, INSIDE, 401).await?;

    // One that is gone may still be open somewhere, until an operator says that it is not.
    let gone = edge.envoys.remove(1);
    gone.stop().await?;
    let output = cli.run(&["key", "activate", &key.id, "--wait", "1"]).await?;
    anyhow::ensure!(output.status.code() == Some(3), "a proxy that was stopped counted as acknowledged");
    cli.text(&["proxy", "forget", "edge-2"]).await?;
    edge.change(&["key", "deactivate", &key.id]).await?;
    edge.expect("deactivated", &key, INSIDE, 401).await
}
