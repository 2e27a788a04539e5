//! The least that telling a thousand proxies can cost: a gRPC service that sends a message on every open stream and waits until each has
//! sent one back. It is this program again, started with `echo PORT`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::grpc::{self, QUEUE};

/// Where the service is.
pub(crate) const PATH: &str = "/keygate.bench.Echo/Stream";

/// What is said in either direction.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Said {
    /// From a client: let all others answer.
    #[prost(bool, tag = "1")]
    pub(crate) all: bool,
    /// To that client: so many have.
    #[prost(uint32, tag = "2")]
    pub(crate) answers: u32,
    /// As much as a delta with one change says.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) text: Vec<u8>,
}

/// Serves until it is killed.
pub(crate) async fn serve(port: u16) -> Result<()> {
    let hall = Hall::default();
    grpc::serve(port, move |request| {
        let hall = hall.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<Said, Said>::default()).streaming(hall, request).await) })
    })
    .await
}

type Outbox = mpsc::Sender<Result<Said, Status>>;

#[derive(Clone, Default)]
struct Hall(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, Outbox>,
    asked: Option<Asked>,
}

/// Who wants to know when all have answered.
struct Asked {
    asker: Outbox,
    of: usize,
    answers: usize,
}

impl StreamingService<Said> for Hall {
    type Response = Said;
    type ResponseStream = ReceiverStream<Result<Said, Status>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Said>>) -> Self::Future {
        let hall = self.clone();
        Box::pin(async move {
            let (outbox, outgoing) = mpsc::channel(QUEUE);
            tokio::spawn(hall.listen(request.into_inner(), outbox));
            Ok(Response::new(ReceiverStream::new(outgoing)))
        })
    }
}

impl Hall {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first message of a stream opens it; each later one is an answer, or asks for all the others'.
    async fn listen(self, mut incoming: Streaming<Said>, outbox: Outbox) {
        let number = {
            let mut state = self.state();
            state.next += 1;
            state.next
        };
        while let Ok(Some(said)) = incoming.message().await {
            let mut state = self.state();
            if said.all {
                state.open.remove(&number);
                state.asked = Some(Asked { asker: outbox.clone(), of: state.open.len(), answers: 0 });
                // One that is full or gone never answers, and that is seen.
                state.open.values().for_each(|other| drop(other.try_send(Ok(said.clone()))));
            } else if state.open.insert(number, outbox.clone()).is_some() {
                answered(&mut state);
            }
        }
        self.state().open.remove(&number);
    }
}

fn answered(state: &mut State) {
    let Some(asked) = &mut state.asked else { return };
    asked.answers += 1;
    if asked.answers == asked.of {
        let answers = u32::try_from(asked.answers).unwrap_or(u32::MAX);
        // Whoever asked may have gone.
        drop(asked.asker.try_send(Ok(Said { all: true, answers, text: Vec::new() })));
        state.asked = None;
    }
}
