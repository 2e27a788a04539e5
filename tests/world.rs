//! The people and things of the tests: environments `1a5`, `1a6` and `1a7`; an admin; alice, who is a member of `1a5` and may read
//! `1a6`; an environment key for each of `1a5` (production) and `1a6` (staging); an expired, an inactive and an unknown key.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{Cli, ControlPlane, Key, until};
use keygate_decision::key::{AccessKey, KeyPair, SecretKey};

/// What `${name.part}` in a vector stands for.
pub(crate) struct World {
    values: BTreeMap<String, String>,
}

impl World {
    /// The names of all keys.
    pub(crate) const KEYS: [&str; 7] = ["admin", "alice", "production", "staging", "expired", "inactive", "unknown"];

    pub(crate) fn empty() -> Self {
        Self { values: BTreeMap::new() }
    }

    /// Makes the world in a control plane, with the real command line.
    pub(crate) async fn create(control_plane: &ControlPlane) -> Result<Self> {
        let cli = control_plane.cli();
        let mut world = Self::empty();
        for (id, name) in [("1a5", "production"), ("1a6", "staging"), ("1a7", "testing")] {
            cli.text(&["environment", "create", "--id", id, "--name", name]).await?;
        }
        cli.text(&["account", "create", "--name", "alice", "--kind", "user"]).await?;
        cli.text(&["member", "add", "--environment", "1a5", "--account", "alice", "--role", "member"]).await?;
        cli.text(&["member", "add", "--environment", "1a6", "--account", "alice", "--role", "readonly"]).await?;
        world.add("admin", control_plane.admin());
        world.add("alice", &cli.create_key(&["--account", "alice", "--name", "alice"]).await?);
        world.add("production", &cli.create_key(&["--environment", "1a5", "--name", "production"]).await?);
        world.add("staging", &cli.create_key(&["--environment", "1a6", "--name", "staging"]).await?);
        let expired = cli.create_key(&["--account", "alice", "--name", "expired", "--ttl", "1s"]).await?;
        world.add("expired", &expired);
        let inactive = cli.create_key(&["--account", "alice", "--name", "inactive"]).await?;
        cli.text(&["key", "deactivate", &inactive.id, "--wait"]).await?;
        world.add("inactive", &inactive);
        world.add("unknown", &as_created("0", &invented_pair(15)));
        for name in ["admin", "alice"] {
            world.set(&format!("{name}.account"), &account_id(&cli, name).await?);
        }
        until_expired(&cli, &expired).await?;
        Ok(world)
    }

    /// Adds a key under a name, with all its spellings.
    pub(crate) fn add(&mut self, name: &str, key: &Key) {
        let base64 = STANDARD.encode(key.pair());
        let by_user = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{}", key.token)));
        let mistyped = key.token.replacen("kg_", "kg_0", 1);
        for (part, value) in [
            ("id", key.id.as_str()),
            ("access", &key.access_key),
            ("access_lower", &key.access_key.to_lowercase()),
            ("secret", &key.secret_key),
            ("pair", &key.pair()),
            ("token", &key.token),
            ("mistyped", &mistyped),
            ("base64", &base64),
            ("base64_unpadded", base64.trim_end_matches('=')),
            ("basic", &format!("Basic {base64}")),
            ("by_user", &by_user("x-api-bearer")),
            ("by_user_shouted", &by_user("X-API-BEARER")),
            ("by_user_nowhere", &by_user("x-api-bearer=")),
            ("by_user_unpadded", by_user("x-api-bearer").trim_end_matches('=')),
            ("by_user_for_urls", &by_user("x-api-bearer=>>>").replace('/', "_").replace('+', "-")),
            ("by_user_screaming", &by_user("x-api-bearer=1a5").replace("Basic ", "BASIC \t ")),
            ("by_user_broken", &by_user("x-api-bearer").replacen("eC1h", "eC1h ", 1)),
            ("by_user_latin", &format!("Basic {}", STANDARD.encode([b"x-api-bearer=\xe9:", key.token.as_bytes()].concat()))),
            ("by_user_blank", &by_user(" x-api-bearer")),
            ("by_user_in_1a5", &by_user("x-api-bearer=1a5")),
            ("by_user_in_1a6", &by_user("x-api-bearer=1a6")),
            ("by_user_in_1a7", &by_user("x-api-bearer=1a7")),
        ] {
            self.set(&format!("{name}.{part}"), value);
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// A text with every `${name.part}` filled in.
    pub(crate) fn fill(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').context("an unclosed ${")?;
            out.push_str(before);
            out.push_str(self.values.get(name).with_context(|| format!("nobody knows ${{{name}}}"))?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// A key pair that was never issued, always the same for one number below 16.
pub(crate) fn invented_pair(number: u8) -> KeyPair {
    let random = std::array::from_fn(|index| (index as u8).wrapping_mul(7).wrapping_add(number));
    let secret = SecretKey::from_random(&random).expect("128 varied bytes make a secret");
    KeyPair { access: AccessKey::from_random([0xA0 | number; 10]), secret }
}

/// A pair as its creation would show it.
pub(crate) fn as_created(id: &str, pair: &KeyPair) -> Key {
    Key {
        id: id.to_owned(),
        access_key: pair.access.as_str().to_owned(),
        secret_key: pair.secret.expose().to_owned(),
        token: pair.token(),
    }
}

/// An account's number.
pub(crate) async fn account_id(cli: &Cli, name: &str) -> Result<String> {
    let account = cli.json(&["account", "show", name]).await?;
    Ok(account["id"].as_str().context("an account without an id")?.to_owned())
}

/// Waits until the control plane itself takes a key for expired.
pub(crate) async fn until_expired(cli: &Cli, key: &Key) -> Result<()> {
    let cli = cli.with_key(key);
    until("a key to expire", async || Ok((!cli.run(&["key", "list"]).await?.status.success()).then_some(()))).await
}
