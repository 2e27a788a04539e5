//! The gRPC glue: a server for two methods, `/keygate.sync.v1.Sync/Stream` and, beside it, `ReportUsage`. It knows connections and
//! encodings, and nothing of what is said.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use keygate_wire::sync::{FromFilter, METHOD, SERVICE};
use keygate_wire::usage::{METHOD as USAGE_METHOD, UsageNoted, UsageReport};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::{ProstCodec, ProstDecoder};

use super::guest::{Door, Guest, Visitor};
use super::message::Outgoing;
use super::{Proof, Shared, stream, usage};
use crate::tls::Incoming;

/// The longest message that a filter has cause to send.
const INCOMING_BYTES: usize = 64 * 1024;
/// So many streams a connection may have at a time. One that nobody reads holds what waits for its reader: what a connection
/// holds is bounded by how many there may be. A proxy needs one for each layout of its filter, and one while it reports usage.
pub(super) const MAX_STREAMS: u32 = 32;
/// A connection whose other end is gone without a word is found out after twice this.
const PING: Duration = Duration::from_secs(10);
/// So long connections may take to close once all streams have ended.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves streams until `shutdown`.
pub(super) async fn serve(
    shared: Arc<Shared>,
    incoming: Incoming,
    proof: Proof,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let incoming = ReceiverStream::new(accept(incoming, Door::new(shared.pace.proof)));
    let stop = {
        let shared = shared.clone();
        async move {
            shutdown.await;
            shared.stopping.send_replace(true);
        }
    };
    let drained = async {
        // It cannot fail: the sender lives in `shared`.
        let _ = shared.stopping.subscribe().wait_for(|stopping| *stopping).await;
        sleep(DRAIN).await;
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING))
        .max_concurrent_streams(MAX_STREAMS)
        .serve_with_incoming_shutdown(SyncService { shared: shared.clone(), proof }, incoming, stop);
    tokio::select! {
        served = server => Ok(served?),
        () = drained => Ok(()),
    }
}

/// Accepts connections for as long as they are received.
fn accept(mut incoming: Incoming, door: Door) -> mpsc::Receiver<Result<Guest, Infallible>> {
    let (sender, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let connection = tokio::select! {
                connection = incoming.accept() => connection,
                () = sender.closed() => return,
            };
            // It fails when nobody receives any more, which the next turn finds out.
            let _ = sender.send(Ok(door.enter(connection))).await;
        }
    });
    connections
}

/// The service, a clone for each connection.
#[derive(Clone)]
struct SyncService {
    shared: Arc<Shared>,
    proof: Proof,
}

impl Service<http::Request<Body>> for SyncService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // tonic tells each request whose connection it came by; one that did not would have proved nothing.
        let visitor = request.extensions().get::<Visitor>().cloned().unwrap_or_default();
        let method = Method { shared: self.shared.clone(), visitor, proof: self.proof };
        Box::pin(async move {
            Ok(match request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE)?.strip_prefix('/')) {
                Some(METHOD) => {
                    let mut grpc = Grpc::new(SyncCodec).max_decoding_message_size(INCOMING_BYTES);
                    grpc.streaming(method, request).await
                }
                Some(USAGE_METHOD) => {
                    let codec = ProstCodec::<UsageNoted, UsageReport>::default();
                    Grpc::new(codec).max_decoding_message_size(INCOMING_BYTES).unary(method, request).await
                }
                _ => Status::unimplemented(format!("this port serves /{SERVICE}/{METHOD} and {USAGE_METHOD} only")).into_http(),
            })
        })
    }
}

/// One call of a method: a task for each stream.
struct Method {
    shared: Arc<Shared>,
    visitor: Visitor,
    proof: Proof,
}

impl StreamingService<FromFilter> for Method {
    type Response = Outgoing;
    type ResponseStream = ReceiverStream<Result<Outgoing, Status>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<FromFilter>>) -> Self::Future {
        let (shared, visitor, proof) = (self.shared.clone(), self.visitor.clone(), self.proof);
        Box::pin(async move {
            let (outbox, outgoing) = mpsc::channel(stream::QUEUE);
            tokio::spawn(stream::run(shared, visitor, proof, request.into_inner(), outbox));
            Ok(Response::new(ReceiverStream::new(outgoing)))
        })
    }
}

impl UnaryService<UsageReport> for Method {
    type Response = UsageNoted;
    type Future = Pin<Box<dyn Future<Output = Result<Response<UsageNoted>, Status>> + Send>>;

    fn call(&mut self, request: Request<UsageReport>) -> Self::Future {
        let (shared, visitor, proof) = (self.shared.clone(), self.visitor.clone(), self.proof);
        Box::pin(async move { usage::take(&shared, &visitor, proof, request.into_inner()).await.map(Response::new) })
    }
}

/// Reads messages as usual; writes those that are encoded already but for their serial.
struct SyncCodec;

impl Codec for SyncCodec {
    type Encode = Outgoing;
    type Decode = FromFilter;
    type Encoder = OutgoingEncoder;
    type Decoder = ProstDecoder<FromFilter>;

    fn encoder(&mut self) -> OutgoingEncoder {
        OutgoingEncoder
    }

    fn decoder(&mut self) -> ProstDecoder<FromFilter> {
        ProstDecoder::default()
    }
}

struct OutgoingEncoder;

impl Encoder for OutgoingEncoder {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, message: Outgoing, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer);
        Ok(())
    }
}
