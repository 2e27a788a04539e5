//! The readiness path in real Envoy, with the configuration that people begin with: envoy/edge.yaml.

use anyhow::{Result, ensure};
use harness::{Answer, Connection, Envoy, Protocol, until};

use crate::edge::Edge;

const READY: &str = "/keygate/ready";

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_ready_as_long_as_it_can_judge() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    edge.control_plane.stop().await?;
    let mut config = edge.config_with_limit("edge-1", 5)?;
    let mut filter: serde_json::Value = serde_json::from_str(&config.filter)?;
    filter["readiness_path"] = READY.into();
    config.filter = filter.to_string();
    // Otherwise Envoy itself turns other spellings into this one, for the upstream as well.
    config.edits = vec![("normalize_path: true", "normalize_path: false")];
    let envoy = Envoy::start(&config).await?;
    for mut connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
        says(&mut connection, 503, "no table").await?;
    }
    edge.control_plane.serve().await?;
    for mut connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
        until_status(&mut connection, 200).await?;
        says(&mut connection, 200, "ready").await?;
    }
    let mut connection = Connection::open(envoy.edge(), Protocol::Http2).await?;
    for path in ["/keygate/%72eady", "/keygate/./ready", "/x/../keygate/ready", "/keygate/ready%3fx"] {
        let status = connection.get(path, &[]).await?.status;
        ensure!(status == 400, "{path} answered {status}");
    }
    edge.control_plane.kill();
    for mut connection in envoy.connections_on_every_worker(Protocol::Http2).await? {
        until_status(&mut connection, 503).await?;
        says(&mut connection, 503, "stale table").await?;
    }
    edge.control_plane.serve().await?;
    let mut connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
    until_status(&mut connection, 200).await?;
    let denied: u64 = envoy.stats(r"^wasmcustom\.keygate\.default\.requests\.denied.*_table$").await?.values().sum();
    let asked = envoy.stats(r"^wasmcustom\.keygate\.default\.requests\.readiness$").await?;
    ensure!(denied == 0 && asked.values().sum::<u64>() > 4, "{denied} were counted as denied, {asked:?} as asking");
    ensure!(edge.upstream.received() == 0, "something reached the upstream");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_no_credential_weakens_nothing_and_follows_envoys_own_health() -> Result<()> {
    let edge = Edge::start(0).await?;
    let envoy = Envoy::start_sample(&edge.config("edge-1")?).await?;
    let mut connection = Connection::open(envoy.edge(), Protocol::Http2).await?;
    until_status(&mut connection, 200).await?;
    for (method, path, headers, status) in [
        ("GET", READY, &[][..], 200),
        ("HEAD", READY, &[], 200),
        ("GET", "/keygate/ready?a=/x&_method", &[], 200),
        // A credential, good or bad, is not looked at.
        ("GET", READY, &[("authorization", "Bearer nonsense"), ("x-api-key", "other")], 200),
        ("POST", READY, &[], 401),
        ("DELETE", READY, &[], 401),
        ("GET", "/keygate/ready/", &[], 401),
        ("GET", "/keygate/Ready", &[], 401),
        ("GET", "/keygate//ready", &[], 400),
        ("GET", "/keygate/ready;x", &[], 400),
    ] {
        let answer = connection.send(method, path, headers, "").await?;
        ensure!(answer.status == status, "{method} {path} {headers:?} answered {}", answer.status);
        ensure!(method != "HEAD" || answer.text().is_empty(), "HEAD got a body");
    }
    envoy.ask_admin("POST", "/healthcheck/fail").await?;
    // An Envoy on its way out ends connections as well; other requests are judged as ever.
    for (path, expected) in [(READY, 503), ("/keygate/ready?x=1", 503), ("/keygate/other", 401)] {
        let status = Connection::open(envoy.edge(), Protocol::Http1).await?.get(path, &[]).await?.status;
        ensure!(status == expected, "on its way out, {path} answered {status}");
    }
    envoy.ask_admin("POST", "/healthcheck/ok").await?;
    says(&mut Connection::open(envoy.edge(), Protocol::Http1).await?, 200, "ready").await?;
    ensure!(edge.upstream.received() == 0, "something reached the upstream");
    Ok(())
}

async fn says(connection: &mut Connection, status: u16, word: &str) -> Result<()> {
    let answer: Answer = connection.get(READY, &[]).await?;
    let body = format!(r#"{{"status":"{word}"}}"#);
    ensure!(answer.status == status && answer.text() == body, "{} {} instead of {status} {body}", answer.status, answer.text());
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    ensure!(header("cache-control") == Some("no-store"), "it may be cached");
    ensure!(header("content-type") == Some("application/json"), "it is no JSON");
    Ok(())
}

async fn until_status(connection: &mut Connection, status: u16) -> Result<()> {
    until("the edge to say something else", async || Ok((connection.get(READY, &[]).await?.status == status).then_some(()))).await
}
