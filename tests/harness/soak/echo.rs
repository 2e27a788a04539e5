//! The soak's upstream: it answers every request with 200 and, in the header [`RECEIVED`], the head of that request byte for byte. No
//! library reads or repairs what arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::head_len;
use crate::loopback;

/// Holds the head that arrived, in base64.
pub(super) const RECEIVED: &str = "x-received";

/// It stops when it is dropped.
pub(super) struct Echo {
    address: SocketAddr,
    received: Arc<AtomicU64>,
    _connections: JoinSet<()>,
}

impl Echo {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(loopback(0)).await?;
        let address = listener.local_addr()?;
        let received = Arc::new(AtomicU64::new(0));
        let mut accepting = JoinSet::new();
        let counter = Arc::clone(&received);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&counter)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, received, _connections: accepting })
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many requests have reached it.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Answers until the other side closes. No request of the soak has a body.
async fn answer(mut stream: TcpStream, received: Arc<AtomicU64>) {
    let mut buffer = Vec::new();
    loop {
        while let Some(len) = head_len(&buffer) {
            let head: Vec<u8> = buffer.drain(..len).collect();
            received.fetch_add(1, Ordering::Relaxed);
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{RECEIVED}: {}\r\n\r\n", STANDARD.encode(head));
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}
