//! Shadow mode in Envoy as people run it (envoy/edge.yaml): what passes, what never does, and that statistics, log, access log and
//! upstream are told.

use anyhow::{Result, ensure};
use harness::{Connection, Envoy, Key, Protocol, raw, until};
use serde_json::Value;

use crate::edge::{Edge, INSIDE};

const OUTSIDE: &str = "/v1/projects/1a6/containers";
const PUBLIC: &str = r#"{ "path": "/public/**", "target": "public" },"#;

/// The whole filter in shadow, with an administration that does not say so and one that does.
const WHOLE: [(&str, &str); 2] = [
    (r#""table": "default","#, r#""table": "default", "shadow": true,"#),
    (
        PUBLIC,
        r#"{ "path": "/public/**", "target": "public" },
                                { "path": "/v1/settings/**", "target": "admin" },
                                { "path": "/v1/licences/**", "target": "admin", "shadow": true },"#,
    ),
];

/// One rule in shadow.
const SINGLE: [(&str, &str); 1] = [(
    PUBLIC,
    r#"{ "path": "/public/**", "target": "public" },
                                { "path": "/v1/settings/**", "target": "admin" },
                                { "path": "/v1/projects/{environment}/containers", "target": "environment", "shadow": true },"#,
)];

async fn edge_with_key() -> Result<(Edge, Key)> {
    let edge = Edge::start(0).await?;
    let cli = edge.control_plane.cli();
    for (id, name) in [("1a5", "production"), ("1a6", "staging")] {
        cli.text(&["environment", "create", "--id", id, "--name", name]).await?;
    }
    let key = cli.create_key(&["--environment", "1a5", "--name", "ci"]).await?;
    Ok((edge, key))
}

async fn start(edge: &Edge, edits: &[(&'static str, &'static str)]) -> Result<Envoy> {
    let mut config = edge.config("edge-1")?;
    config.edits = edits.to_vec();
    Envoy::start_sample(&config).await
}

/// What the upstream saw last of this header.
fn seen(edge: &Edge, name: &str) -> Option<String> {
    let headers = edge.upstream.last()["headers"].as_array().cloned().unwrap_or_default();
    headers.iter().find(|header| header[0] == name).and_then(|header| header[1].as_str().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_filter_in_shadow_lets_pass_what_it_reports() -> Result<()> {
    let (edge, key) = edge_with_key().await?;
    let envoy = start(&edge, &WHOLE).await?;
    envoy.until_table().await?;
    let mut connection = Connection::open(envoy.edge(), Protocol::Http2).await?;
    let (name, good) = key.bearer();
    for (path, credential, status, shadow) in [
        (INSIDE, good.as_str(), 200, None),
        (OUTSIDE, &good, 200, Some("out_of_scope")),
        (INSIDE, "Bearer unknown-and-secret", 200, Some("unknown_credential")),
        ("/nowhere", &good, 200, Some("no_rule")),
        ("/v1/licences/x", &good, 200, Some("out_of_scope")),
        ("/v1/settings/x", &good, 403, None),
        ("/v1/settings/x", "Bearer unknown-and-secret", 401, None),
        ("/v1/setting/x", &good, 403, None),
        ("/v1//projects/1a6/x", &good, 400, None),
    ] {
        let reached = edge.upstream.received();
        let claims = [(name, credential), ("x-keygate-shadow", "claimed"), ("x-keygate-environment", "1a6")];
        let answer = connection.get(path, &claims).await?;
        ensure!(answer.status == status, "{path} {credential}: {} {}", answer.status, answer.text());
        ensure!((edge.upstream.received() > reached) == (status == 200), "{path}: did it reach the upstream?");
        if status == 200 {
            ensure!(
                seen(&edge, "x-keygate-shadow").as_deref() == shadow,
                "{path}: the upstream was told {:?}",
                edge.upstream.last()
            );
            // Who passes in shadow is nobody to the upstream, but brings along what it came with.
            ensure!(seen(&edge, "x-keygate-key").is_some() == shadow.is_none(), "{path}: an identity in shadow");
            ensure!(
                seen(&edge, "x-keygate-environment").as_deref() == shadow.map_or(Some("1a5"), |_| None),
                "{path}: an environment in shadow"
            );
            ensure!(seen(&edge, "authorization").is_some() == shadow.is_some(), "{path}: the credential");
        }
    }
    let two = [(name, good.as_str()), ("x-api-key", "other")];
    ensure!(connection.get(INSIDE, &two).await?.status == 400, "two credentials passed in shadow");

    let counted = envoy.ask_admin("GET", "/stats/prometheus").await?;
    for line in [
        "# TYPE keygate_requests counter",
        "# TYPE keygate_shadow gauge",
        r#"keygate_shadow{keygate_table="default"} 1"#,
        r#"keygate_requests{keygate_table="default",keygate_outcome="allowed"} 1"#,
        r#"keygate_requests{keygate_table="default",keygate_outcome="shadowed",keygate_reason="out_of_scope"} 2"#,
        r#"keygate_requests{keygate_table="default",keygate_outcome="shadowed",keygate_reason="unknown_credential"} 1"#,
        r#"keygate_requests{keygate_table="default",keygate_outcome="shadowed",keygate_reason="no_rule"} 1"#,
        r#"keygate_requests{keygate_table="default",keygate_outcome="denied",keygate_reason="ambiguous_path"} 1"#,
        r#"keygate_requests{keygate_table="default",keygate_outcome="denied",keygate_reason="conflicting_credentials"} 1"#,
    ] {
        ensure!(counted.lines().any(|own| own == line), "{line} is not in\n{counted}");
    }
    until("the access log", async || {
        Ok(envoy.log().contains(r#""keygate":"key=- account=- environment=- shadow=no_rule""#).then_some(()))
    })
    .await?;
    let log = envoy.log();
    ensure!(log.contains("keygate: shadow mode is on"), "the log does not say that shadow mode is on:\n{log}");
    ensure!(log.contains("in shadow, a request passes that would be refused: out_of_scope"), "{log}");
    ensure!(!log.contains("unknown-and-secret") && !log.contains(&key.secret_key), "a secret is in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_shadow_does_not_hide_that_it_is() -> Result<()> {
    let edge = Edge::start(0).await?;
    let envoy = start(&edge, &WHOLE).await?;
    envoy.until_table().await?;
    let request =
        format!("GET {INSIDE} HTTP/1.1\r\nhost: e\r\nconnection: upgrade, x-keygate-shadow, close\r\nupgrade: websocket\r\n\r\n");
    let answer = raw(envoy.edge(), request.as_bytes()).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    ensure!(seen(&edge, "connection").as_deref() == Some("upgrade"), "{}", edge.upstream.last());
    ensure!(seen(&edge, "x-keygate-shadow").as_deref() == Some("no_credential"), "{}", edge.upstream.last());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_rule_in_shadow_covers_nothing_else() -> Result<()> {
    let (edge, key) = edge_with_key().await?;
    let envoy = start(&edge, &SINGLE).await?;
    envoy.until_table().await?;
    let mut connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
    let (name, good) = key.bearer();
    for (path, status) in [(OUTSIDE, 200), (INSIDE, 200), ("/v1/projects/1a6/x", 403), ("/v1/settings/x", 403), ("/nowhere", 403)]
    {
        let answer = connection.get(path, &[(name, &good)]).await?;
        ensure!(answer.status == status, "{path}: {} {}", answer.status, answer.text());
    }
    let gauge = envoy.stats(r"^wasmcustom\.keygate\.default\.shadow$").await?;
    ensure!(gauge.values().eq([&1]), "shadow mode is not shown: {gauge:?}");
    ensure!(envoy.log().contains("keygate: shadow mode is on"), "the log does not say that shadow mode is on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_opens_nothing_before_there_is_a_table() -> Result<()> {
    let (mut edge, key) = edge_with_key().await?;
    edge.control_plane.stop().await?;
    let envoy = start(&edge, &WHOLE).await?;
    let (name, good) = key.bearer();
    for mut connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
        let answer = connection.get(INSIDE, &[(name, &good)]).await?;
        let seen: Value = answer.json()?;
        ensure!(answer.status == 503 && seen["details"] == "Service unavailable", "without a table: {} {seen}", answer.status);
    }
    ensure!(edge.upstream.received() == 0, "something has reached the upstream");
    Ok(())
}
