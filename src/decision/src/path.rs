//! Which paths an upstream could read as another path. Owns the strict and the lenient check and the folding of spellings;
//! it never repairs a path: what is ambiguous is refused.

/// Where, and why, an upstream could read a path as another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguity {
    /// The segment, counted from 0.
    pub segment: usize,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What makes a segment ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The path does not begin with `/`.
    NoSlash,
    /// It is empty, and not the last.
    Empty,
    /// It is `.` or `..`.
    Dots,
    /// It holds this byte, which upstreams decode, drop or end the path at, each in its own way.
    Byte(u8),
    /// Behind the environment, where more is allowed: it decodes to something that climbs.
    Climbs,
    /// It is not in a segment but in the query, see [`crate::query::is_ambiguous`].
    Query,
}

/// The segments of a path that begins with `/`; `None` for any other.
pub fn segments(path: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    Some(path.strip_prefix(b"/")?.split(|byte| *byte == b'/'))
}

/// The first place where a path is ambiguous: what decides must be strict, and nothing may climb in the rest.
pub fn ambiguity(path: &[u8], deciding_len: usize) -> Option<Ambiguity> {
    let (deciding, rest) = path.split_at_checked(deciding_len).unwrap_or((path, &[]));
    first_flaw(deciding).or_else(|| {
        // The rest begins in the last segment of what decides. Decoding joins no two segments, so each is looked at alone.
        let last = deciding.iter().filter(|byte| **byte == b'/').count().saturating_sub(1);
        let climbing = rest.split(|byte| *byte == b'/').position(may_climb);
        climbing.map(|position| Ambiguity { segment: last + position, flaw: Flaw::Climbs })
    })
}

/// Whether every upstream reads this path, or part of a path, as the same one: visible ASCII without `%`, `\`, `;` and `#`, no
/// empty segment but the last, no dot segment.
pub fn is_strict(path: &[u8]) -> bool {
    first_flaw(path).is_none()
}

fn first_flaw(path: &[u8]) -> Option<Ambiguity> {
    let Some(segments) = segments(path) else { return Some(Ambiguity { segment: 0, flaw: Flaw::NoSlash }) };
    let mut segments = segments.enumerate().peekable();
    while let Some((index, segment)) = segments.next() {
        let flaw = match segment {
            b"" => segments.peek().map(|_| Flaw::Empty),
            b"." | b".." => Some(Flaw::Dots),
            _ => segment.iter().copied().find(|byte| !byte.is_ascii_graphic() || b"%\\;#".contains(byte)).map(Flaw::Byte),
        };
        if let Some(flaw) = flaw {
            return Some(Ambiguity { segment: index, flaw });
        }
    }
    None
}

/// Whether a part of a path, decoded as often as it can be, climbs for some upstream: has a component that begins with one or two dots and
/// goes on with nothing that is a letter, digit or dot, or one that is nothing but parameters, behind which the next one may be taken for
/// this one. `\` separates, too; `;`, `?`, `#` and control bytes end a component. Forms that
/// hide such bytes from a decoder (over-long UTF-8, `%u`) count as climbing.
pub fn may_climb(part: &[u8]) -> bool {
    let decoded = decode_fully(part);
    hides_bytes(&decoded) || decoded.split(|b| is_separator(*b)).any(is_dot_component)
}

/// One folded segment: decoded fully, in lower case, without blanks around it and without what may stand behind a name, singular. Two
/// spellings of one segment fold to the same bytes; that different words sometimes do, too, only refuses more.
pub fn fold_segment(segment: &[u8]) -> Vec<u8> {
    let mut folded = Vec::new();
    fold_decoded(&decode_fully(segment), &mut folded);
    folded
}

/// Appends a segment that is decoded fully, folded.
fn fold_decoded(segment: &[u8], out: &mut Vec<u8>) {
    let word = segment.split(ends_name).map(<[u8]>::trim_ascii).find(|word| !word.is_empty()).unwrap_or_default();
    let start = out.len();
    if word.is_ascii() {
        out.extend(word.iter().map(u8::to_ascii_lowercase));
    } else {
        out.extend(String::from_utf8_lossy(word).chars().map(fold_letter).collect::<String>().into_bytes());
    }
    let ends_in =
        |folded: &[u8], letters: &[u8]| folded.len() > start + 1 && folded.last().is_some_and(|last| letters.contains(last));
    while ends_in(out, b"se") {
        out.pop();
    }
    // registries -> registri, registry -> registr: `i` and `y` fold together.
    if ends_in(out, b"iy") {
        out.pop();
    }
}

/// A letter as readers see it that know no letter case: to Go or Java, four letters beyond ASCII are some of ASCII's, too.
pub fn fold_letter(letter: char) -> char {
    match letter {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        _ => letter.to_ascii_lowercase(),
    }
}

/// A path as its most liberal reader sees it: decoded fully, split at `/` and `\`, the empty segments dropped. Folded once, because many
/// rules are compared with it.
#[derive(Clone, Debug)]
pub struct LiberalPath {
    decoded: Vec<u8>,
    folded: Vec<u8>,
    /// Where each segment begins in the decoded path, how long it is there, and where it ends in the folded one.
    segments: Vec<(usize, usize, usize)>,
}

impl LiberalPath {
    /// Reads a path.
    pub fn of(path: &[u8]) -> Self {
        let decoded = decode_fully(path);
        let (mut folded, mut segments, mut start) = (Vec::with_capacity(decoded.len()), Vec::new(), 0);
        for segment in decoded.split(|byte| is_separator(*byte)) {
            if !segment.is_empty() {
                fold_decoded(segment, &mut folded);
                segments.push((start, segment.len(), folded.len()));
            }
            start += segment.len() + 1;
        }
        Self { decoded, folded, segments }
    }

    /// Each segment, decoded and folded.
    pub fn segments(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut folded_start = 0;
        self.segments.iter().map(move |(start, len, folded_end)| {
            let folded = self.folded.get(folded_start..*folded_end).unwrap_or_default();
            folded_start = *folded_end;
            (self.decoded.get(*start..start + len).unwrap_or_default(), folded)
        })
    }
}

fn is_separator(byte: u8) -> bool {
    byte == b'/' || byte == b'\\'
}

/// Where a segment's name ends to some upstream: at its parameters, a query, a fragment or a control byte.
fn ends_name(byte: &u8) -> bool {
    matches!(byte, b';' | b'?' | b'#') || byte.is_ascii_control()
}

fn is_dot_component(component: &[u8]) -> bool {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control();
    let start = component.iter().position(|byte| !is_blank(byte)).unwrap_or(component.len());
    let name = component.get(start..).unwrap_or_default().split(ends_name).next().unwrap_or_default();
    let dots = name.iter().take_while(|byte| **byte == b'.').count();
    let is_nothing = component.get(start) == Some(&b';');
    is_nothing || ((1..=2).contains(&dots) && !name.iter().skip(dots).any(u8::is_ascii_alphanumeric))
}

/// Over-long UTF-8 of two, three or four bytes, or Microsoft's `%uXXXX`.
pub(crate) fn hides_bytes(decoded: &[u8]) -> bool {
    decoded.iter().any(|byte| matches!(byte, 0xC0 | 0xC1))
        || decoded.windows(2).any(|pair| matches!(pair, [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F] | [b'%', b'u' | b'U']))
}

/// Percent-decodes until nothing changes, in one pass: what a decoded byte completes is decoded at once. A stray `%` stays as it is.
fn decode_fully(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    for byte in bytes {
        out.push(*byte);
        while let [.., b'%', high, low] = out.as_slice() {
            if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
                break;
            }
            let decoded = hex_value(*high) << 4 | hex_value(*low);
            out.truncate(out.len() - 3);
            out.push(decoded);
        }
    }
    out
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
            "/%e0%80%ae%e0%80%ae",
            "/..%00x",
            "/..%3fx",
            "/..%23",
            "/%u002e%u002e",
            "/..%c2%a0",
            "/%20..",
            "/%2525252525252e%252525252e",
            // What is nothing but parameters is no segment to some, so that the next one comes in its place.
            "/;",
            "/;a=b/settings",
            "/%3b",
            "/%20;x",
        ] {
            assert!(may_climb(part.as_bytes()), "{part}");
        }
        for part in ["/%23room%3Aexample.org", "/%3Fa", "/x/%20/y", "/x;"] {
            assert!(!may_climb(part.as_bytes()), "{part}");
        }
        for part in ["", "/", "//x", "/library%2Fnginx:1.2", "/a..b", "/...", "/x;y", "/%zz", "/%", "/a%20b", "/.hidden"] {
            assert!(!may_climb(part.as_bytes()), "{part}");
        }
    }

    #[test]
    fn an_ambiguity_has_a_place() {
        let found = |path: &str, deciding: &str| ambiguity(path.as_bytes(), deciding.len()).map(|it| (it.segment, it.flaw));
        let strict = |path: &str| found(path, path);
        assert_eq!(strict("/a/b"), None);
        assert_eq!(strict("a/b"), Some((0, Flaw::NoSlash)));
        assert_eq!(strict("//b"), Some((0, Flaw::Empty)));
        assert_eq!(strict("/a/b/../c"), Some((2, Flaw::Dots)));
        assert_eq!(strict("/a/b%2f/.."), Some((1, Flaw::Byte(b'%'))));
        assert_eq!(found("/p/1a5/x%20y//z", "/p/1a5"), None);
        assert_eq!(found("/p/1a5/x/%2e%2e", "/p/1a5"), Some((3, Flaw::Climbs)));
        assert_eq!(found("/p/c-a:..;/x", "/p/c-a"), None);
        assert_eq!(found("/p/c-a:p%2f..", "/p/c-a"), Some((1, Flaw::Climbs)));
        assert_eq!(found("/%70/1a5/../x", "/%70/1a5"), Some((0, Flaw::Byte(b'%'))));
    }

    proptest::proptest! {
        #[test]
        fn a_path_climbs_if_one_of_its_segments_does(rest in "(/|%|25|2e|2E|\\.|;|\\\\|2f|5c|x|c0|ae){0,14}") {
            let rest = format!("/{rest}");
            let found = ambiguity(format!("/p{rest}").as_bytes(), 2).is_some();
            proptest::prop_assert_eq!(found, may_climb(rest.as_bytes()));
        }
    }

    #[test]
    fn decoding_takes_as_long_as_the_path_is() {
        let deep = format!("/%{}2e", "25".repeat(1_000_000));
        assert!(may_climb(deep.as_bytes()));
        assert_eq!(decode_fully(b"%2525252e%%325%3%32e%zz%"), b"..%zz%");
    }

    proptest::proptest! {
        #[test]
        fn a_path_read_liberally_is_its_segments_read_alone(path in "(/|%|25|2e|2F|5c|;|\\\\|S|es|e|s|y|x){0,14}") {
            let decoded = decode_fully(path.as_bytes());
            proptest::prop_assert_eq!(&decode_fully(&decoded), &decoded);
            let alone = decoded.split(|byte| is_separator(*byte)).filter(|segment| !segment.is_empty());
            let alone: Vec<_> = alone.map(|segment| (segment.to_vec(), fold_segment(segment))).collect();
            let liberal = LiberalPath::of(path.as_bytes());
            let together: Vec<_> = liberal.segments().map(|(decoded, folded)| (decoded.to_vec(), folded.to_vec())).collect();
            proptest::prop_assert_eq!(together, alone);
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
            ("projects?x", "projects"),
            ("projects%23x", "projects"),
            ("%00projects%00x", "projects"),
            ("%20projects%20", "projects"),
            ("project%C5%BF", "projects"),
            ("\u{17F}ettings", "settings"),
            ("tas\u{212A}s", "tasks"),
            ("sett%C4%B1ng%C5%BF", "settings"),
            ("SETT\u{130}NGS", "settings"),
        ] {
            assert_eq!(fold_segment(one.as_bytes()), fold_segment(other.as_bytes()), "{one}");
        }
        assert_ne!(fold_segment(b"projects"), fold_segment(b"project-members"));
    }
}
