//! One connection to a server, held open and never replaced in secret, so that a test knows which of Envoy's workers answers
//! it. Paths and headers go out as they are given. Envoy closes an HTTP/1.1 connection after answering 400; one of HTTP/2 lasts.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, kept alive.
    Http1,
    /// HTTP/2, without an upgrade.
    Http2,
}

/// A connection to one server.
pub struct Connection {
    authority: String,
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Connection {
    /// Opens one that speaks `protocol` from its first byte.
    pub async fn open(address: SocketAddr, protocol: Protocol) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        // The errors of the tasks reach whoever sends.
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Self { authority: address.to_string(), sender })
    }

    /// Sends a GET.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send("GET", path, headers, "").await
    }

    /// Sends a request. A header may be named twice.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let target = path.parse::<Uri>().context("reading the path")?;
        let mut request = Request::builder().method(method);
        request = match &self.sender {
            Sender::Http1(_) => request.uri(target).header("host", &self.authority),
            Sender::Http2(_) => {
                request.uri(Uri::builder().scheme("http").authority(self.authority.as_str()).path_and_query(path).build()?)
            }
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.exchange(request.body(Full::from(body.to_owned()))?).await
    }

    /// Asks for a tunnel: by HTTP/2's extended CONNECT if there is a path, and a protocol to speak in it.
    pub async fn connect(&mut self, tunnel: Option<(&str, &'static str)>, headers: &[(&str, &str)]) -> Result<Answer> {
        let authority = self.authority.clone();
        let mut request = Request::builder().method("CONNECT");
        request = match tunnel {
            None => request.uri(authority),
            Some((path, protocol)) => request
                .uri(Uri::builder().scheme("http").authority(authority).path_and_query(path).build()?)
                .extension(hyper::ext::Protocol::from_static(protocol)),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.exchange(request.body(Full::default())?).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("an answer that is not JSON: {}", self.text()))
    }

    /// A header's value, if it is there once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }
}

/// Sends bytes that no client library would send, and gives what comes back: one answer, or everything until the server closes
/// if the answer does not say how long it is. (Envoy waits a second before it closes a connection that it answered itself.)
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    while !is_complete(&answer, bytes.starts_with(b"HEAD ")) {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer)
}

fn is_complete(answer: &[u8], without_body: bool) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let mut lengths =
        head.lines().filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    without_body || lengths.next().is_some_and(|length| body.len() >= length)
}
