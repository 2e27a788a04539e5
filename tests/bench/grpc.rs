//! The gRPC glue of the benchmark's own services and clients: protobuf messages by hand, and one method for each service. It knows nothing
//! of what is said.

use std::convert::Infallible;
use std::task::{Context as TaskContext, Poll};

use anyhow::{Context, Result};
use harness::loopback;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

/// What both ends of a stream may leave unread.
pub(crate) const QUEUE: usize = 16;

/// Serves every request with a handler, for ever.
pub(crate) async fn serve<H>(port: u16, handler: H) -> Result<()>
where
    H: Fn(http::Request<Body>) -> BoxFuture<http::Response<Body>, Infallible> + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind(loopback(port)).await.with_context(|| format!("listening on port {port}"))?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(Server::builder().serve_with_incoming(Handler(handler), incoming).await?)
}

#[derive(Clone)]
struct Handler<H>(H);

impl<H> Service<http::Request<Body>> for Handler<H>
where
    H: Fn(http::Request<Body>) -> BoxFuture<http::Response<Body>, Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        (self.0)(request)
    }
}

/// A stream in both directions, over a connection of its own.
pub(crate) struct Stream<Out, In> {
    outbox: mpsc::Sender<Out>,
    inbox: Streaming<In>,
}

impl<Out, In> Stream<Out, In>
where
    Out: Message + Default + 'static,
    In: Message + Default + 'static,
{
    /// Opens one to `path` with a first message.
    pub(crate) async fn open(port: u16, path: &str, first: Out) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{}", loopback(port)))?.tcp_nodelay(true).connect().await?;
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX);
        client.ready().await?;
        let (outbox, outgoing) = mpsc::channel(QUEUE);
        outbox.send(first).await.context("a fresh channel takes a message")?;
        let codec = ProstCodec::<Out, In>::default();
        let answer = client.streaming(Request::new(ReceiverStream::new(outgoing)), path.try_into()?, codec).await?;
        Ok(Self { outbox, inbox: answer.into_inner() })
    }

    /// Sends a message.
    pub(crate) async fn send(&self, message: Out) -> Result<()> {
        self.outbox.send(message).await.context("the stream is closed")
    }

    /// The next message; an error if the stream has ended.
    pub(crate) async fn receive(&mut self) -> Result<In> {
        self.inbox.message().await?.context("the stream has ended")
    }
}
