//! Rancher 1.6's preset in real Envoy: how its clients say which environment they mean beside the path, and that what they say agrees.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{Connection, Protocol, loopback, until};
use serde_json::json;

use crate::edge::Edge;

const PASSWORD: &str = "correct horse battery";

/// An edge with the preset and nothing else.
async fn start() -> Result<Edge> {
    let mut edge = Edge::start(0).await?;
    let mut config = edge.config("edge-1")?;
    config.edit_filter(|filter| {
        let own = ["rules", "carriers", "strip", "environment_places", "environment_header"];
        filter.as_object_mut().into_iter().for_each(|fields| fields.retain(|field, _| !own.contains(&field.as_str())));
        filter["preset"] = "rancher-1.6".into();
    })?;
    edge.add(&config).await?;
    edge.change(&["environment", "create", "--id", "1a6", "--name", "staging"]).await?;
    edge.add_alice().await?;
    Ok(edge)
}

/// Logs in as clients of Rancher 1.6 do; the token.
async fn log_in(edge: &Edge) -> Result<String> {
    edge.set_password("alice", PASSWORD).await?;
    let mut api = Connection::open(loopback(edge.control_plane.http_port()), Protocol::Http1).await?;
    let body = json!({"code": format!("alice:{PASSWORD}")}).to_string();
    let answer = api.send("POST", "/v1/token", &[("content-type", "application/json")], &body).await?;
    ensure!(answer.status == 201, "logging in: {} {}", answer.status, answer.text());
    Ok(answer.json()?["jwt"].as_str().context("no token")?.to_owned())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The status, and the environment that the upstream was told under its own name.
async fn ask(connection: &mut Connection, path: &str, headers: &[(&str, &str)]) -> Result<(u16, Option<String>)> {
    let answer = connection.get(path, headers).await?;
    if answer.status != 200 {
        return Ok((answer.status, None));
    }
    let echo = answer.json()?;
    let sent = echo["headers"].as_array().context("an echo without headers")?;
    let told = sent.iter().find(|header| header[0] == "x-api-project-id").and_then(|header| header[1].as_str());
    ensure!(!sent.iter().any(|header| header[0] == "authorization"), "a credential reached the upstream");
    Ok((200, told.map(str::to_owned)))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_says_which_environment_is_meant_agrees() -> Result<()> {
    let edge = start().await?;
    let token = log_in(&edge).await?;
    let key = edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "machine", "--wait"]).await?;
    let mut connection = Connection::open(edge.envoys[0].edge(), Protocol::Http1).await?;
    let login = |user: &str| basic(user, &token);
    until("the login to have arrived", async || {
        let (status, _) = ask(&mut connection, "/v1/apikeys", &[("authorization", &login("x-api-bearer"))]).await?;
        Ok((status == 200).then_some(()))
    })
    .await?;
    let machine = key.basic().1;
    let (inside, outside) = ((200, Some("1a5".to_owned())), (403, None));
    let (project, client_key) = ("x-api-project-id", "x-api-client-access-key");
    for (path, authorization, header, expected) in [
        // A login by the special user: where it is for, its name says.
        ("/v1/apikeys", login("x-api-bearer"), None, (200, None)),
        // Whose containers those are nobody says.
        ("/v1/containers", login("x-api-bearer"), None, outside.clone()),
        ("/v1/containers", login("x-api-bearer=1a5"), None, inside.clone()),
        ("/v2-beta/projects/1a5/containers", login("x-api-bearer=1a5"), None, inside.clone()),
        ("/v1/containers", login("X-API-BEARER=1a5"), Some((project, "1a5")), inside.clone()),
        ("/v1/containers", login("x-api-bearer=1a6"), None, outside.clone()),
        ("/v1/projects/1a5/containers", login("x-api-bearer=1a6"), None, outside.clone()),
        ("/v1/containers?projectId=1a5", login("x-api-bearer=1a6"), None, outside.clone()),
        ("/v1/containers", login("x-api-bearer=1a5"), Some((project, "1a6")), outside.clone()),
        ("/v1/containers", login("x-api-bearer="), None, outside.clone()),
        ("/v1/containers", basic("x-api-bearer=1a5", "no such token"), None, (401, None)),
        // An environment's key is in its own, whether it says so or not.
        ("/v1/containers", machine.clone(), None, inside.clone()),
        ("/v2-beta/apikeys", machine.clone(), None, inside.clone()),
        ("/v1/containers?projectId=1a5", machine.clone(), None, inside.clone()),
        ("/v1/containers?projectId=1a6", machine.clone(), None, outside.clone()),
        ("/v1/containers", machine.clone(), Some((project, "1a5")), inside),
        ("/v1/containers", machine.clone(), Some((project, "1a6")), outside.clone()),
        // Whose that is only the upstream knows, even if it is one's own.
        ("/v1/containers", machine, Some((client_key, key.access_key.as_str())), outside.clone()),
        ("/v1/containers", login("x-api-bearer=1a5"), Some((client_key, key.access_key.as_str())), outside),
    ] {
        let headers: Vec<(&str, &str)> = [("authorization", authorization.as_str())].into_iter().chain(header).collect();
        let answered = ask(&mut connection, path, &headers).await?;
        ensure!(answered == expected, "{path} {header:?}: expected {expected:?}, got {answered:?}");
    }
    Ok(())
}
