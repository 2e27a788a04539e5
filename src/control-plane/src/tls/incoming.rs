//! Accepts a port's connections. Handshakes go on beside each other and have a time; one that dawdles holds nobody up.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::{Certificates, Connection};

/// So long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// So many may be under way. The next one ends the oldest, which has had the longest time.
const MAX_HANDSHAKES: usize = 256;

/// See the module.
pub(crate) struct Incoming {
    listener: TcpListener,
    certificates: Option<Certificates>,
    handshakes: JoinSet<Option<Connection>>,
    /// Those under way and some that have ended, oldest first.
    oldest: VecDeque<AbortHandle>,
}

impl Incoming {
    /// Connections to this listener; without certificates they are plain.
    pub(crate) fn new(listener: TcpListener, certificates: Option<Certificates>) -> Self {
        Self { listener, certificates, handshakes: JoinSet::new(), oldest: VecDeque::new() }
    }

    /// The next connection that is ready to be served. Nothing is lost if this is dropped before it resolves.
    pub(crate) async fn accept(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    // One that has failed gives nothing.
                    if let Ok(Some(connection)) = ended {
                        return connection;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!("small messages may wait on a connection of {peer}: {error}");
                        }
                        match &self.certificates {
                            None => return Connection::Plain(stream),
                            Some(certificates) => {
                                let acceptor = certificates.config().into();
                                self.begin(acceptor, stream, peer);
                            }
                        }
                    }
                    Err(error) => {
                        // Out of files, say: it passes, and must not keep a processor busy until then.
                        tracing::warn!("a connection could not be accepted: {error}");
                        sleep(Duration::from_secs(1)).await;
                    }
                },
            }
        }
    }

    fn begin(&mut self, acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr) {
        self.oldest.retain(|handshake| !handshake.is_finished());
        if self.oldest.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.oldest.pop_front()
        {
            tracing::warn!("{MAX_HANDSHAKES} TLS handshakes are under way: the oldest is given up");
            oldest.abort();
        }
        let handshake = async move {
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Some(Connection::Tls(Box::new(stream))),
                Ok(Err(error)) => {
                    tracing::info!(%peer, "a TLS handshake failed: {error}");
                    None
                }
                Err(_) => {
                    tracing::info!(%peer, "a TLS handshake took longer than {} s", HANDSHAKE_TIMEOUT.as_secs());
                    None
                }
            }
        };
        self.oldest.push_back(self.handshakes.spawn(handshake));
    }
}
