//! Where a request comes from: the address of its connection. What a header says of it counts only from a proxy that an operator trusts
//! by name, for anyone can write one.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::{App, Error};
use crate::login::Source;
use crate::setting;
use crate::store::setting as stored;

/// The other end of a connection, as an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(super) address: IpAddr,
    /// Whether it speaks TLS to us.
    pub(crate) by_tls: bool,
}

impl FromRequestParts<App> for Source {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        // Every connection has a peer; those without one would share the fate of one.
        let peer = parts.extensions.get::<Peer>().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.address.to_canonical());
        let trusted = stored::value(&mut *app.store.read().await?, &setting::TRUSTED_PROXIES).await?;
        Ok(Self::of(origin(peer, &trusted, &parts.headers)))
    }
}

/// Each proxy adds the address that it was reached from at the end: as long as who says so is trusted, the one before counts.
fn origin(peer: IpAddr, trusted: &[IpAddr], headers: &HeaderMap) -> IpAddr {
    // As bytes: what a client put before must not hide what the proxies added.
    let said = headers.get_all("x-forwarded-for").iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let said: Vec<&[u8]> = said.map(<[u8]>::trim_ascii).collect();
    let mut origin = peer;
    for address in said.into_iter().rev() {
        match std::str::from_utf8(address).unwrap_or_default().parse::<IpAddr>() {
            Ok(address) if trusted.contains(&origin) => origin = address.to_canonical(),
            _ => break,
        }
    }
    origin
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let origin = |trusted: &[&str], values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(value).unwrap());
            }
            let trusted: Vec<IpAddr> = trusted.iter().map(|text| ip(text)).collect();
            origin(ip("192.0.2.1"), &trusted, &headers).to_string()
        };
        assert_eq!(origin(&[], &[b"203.0.113.9"]), "192.0.2.1");
        assert_eq!(origin(&["192.0.2.2"], &[b"203.0.113.9"]), "192.0.2.1");
        assert_eq!(origin(&["192.0.2.1"], &[]), "192.0.2.1");
        assert_eq!(origin(&["192.0.2.1"], &[b"203.0.113.9, 198.51.100.7"]), "198.51.100.7", "what a client adds is not believed");
        assert_eq!(origin(&["192.0.2.1", "198.51.100.7"], &[b"203.0.113.9", b"198.51.100.7"]), "203.0.113.9");
        assert_eq!(origin(&["192.0.2.1"], &[b"203.0.113.9, nonsense"]), "192.0.2.1");
        assert_eq!(origin(&["192.0.2.1"], &[b"\xFF,203.0.113.9"]), "203.0.113.9", "what it adds hides nothing either");
    }
}
