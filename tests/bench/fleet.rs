//! A thousand simulated proxies, each with a gRPC stream over a connection of its own: how long it takes until one change is acknowledged by
//! all of them, beside a bare echo to as many, and until all are back after the control plane was restarted.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{ControlPlane, Process, free_port, loopback};
use keygate_wire::FORMAT;
use keygate_wire::sync::{self, Ack, ControlPlaneSays, FilterSays, FromControlPlane, FromFilter, Hello};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::data::{self, Data};
use crate::echo::{self, Said};
use crate::figure::Figure;
use crate::grpc::Stream;
use crate::machine::{self, Cores};
use crate::report::{Bound, Report, Table, Verdict};

/// As much as a delta with one change says.
const TEXT: [u8; 120] = [7; 120];
/// Connections that are opened at the same time at first.
const AT_ONCE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

type SyncStream = Stream<FromFilter, FromControlPlane>;
type EchoStream = Stream<Said, Said>;

/// Measures it with so many proxies, so many times.
pub(crate) async fn measure(report: &mut Report, cores: Cores, data: &Data, proxies: usize, times: usize) -> Result<()> {
    let mut control_plane = data.serve("fleet-control-plane").await?;
    machine::pin(control_plane.process()?.id(), &[cores.measured])?;
    let (base, bits) = position(control_plane.sync_port()).await?;
    let fleet = Fleet::open(control_plane.sync_port(), proxies, base, bits).await?;
    let mut api = Api::open(&control_plane).await?;
    let mut echo = Echo::open(&data::folder("fleet")?, cores, proxies).await?;
    let (mut told, mut echoed) = (Vec::new(), Vec::new());
    // In turn, so that what else the machine does meets both.
    for _ in 0..times {
        told.push(api.create_key(0, true).await?.0.took().as_secs_f64() * 1e3);
        echoed.push(echo.ask().await?);
    }
    drop(echo);
    let resident = machine::resident_bytes(control_plane.process()?.id())?;
    let back = restart(&mut control_plane, fleet, cores, proxies, bits).await?;
    drop(control_plane);

    let once = |value: f64| vec![Some(Figure::once(value))];
    let ratio = Figure::of_pairs(&told, &echoed, |told, echoed| told / echoed);
    report.tables.push(Table {
        name: "fleet",
        title: "1,000 simulated proxies: one change, from sent to acknowledged by all and on disk",
        columns: &["ms or MB"],
        rows: vec![
            ("one change".to_owned(), vec![Some(Figure::of(&told))]),
            ("a bare gRPC echo to as many".to_owned(), vec![Some(Figure::of(&echoed))]),
            ("all back after a restart, from when it is ready".to_owned(), once(back)),
            ("the control plane's memory, in MB".to_owned(), once(resident / 1e6)),
        ],
    });
    report.verdicts.push(Verdict {
        what: "1,000 proxies: one delta until all have acknowledged, to the echo",
        reached: ratio,
        must: Bound::AtMost(3.0),
        aim: Bound::AtMost(1.5),
    });
    Ok(())
}

fn hello(proxy: usize, base: Option<(sync::Position, u32)>) -> FromFilter {
    let (position, bucket_bits) = base.map_or((None, 0), |(position, bits)| (Some(position), bits));
    says(FilterSays::Hello(Hello {
        proxy: format!("fleet-{proxy}"),
        instance: [7; 16].to_vec(),
        table: "default".to_owned(),
        format: FORMAT,
        fence: 1,
        position,
        bucket_bits,
        staleness_limit_seconds: 3600,
        filter_version: "bench".to_owned(),
        token: String::new(),
    }))
}

fn says(says: FilterSays) -> FromFilter {
    FromFilter { says: Some(says) }
}

async fn open(port: u16, proxy: usize, base: Option<(sync::Position, u32)>) -> Result<SyncStream> {
    SyncStream::open(port, &format!("/{}/{}", sync::SERVICE, sync::METHOD), hello(proxy, base)).await
}

/// Where the control plane is, and how many buckets there are: what the beginning of a snapshot says. The simulated proxies hold nothing;
/// they say that they are there already.
async fn position(port: u16) -> Result<(sync::Position, u32)> {
    let mut stream = open(port, 0, None).await?;
    loop {
        let message = stream.receive().await?;
        if let Some(ControlPlaneSays::SnapshotBegin(begin)) = message.says {
            return Ok((begin.position.context("a snapshot without a position")?, begin.bucket_bits));
        }
        stream.send(says(FilterSays::Ack(Ack { serial: message.serial, position: None, unix_ms: 0 }))).await?;
    }
}

/// Proxies that answer whatever comes.
struct Fleet {
    running: JoinSet<sync::Position>,
    /// Each says once when it has heard that it has all there is.
    current: mpsc::UnboundedReceiver<()>,
}

impl Fleet {
    /// Opens all streams, and waits until each is current.
    async fn open(port: u16, proxies: usize, base: sync::Position, bits: u32) -> Result<Self> {
        let bases = vec![base; proxies];
        let mut streams = Vec::new();
        for (chunk, bases) in bases.chunks(AT_ONCE).enumerate() {
            let mut opening = JoinSet::new();
            for (index, base) in bases.iter().cloned().enumerate() {
                let proxy = chunk * AT_ONCE + index;
                opening.spawn(async move { Ok((open(port, proxy, Some((base.clone(), bits))).await?, base)) });
            }
            streams.extend(opening.join_all().await.into_iter().collect::<Result<Vec<_>>>()?);
        }
        let (says_current, current) = mpsc::unbounded_channel();
        let mut running = JoinSet::new();
        for (stream, base) in streams {
            running.spawn(follow(stream, base, says_current.clone()));
        }
        let mut fleet = Self { running, current };
        fleet.until_current(proxies).await?;
        Ok(fleet)
    }

    async fn until_current(&mut self, proxies: usize) -> Result<()> {
        let all = async {
            for _ in 0..proxies {
                self.current.recv().await.context("every stream has ended")?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, all).await.context("waiting for all proxies to be current")?
    }
}

/// Answers until the stream ends; gives where the proxy was then.
async fn follow(mut stream: SyncStream, mut position: sync::Position, current: mpsc::UnboundedSender<()>) -> sync::Position {
    let mut was_current = false;
    while let Ok(message) = stream.receive().await {
        let is_current = match message.says {
            Some(ControlPlaneSays::Delta(sync::Delta { to: Some(to), more: false, .. })) => {
                position = to;
                true
            }
            Some(ControlPlaneSays::Heartbeat(heartbeat)) => heartbeat.position.as_ref() == Some(&position),
            _ => false,
        };
        let ack = Ack { serial: message.serial, position: Some(position.clone()), unix_ms: 0 };
        if stream.send(says(FilterSays::Ack(ack))).await.is_err() {
            break;
        }
        if is_current && !was_current {
            was_current = true;
            // Whoever asked may have gone.
            let _ = current.send(());
        }
    }
    position
}

/// Restarts the control plane; how long it then takes, from when it is ready, until all are current again, in milliseconds. They all come
/// back at once.
async fn restart(control_plane: &mut ControlPlane, fleet: Fleet, cores: Cores, proxies: usize, bits: u32) -> Result<f64> {
    control_plane.stop().await?;
    let positions = fleet.running.join_all().await;
    let base = positions.iter().max_by_key(|position| position.revision).context("no proxy was there")?.clone();
    control_plane.serve().await?;
    machine::pin(control_plane.process()?.id(), &[cores.measured])?;
    let started = Instant::now();
    let fleet = Fleet::open(control_plane.sync_port(), proxies, base, bits).await?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    drop(fleet);
    Ok(took)
}

/// The echo with a stream open for each proxy.
struct Echo {
    clients: JoinSet<()>,
    asker: EchoStream,
    _process: Process,
}

impl Echo {
    /// Opens all streams, and waits until each is heard.
    async fn open(folder: &Path, cores: Cores, proxies: usize) -> Result<Self> {
        let port = free_port()?;
        let arguments = ["echo", &port.to_string()];
        let mut process = Process::start("the echo", &std::env::current_exe()?, &arguments, &folder.join("echo.log"))?;
        harness::until("the echo to listen", async || {
            process.ensure_running()?;
            Ok(tokio::net::TcpStream::connect(loopback(port)).await.is_ok().then_some(()))
        })
        .await?;
        machine::pin(process.id(), &[cores.measured])?;
        let mut clients = JoinSet::new();
        for _ in 0..proxies {
            let mut stream = EchoStream::open(port, echo::PATH, said(false)).await?;
            clients.spawn(async move { while stream.receive().await.is_ok() && stream.send(said(false)).await.is_ok() {} });
        }
        // To open it is to ask for the first time.
        let mut echo = Self { clients, asker: EchoStream::open(port, echo::PATH, said(true)).await?, _process: process };
        echo.answer().await?;
        Ok(echo)
    }

    /// How long it takes until all have answered, in milliseconds.
    async fn ask(&mut self) -> Result<f64> {
        let started = Instant::now();
        self.asker.send(said(true)).await?;
        self.answer().await?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    async fn answer(&mut self) -> Result<()> {
        let answer = tokio::time::timeout(PATIENCE, self.asker.receive()).await.context("waiting for the echo")??;
        let proxies = self.clients.len();
        ensure!(answer.answers as usize == proxies, "{} of {proxies} answered the echo", answer.answers);
        Ok(())
    }
}

fn said(all: bool) -> Said {
    Said { all, answers: 0, text: TEXT.to_vec() }
}
