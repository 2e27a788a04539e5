//! Lines that are slow: what was said long ago makes no table look fresh, and what is always half a second late makes none look old.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::faults::{Site, ensure_sound};
use harness::{Cable, Config, Direction, Envoy, FakeControlPlane, FakeTable, Flow, Protocol, Upstream};
use keygate_decision::Digest;
use keygate_wire::BucketBits;
use keygate_wire::echo::MOST_LATE;
use keygate_wire::records::Position;
use keygate_wire::sync::ControlPlaneSays;

use super::messages::{EPOCH, INSIDE, grant};
use crate::world::invented_pair;

/// The shortest.
const LIMIT: Duration = Duration::from_secs(5);
const CLOSED_AFTER: Duration = LIMIT.saturating_add(MOST_LATE);
/// Shorter than the silence after which a filter gives a stream up.
const PAUSE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_anything_further_was_heard_keeps_no_table_fresh() -> Result<()> {
    let key = invented_pair(1);
    let mut control_plane = FakeControlPlane::start().await?;
    let upstream = Upstream::start()?;
    let mut config = Config::new(upstream.port(), control_plane.port())?;
    config.edit_filter(|filter| filter["staleness_limit_seconds"] = LIMIT.as_secs().into())?;
    let mut envoy = Envoy::start(&config).await?;
    let mut table = FakeTable {
        position: Position { epoch: EPOCH, revision: 10 },
        bits: BucketBits::MIN,
        grants: BTreeMap::from([(key.digest(), grant(1)?)]),
    };
    let mut workers = envoy.connections_on_every_worker(Protocol::Http1).await?;
    let mut stream = control_plane.next_stream().await?;
    stream.beat(None).await?;
    stream.send_snapshot(&table).await?;
    stream.stall(true);
    let since = Instant::now();
    let mut pauses = tokio::time::interval(PAUSE);
    let mut closed = false;
    while !closed {
        pauses.tick().await;
        // Both of what makes a table fresh: a delta to the newest position, and a heartbeat that it is the newest.
        let delta = table.change(Digest::of("somebody else's"), None);
        stream.say_well(ControlPlaneSays::Delta(delta)).await?;
        stream.beat(Some(table.position)).await?;
        let age = since.elapsed();
        closed = age >= CLOSED_AFTER;
        for worker in &mut workers {
            let status = worker.get(INSIDE, &[("x-api-key", &key.token())]).await?.status;
            let expected = match status {
                200 => !closed,
                status => status == 503 && since.elapsed() > LIMIT,
            };
            ensure!(expected, "{status} after {age:?}");
        }
    }
    // The first one is answered, the second one says that this was heard.
    stream.stall(false);
    for _ in 0..2 {
        stream.beat(Some(table.position)).await?;
    }
    for worker in &mut workers {
        let status = worker.get(INSIDE, &[("x-api-key", &key.token())]).await?.status;
        ensure!(status == 200, "the line is good again, but a key got {status}");
    }
    ensure_sound(&mut envoy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_far_away_stays_open_however_much_changes() -> Result<()> {
    let site = Site::start().await?;
    let cable = Cable::start(site.control_plane.sync_port()).await?;
    for direction in [Direction::Up, Direction::Down] {
        cable.set(direction, Flow::Late(Duration::from_millis(500)));
    }
    let mut config = site.config("far", &cable)?;
    config.edit_filter(|filter| filter["staleness_limit_seconds"] = LIMIT.as_secs().into())?;
    let mut envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let keys = site.create_keys(10).await?;
    site.until_acknowledged().await?;
    let mut workers = envoy.connections_on_every_worker(Protocol::Http1).await?;
    let since = Instant::now();
    let mut pauses = tokio::time::interval(PAUSE);
    while since.elapsed() < CLOSED_AFTER {
        pauses.tick().await;
        // At first there is nothing but heartbeats.
        if since.elapsed() > MOST_LATE {
            site.create_keys(100).await?;
        }
        for worker in &mut workers {
            let status = worker.get(INSIDE, &[("x-api-key", &keys[0].token)]).await?.status;
            ensure!(status == 200, "{status} after {:?}", since.elapsed());
        }
    }
    ensure_sound(&mut envoy).await
}
