//! The query of a `:path`: where it begins, how its parameters are told apart and decoded, and when upstreams differ in that. What a
//! parameter means is for others to say.

use crate::path::{self, hides_bytes};

/// `;` separates as well as `&`, because some upstreams think so, and a second `?`, because some think that only there the query begins.
pub(crate) const SEPARATORS: &[u8] = b"&;?";

/// Splits a `:path` into the path and its query, which is empty if there is none.
pub fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = raw.splitn(2, |byte| *byte == b'?');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// The parameters of a query: decoded names, and values as they came.
pub fn parameters(query: &[u8]) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
    query.split(|byte| SEPARATORS.contains(byte)).map(|pair| (name(pair), split_pair(pair).1))
}

/// Decodes a parameter's name or value: percent-encoding, and `+` for a space.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    path::decode_once(&spaced)
}

/// The decoded name of a parameter.
pub(crate) fn name(pair: &[u8]) -> Vec<u8> {
    decode(split_pair(pair).0)
}

/// What stands before the first `=` and behind it.
pub(crate) fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// Whether an upstream could find other parameters than are found here, and take another method or environment from them: there is a `%`
/// that two hexadecimal digits do not follow, or a parameter's name, encoded or as HTTP/2 may carry it, hides bytes as [`path::may_climb`]
/// says or holds a NUL, at which it ends for PHP. Decoders differ in what they make of those: Jetty's, of the time of Rancher 1.6, reads
/// `%u005f` as `_` and takes two more characters for digits whatever they are, `&` and `=` among them.
pub fn is_ambiguous(query: &[u8]) -> bool {
    let mut escapes = query.split(|byte| *byte == b'%').skip(1).peekable();
    if escapes.peek().is_none() && query.is_ascii() {
        return false;
    }
    let is_whole = |behind: &[u8]| matches!(behind, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    let is_hidden = |name: &[u8]| hides_bytes(name) || name.contains(&0);
    !escapes.all(is_whole) || parameters(query).any(|(name, _)| is_hidden(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_alike_by_all_or_ambiguous() {
        for query in ["", "a", "a=b&c", "a=%5f&%5fb=c", "q=100%25", "q=%C1%e0%80", "%e2%82%ac=1", "a=%2525", "q=1;%0A2", "q=%00"]
        {
            assert!(!is_ambiguous(query.as_bytes()), "{query}");
        }
        for query in [b"\xC1\x9Fmethod=x".as_slice(), b"a;\xE0\x81\x9Fmethod", b"project\xC1\x89d=1a6"] {
            assert!(is_ambiguous(query), "{query:?}");
        }
        assert!(!is_ambiguous("\u{20ac}=\u{20ac}".as_bytes()) && !is_ambiguous(b"q=\xC1\x9F"));
        for query in [
            "%",
            "a%",
            "a=b%4",
            "%u005fmethod=x",
            "a=%U0041",
            "_meth%6?d=x",
            "%5?method=x",
            "_%6=ethod=x",
            "a%4&b",
            "project%4@d=1",
            "a=%zz",
            "%%5f",
            "%c1%9fmethod=x",
            "a&%E0%81%9f",
            "%25u005fmethod",
            "endpointId%00x=5",
            "a=b&%00",
        ] {
            assert!(is_ambiguous(query.as_bytes()), "{query}");
        }
    }
}
