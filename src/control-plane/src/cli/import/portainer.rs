//! Portainer's users and access tokens, from its own database or from the same in JSON. Whatever is wrong is told with its line or its
//! record. What else a user's record holds, the password's hash above all, is not read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_decision::Digest;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::bolt;
use crate::model::Kind;
use crate::name::{self, Label, Name};

/// What is taken over of Portainer.
#[derive(Debug, Deserialize)]
pub(super) struct Export {
    pub(super) users: Vec<User>,
    /// Absent in a Portainer of which nobody ever made one.
    #[serde(rename = "api_key", default)]
    pub(super) tokens: Vec<Token>,
}

/// A user.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    #[serde(rename = "Id")]
    pub(super) id: u64,
    #[serde(rename = "Username")]
    pub(super) name: String,
    #[serde(rename = "Role", deserialize_with = "role")]
    pub(super) kind: Kind,
}

/// An access token, of which Portainer, too, has only the digest.
#[derive(Debug, Deserialize)]
pub(super) struct Token {
    #[serde(rename = "userId")]
    pub(super) user: u64,
    #[serde(rename = "description", deserialize_with = "name")]
    name: Name,
    #[serde(rename = "prefix", deserialize_with = "label")]
    label: Label,
    #[serde(deserialize_with = "digest")]
    pub(super) digest: Digest,
}

impl Token {
    /// As the control plane takes it.
    pub(super) fn body(&self) -> Value {
        json!({"name": self.name.as_str(), "prefix": self.label.as_str(), "digest": hex::encode(self.digest.as_bytes())})
    }
}

impl Export {
    /// Reads a file; the error says what is wrong and where.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        let export = if bolt::is_one(file) {
            let users = records(file, "users")?.ok_or("it has no bucket users: is it Portainer's database?")?;
            Self { users, tokens: records(file, "api_key")?.unwrap_or_default() }
        } else if file.starts_with(&GZIP) {
            return Err("it is an archive: unpack it (tar xzf) and give the portainer.db that is in it".to_owned());
        } else {
            serde_json::from_slice(file).map_err(|error| format!("it is no portainer.db, and as JSON it is wrong: {error}"))?
        };
        export.check()
    }

    /// Numbers name users: each of them one.
    fn check(self) -> Result<Self, String> {
        for (index, user) in self.users.iter().enumerate() {
            if let Some(earlier) = self.users.iter().take(index).position(|other| other.id == user.id) {
                return Err(format!("users[{index}].Id is that of users[{earlier}], too"));
            }
        }
        Ok(self)
    }
}

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The records of a bucket; `None` if there is no such bucket.
fn records<T: DeserializeOwned>(file: &[u8], bucket: &str) -> Result<Option<Vec<T>>, String> {
    let Some(values) = bolt::values(file, bucket).map_err(|error| error.to_string())? else { return Ok(None) };
    let parse = |(index, value): (usize, &[u8])| {
        if !value.starts_with(b"{") {
            return Err(format!("{bucket}[{index}] is no JSON: an encrypted database cannot be read"));
        }
        serde_json::from_slice(value).map_err(|error| format!("{bucket}[{index}]: {error}"))
    };
    values.into_iter().enumerate().map(parse).collect::<Result<_, _>>().map(Some)
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    match u64::deserialize(deserializer)? {
        1 => Ok(Kind::Admin),
        2 => Ok(Kind::User),
        _ => Err(D::Error::custom("Role must be 1 (administrator) or 2 (user)")),
    }
}

/// Portainer takes any text without bounds on what stands in it.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = |c: char| if c.is_control() || name::misleads(c) { ' ' } else { c };
    let printable: String = text.chars().map(plain).take(128).collect();
    let named = if printable.trim().is_empty() { "access token" } else { &printable };
    Name::parse(named).map_err(|why| D::Error::custom(format!("description {why}")))
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Label, D::Error> {
    let text = String::deserialize(deserializer)?;
    Label::parse(&text).map_err(|why| D::Error::custom(format!("prefix {why}")))
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(Digest::from_bytes).ok_or_else(|| D::Error::custom("digest must be a SHA-256 in base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by bbolt itself: pages of 1024 bytes, 40 tokens of which every fifth was deleted again.
    const DATABASE: &[u8] = include_bytes!("portainer.db");

    #[test]
    fn portainers_own_database_is_read() {
        let export = Export::parse(DATABASE).unwrap();
        let users: Vec<_> = export.users.iter().map(|user| (user.id, user.name.as_str(), user.kind)).collect();
        assert_eq!(users, [(1, "admin", Kind::Admin), (2, "alice", Kind::User), (3, "bob", Kind::User)]);
        let expected = (1..=40_u64).filter(|number| number % 5 != 0);
        assert_eq!(export.tokens.len(), 32);
        for (number, token) in expected.zip(&export.tokens) {
            assert_eq!(token.digest, Digest::of(&format!("ptr_{number:044}")));
            assert_eq!((token.user, token.name.as_str()), (1 + number % 2, format!("token {number}").as_str()));
            assert_eq!(token.label.as_str(), "ptr_000");
        }
    }

    #[test]
    fn a_damaged_database_is_refused_or_read_but_never_a_panic() {
        // Behind the last page that is in use nothing is missed.
        for end in (0..DATABASE.len()).step_by(509) {
            assert!(Export::parse(&DATABASE[..end]).is_ok_and(|export| export.tokens.len() == 32) == (end >= 26 * 1024), "{end}");
        }
        for position in 0..DATABASE.len() {
            let mut damaged = DATABASE.to_vec();
            damaged[position] ^= 0xff;
            let _ = Export::parse(&damaged);
        }
    }
}
