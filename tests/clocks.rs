//! Clocks that are wrong: a control plane that is off by a day is not believed, and a host's clock that is turned back revives nothing.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use harness::{Clock, Connection, Envoy, Key, Load, Protocol, Verdict, until};
use serde_json::Value;

use crate::edge::{Edge, INSIDE};

const MINUTE_MS: i64 = 60 * 1000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_whose_clock_is_off_by_a_day_is_refused_until_it_is_right() -> Result<()> {
    let clock = Clock::new()?;
    let mut edge = Edge::start(0).await?;
    edge.control_plane.stop().await?;
    edge.control_plane.set_environment(clock.environment());
    edge.control_plane.serve().await?;
    edge.add_envoy("patient").await?;
    let impatient = Envoy::start(&edge.config_with_limit("impatient", 5)?).await?;
    impatient.until_table().await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let cli = edge.control_plane.cli();
    for shift_ms in [DAY_MS, -DAY_MS] {
        let load = Load::start(&edge.envoys).await?;
        let [kept, revoked] = [create_key(&edge).await?, create_key(&edge).await?];
        [&kept, &revoked].into_iter().for_each(|key| load.ledger().expect(key, Verdict::Pass));
        clock.shift_ms(shift_ms)?;
        for proxy in ["patient", "impatient"] {
            // Seen from the control plane it is the proxy that is off, the other way.
            until_offset(&edge, proxy, -shift_ms).await?;
            until("the control plane to hear that its time is refused", async || {
                let shown = cli.json(&["proxy", "show", proxy]).await?;
                let refused = shown["lastRefusal"].as_str().is_some_and(|reason| reason.contains("clocks"));
                Ok(refused.then_some(()))
            })
            .await?;
        }
        let listed = cli.text(&["proxy", "list"]).await?;
        ensure!(listed.contains("CLOCK OFFSET (MS)") && listed.contains("clocks of control plane and proxy differ"), "{listed}");

        // Nothing is taken from it, and it does not say otherwise.
        load.ledger().expect(&revoked, Verdict::Either);
        let said = cli.run(&["key", "deactivate", &revoked.id, "--wait", "1"]).await?;
        let names = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(said.status.code() == Some(3) && names.contains("patient") && names.contains("impatient"), "{said:?}");
        // What was allowed goes on, as without a control plane, until the limit.
        until_status(&impatient, &kept, 503).await?;
        expect(&edge.envoys, &kept, 200).await?;

        clock.shift_ms(0)?;
        until_status(&impatient, &kept, 200).await?;
        until("the revocation to be acknowledged everywhere", async || {
            let proxies = cli.json(&["proxy", "list"]).await?;
            let done = |proxy: &Value| proxy["lagMs"] == 0 && proxy["acknowledged"].is_u64();
            Ok(proxies.as_array().is_some_and(|proxies| proxies.iter().all(done)).then_some(()))
        })
        .await?;
        load.ledger().expect(&revoked, Verdict::Refuse);
        expect(&edge.envoys, &revoked, 401).await?;
        expect(std::slice::from_ref(&impatient), &revoked, 401).await?;
        load.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_clock_that_is_turned_back_revives_no_expired_key() -> Result<()> {
    let clock = Clock::new()?;
    let mut edge = Edge::start(0).await?;
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let mut config = edge.config("edge-1")?;
    config.environment = clock.environment();
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    edge.envoys.push(envoy);
    let lasting = create_key(&edge).await?;
    let arguments = ["key", "create", "--environment", "1a5", "--name", "short", "--ttl", "6s", "--wait"];
    let created = edge.control_plane.cli().json(&arguments).await?;
    let short = Key::from_json(&created)?;
    let expires = humantime::parse_rfc3339(created["expires"].as_str().context("no expiry")?)?;
    expect(&edge.envoys, &short, 200).await?;
    until("the second of expiry", async || Ok((SystemTime::now() >= expires).then_some(()))).await?;
    expect(&edge.envoys, &short, 401).await?;

    // By less than is tolerated, so that the control plane is still heard; by far more; and without a control plane.
    for (shift_ms, dead) in [(-4 * MINUTE_MS, false), (-DAY_MS, false), (-DAY_MS, true)] {
        if dead {
            edge.control_plane.kill();
        }
        clock.shift_ms(shift_ms)?;
        if !dead {
            until_offset(&edge, "edge-1", shift_ms).await?;
        }
        edge.expect("expired before the clock was turned back", &short, INSIDE, 401).await?;
        expect(&edge.envoys, &lasting, 200).await?;
    }
    Ok(())
}

async fn create_key(edge: &Edge) -> Result<Key> {
    edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "ci", "--wait", "20"]).await
}

/// Waits until the control plane shows that a proxy's clock is about so far ahead of its own.
async fn until_offset(edge: &Edge, proxy: &str, offset_ms: i64) -> Result<()> {
    until("a clock's offset to be shown", async || {
        let shown = edge.control_plane.cli().json(&["proxy", "show", proxy]).await?;
        let shown_ms = shown["clockOffsetMs"].as_i64();
        Ok(shown_ms.filter(|shown_ms| (shown_ms - offset_ms).abs() < MINUTE_MS).map(|_| ()))
    })
    .await
}

async fn until_status(envoy: &Envoy, key: &Key, status: u16) -> Result<()> {
    for mut connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
        until(&format!("a worker to answer {status}"), async || {
            let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
            Ok((answer.status == status).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Every worker of these gives a key this status.
async fn expect(envoys: &[Envoy], key: &Key, status: u16) -> Result<()> {
    for envoy in envoys {
        let mut connections: Vec<Connection> = envoy.connections_on_every_worker(Protocol::Http1).await?;
        for connection in &mut connections {
            let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
            ensure!(answer.status == status, "key {} got {}, not {status}", key.id, answer.status);
        }
    }
    Ok(())
}
