//! An access token as Portainer makes it: `ptr_` and 32 random bytes in base64. The plain text lives in this type, from where it is drawn to
//! the reply that shows it, and never prints.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_decision::Digest;

use crate::name::Label;
use crate::random::{self, NoRandomness};

const PREFIX: &str = "ptr_";
/// So many characters of it are no secret: by them people know it.
const LABEL_LEN: usize = 7;

/// A plain access token. Prints as `AccessToken(..)`.
pub(super) struct AccessToken(String);

impl AccessToken {
    /// Draws one.
    pub(super) fn draw() -> Result<Self, NoRandomness> {
        Ok(Self(format!("{PREFIX}{}", STANDARD.encode(random::bytes::<32>()?))))
    }

    /// The plain text. For the one reply that shows it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Of all of it, the prefix included.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// What of it is no secret.
    pub(super) fn label(&self) -> Result<Label, String> {
        Label::parse(&start(&self.0))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// The first characters of what is no secret.
pub(super) fn start(label: &str) -> String {
    label.chars().take(LABEL_LEN).collect()
}

/// A digest as Portainer writes it.
pub(super) fn digest_text(digest: &Digest) -> String {
    STANDARD.encode(digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_portainers_form_and_never_prints() {
        let token = AccessToken::draw().unwrap();
        let text = token.expose();
        assert!(text.len() == 48 && text.starts_with("ptr_") && text.ends_with('='), "{text}");
        assert!(text.starts_with(token.label().unwrap().as_str()) && token.label().unwrap().as_str().len() == LABEL_LEN);
        assert_eq!(format!("{token:?}"), "AccessToken(..)");
        assert_ne!(AccessToken::draw().unwrap().expose(), text);
    }

    #[test]
    fn a_digest_is_written_as_portainer_writes_it() {
        // echo -n ptr_test | openssl dgst -sha256 -binary | base64
        assert_eq!(digest_text(&Digest::of("ptr_test")), "bX73JRrkME0CQYj2XZyK2yClnypEEl0bUyiuDIXuHEQ=");
    }
}
