//! What goes on when something is away or wrong: what was allowed goes on while it may, nothing else ever passes.

use anyhow::{Context, Result, ensure};
use harness::{Connection, ControlPlane, Envoy, Key, Protocol, Upstream, free_port, until};

use crate::edge::{Edge, INSIDE};

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_on_without_the_control_plane_and_changes_arrive_after_it_is_back() -> Result<()> {
    let (mut edge, key) = Edge::with_key(1).await?;
    let cli = edge.control_plane.cli();
    let other = cli.create_key(&["--environment", "1a5", "--name", "other", "--wait"]).await?;
    edge.control_plane.kill();
    edge.expect("without a control plane", &key, INSIDE, 200).await?;
    edge.control_plane.serve().await?;
    edge.change(&["key", "deactivate", &key.id]).await?;
    edge.expect("deactivated after its return", &key, INSIDE, 401).await?;
    edge.expect("the other one", &other, INSIDE, 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_starts_first_is_closed_until_the_control_plane_comes() -> Result<()> {
    let (mut edge, key) = Edge::with_key(0).await?;
    edge.control_plane.stop().await?;
    let envoy = Envoy::start(&edge.config("edge-1")?).await?;
    for mut connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
        let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
        ensure!(answer.status == 503, "without a table it answered {}", answer.status);
        ensure!(answer.header("retry-after").is_some(), "503 without Retry-After");
        let answer = connection.get("/public/x", &[]).await?;
        ensure!(answer.status == 200, "a public path answered {}", answer.status);
    }
    edge.control_plane.serve().await?;
    envoy.until_table().await?;
    edge.envoys.push(envoy);
    edge.expect("with a table", &key, INSIDE, 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_stale_denies_until_the_control_plane_is_heard_again() -> Result<()> {
    let (mut edge, key) = Edge::with_key(0).await?;
    let envoy = Envoy::start(&edge.config_with_limit("edge-1", 5)?).await?;
    envoy.until_table().await?;
    edge.control_plane.kill();
    for mut connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
        until_status(&mut connection, &key, 503).await?;
    }
    edge.envoys.push(envoy);
    edge.expect("stale", &key, INSIDE, 503).await?;
    edge.control_plane.serve().await?;
    edge.envoys[0].until_table().await?;
    edge.expect("heard again", &key, INSIDE, 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_revoked_while_the_edge_was_stale_never_passes_again() -> Result<()> {
    let (mut edge, key) = Edge::with_key(0).await?;
    let envoy = Envoy::start(&edge.config_with_limit("edge-1", 5)?).await?;
    envoy.until_table().await?;
    let mut connection = Connection::open(envoy.edge(), Protocol::Http2).await?;
    let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
    ensure!(answer.status == 200, "before: {}", answer.status);
    edge.control_plane.stop().await?;
    until_status(&mut connection, &key, 503).await?;

    // The same data, served where the edge does not look.
    let (data, admin) = (edge.control_plane.data().to_owned(), edge.control_plane.admin().clone());
    let log = data.with_file_name("elsewhere.log");
    let mut elsewhere = ControlPlane::over(&data, &log, free_port()?, free_port()?, admin).await?;
    elsewhere.cli().text(&["key", "deactivate", &key.id]).await?;
    elsewhere.stop().await?;

    edge.control_plane.serve().await?;
    until("the edge to hear of it", async || {
        let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
        ensure!(answer.status != 200, "the old table was served again");
        Ok((answer.status == 401).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_denies_everything_on_every_worker_and_says_why() -> Result<()> {
    let upstream = Upstream::start()?;
    for (filter, named) in [
        ("", "not usable JSON"),
        ("null", "not usable JSON"),
        ("{\"proxy\":\"edge-1\"}", "control_plane: is missing"),
        (r#"{"proxy":"e","control_plane":{"cluster":"keygate"},"rules":[]}"#, "rules: must hold"),
        (
            r#"{"embedded_table":{"x":""},"rules":[{"path":"/**","target":"public"}]}"#,
            "embedded_table[0]: stands under what is no digest",
        ),
        (r#"{"proxy":"e","control_plane":{"cluster":"keygate"},"rules":[{"path":"/**","target":"pubic"}]}"#, "`pubic`"),
        (r#"{"proxy":"e","control_plane":{"cluster":"keygate"},"rules":[{"path":"**","target":"public"}]}"#, "rules[0].path"),
        (r#"{"proxy":"e","control_plane":{"cluster":"keygate"},"rules":[{"path":"/**","target":"public"}],"x":1}"#, "`x`"),
        (r#"{"proxy":"e","proxy":"f","control_plane":{"cluster":"keygate"}}"#, "duplicate field `proxy`"),
        (
            r#"{"proxy":"e","control_plane":{"cluster":"keygate"},"rules":[{"path":"/**","target":"public"}]} x"#,
            "not usable JSON",
        ),
        (r#"{"proxy":"e","control_plane":{"cluster":"keygate"},"preset":"rancher"}"#, "there is no preset"),
        (
            r#"{"proxy":"e","control_plane":{"cluster":"keygate"},"preset":"rancher-1.6","rules":[{"path":"/v1/**","target":"public"}]}"#,
            "rules[0].path: would decide paths of environments",
        ),
    ] {
        let mut config = harness::Config::new(upstream.port(), free_port()?)?;
        config.filter = filter.to_owned();
        let envoy = Envoy::start(&config).await?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for mut connection in envoy.connections_on_every_worker(protocol).await? {
                for path in [INSIDE, "/", "/public/x"] {
                    let answer = connection.get(path, &[]).await?;
                    ensure!(answer.status == 503, "{filter:?} answered {} to {path}", answer.status);
                }
            }
        }
        ensure!(envoy.log().contains(named), "{filter:?} does not name {named:?}:\n{}", envoy.log());
        envoy.stop().await?;
    }
    ensure!(upstream.received() == 0, "something reached the upstream");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_names_that_look_like_protobuf_do_no_harm() -> Result<()> {
    let upstream = Upstream::start()?;
    for cluster in ["auth-sync", "users", "missing"] {
        let mut config = harness::Config::new(upstream.port(), free_port()?)?;
        config.filter = config.filter.replace("\"cluster\":\"keygate\"", &format!("\"cluster\":\"{cluster}\""));
        ensure!(config.filter.contains(cluster), "the name was not set");
        let mut envoy = Envoy::start(&config).await?;
        until("the filter to say that there is no stream", async || {
            envoy.process().ensure_running()?;
            Ok(envoy.log().contains("keygate: no stream to cluster").then_some(()))
        })
        .await?;
        let mut connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
        let answer = connection.get(INSIDE, &[]).await?;
        ensure!(answer.status == 503, "without a cluster it answered {}", answer.status);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reported_done_survives_a_kill() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    let cli = control_plane.cli();
    cli.text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let key = cli.create_key(&["--environment", "1a5", "--name", "one"]).await?;
    cli.text(&["key", "deactivate", &key.id]).await?;
    control_plane.kill();
    control_plane.serve().await?;
    let shown = cli.json(&["key", "show", &key.id]).await?;
    let state = shown["state"].as_str().context("a key without a state")?;
    ensure!(state == "inactive", "the key is {state}");
    Ok(())
}

async fn until_status(connection: &mut Connection, key: &Key, status: u16) -> Result<()> {
    until("the edge to close", async || {
        let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
        Ok((answer.status == status).then_some(()))
    })
    .await
}
