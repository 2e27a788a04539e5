//! The keys of the benchmark, each computed from its number, so that nobody has to remember a million of them. They belong to accounts
//! that are members of [`HOME`] and of no other environment; one more belongs to that environment itself.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_decision::Digest;
use keygate_decision::key::{AccessKey, KeyPair, SecretKey};

/// The environment that every key reaches.
pub(crate) const HOME: &str = "e1";
/// A path that every key reaches, under [`HOME`].
pub(crate) const INSIDE: &str = "/v1/projects/e1/containers";
/// An environment that none reaches.
pub(crate) const ABROAD: &str = "e2";

/// How a key is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    ApiKey,
    Bearer,
    Basic,
}

/// So many keys of accounts, numbered from 0, and behind them the key of [`HOME`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) count: usize,
}

impl Keys {
    /// How many accounts there are: enough for a hundred, and none with fewer than 500 keys.
    pub(crate) fn accounts(self) -> usize {
        (self.count / 500).clamp(1, 100)
    }

    /// Which account a key belongs to, from 0.
    pub(crate) fn account(self, key: usize) -> usize {
        key % self.accounts()
    }

    /// The number of the environment's key.
    pub(crate) fn of_environment(self) -> usize {
        self.count
    }

    /// A key by its number.
    pub(crate) fn pair(self, key: usize) -> Result<KeyPair> {
        let hash = Digest::of(&format!("benchmark {key}"));
        let (access, secret) = hash.as_bytes().split_first_chunk::<10>().context("a digest of 32 bytes")?;
        // Twice as many letters as bytes, without the zero that secrets do not have.
        let secret: String = secret.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        let secret = SecretKey::parse(&secret.replace('0', "g")).context("a secret of 40 characters")?;
        Ok(KeyPair { access: AccessKey::from_random(*access), secret })
    }

    /// Writes the header values of some keys, one a line, all of one length.
    pub(crate) fn write(self, path: &Path, numbers: impl Iterator<Item = usize>, carrier: Carrier) -> Result<()> {
        let mut file = BufWriter::new(File::create(path).with_context(|| format!("making {}", path.display()))?);
        for key in numbers {
            writeln!(file, "{}", carrier.value(&self.pair(key)?))?;
        }
        Ok(file.flush()?)
    }
}

impl Carrier {
    /// The header that carries the key.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::ApiKey => "X-API-Key",
            Self::Bearer | Self::Basic => "Authorization",
        }
    }

    /// That header's value.
    pub(crate) fn value(self, pair: &KeyPair) -> String {
        match self {
            Self::ApiKey => pair.token(),
            Self::Bearer => format!("Bearer {}", pair.canonical()),
            Self::Basic => format!("Basic {}", STANDARD.encode(pair.canonical())),
        }
    }
}
