//! `serve --metrics`: a port without credentials that shows metrics and health, and nothing else.

use anyhow::{Result, ensure};
use harness::{
    Connection, ControlPlane, Envoy, Process, Protocol, Scratch, Upstream, free_port, keygate_binary, loopback, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn those_who_watch_see_the_proxies_and_can_do_nothing() -> Result<()> {
    let scratch = Scratch::new("keygate-watched")?;
    let data = scratch.path().join("data");
    ControlPlane::init(&data).await?;
    let (http, sync, metrics) = (free_port()?, free_port()?, free_port()?);
    let addresses = [http, sync, metrics].map(|port| loopback(port).to_string());
    let arguments = [
        "serve",
        "--data",
        &data.to_string_lossy(),
        "--http",
        &addresses[0],
        "--sync",
        &addresses[1],
        "--metrics",
        &addresses[2],
    ];
    let server = Process::start("the control plane", &keygate_binary()?, &arguments, &scratch.path().join("log"))?;
    let mut watcher =
        until("the port for those who watch", async || Ok(Connection::open(loopback(metrics), Protocol::Http1).await.ok()))
            .await?;
    let upstream = Upstream::start()?;
    let envoy = Envoy::start(&harness::Config::new(upstream.port(), sync)?).await?;
    envoy.until_table().await?;
    let text = until("the proxy to have acknowledged", async || {
        let answer = watcher.get("/metrics", &[]).await?;
        ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        let text = answer.text();
        Ok(text.contains("keygate_proxy_acknowledged_revision{").then_some(text))
    })
    .await?;
    for line in [
        "keygate_proxies 1",
        "keygate_proxies_connected 1",
        "keygate_proxies_closed 0",
        "keygate_table_keys 1",
        "keygate_streams_opened_total 1",
        "keygate_snapshots_sent_total 1",
        "keygate_messages_refused_total 0",
    ] {
        ensure!(text.lines().any(|found| found == line), "no line {line:?} in {text}");
    }
    let bytes = text.lines().find_map(|line| line.strip_prefix("keygate_snapshots_sent_bytes_total ")?.parse::<u64>().ok());
    ensure!(bytes.is_some_and(|bytes| bytes > 0), "a snapshot of {bytes:?} bytes");
    for path in ["/healthz", "/readyz"] {
        ensure!(watcher.get(path, &[]).await?.status == 200, "{path}");
    }
    for path in ["/keygate/v1/keys", "/keygate/v1/proxies", "/"] {
        let answer = watcher.get(path, &[]).await?;
        ensure!(answer.status == 404, "{path} answered {}", answer.status);
    }
    let mut api = Connection::open(loopback(http), Protocol::Http1).await?;
    ensure!(api.get("/metrics", &[]).await?.status == 401, "the API shows them to everybody");
    server.stop().await
}
