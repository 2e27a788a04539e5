//! var/demo.env: what a run leaves for people's shells and for the next run. Only its owner may read it, for it holds secrets.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::Key;

/// Named values, kept as `NAME=value` lines that a shell reads.
pub(crate) struct Notes {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl Notes {
    /// Reads what a former run left, if one did.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("reading {}", path.display()))?,
        };
        let line = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), unquoted(value)))
        };
        Ok(Self { path: path.to_owned(), values: text.lines().filter_map(line).collect() })
    }

    /// Writes them, in one step: a reader sees the old or the new.
    pub(crate) fn save(&self) -> Result<()> {
        let unfinished = self.path.with_extension("env.new");
        // A file that a broken-off run left might have another mode.
        let _ = std::fs::remove_file(&unfinished);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        for (name, value) in &self.values {
            writeln!(file, "{name}={}", quoted(value))?;
        }
        std::fs::rename(&unfinished, &self.path)?;
        Ok(())
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn forget_all(&mut self) {
        self.values.clear();
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// The key that was noted under this prefix, if all its parts were.
    pub(crate) fn key(&self, prefix: &str) -> Option<Key> {
        let part = |name: &str| self.values.get(&format!("{prefix}_{name}")).cloned();
        Some(Key { id: part("KEY_ID")?, access_key: part("ACCESS_KEY")?, secret_key: part("SECRET_KEY")?, token: part("TOKEN")? })
    }

    pub(crate) fn set_key(&mut self, prefix: &str, key: &Key) {
        for (name, value) in
            [("KEY_ID", &key.id), ("ACCESS_KEY", &key.access_key), ("SECRET_KEY", &key.secret_key), ("TOKEN", &key.token)]
        {
            self.set(&format!("{prefix}_{name}"), value);
        }
    }
}

/// A value as a shell reads it: in quotes only where it needs them.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace(r"'\''", "'"))
}
