//! TLS: certificates from files, and connections that have been through a handshake. rustls with ring, TLS 1.2 and newer.
//!
//! [`Certificates`] reads a port's files and keeps what it serves in step with them; [`Incoming`] accepts connections, shakes hands and
//! gives [`Connection`]s, the same for a port without TLS; [`client`] is the other end. It knows no protocol above, decides about no
//! proxy, and never logs what a key file holds. Without a certificate that can be used there is no port.

mod certificates;
mod client;
mod connection;
mod incoming;

pub(crate) use certificates::{Certificates, Files, ensure_only_certificates};
pub(crate) use client::{Roots, client};
pub(crate) use connection::{Connection, Peer};
pub(crate) use incoming::Incoming;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
