//! Who a proxy is: what it must show for its name before it may have a stream, and the end of streams whose token was revoked. Tokens are
//! looked up by a function that push is given; a plain one is hashed here and goes no further.

use std::collections::BTreeSet;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use keygate_decision::Digest;
use keygate_wire::JoinToken;
use tokio::sync::watch;
use tonic::Status;

use super::Shared;
use crate::tls::Peer;

/// By what a proxy has proved its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The join token of this number.
    Token(u64),
    /// A client certificate, one of whose DNS names is the proxy's.
    Certificate,
    /// Nothing: the port is on loopback, and whoever reaches that is believed.
    Loopback,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token {id}"),
            Self::Certificate => f.write_str("certificate"),
            Self::Loopback => f.write_str("loopback"),
        }
    }
}

/// What must be shown on a port by a proxy that has neither token nor certificate, and whose name never had a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A token or a certificate: others than this machine's programs reach the port.
    Required,
    /// Nothing.
    Optional,
}

/// How a name stands with a token, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenStanding {
    /// The token is this one, active and this name's.
    Active(u64),
    /// The token is this one, this name's, and revoked.
    Revoked(u64),
    /// The token is another name's.
    OfAnother,
    /// No such token exists.
    Unknown,
    /// No token was shown, though the name has had one.
    Lacking,
    /// No token was shown, and the name never had one.
    Untold,
}

/// Looks up how a name stands with what it shows: the digest of a token, or nothing.
pub(crate) type TokenLookup =
    Arc<dyn Fn(String, Option<Digest>) -> Pin<Box<dyn Future<Output = anyhow::Result<TokenStanding>> + Send>> + Send + Sync>;

/// Finds by what a proxy proves its name.
///
/// # Errors
/// UNAUTHENTICATED with the way out if it does not, UNAVAILABLE if that could not be looked up.
pub(super) async fn identify(shared: &Shared, peer: &Peer, proof: Proof, name: &str, token: &str) -> Result<Identity, Status> {
    let standing = match (token, JoinToken::parse(token)) {
        ("", _) => (shared.tokens)(name.to_owned(), None).await,
        (_, None) => Ok(TokenStanding::Unknown),
        (_, Some(token)) => (shared.tokens)(name.to_owned(), Some(token.digest())).await,
    };
    let standing = standing.map_err(|error| {
        tracing::error!(proxy = name, "its join token could not be looked up: {error:#}");
        Status::unavailable("the control plane could not look up the join token, see its log")
    })?;
    judge(standing, peer, proof, name).map_err(Status::unauthenticated)
}

/// A token that is shown must be good: a certificate does not make up for one that was revoked.
fn judge(standing: TokenStanding, peer: &Peer, proof: Proof, name: &str) -> Result<Identity, String> {
    let certificate = peer.certificate.as_deref();
    let named = certificate.is_some_and(|names| names.iter().any(|dns| dns == name));
    let way_out = format!("set the filter's control_plane.token to one that `keygate proxy token create {name}` shows");
    match standing {
        TokenStanding::Active(id) => Ok(Identity::Token(id)),
        TokenStanding::Revoked(id) => Err(format!("join token {id} of {name} is revoked: {way_out}")),
        TokenStanding::OfAnother => Err(format!("the join token is another proxy's, not {name}'s: {way_out}")),
        TokenStanding::Unknown => Err(format!("there is no such join token: {way_out}")),
        TokenStanding::Lacking | TokenStanding::Untold if named => Ok(Identity::Certificate),
        TokenStanding::Untold if proof == Proof::Optional => Ok(Identity::Loopback),
        TokenStanding::Lacking => Err(format!(
            "the name {name} has had a join token and needs one: {way_out}, or drop its tokens by `keygate proxy forget {name}`"
        )),
        TokenStanding::Untold => Err(match certificate {
            Some(names) => format!(
                "the client certificate is {}'s, not {name}'s: present one with that DNS name, or {way_out}",
                if names.is_empty() { "nobody".to_owned() } else { names.join(", ") },
            ),
            None => format!("the proxy proves its name by nothing: {way_out}"),
        }),
    }
}

/// The tokens that were revoked since this start; a stream ends when its own is among them, whenever it looks.
pub(super) struct Revocations(watch::Sender<BTreeSet<u64>>);

impl Revocations {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }

    /// Ends all streams that were opened with this token, and each that will be by a look-up of before.
    pub(super) fn add(&self, token: u64) {
        self.0.send_if_modified(|revoked| revoked.insert(token));
    }

    /// Whether what this identity stands on is revoked.
    pub(super) fn include(&self, identity: Identity) -> bool {
        matches!(identity, Identity::Token(id) if self.0.borrow().contains(&id))
    }

    /// Resolves once what this identity stands on is revoked, to the end of its stream.
    pub(super) async fn awaited(&self, identity: Identity) -> Status {
        let Identity::Token(id) = identity else { return pending().await };
        // It cannot fail: the sender is borrowed.
        let _ = self.0.subscribe().wait_for(|revoked| revoked.contains(&id)).await;
        Status::unauthenticated(format!("join token {id} was revoked: give this proxy another one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_proved_as_written_here() {
        let certificate = |names: &[&str]| Peer { certificate: Some(names.iter().map(|name| (*name).to_owned()).collect()) };
        let (none, own, other) = (Peer::default(), certificate(&["x", "edge-1"]), certificate(&["edge-2", "*.edges", "EDGE-1"]));
        // Each line: a standing, then what it comes to without a certificate, with the name's own and with another's, where
        // proof is required.
        let table = [
            (TokenStanding::Active(3), [Some(Identity::Token(3)); 3]),
            (TokenStanding::Revoked(3), [None; 3]),
            (TokenStanding::OfAnother, [None; 3]),
            (TokenStanding::Unknown, [None; 3]),
            (TokenStanding::Lacking, [None, Some(Identity::Certificate), None]),
            (TokenStanding::Untold, [None, Some(Identity::Certificate), None]),
        ];
        for (standing, identities) in table {
            for (peer, identity) in [&none, &own, &other].into_iter().zip(identities) {
                let required = judge(standing, peer, Proof::Required, "edge-1");
                assert_eq!(required.clone().ok(), identity, "{standing:?} {peer:?}");
                let optional = judge(standing, peer, Proof::Optional, "edge-1").ok();
                let loopback = standing == TokenStanding::Untold && identity.is_none();
                assert_eq!(optional, if loopback { Some(Identity::Loopback) } else { identity }, "{standing:?} {peer:?}");
                assert!(required.err().is_none_or(|why| why.contains("keygate proxy token create edge-1")));
            }
        }
    }

    #[tokio::test]
    async fn a_revocation_is_found_whether_it_came_before_or_after() {
        let revocations = Revocations::new();
        let ended = async |id| tokio::time::timeout(std::time::Duration::from_millis(20), revocations.awaited(id)).await.is_ok();
        assert!(!ended(Identity::Token(3)).await);
        revocations.add(3);
        assert!(ended(Identity::Token(3)).await && revocations.include(Identity::Token(3)));
        for other in [Identity::Token(4), Identity::Certificate, Identity::Loopback] {
            assert!(!ended(other).await && !revocations.include(other), "{other}");
        }
        let late = async { tokio::join!(revocations.awaited(Identity::Token(4)), async { revocations.add(4) }).0 };
        assert_eq!(late.await.code(), tonic::Code::Unauthenticated);
    }
}
