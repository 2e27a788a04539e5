//! `keygate filter explain` beside real Envoy: for the README's examples, with every kind of key, both say the same, the headers that the
//! upstream gets included.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use harness::{Answer, Connection, Envoy, Protocol, Scratch};
use serde_json::Value;

use crate::edge::Edge;
use crate::world::World;

const EXAMPLES: [(&str, &str); 12] = [
    ("GET", "/v1/projects/1a5/containers"),
    ("GET", "/v1/projects/1a6/containers"),
    ("POST", "/v1/projects/1a6/containers"),
    ("GET", "/v1/projects/1a6/containers?_method=DELETE"),
    ("GET", "/v1/projects"),
    ("GET", "/v1/containers/1i1"),
    ("DELETE", "/v1/settings/x"),
    ("GET", "/v1/Settings/x"),
    ("GET", "/v1//projects/1a5/x"),
    ("GET", "/v1/projects/1a5/images/library%2Fnginx:1.2"),
    ("GET", "/public/x"),
    ("GET", "/elsewhere"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_envoy_answers() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    let world = World::create(&edge.control_plane).await?;
    let config = edge.config("edge-1")?;
    let scratch = Scratch::new("keygate-explain")?;
    let file = scratch.path().join("filter.json");
    std::fs::write(&file, &config.filter)?;
    let file = file.to_string_lossy();
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    edge.envoys.push(envoy);

    let mut outcomes = BTreeMap::new();
    for name in ["admin", "alice", "production", "staging", "expired", "inactive"] {
        let (id, token) = (world.fill(&format!("${{{name}.id}}"))?, world.fill(&format!("${{{name}.token}}"))?);
        for (method, path) in EXAMPLES {
            let explained = edge.control_plane.cli().json(&["filter", "explain", &file, method, path, "--as", &id]).await?;
            let verdict = &explained["verdict"];
            let mut connection = Connection::open(edge.envoys[0].edge(), Protocol::Http1).await?;
            let answer = connection.send(method, path, &[("x-api-key", &token)], "").await?;
            let what = format!("{method} {path} with the key {name}: {verdict}, but {} {}", answer.status, answer.text());
            let outcome = verdict["outcome"].as_str().context("no outcome")?.to_owned();
            if outcome == "passes" {
                ensure!(answer.status == 200 && verdict["upstream"]["set"] == told(&answer)?, "{what}");
            } else {
                ensure!(verdict["status"] == answer.status && verdict["body"] == answer.text(), "{what}");
            }
            *outcomes.entry(outcome).or_insert(0) += 1;
        }
    }
    ensure!(outcomes.get("passes") > Some(&15) && outcomes.get("refused") > Some(&15), "too much of one kind: {outcomes:?}");
    Ok(())
}

/// What the upstream was told of the caller.
fn told(answer: &Answer) -> Result<Value> {
    let seen = answer.json()?;
    let headers = seen["headers"].as_array().context("an echo without headers")?;
    let pairs = headers.iter().filter_map(|header| Some((header[0].as_str()?, header[1].as_str()?)));
    let ours = pairs.filter(|(name, _)| name.starts_with("x-keygate-"));
    Ok(ours.map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>().into())
}
