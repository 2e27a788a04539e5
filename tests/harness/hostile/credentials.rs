//! Fuzz target: the headers of a request. There is one credential in them or none, in whatever order they come, and none is left once
//! the filter has taken its carriers out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keygate_decision::credential::{Scheme, from_authorization, from_opaque, outline_of_authorization, outline_of_opaque};
use keygate_decision::{Carriers, Digest, Header, Reason};

use super::border;

/// The bytes are lines of a header's name, a space and its value.
pub fn credentials(data: &[u8]) {
    let headers: Vec<Header<'_>> = data.split(|byte| *byte == b'\n').map(name_and_value).collect();
    let policy = border::policy();
    let credential = |headers: &[Header<'_>]| policy.read(headers.iter().copied()).credentials.digest();

    let found = credential(&headers);
    let backwards: Vec<Header<'_>> = headers.iter().rev().copied().collect();
    assert_eq!(found.ok(), credential(&backwards).ok(), "the order of headers decides about a credential");

    let owned = taken_out(&policy.carriers, &headers);
    let left: Vec<Header<'_>> = owned.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    assert_eq!(credential(&left), Err(Reason::NoCredential), "a credential is left");

    headers.iter().for_each(|(_, value)| one_credential(value));
}

fn name_and_value(line: &[u8]) -> Header<'_> {
    let mut halves = line.splitn(2, |byte| *byte == b' ');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// What the filter forwards of these headers.
fn taken_out<'a>(carriers: &Carriers, headers: &[Header<'a>]) -> Vec<(&'a [u8], Vec<u8>)> {
    let kept = headers.iter().filter(|(name, _)| !carriers.strips_header(name, false));
    let cleaned = kept.map(|(name, value)| {
        let stripped = match *name {
            b"cookie" => carriers.strip_cookie(value, false),
            b":path" => carriers.strip_query(value, false),
            _ => None,
        };
        (*name, stripped.unwrap_or_else(|| value.to_vec()))
    });
    cleaned.collect()
}

/// However a credential is presented, it is the same one; and what people are told is told of exactly those that are read.
fn one_credential(value: &[u8]) {
    let digest = from_opaque(value);
    assert_eq!(digest.is_some(), outline_of_opaque(value).is_some());
    let as_header = from_authorization(value).map(|(scheme, digest)| (scheme, digest.is_some()));
    assert_eq!(as_header, outline_of_authorization(value).map(|(scheme, outline)| (scheme, outline.is_some())));

    let (Some(digest), Ok(text)) = (digest, std::str::from_utf8(value)) else { return };
    // Longer ones may be too long in another spelling.
    if text.len() > 1000 {
        return;
    }
    assert_eq!(from_authorization(format!("Bearer {text}").as_bytes()), Some((Scheme::Bearer, Some(digest))));
    assert_eq!(from_authorization(value), Some((Scheme::None, Some(digest))));
    if let Some((access, secret)) = text.split_once(':')
        && !access.is_empty()
        && !secret.is_empty()
    {
        let same: Option<(Scheme, Option<Digest>)> = Some((Scheme::Basic, Some(digest)));
        assert_eq!(from_authorization(format!("Basic {}", STANDARD.encode(text)).as_bytes()), same);
        assert_eq!(from_authorization(format!("basic  {}", URL_SAFE_NO_PAD.encode(text)).as_bytes()), same);
    }
}
