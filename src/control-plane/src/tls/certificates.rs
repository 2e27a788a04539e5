//! A port's certificate, key and client CA: read from their files at start, and again whenever those change. A new set that cannot be
//! used keeps the old one in service and is reported once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error, RootCertStore, ServerConfig};

use super::provider;

/// So often the files are looked at. What is new is used once it was found the same twice: a certificate and its key cannot be replaced
/// in one step.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where a port's certificate is, by the flags that said so: messages name them.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The chain, the port's own certificate first.
    pub(crate) cert: (&'static str, PathBuf),
    /// Its private key.
    pub(crate) key: (&'static str, PathBuf),
    /// Who signs the certificates that clients must present; without it none is asked for.
    pub(crate) client_ca: Option<(&'static str, PathBuf)>,
    /// What is spoken over it, as ALPN calls it.
    pub(crate) protocol: &'static str,
}

/// What a port serves now. Clones follow the same files; once all are gone, nobody looks at those any more.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(watch::Receiver<Arc<ServerConfig>>);

impl Certificates {
    /// Reads the files, and watches them from now on.
    ///
    /// # Errors
    /// If they cannot be used; the message names flag, file and reason.
    pub(crate) async fn watch(files: Files) -> anyhow::Result<Self> {
        let contents = Contents::read(files.clone()).await?;
        let (sender, receiver) = watch::channel(contents.config(&files)?);
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = follow(&files, contents, &sender) => {}
            }
        });
        Ok(Self(receiver))
    }

    /// For the next handshake.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.borrow().clone()
    }
}

/// Looks at the files for ever.
async fn follow(files: &Files, served: Contents, sender: &watch::Sender<Arc<ServerConfig>>) {
    let mut looked_at = Ok(served);
    let mut dealt_with = true;
    loop {
        sleep(INTERVAL).await;
        let found = Contents::read(files.clone()).await.map_err(|error| format!("{error:#}"));
        if found != looked_at {
            (looked_at, dealt_with) = (found, false);
        } else if !dealt_with {
            dealt_with = true;
            let config = looked_at.as_ref().map_err(|error| anyhow!(error.clone())).and_then(|contents| contents.config(files));
            match config {
                Ok(config) => {
                    sender.send_replace(config);
                    tracing::info!(certificate = %files.cert.1.display(), "a new certificate is served from now on");
                }
                Err(error) => tracing::error!("the former certificate stays in service: {error:#}"),
            }
        }
    }
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    async fn read(files: Files) -> anyhow::Result<Self> {
        let read = move || {
            Ok(Self {
                cert: read(&files.cert)?,
                key: read(&files.key)?,
                client_ca: files.client_ca.as_ref().map(read).transpose()?,
            })
        };
        tokio::task::spawn_blocking(read).await?
    }

    /// What a handshake needs.
    fn config(&self, files: &Files) -> anyhow::Result<Arc<ServerConfig>> {
        let chain = certificates(&self.cert).with_context(|| named(&files.cert))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            anyhow!("{} holds no private key as PEM (PKCS#8, PKCS#1 or SEC1, without a password)", named(&files.key))
        })?;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match (&files.client_ca, &self.client_ca) {
            (Some(file), Some(pem)) => {
                let roots = roots(pem).with_context(|| named(file))?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
                builder.with_client_cert_verifier(verifier.with_context(|| named(file))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                anyhow!(
                    "{} and {} do not belong together: the key is another certificate's",
                    named(&files.cert),
                    named(&files.key)
                )
            }
            other => anyhow!("{} and {} cannot be used: {other}", named(&files.cert), named(&files.key)),
        })?;
        config.alpn_protocols = vec![files.protocol.into()];
        // Whoever connects proves anew who it is: connections last, and a handshake that is cut short would save nothing.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

fn read(file: &(&'static str, PathBuf)) -> anyhow::Result<Vec<u8>> {
    let unreadable = || format!("{} cannot be read", named(file));
    let found = std::fs::metadata(&file.1).with_context(unreadable)?;
    ensure!(found.is_file(), "{} is no file: it is read again whenever it changes, so name one, not a pipe", named(file));
    std::fs::read(&file.1).with_context(unreadable)
}

fn named((flag, path): &(&'static str, PathBuf)) -> String {
    format!("{flag} {}", path.display())
}

/// The certificates in a file's text, at least one.
fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| anyhow!("is not PEM: {error}"))?;
    ensure!(!found.is_empty(), "holds no certificate as PEM");
    Ok(found)
}

/// The certificates in a file's text, to be trusted.
pub(super) fn roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| anyhow!("holds a certificate that cannot be used: {error}"))?;
    }
    Ok(roots)
}

/// Fails unless a text holds certificates and nothing else, not even a remark: it is shown to anybody, as it is. A private key often stands
/// beside a certificate.
pub(crate) fn ensure_only_certificates(text: &str) -> anyhow::Result<()> {
    roots(text.as_bytes())?;
    let whole = |der: CertificateDer<'_>| format!("-----BEGINCERTIFICATE-----{}-----ENDCERTIFICATE-----", STANDARD.encode(der));
    let certificates: String = certificates(text.as_bytes())?.into_iter().map(whole).collect();
    ensure!(
        certificates.chars().eq(text.chars().filter(|sign| !sign.is_whitespace())),
        "holds something else beside certificates"
    );
    Ok(())
}

/// A file's certificates, to be trusted.
pub(super) fn read_roots(flag: &'static str, path: &Path) -> anyhow::Result<RootCertStore> {
    let file = (flag, path.to_owned());
    roots(&read(&file)?).with_context(|| named(&file))
}
