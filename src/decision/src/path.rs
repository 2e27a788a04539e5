//! Which paths an upstream could read as another path. Owns the strict and the lenient check and the folding of spellings;
//! it never repairs a path: what is ambiguous is refused.

/// Splits a `:path` into the path and its query, which is empty if there is none.
pub fn split_query(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = raw.splitn(2, |byte| *byte == b'?');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// The segments of a path that begins with `/`; `None` for any other.
pub fn segments(path: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    Some(path.strip_prefix(b"/")?.split(|byte| *byte == b'/'))
}

/// Whether every upstream reads this path, or part of a path, as the same one: visible ASCII without `%`, `\`, `;` and `#`, no
/// empty segment but the last, no dot segment.
pub fn is_strict(path: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"%\\;#".contains(byte);
    let dots = |segment: &[u8]| segment == b"." || segment == b"..";
    path.iter().all(plain)
        && !path.windows(2).any(|pair| pair == b"//")
        && segments(path).is_some_and(|mut segments| !segments.any(dots))
}

/// Whether a part of a path, decoded as often as it can be, climbs: has a `.` or `..` component, also when `\` separates, `;`
/// ends it, white space or control bytes surround it, or an over-long UTF-8 form hides it.
pub fn may_climb(part: &[u8]) -> bool {
    let decoded = decode_fully(part);
    // 0xC0 and 0xC1 begin no valid UTF-8; they are how `.` and `/` are written over-long.
    decoded.iter().any(|byte| matches!(byte, 0xC0 | 0xC1)) || decoded.split(|b| is_separator(*b)).any(is_dot_component)
}

/// One folded segment: decoded fully, lower-cased, without parameters, singular. Two spellings of one segment fold to the same
/// bytes; that different words sometimes do, too, only refuses more.
pub fn fold_segment(segment: &[u8]) -> Vec<u8> {
    let decoded = decode_fully(segment);
    let word = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
    let mut folded = word.to_ascii_lowercase();
    while folded.len() > 1 && matches!(folded.last(), Some(b's' | b'e')) {
        folded.pop();
    }
    // registries -> registri, registry -> registr: `i` and `y` fold together.
    if folded.len() > 1 && matches!(folded.last(), Some(b'i' | b'y')) {
        folded.pop();
    }
    folded
}

/// The segments of a path as its most liberal reader sees them: decoded fully, split at `/` and `\`, the empty ones dropped.
/// Still to be folded one by one where they are compared with words.
pub fn liberal_segments(path: &[u8]) -> Vec<Vec<u8>> {
    let decoded = decode_fully(path);
    decoded.split(|b| is_separator(*b)).filter(|segment| !segment.is_empty()).map(<[u8]>::to_vec).collect()
}

fn is_separator(byte: u8) -> bool {
    byte == b'/' || byte == b'\\'
}

fn is_dot_component(component: &[u8]) -> bool {
    let name = component.split(|byte| *byte == b';').next().unwrap_or_default();
    let core = name.trim_ascii();
    let mut visible = core.iter().filter(|byte| !byte.is_ascii_control());
    matches!((visible.next(), visible.next(), visible.next()), (Some(b'.'), None | Some(b'.'), None))
}

/// Percent-decodes until nothing changes. Each round shortens the input, so this ends; a stray `%` stays as it is.
fn decode_fully(bytes: &[u8]) -> Vec<u8> {
    let mut current = bytes.to_vec();
    while current.contains(&b'%') {
        let next = decode_once(&current);
        if next.len() == current.len() {
            break;
        }
        current = next;
    }
    current
}

/// Percent-decodes once.
pub fn decode_once(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex_value(*high) << 4 | hex_value(*low));
                rest = after;
            }
            _ => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    out
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_paths_leave_nothing_to_interpretation() {
        for path in ["/", "/v1/projects/1a5", "/v1/projects/", "/a.b/...", "/a:b@c,d=e", "/.well-known/x"] {
            assert!(is_strict(path.as_bytes()), "{path}");
        }
        for path in [
            "",
            "v1",
            "*",
            "http://h/v1",
            "//",
            "/a//b",
            "/a/./b",
            "/a/..",
            "/..",
            "/a%2fb",
            "/a\\b",
            "/a;b",
            "/a#b",
            "/a b",
            "/ä",
            "/a\u{7f}",
        ] {
            assert!(!is_strict(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn no_encoding_hides_a_dot_segment() {
        for part in [
            "/..",
            "/.",
            "/x/../y",
            "/%2e%2e/y",
            "/%2E./",
            "/%252e%252e",
            "/%25252e",
            "/x%2f..%2fy",
            "/..%2f",
            "/a\\..\\b",
            "/a%5c..",
            "/..;/",
            "/..;a=b/",
            "/%2e%2e%3b",
            "/.. /",
            "/..%00/",
            "/%c0%ae%c0%ae/",
            "/x%2f%2e%2e",
        ] {
            assert!(may_climb(part.as_bytes()), "{part}");
        }
        for part in ["", "/", "//x", "/library%2Fnginx:1.2", "/a..b", "/...", "/x;y", "/%zz", "/%", "/a%20b", "/.hidden"] {
            assert!(!may_climb(part.as_bytes()), "{part}");
        }
    }

    #[test]
    fn spellings_of_one_word_fold_together() {
        for (one, other) in [
            ("projects", "Project"),
            ("registries", "REGISTRY"),
            ("apikeys", "apiKey"),
            ("addresses", "address"),
            ("pro%6aects", "projects"),
            ("pro%256aects", "projects"),
            ("projects;v=1", "projects"),
        ] {
            assert_eq!(fold_segment(one.as_bytes()), fold_segment(other.as_bytes()), "{one}");
        }
        assert_ne!(fold_segment(b"projects"), fold_segment(b"project-members"));
    }
}
