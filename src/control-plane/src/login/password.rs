//! A password that somebody chose, and which ones are acceptable. It is never stored, never printed, and lives only from the request
//! that carries it to its hash.

use std::collections::BTreeSet;
use std::fmt;

use crate::name::AccountName;

/// Longest password, in bytes: hashing takes longer for longer ones.
const LONGEST_BYTES: usize = 1024;
/// With fewer different characters it is a rhythm on one key.
const FEWEST_DISTINCT: usize = 5;

/// The commonest passwords, one a line, in lower case: those of eight characters and more, and words that come with a number or sign
/// before or after them.
const COMMONEST: &str = include_str!("commonest.txt");

/// A plain password. Prints as `Password(..)`.
#[derive(Clone)]
pub(crate) struct Password(String);

impl Password {
    /// Takes what was presented; the error says what can be a password at all. Whether one may be chosen is for [`Self::check`].
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let valid = (1..=LONGEST_BYTES).contains(&text.len());
        valid.then(|| Self(text.to_owned())).ok_or_else(|| format!("must be 1 to {LONGEST_BYTES} bytes"))
    }

    /// The plain text, for hashing.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether an account of this name may choose it; the error says what would be accepted.
    pub(crate) fn check(&self, name: &AccountName, shortest: u64) -> Result<(), String> {
        let characters = u64::try_from(self.0.chars().count()).unwrap_or(u64::MAX);
        let folded = self.0.to_lowercase();
        let core = core(&folded);
        let own = name.as_str().to_lowercase();
        if characters < shortest {
            Err(format!("must be at least {shortest} characters"))
        } else if folded == own || (!core.is_empty() && core == self::core(&own)) {
            Err("must not be the account's name, nor the name with numbers or signs around it".to_owned())
        } else if COMMONEST.lines().any(|common| common == folded || common == core) {
            Err("is one of the commonest passwords, or one with numbers or signs around it; choose another".to_owned())
        } else if self.0.chars().collect::<BTreeSet<_>>().len() < FEWEST_DISTINCT {
            Err(format!("must have at least {FEWEST_DISTINCT} different characters"))
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What is left when numbers and signs at both ends are taken away.
fn core(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), String> {
        Password::parse(password).unwrap().check(&AccountName::parse("alice.smith").unwrap(), 12)
    }

    #[test]
    fn a_password_is_long_and_not_to_be_guessed_at_once() {
        for good in ["correct horse battery", "tr0ub4dor&3xyz", "ein Baum äöü steht", "alice.smith and the rabbit"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("elevenchars", "at least 12"),
            ("ääääääääääb", "at least 12"),
            ("Alice.Smith!!", "account's name"),
            ("123alice.smith", "account's name"),
            ("Password12345!", "commonest"),
            ("QWERTYUIOP123", "commonest"),
            ("123456789012", "commonest"),
            ("abcabcabcabc", "different"),
        ] {
            assert!(check(bad).is_err_and(|why| why.contains(part)), "{bad}: {:?}", check(bad));
        }
    }

    #[test]
    fn the_commonest_are_as_they_are_compared() {
        assert!(COMMONEST.lines().count() >= 300);
        let mut seen = BTreeSet::new();
        for line in COMMONEST.lines() {
            assert!(line == line.trim().to_lowercase() && line.len() >= 4, "{line}");
            assert!(seen.insert(line), "{line} stands there twice");
        }
    }

    #[test]
    fn a_password_never_prints_and_is_never_too_long_to_hash() {
        assert!(!format!("{:?}", Password::parse("correct horse").unwrap()).contains("horse"));
        assert!(Password::parse("").is_err());
        assert!(Password::parse(&"x".repeat(1024)).is_ok());
        assert!(Password::parse(&"x".repeat(1025)).is_err());
    }
}
