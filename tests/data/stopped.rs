//! SIGTERM while changes are made: each is answered or refused, what was answered holds, and the server ends well.

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::client::{Client, Traffic, expect};
use crate::edge::Edge;

const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_under_load_answers_what_it_received_and_ends_well() -> Result<()> {
    let mut edge = Edge::start(1).await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let cli = edge.control_plane.cli();
    let first = cli.create_key(&["--environment", "1a5", "--name", "first", "--wait"]).await?;
    let traffic = Traffic::start(&edge, &first).await?;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = Client::admin(&edge.control_plane);
        clients.spawn(async move {
            let mut made = Vec::new();
            // Until a connection is refused or closed before it took a request. A request that it took has an answer.
            loop {
                let name = format!("{number}-{}", made.len());
                match client.create_key(&name).await {
                    Ok(Some(key)) => made.push((name, key)),
                    Ok(None) => {}
                    Err(_) => return (made, name),
                }
            }
        });
    }
    harness::until("some changes", async || {
        let keys = Client::admin(&edge.control_plane).keys().await?;
        Ok((keys.len() > 50).then_some(()))
    })
    .await?;
    // Fails unless it ends with success.
    edge.control_plane.stop().await?;
    let mut clients = clients.join_all().await;
    edge.control_plane.serve().await?;
    edge.change(&["environment", "create", "--id", "1a6", "--name", "fence"]).await?;
    let mut stored: std::collections::BTreeSet<_> =
        Client::admin(&edge.control_plane).keys().await?.into_iter().map(|(name, ..)| name).collect();
    for (made, unanswered) in &clients {
        for (name, _) in made {
            ensure!(stored.remove(name), "{name} was answered and is not there");
        }
        ensure!(!stored.contains(unanswered), "{unanswered} was made without an answer");
    }
    let last = clients.iter_mut().filter_map(|(made, _)| made.pop()).next_back().context("nothing was made")?;
    expect(&edge, "the last one", &last.1, 200).await?;
    traffic.stop().await
}
