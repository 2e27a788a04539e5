//! Rulings that were made before: most requests come for few paths, and what the rules say of one depends on nothing but the policy and
//! the request. It remembers at most [`SLOTS`] of them, none without the exact bytes that it was made for, and never one that depends on
//! more than method and path.

use crate::policy::Policy;
use crate::request::Request;
use crate::ruling::Ruling;

/// So many requests are remembered, each by its own place: another one that belongs there takes it over.
const SLOTS: usize = 1024;
/// Longer paths are not remembered, nor longer methods: in bytes.
const MAX_PATH_LEN: usize = 256;
const MAX_METHOD_LEN: usize = 16;

/// What one policy said of requests.
pub struct Rulings {
    slots: Vec<Option<Slot>>,
}

struct Slot {
    line: Line<Vec<u8>>,
    ruling: Ruling,
}

/// All of a request that a remembered ruling depends on.
#[derive(Clone, Copy)]
struct Line<T> {
    writes: bool,
    method: T,
    path: T,
}

impl Default for Rulings {
    fn default() -> Self {
        Self::new()
    }
}

impl Rulings {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self { slots: std::iter::repeat_with(|| None).take(SLOTS).collect() }
    }

    /// As [`Policy::rule_on`], which it must always be asked with the same policy.
    pub fn rule_on(&mut self, policy: &Policy, request: &Request<'_>) -> Ruling {
        let Some(line) = Line::of(request) else { return policy.rule_on(request) };
        let Some(slot) = self.slots.get_mut(line.slot()) else { return policy.rule_on(request) };
        match slot {
            Some(Slot { line: known, ruling }) if line.is(known) => ruling.clone(),
            _ => {
                let ruling = policy.rule_on(request);
                *slot = Some(Slot { line: line.to_owned(), ruling: ruling.clone() });
                ruling
            }
        }
    }
}

impl<'a> Line<&'a [u8]> {
    /// `None` for a request whose ruling depends on more.
    fn of(request: &Request<'a>) -> Option<Self> {
        // All fields are named, so that a new one is not overlooked.
        let Request {
            method,
            path,
            ambiguous_query,
            overrides_method,
            writes,
            wants_challenge: _,
            credentials: _,
            may_be_forged,
            environments,
        } = request;
        let is_plain = !ambiguous_query && !overrides_method && !may_be_forged && environments.named.is_empty();
        let path = path.filter(|path| is_plain && path.len() <= MAX_PATH_LEN && method.len() <= MAX_METHOD_LEN)?;
        Some(Self { writes: *writes, method, path })
    }

    fn is(&self, known: &Line<Vec<u8>>) -> bool {
        self.writes == known.writes && self.path == known.path && self.method == known.method
    }

    fn to_owned(self) -> Line<Vec<u8>> {
        Line { writes: self.writes, method: self.method.to_vec(), path: self.path.to_vec() }
    }

    /// Whoever finds paths that share a place gains nothing but that they are ruled on anew.
    fn slot(&self) -> usize {
        let (words, tail) = self.path.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let tail = tail.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let seed = self.method.len() as u64 + u64::from(self.writes);
        let mixed =
            words.chain([tail]).fold(seed, |mixed, word| (mixed.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        (mixed >> 32) as usize % SLOTS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::carrier::Carriers;
    use crate::identity::IdentityHeader;
    use crate::locator::{Locator, Places};
    use crate::request::Header;
    use crate::route::{Rule, TargetKind, Template};

    fn policy() -> Policy {
        let rule = |path: &str, kind: TargetKind, methods: Option<&str>| Rule {
            template: Template::parse(path).unwrap(),
            methods: methods.map(|method| vec![method.to_owned()]),
            kind,
            places: Places::ALL,
            always_write: false,
            keep_credentials: path.contains('k'),
            shadow: None,
        };
        Policy {
            carriers: Carriers { used: vec![crate::Carrier::Cookie("token".to_owned())], stripped: Vec::new() },
            locators: vec![Locator::parse("header:x-project").unwrap()],
            json: |_, _| None,
            shadow: false,
            environment_prefix: String::new(),
            environment_header: None,
            identity_headers: IdentityHeader::ALL.to_vec(),
            rules: vec![
                rule("/p/{environment}/**", TargetKind::Environment, None),
                rule("/a", TargetKind::Account, Some("GET")),
                rule("/a", TargetKind::Admin, None),
                rule("/k/**", TargetKind::Public, None),
                rule("/e", TargetKind::Environment, None),
            ],
        }
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_the_policy_says(
            requests in proptest::collection::vec(
                (
                    prop_oneof![Just("GET"), Just("HEAD"), Just("POST")],
                    "(/(p|a|k|e|1a5|1a6|%2e|)){0,3}(\\?_method=x)?",
                    proptest::option::of(prop_oneof![
                        Just(("x-project", "1a5")),
                        Just(("x-project", "1a6")),
                        Just(("upgrade", "websocket")),
                        Just(("x-http-method", "PUT")),
                        Just(("cookie", "token=x")),
                    ]),
                ),
                1..20,
            ),
        ) {
            let (policy, mut rulings) = (policy(), Rulings::new());
            for (method, path, header) in requests.iter().chain(&requests) {
                let mut headers: Vec<Header<'_>> =
                    vec![(b":method", method.as_bytes()), (b":path", path.as_bytes()), (b"user-agent", b"Mozilla")];
                headers.extend(header.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
                let request = policy.read(headers);
                let (found, expected) = (rulings.rule_on(&policy, &request), policy.rule_on(&request));
                prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            }
        }
    }

    #[test]
    fn it_never_remembers_more_than_it_may() {
        let (policy, mut rulings) = (policy(), Rulings::new());
        let mut rule_on = |path: String| {
            rulings.rule_on(&policy, &policy.read([(b":method".as_slice(), b"GET".as_slice()), (b":path", path.as_bytes())]));
            rulings.slots.iter().flatten().count()
        };
        assert_eq!(rule_on(format!("/{}", "x".repeat(MAX_PATH_LEN))), 0);
        assert_eq!((rule_on("/p/1a5".to_owned()), rule_on("/p/1a5".to_owned())), (1, 1));
        let remembered = (0..20 * SLOTS).map(|number| rule_on(format!("/p/1a5/{number}"))).max().unwrap();
        assert!((SLOTS / 2..=SLOTS).contains(&remembered), "{remembered}");
    }
}
