//! A certificate authority of a test's own, and the certificates that it issues, in files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::Scratch;

/// See the module. Its folder goes with it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    scratch: Scratch,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A fresh one, whom nobody trusts yet.
    pub fn new() -> Result<Self> {
        let scratch = Scratch::new("keygate-authority")?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self { issuer, scratch };
        std::fs::write(authority.path(), authority.issuer.pem())?;
        Ok(authority)
    }

    /// The file of its own certificate.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// Issues a certificate for DNS names or addresses, into `NAME.pem` and `NAME.key`; what is there is replaced.
    pub fn issue(&self, name: &str, subjects: &[&str]) -> Result<Issued> {
        let subjects: Vec<String> = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        let mut params = CertificateParams::new(subjects)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, name);
        let pair = KeyPair::generate()?;
        let certificate = params.signed_by(&pair, &self.issuer)?;
        self.put(name, &certificate.pem(), &pair)
    }

    /// Passes its own certificate off as one that it issued.
    pub fn issue_itself(&self, name: &str) -> Result<Issued> {
        self.put(name, &self.issuer.pem(), self.issuer.key())
    }

    fn put(&self, name: &str, certificate: &str, pair: &KeyPair) -> Result<Issued> {
        let file = |kind: &str| self.scratch.path().join(format!("{name}.{kind}"));
        let issued = Issued { cert: file("pem"), key: file("key") };
        replace(&issued.cert, certificate)?;
        replace(&issued.key, &pair.serialize_pem())?;
        Ok(issued)
    }
}

/// Writes a file as a careful program does: whoever reads it meanwhile finds the old one or the new one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, path).with_context(|| format!("replacing {}", path.display()))
}
