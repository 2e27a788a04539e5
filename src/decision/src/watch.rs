//! Which headers can mean anything to a policy, told from their names at a glance: most mean nothing, and need no further look.

use crate::carrier::Carrier;
use crate::locator::{FORWARDED_HOSTS, Locator};
use crate::policy::Policy;
use crate::request;

/// The names that a policy watches. It may take one for another that means nothing, but never overlooks one that means something, in any
/// spelling.
#[derive(Clone, Debug)]
pub struct Watch {
    /// By a name's third letter, the lengths of names to watch: bit 63 for all from 63 bytes on.
    lengths: [u64; LETTERS + 1],
}

const LETTERS: usize = 26;
/// The signs that are no letters: an upstream may take one for another.
const NO_LETTER: usize = LETTERS;

impl Watch {
    /// What a policy watches.
    pub fn of(policy: &Policy) -> Self {
        let mut watch = Self::of_removed(policy);
        request::watched_names().for_each(|name| watch.add(name, bit(name.len())));
        for locator in &policy.locators {
            match locator {
                Locator::Header(name) | Locator::Opaque(name) => watch.add(name.as_bytes(), bit(name.len())),
                Locator::Host(_) => {
                    let hosts = FORWARDED_HOSTS.into_iter().chain([b":authority".as_slice(), b"host", b"forwarded"]);
                    hosts.for_each(|name| watch.add(name, bit(name.len())));
                }
                Locator::Basic(_) | Locator::Query(_) | Locator::QueryBeforeColon(_) | Locator::Json { .. } => {}
            }
        }
        watch
    }

    /// What a policy removes from a request, as far as whole headers go.
    pub fn of_removed(policy: &Policy) -> Self {
        let mut watch = Self { lengths: [0; LETTERS + 1] };
        request::removed_names().for_each(|name| watch.add(name, bit(name.len())));
        request::removed_starts().for_each(|start| watch.add_start(start));
        for carrier in policy.carriers.used.iter().chain(&policy.carriers.stripped) {
            match carrier {
                Carrier::Header(name) => watch.add(name.as_bytes(), bit(name.len())),
                Carrier::Headers(start) => watch.add_start(start.as_bytes()),
                // `Authorization` is among the names above; of cookies and queries only parts go.
                Carrier::Basic | Carrier::BasicToken(_) | Carrier::Bearer | Carrier::Bare => {}
                Carrier::Cookie(_) | Carrier::Query(_) => {}
            }
        }
        watch
    }

    /// Whether a header of this name may mean anything to the policy.
    pub fn may_matter(&self, name: &[u8]) -> bool {
        let class = name.get(2).map_or(NO_LETTER, |byte| class(*byte));
        self.lengths.get(class).is_none_or(|lengths| lengths & bit(name.len()) != 0)
    }

    fn add_start(&mut self, start: &[u8]) {
        // All lengths from its own on.
        self.add(start, !(bit(start.len()) - 1));
    }

    fn add(&mut self, name: &[u8], lengths: u64) {
        let class = name.get(2).map(|byte| class(*byte));
        let watched = self.lengths.iter_mut().enumerate().filter(|(index, _)| class.is_none_or(|class| class == *index));
        watched.for_each(|(_, own)| *own |= lengths);
    }
}

fn bit(len: usize) -> u64 {
    1 << len.min(63)
}

fn class(byte: u8) -> usize {
    match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => usize::from(letter - b'a'),
        _ => NO_LETTER,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::carrier::Carriers;
    use crate::identity::IdentityHeader;
    use crate::request::{Header, is_forbidden_header};

    fn policy() -> Policy {
        let carriers = |texts: &[&str]| texts.iter().map(|text| Carrier::parse_stripped(text).unwrap()).collect();
        Policy {
            carriers: Carriers {
                used: carriers(&[
                    "basic",
                    "basic:x-api-bearer",
                    "bearer",
                    "header:x-own-key",
                    "header:x_other_key",
                    "header:kk",
                    "cookie:token",
                ]),
                stripped: carriers(&["header:impersonate-*", "header:x-*"]),
            },
            locators: ["header:ab-c", "header:a_c_b", "opaque:x-client-key", "basic:x-api-bearer", "host:0"]
                .map(|text| Locator::parse(text).unwrap())
                .to_vec(),
            json: |_, _| None,
            shadow: false,
            environment_prefix: String::new(),
            environment_header: None,
            identity_headers: IdentityHeader::ALL.to_vec(),
            rules: Vec::new(),
        }
    }

    fn standard() -> Policy {
        Policy { carriers: Carriers::standard(), locators: Vec::new(), ..policy() }
    }

    #[test]
    fn what_every_client_sends_is_not_watched() {
        let watch = Watch::of(&standard());
        for name in ["accept", "accept-encoding", "accept-language", "x-request-id", "sec-ch-ua", "referer", "cache-control"] {
            assert!(!watch.may_matter(name.as_bytes()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_watched_means_nothing(
            headers in proptest::collection::vec(
                (
                    "(:method|:path|:authority|:protocol|upgrade|connection|authorization|cookie|user-agent|sec-fetch-(mode|site)|x-api-(csrf|key|no-challenge)|\
                      x-http-method(-override)?|x-(original|rewrite)-(url|uri|host)|x-keygate-(key|z{60})|x-o(wn|ther)-key|a-c-b|kk|k|impersonate-(u|z{60})|\
                      ab-c|x-client-key|host|forwarded|x-(forwarded-)?host|accept|x-request-id)",
                    0..30_usize,
                    "[-_. aX1]",
                    "(true|GET|/a\\?_method=x|a.b|Basic YTpi|Basic eC1hcGktYmVhcmVyPTFhNTp0|token=x; CSRF=y|Mozilla)",
                ),
                0..8,
            ),
            with_standard in any::<bool>(),
        ) {
            let policy = if with_standard { standard() } else { policy() };
            let (watch, removed) = (Watch::of(&policy), Watch::of_removed(&policy));
            let spell = |name: &str, at: usize, sign: &str| {
                name.char_indices().map(|(i, c)| if i == at { sign.to_owned() } else { c.to_string() }).collect::<String>()
            };
            let headers: Vec<(String, &str)> =
                headers.iter().map(|(name, at, sign, value)| (spell(name, *at, sign), value.as_str())).collect();
            let all: Vec<Header<'_>> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            let watched: Vec<Header<'_>> = all.iter().copied().filter(|(name, _)| watch.may_matter(name)).collect();
            let read = |headers: &[Header<'_>]| {
                let request = policy.read(headers.iter().copied());
                format!("{:?} {request:?}", request.credentials.digest())
            };
            prop_assert_eq!(read(&watched), read(&all));
            for (name, _) in all.iter().filter(|(name, _)| !watch.may_matter(name)) {
                prop_assert!(!is_forbidden_header(name) && !policy.removes_trailer(name));
                prop_assert!(!matches!(*name, b"connection" | b"upgrade" | b"cookie" | b":path"));
            }
            for (name, _) in all.iter().filter(|(name, _)| !removed.may_matter(name)) {
                let stays = [false, true].map(|keep| !policy.carriers.strips_header(name, keep));
                prop_assert!(!is_forbidden_header(name) && stays == [true, true]);
            }
        }
    }
}
