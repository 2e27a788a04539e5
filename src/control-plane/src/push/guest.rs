//! A connection to the port for proxies, on which at first nobody has proved anything: it has a time for that, and there is room for so
//! many like it. Strangers must not use up what proxies need: every connection is an open file.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::server::Connected;

use crate::tls::{Connection, Peer};

/// Once so many have come after it, a connection on which nobody has proved a name yet is ended.
pub(super) const MAX_GUESTS: u64 = 256;

/// Numbers the connections of a port.
pub(super) struct Door {
    patience: Duration,
    newest: watch::Sender<u64>,
}

impl Door {
    /// One through which nobody came yet. So long a connection may last on which nobody proves a name.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, newest: watch::Sender::new(0) }
    }

    /// Takes the next connection in.
    pub(super) fn enter(&self, connection: Connection) -> Guest {
        let mut newest = self.newest.subscribe();
        let number = *newest.borrow_and_update() + 1;
        self.newest.send_replace(number);
        let patience = self.patience;
        let leave = async move {
            let crowded = newest.wait_for(|newest| *newest >= number.saturating_add(MAX_GUESTS));
            // Either way it is over, also when the port is closed.
            let _ = timeout(patience, crowded).await.map(drop);
        };
        let visitor = Visitor { peer: connection.connect_info(), admitted: Arc::default() };
        Guest { connection, visitor, leave: Some(Box::pin(leave)) }
    }
}

/// See the module.
pub(super) struct Guest {
    connection: Connection,
    visitor: Visitor,
    /// Resolves when it has to leave, unless it was admitted; `None` once it has been admitted for good.
    leave: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Who is at the other end of a connection; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Visitor {
    /// What the connection itself proves.
    pub(super) peer: Peer,
    admitted: Arc<AtomicBool>,
}

impl Visitor {
    /// Somebody has proved a name on the connection, which may stay from now on.
    pub(super) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

impl Connected for Guest {
    type ConnectInfo = Visitor;

    fn connect_info(&self) -> Visitor {
        self.visitor.clone()
    }
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(leave) = &mut self.leave
            && leave.as_mut().poll(context).is_ready()
        {
            if !self.visitor.admitted.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has proved a name")));
            }
            self.leave = None;
        }
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
