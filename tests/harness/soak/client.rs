//! One client of the soak: raw HTTP/1.1 over one connection at a time, several requests in a row without waiting, each answer held
//! against its request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::echo::RECEIVED;
use super::{Keys, head_len};
use crate::hostile::border::crossing;
use crate::hostile::spelling::{Hostile, Spellings};

/// A request that has no answer after so long hangs.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// How many requests go out at once, at most. Of three that it answers itself Envoy leaves the last unanswered, whatever its filters are,
/// and closes a second later.
const PIPELINE: u64 = 2;

/// Every request says its number, so that no answer can be taken for another's.
const NUMBER: &str = "x-soak-number";

/// Statuses that a refusal may have: the filter's, and Envoy's 404 for a URL without a path, before any filter. Anything else, 500 and
/// 503 above all, says that something has failed.
const REFUSALS: [u16; 4] = [400, 401, 403, 404];

/// One client's work, and what came of it.
pub(super) struct Client {
    pub(super) edge: SocketAddr,
    pub(super) spellings: Spellings,
    pub(super) keys: Keys,
    /// How many answers had which status.
    pub(super) answers: BTreeMap<u16, u64>,
}

struct Pending {
    number: u64,
    hostile: Hostile,
}

struct Answer {
    status: u16,
    received: Option<Vec<u8>>,
    closes: bool,
}

impl Client {
    /// Sends the requests with these numbers, one batch after the other.
    pub(super) async fn run(mut self, numbers: Range<u64>) -> Result<Self> {
        let mut connection = Connection::open(self.edge).await?;
        let mut next = numbers.start;
        while next < numbers.end {
            // One, two, one, two.
            let size = 1 + (next - numbers.start) % (PIPELINE + 1);
            let end = numbers.end.min(next + size);
            let batch = (next..end).map(|number| Pending { number, hostile: self.spellings.request(&self.keys.pairs) });
            let batch: Vec<Pending> = batch.collect();
            next = end;
            let mut open = batch.as_slice();
            while !open.is_empty() {
                let answered = self.exchange(&mut connection, open).await?;
                open = open.get(answered..).unwrap_or_default();
                if !open.is_empty() || connection.closed {
                    connection = Connection::open(self.edge).await?;
                }
            }
        }
        Ok(self)
    }

    /// Sends a batch, and gives how many of it were answered before the connection was closed: at least one.
    async fn exchange(&mut self, connection: &mut Connection, batch: &[Pending]) -> Result<usize> {
        let bytes: Vec<u8> = batch.iter().flat_map(Pending::bytes).collect();
        // Where Envoy has closed already, the answers before that can still be read.
        let _ = connection.stream.write_all(&bytes).await;
        let mut answered = 0;
        for pending in batch {
            let is_head = pending.hostile.method == "HEAD";
            let answer = timeout(ANSWER_DEADLINE, connection.answer(is_head)).await;
            let answer = answer.with_context(|| format!("no answer to {}", pending.describe()))?;
            let Some(answer) = answer.with_context(|| format!("the answer to {}", pending.describe()))? else { break };
            self.judge(pending, &answer).with_context(|| pending.describe())?;
            answered += 1;
            if answer.closes {
                connection.closed = true;
                break;
            }
        }
        ensure!(answered > 0, "closed without an answer: {}", batch.first().map(Pending::describe).unwrap_or_default());
        Ok(answered)
    }

    fn judge(&mut self, pending: &Pending, answer: &Answer) -> Result<()> {
        *self.answers.entry(answer.status).or_insert(0) += 1;
        let Some(received) = &answer.received else {
            ensure!(REFUSALS.contains(&answer.status), "answered with {}", answer.status);
            return Ok(());
        };
        let seen = Seen::read(received).with_context(|| format!("the upstream received {}", received.escape_ascii()))?;
        seen.check(pending.number, &self.keys).with_context(|| format!("the upstream received {}", received.escape_ascii()))
    }
}

impl Pending {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.hostile.method.as_bytes().to_vec();
        bytes.push(b' ');
        bytes.extend_from_slice(&self.hostile.target);
        bytes.extend_from_slice(format!(" HTTP/1.1\r\nhost: edge\r\n{NUMBER}: {}\r\n", self.number).as_bytes());
        for (name, value) in &self.hostile.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"content-length: 0\r\n\r\n");
        bytes
    }

    fn describe(&self) -> String {
        self.bytes().escape_ascii().to_string()
    }
}

/// What the upstream received.
struct Seen<'a> {
    target: &'a [u8],
    headers: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Seen<'a> {
    fn read(head: &'a [u8]) -> Result<Self> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let target = lines.next().and_then(|line| line.split(|byte| *byte == b' ').nth(1)).context("no request line")?;
        let headers = lines.take_while(|line| !line.is_empty()).map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').context("a header without a colon")?;
            Ok((line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default().trim_ascii()))
        });
        Ok(Self { target, headers: headers.collect::<Result<_>>()? })
    }

    fn check(&self, number: u64, keys: &Keys) -> Result<()> {
        ensure!(self.values(NUMBER).eq([number.to_string().as_bytes()]), "another request's answer");
        if self.target.starts_with(b"/public") {
            return Ok(());
        }
        let key: Vec<&[u8]> = self.values("x-keygate-key").collect();
        let known = keys.ids.iter().any(|id| key == [id.as_bytes()]);
        ensure!(known, "passed without a key");
        if let Some(crossing) = crossing(self.target, &self.headers) {
            bail!("A CROSSING: it may be read as {crossing}");
        }
        for secret in &keys.secrets {
            let all = self.headers.iter().map(|(_, value)| *value).chain([self.target]);
            let leaks = all.into_iter().any(|text| text.windows(secret.len()).any(|part| part == secret.as_bytes()));
            ensure!(!leaks, "a credential has reached the upstream");
        }
        Ok(())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    closed: bool,
}

impl Connection {
    async fn open(edge: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(edge).await.context("connecting to Envoy")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), closed: false })
    }

    /// The next answer; `None` if the connection was closed before one.
    async fn answer(&mut self, is_head: bool) -> Result<Option<Answer>> {
        let Some(len) = self.fill(head_len).await? else { return Ok(None) };
        let head: Vec<u8> = self.buffer.drain(..len).collect();
        let head = String::from_utf8(head).context("not text")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let value = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let body: usize = if is_head { 0 } else { value("content-length").context("of unknown length")?.parse()? };
        if self.fill(|buffer| (buffer.len() >= body).then_some(body)).await?.is_none() {
            bail!("cut off");
        }
        self.buffer.drain(..body);
        let received =
            value(RECEIVED).map(|text| STANDARD.decode(text).ok().context("an echo that is not base64")).transpose()?;
        Ok(Some(Answer { status, received, closes: value("connection") == Some("close") }))
    }

    /// Reads until there is enough; `None` if the connection is closed and nothing was begun.
    async fn fill(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> Result<Option<usize>> {
        loop {
            if let Some(len) = enough(&self.buffer) {
                return Ok(Some(len));
            }
            // A reset is what a client sees that goes on sending to a server that has closed.
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                Ok(_) | Err(_) => {
                    self.closed = true;
                    return Ok(None);
                }
            }
        }
    }
}
