//! Requests at a steady pace, each with the moment at which it was sent and answered: what tells how long something takes to be in force,
//! and how requests fare meanwhile. A thread for each connection, so that no request waits for another.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use harness::loopback;

/// From the beginning of one request to that of the next on the same connection.
const INTERVAL: Duration = Duration::from_millis(1);

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    /// Which of the subjects it was about.
    pub(crate) subject: usize,
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    pub(crate) status: u16,
}

impl Beat {
    /// It passed.
    pub(crate) fn passed(&self) -> bool {
        self.status == 200
    }

    /// From sent to answered, in microseconds.
    pub(crate) fn latency_us(&self) -> f64 {
        (self.answered - self.sent).as_secs_f64() * 1e6
    }
}

/// Connections that send what they are told, until they are stopped.
pub(crate) struct Pulse {
    order: Arc<Order>,
    /// What each connection saw last, by subject and status.
    last: Vec<Arc<(AtomicUsize, AtomicUsize)>>,
    threads: Vec<JoinHandle<Result<Vec<Beat>>>>,
}

struct Order {
    stopped: AtomicBool,
    subject: RwLock<(usize, String)>,
}

impl Pulse {
    /// Begins with so many connections to each port; `request` is the first subject's.
    pub(crate) fn start(ports: &[u16], connections: usize, request: String) -> Result<Self> {
        let order = Arc::new(Order { stopped: AtomicBool::new(false), subject: RwLock::new((0, request)) });
        let (mut last, mut threads) = (Vec::new(), Vec::new());
        for port in ports.iter().flat_map(|port| std::iter::repeat_n(*port, connections)) {
            let stream = TcpStream::connect(loopback(port)).context("connecting to Envoy")?;
            stream.set_nodelay(true)?;
            let seen = Arc::new((AtomicUsize::new(usize::MAX), AtomicUsize::new(0)));
            last.push(Arc::clone(&seen));
            let order = Arc::clone(&order);
            threads.push(thread::spawn(move || beat(stream, &order, &seen)));
        }
        Ok(Self { order, last, threads })
    }

    /// From now on requests are about another subject.
    pub(crate) fn turn_to(&self, subject: usize, request: String) -> Result<()> {
        let mut current = self.order.subject.write().map_err(|_| anyhow!("a connection has failed"))?;
        *current = (subject, request);
        Ok(())
    }

    /// Whether every connection was last answered with this status about this subject.
    pub(crate) fn all_see(&self, subject: usize, status: u16) -> Result<bool> {
        ensure!(!self.threads.iter().any(JoinHandle::is_finished), "a connection has failed");
        let sees = |seen: &Arc<(AtomicUsize, AtomicUsize)>| {
            seen.0.load(Ordering::Acquire) == subject && seen.1.load(Ordering::Acquire) == usize::from(status)
        };
        Ok(self.last.iter().all(sees))
    }

    /// Ends, and gives all requests.
    pub(crate) fn stop(self) -> Result<Vec<Beat>> {
        self.order.stopped.store(true, Ordering::Release);
        let mut beats = Vec::new();
        for thread in self.threads {
            beats.extend(thread.join().map_err(|_| anyhow!("a connection panicked"))??);
        }
        Ok(beats)
    }
}

fn beat(mut stream: TcpStream, order: &Order, seen: &(AtomicUsize, AtomicUsize)) -> Result<Vec<Beat>> {
    let mut beats = Vec::new();
    let mut next = Instant::now();
    while !order.stopped.load(Ordering::Acquire) {
        let (subject, request) = order.subject.read().map_err(|_| anyhow!("the order is lost"))?.clone();
        let sent = Instant::now();
        stream.write_all(request.as_bytes())?;
        let status = read_answer(&mut stream)?;
        let answered = Instant::now();
        beats.push(Beat { subject, sent, answered, status });
        // The status first: who sees the subject must see what became of it.
        if seen.0.load(Ordering::Acquire) != subject {
            seen.1.store(0, Ordering::Release);
            seen.0.store(subject, Ordering::Release);
        }
        seen.1.store(usize::from(status), Ordering::Release);
        // One that comes late is not made up for.
        next = (next + INTERVAL).max(answered);
        thread::sleep(next - answered);
    }
    Ok(beats)
}

/// The status of an answer that says how long it is.
fn read_answer(stream: &mut TcpStream) -> Result<u16> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "Envoy closed a connection");
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.context("an answer of unknown length")? {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            return status.context("an answer without a status");
        }
    }
}
