//! The line between Envoy and the control plane: a TCP relay that a test can cut, slow down, stop or make swallow what it is given.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::loopback;

/// A slow line passes a twentieth of its bytes per second in each step.
const STEP: Duration = Duration::from_millis(50);
const BUFFER_BYTES: usize = 16 * 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From Envoy to the control plane.
    Up,
    /// From the control plane to Envoy.
    Down,
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They arrive.
    Pass,
    /// They arrive, so many in a second.
    Slow {
        /// At least 20.
        bytes_per_second: usize,
    },
    /// They arrive, each batch so much later.
    Late(Duration),
    /// Nobody reads them: who sends fills its buffers and then waits.
    Stopped,
    /// They are taken and thrown away, and so is the news that the other side has closed: a half-open connection.
    Swallowed,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In order: both sides get a FIN.
    Close,
    /// Both sides get an RST.
    Reset,
}

/// A relay in front of one port, on a port of its own. What is set holds for the connections there are and for those to come, unless
/// it says otherwise.
pub struct Cable {
    port: u16,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    to: SocketAddr,
    flows: Mutex<Flows>,
    links: Mutex<Vec<Link>>,
    fuse: Mutex<Option<Fuse>>,
    /// How many fuses have blown.
    blown: watch::Sender<u64>,
    opened: AtomicU64,
    passed_up: AtomicU64,
    passed_down: AtomicU64,
}

#[derive(Clone, Copy)]
struct Flows {
    up: Flow,
    down: Flow,
}

/// One connection's remote control.
struct Link {
    flows: watch::Sender<Flows>,
    cut: watch::Sender<Option<Cut>>,
}

/// Cuts the connection through which the last of so many bytes goes.
struct Fuse {
    direction: Direction,
    bytes_left: usize,
    cut: Cut,
}

impl Cable {
    /// A cable to a port of this machine.
    pub async fn start(to_port: u16) -> Result<Self> {
        let listener = TcpListener::bind(loopback(0)).await.context("binding the cable")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            to: loopback(to_port),
            flows: Mutex::new(Flows { up: Flow::Pass, down: Flow::Pass }),
            links: Mutex::default(),
            fuse: Mutex::default(),
            blown: watch::Sender::new(0),
            opened: AtomicU64::new(0),
            passed_up: AtomicU64::new(0),
            passed_down: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self { port, shared, accepting })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets what becomes of bytes in one direction.
    pub fn set(&self, direction: Direction, flow: Flow) {
        let links = lock(&self.shared.links);
        lock(&self.shared.flows).set(direction, flow);
        for link in links.iter() {
            link.flows.send_modify(|flows| flows.set(direction, flow));
        }
    }

    /// The same for the connections that there are now; those to come are as they were.
    pub fn set_present(&self, direction: Direction, flow: Flow) {
        for link in lock(&self.shared.links).iter() {
            link.flows.send_modify(|flows| flows.set(direction, flow));
        }
    }

    /// Ends all connections.
    pub fn cut(&self, cut: Cut) {
        for link in lock(&self.shared.links).iter() {
            link.cut.send_replace(Some(cut));
        }
    }

    /// Ends the connection on which the `bytes`-th byte from now in this direction passes, behind that byte. Resolves when it has.
    pub async fn cut_after(&self, direction: Direction, bytes: usize, cut: Cut) {
        let mut blown = self.shared.blown.subscribe();
        blown.mark_unchanged();
        *lock(&self.shared.fuse) = Some(Fuse { direction, bytes_left: bytes, cut });
        // It cannot fail: the sender lives in this cable.
        let _ = blown.changed().await;
    }

    /// How many connections it has taken so far.
    pub fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// How many bytes have passed in one direction.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.counter(direction).load(Ordering::Relaxed)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut(Cut::Close);
    }
}

impl Flows {
    fn get(self, direction: Direction) -> Flow {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }

    fn set(&mut self, direction: Direction, flow: Flow) {
        match direction {
            Direction::Up => self.up = flow,
            Direction::Down => self.down = flow,
        }
    }
}

impl Shared {
    fn counter(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.passed_up,
            Direction::Down => &self.passed_down,
        }
    }

    /// How many of these bytes may pass, and whether that was all for their connection.
    fn burn(&self, direction: Direction, bytes: usize) -> (usize, Option<Cut>) {
        let mut place = lock(&self.fuse);
        let Some(fuse) = place.as_mut().filter(|fuse| fuse.direction == direction) else { return (bytes, None) };
        if bytes < fuse.bytes_left {
            fuse.bytes_left -= bytes;
            return (bytes, None);
        }
        let (last, cut) = (fuse.bytes_left, fuse.cut);
        *place = None;
        (last, Some(cut))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((near, _)) = listener.accept().await {
        // Who calls hears nothing better from a port on which nobody listens.
        let Ok(far) = TcpStream::connect(shared.to).await else { continue };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        shared.opened.fetch_add(1, Ordering::Relaxed);
        let mut links = lock(&shared.links);
        links.retain(|link| link.cut.receiver_count() > 0);
        // Read while no setting can pass this link by.
        let link = Link { flows: watch::Sender::new(*lock(&shared.flows)), cut: watch::Sender::new(None) };
        tokio::spawn(relay(near, far, link.flows.subscribe(), link.cut.subscribe(), shared.clone()));
        links.push(link);
    }
}

async fn relay(
    mut near: TcpStream,
    mut far: TcpStream,
    flows: watch::Receiver<Flows>,
    mut cut: watch::Receiver<Option<Cut>>,
    shared: Arc<Shared>,
) {
    let asked = async {
        let asked = cut.wait_for(Option::is_some).await;
        asked.ok().and_then(|cut| *cut).unwrap_or(Cut::Close)
    };
    let end = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        tokio::select! {
            end = pump(Direction::Up, near_read, far_write, flows.clone(), &shared) => end,
            end = pump(Direction::Down, far_read, near_write, flows, &shared) => end,
            cut = asked => End { cut, by_fuse: false },
        }
    };
    if end.cut == Cut::Reset {
        // It fails for a connection that has ended by itself.
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
    drop((near, far));
    if end.by_fuse {
        shared.blown.send_modify(|count| *count += 1);
    }
}

struct End {
    cut: Cut,
    by_fuse: bool,
}

/// Carries bytes in one direction until the connection is to end.
async fn pump(
    direction: Direction,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut flows: watch::Receiver<Flows>,
    shared: &Shared,
) -> End {
    let closed = End { cut: Cut::Close, by_fuse: false };
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let flow = flows.borrow_and_update().get(direction);
        let most = match flow {
            Flow::Stopped => {
                if flows.changed().await.is_err() {
                    return closed;
                }
                continue;
            }
            Flow::Slow { bytes_per_second } => (bytes_per_second / 20).clamp(1, BUFFER_BYTES),
            Flow::Pass | Flow::Late(_) | Flow::Swallowed => BUFFER_BYTES,
        };
        let room = buffer.get_mut(..most).unwrap_or_default();
        let read = tokio::select! {
            read = from.read(room) => read.unwrap_or(0),
            _ = flows.changed() => continue,
        };
        match flow {
            Flow::Swallowed if read == 0 => {
                let over = flows.wait_for(|flows| flows.get(direction) != Flow::Swallowed).await;
                if over.is_err() {
                    return closed;
                }
            }
            Flow::Swallowed => continue,
            Flow::Slow { .. } => tokio::time::sleep(STEP).await,
            Flow::Late(by) => tokio::time::sleep(by).await,
            Flow::Pass | Flow::Stopped => {}
        }
        let (passing, cut) = shared.burn(direction, read);
        if to.write_all(buffer.get(..passing).unwrap_or_default()).await.is_err() || read == 0 {
            return closed;
        }
        shared.counter(direction).fetch_add(passing as u64, Ordering::Relaxed);
        if let Some(cut) = cut {
            return End { cut, by_fuse: true };
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
