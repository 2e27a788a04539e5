//! The client's end, for the command line: whom it trusts.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::certificates::{read_roots, roots as roots_of};
use super::provider;

/// Who may have signed the server's certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Roots<'a> {
    /// Nobody: no TLS is going to be spoken.
    Nobody,
    /// Those in the file that a flag names, and nobody else.
    File(&'static str, &'a Path),
    /// Those in this PEM, which comes from here, and nobody else.
    Given(&'static str, &'a [u8]),
    /// Those whom this machine trusts.
    Machine,
}

/// A client's settings.
///
/// # Errors
/// If the roots cannot be read.
pub(crate) fn client(roots: Roots<'_>) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match roots {
        Roots::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Roots::File(flag, path) => builder.with_root_certificates(read_roots(flag, path)?),
        Roots::Given(from, pem) => builder.with_root_certificates(roots_of(pem).context(from)?),
        Roots::Machine => builder
            .with_platform_verifier()
            .map_err(|error| anyhow!("{error}"))
            .context("this machine's trusted certificates cannot be read; name the one to trust")?,
    };
    Ok(builder.with_no_client_auth())
}
