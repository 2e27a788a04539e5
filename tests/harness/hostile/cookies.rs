//! Fuzz target: a `Cookie` header. What is taken out is what is named as a carrier, and the other cookies stay as they came.

use keygate_decision::Carrier;

use super::border;
use super::views::folded;

/// The bytes are a `Cookie` header's value.
pub fn cookies(data: &[u8]) {
    for keep in [false, true] {
        let carriers = &border::policy().carriers;
        let used = carriers.used.iter().filter(|_| !keep);
        let names: Vec<&[u8]> = used.chain(&carriers.stripped).filter_map(name_of).collect();
        let goes = |cookie: &&[u8]| names.contains(&folded(cookie_name(cookie)).as_slice());

        let all: Vec<&[u8]> = pieces(data).collect();
        let expected: Vec<&[u8]> = all.iter().copied().filter(|cookie| !goes(cookie)).collect();
        match carriers.strip_cookie(data, keep) {
            None => assert_eq!(expected.len(), all.len(), "a carrier is left"),
            Some(left) => {
                let same = pieces(&left).eq(expected.iter().copied());
                assert!(same || (expected.is_empty() && left.is_empty()), "not the others are left");
                assert_eq!(carriers.strip_cookie(&left, keep), None, "a carrier is left");
            }
        }
    }
}

fn name_of(carrier: &Carrier) -> Option<&[u8]> {
    if let Carrier::Cookie(name) = carrier { Some(name.as_bytes()) } else { None }
}

/// White space around a cookie is nobody's.
fn pieces(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|byte| matches!(byte, b';' | b',')).map(<[u8]>::trim_ascii)
}

fn cookie_name(cookie: &[u8]) -> &[u8] {
    let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name)
}
