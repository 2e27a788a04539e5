//! Texts and spans that people choose. Owns what is acceptable; a value of these types has been checked. Every error says what
//! would be accepted.

use std::fmt;

use keygate_decision::UnixSeconds;
use keygate_decision::key::AccessKey;

/// An account's name: `[A-Za-z0-9][A-Za-z0-9._@-]{0,63}`, not digits alone (those are ids).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountName(String);

impl AccountName {
    /// Parses it; the error says what is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(allowed)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !text.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| Self(text.to_owned())).ok_or_else(|| {
            "must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -, begin with a letter or digit and not be digits alone".to_owned()
        })
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What people call a key or an environment: 1 to 128 characters, none of them a control character, not blank. Who chooses one chooses
/// none that looks like another one; what is stored may be older than that rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Parses it; the error says what is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        shows_itself(text).and_then(|()| Self::stored(text))
    }

    /// Parses one that is stored.
    pub(crate) fn stored(text: &str) -> Result<Self, String> {
        let valid = text.chars().take(129).count() <= 128 && !text.trim().is_empty() && !text.chars().any(char::is_control);
        valid
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| "must be 1 to 128 characters, not blank and without control characters".to_owned())
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A remark of up to 1024 characters; an empty one is none. What holds of a [`Name`] that looks like another one holds of it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description(String);

impl Description {
    /// Parses it; the error says what is accepted.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        shows_itself(text).and_then(|()| Self::stored(text))
    }

    /// Parses one that is stored.
    pub(crate) fn stored(text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let printable = |c: char| !c.is_control() || c == '\n' || c == '\t';
        let valid = text.chars().take(1025).count() <= 1024 && text.chars().all(printable);
        valid
            .then(|| Some(Self(text.to_owned())))
            .ok_or_else(|| "must be at most 1024 characters, without control characters but tab and newline".to_owned())
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn shows_itself(text: &str) -> Result<(), String> {
    match text.chars().find(|character| misleads(*character)) {
        None => Ok(()),
        Some(found) => {
            Err(format!("must not hold U+{:04X}, which shows nothing but changes how others are shown", u32::from(found)))
        }
    }
}

/// Whether a character shows nothing itself but may make a text look like another one: by its direction, by where its lines end, or
/// because nobody sees it. Those that writing systems need (U+200C, U+200D) are none of them.
pub(crate) fn misleads(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{3164}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// What of a key is no secret: 1 to 128 printable ASCII characters without blank or colon: where a
/// key is presented with its secret, the first colon is between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(String);

impl Label {
    /// Parses it; the error says what is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        valid
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| "must be 1 to 128 printable ASCII characters without blanks and colons".to_owned())
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&AccessKey> for Label {
    fn from(access: &AccessKey) -> Self {
        Self(access.as_str().to_owned())
    }
}

/// A proxy's name: the one that its filter is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyName(String);

impl ProxyName {
    /// Parses it; the error says what is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let valid = keygate_wire::config::is_name(text);
        valid.then(|| Self(text.to_owned())).ok_or_else(|| "must be 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned())
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long a key lives: one second to a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lifetime(u64);

impl Lifetime {
    const LONGEST_SECONDS: u64 = 100 * 366 * 24 * 60 * 60;

    /// Takes a number of seconds; the error says what is accepted.
    pub(crate) fn from_seconds(seconds: u64) -> Result<Self, String> {
        if (1..=Self::LONGEST_SECONDS).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(format!("must be a whole number of seconds from 1 to {} (a hundred years)", Self::LONGEST_SECONDS))
        }
    }

    /// Takes a number of milliseconds, rounded down, but not below a second nor above a hundred years; `None` for none at all, which
    /// stands for ever.
    pub(crate) fn from_milliseconds(milliseconds: u64) -> Option<Self> {
        (milliseconds > 0).then(|| Self((milliseconds / 1000).clamp(1, Self::LONGEST_SECONDS)))
    }

    /// The first second at which a key that was made at `created` no longer passes.
    pub(crate) fn end(self, created: UnixSeconds) -> UnixSeconds {
        UnixSeconds(created.0.saturating_add(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_are_never_mistaken_for_ids() {
        for name in ["alice", "a", "0a", "a.b_c@d-e", &"x".repeat(64)] {
            assert!(AccountName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "7", "0123", "-a", ".a", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(AccountName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_and_descriptions_are_counted_in_characters() {
        assert!(Name::parse(&"ä".repeat(128)).is_ok());
        for name in ["", "  ", "a\nb", "a\u{0}", &"x".repeat(129)] {
            assert!(Name::parse(name).is_err(), "{name}");
        }
        assert_eq!(Description::parse(""), Ok(None));
        assert!(Description::parse(&"ä\n".repeat(512)).is_ok());
        assert!(Description::parse(&"x".repeat(1025)).is_err());
        assert!(Description::parse("\u{1b}[31m").is_err());
    }

    #[test]
    fn what_may_look_like_another_text_is_not_taken_but_stays_readable() {
        for misleading in ["a\u{202e}b", "\u{feff}a", "a\u{2028}b", "a\u{2060}", "\u{61c}a"] {
            assert!(Name::parse(misleading).is_err_and(|why| why.contains("U+")), "{misleading:?}");
            assert!(Description::parse(misleading).is_err(), "{misleading:?}");
            assert!(Name::stored(misleading).is_ok() && Description::stored(misleading).is_ok(), "{misleading:?}");
        }
        // Persian and Indic scripts, and emoji, are written with these.
        assert!(Name::parse("a\u{200c}b\u{200d}c").is_ok() && Description::parse("a\u{200d}b").is_ok());
    }

    #[test]
    fn a_lifetime_is_bounded_and_ends_at_its_very_second() {
        assert!(Lifetime::from_seconds(0).is_err());
        assert!(Lifetime::from_seconds(u64::MAX).is_err());
        assert_eq!(Lifetime::from_seconds(60).map(|life| life.end(UnixSeconds(100))), Ok(UnixSeconds(160)));
        let end = |milliseconds| Lifetime::from_milliseconds(milliseconds).map(|life| life.end(UnixSeconds(0)).0);
        assert_eq!([end(0), end(1), end(1999), end(2000)], [None, Some(1), Some(1), Some(2)]);
        assert_eq!(end(u64::MAX), Some(Lifetime::LONGEST_SECONDS));
    }
}
