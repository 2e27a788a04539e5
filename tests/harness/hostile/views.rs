//! The paths that upstreams of different habits may take one path for. Its own decoder, not the filter's: the same mistake must not be
//! made twice.

use std::collections::BTreeSet;

/// How often the most eager upstream decodes.
const DECODINGS: usize = 4;

/// Each view of a path without its query, in lower case: decoded up to four times, or not; over-long UTF-8 taken for what it means, or
/// not; `\` for `/`, or not; segments cut at `;` or at whatever may end one, or not; slashes merged, or not; dot segments resolved, or
/// not.
pub fn views(path: &[u8]) -> BTreeSet<String> {
    let mut views = BTreeSet::new();
    let mut bytes = path.to_vec();
    for _ in 0..=DECODINGS {
        for read in [bytes.clone(), shortened(&bytes)] {
            let text = String::from_utf8_lossy(&read).to_lowercase();
            add(&mut views, &text);
            add(&mut views, &text.replace('\\', "/"));
        }
        let next = decoded(&bytes);
        if next == bytes {
            break;
        }
        bytes = next;
    }
    views
}

/// A name as readers see it that know no letter case, Unicode's included (the long s, the Kelvin sign and the i with a dot too few or too
/// many are letters of ASCII to them), and that drop what is blank around it.
pub fn folded(name: &[u8]) -> Vec<u8> {
    let text =
        String::from_utf8_lossy(name).replace('\u{17F}', "s").replace('\u{212A}', "k").replace(['\u{130}', '\u{131}'], "i");
    let is_blank = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '\u{FFFD}';
    text.trim_matches(is_blank).to_ascii_lowercase().into_bytes()
}

/// Percent-decodes once.
pub fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let digits = bytes.get(index + 1..index + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let digits = digits.filter(|pair| *byte == b'%' && pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                out.push(value);
                index += 3;
            }
            None => {
                out.push(*byte);
                index += 1;
            }
        }
    }
    out
}

/// The parameters of a query as Jetty 8 and 9 read them: one byte after the other, `%uXXXX` for a letter, and for a digit whatever stands
/// where one should, `&` and `=` among them. `None` where it gives up. Source: `org.eclipse.jetty.util.UrlEncoded`, `TypeUtil`.
pub fn jetty_parameters(query: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut parameters, mut name, mut text) = (Vec::new(), None, Vec::new());
    let mut bytes = query.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'&' => parameters.push(pair(name.take(), std::mem::take(&mut text))),
            b'=' if name.is_none() => name = Some(std::mem::take(&mut text)),
            b'+' => text.push(b' '),
            b'%' => {
                let mut digit = || jetty_digit(bytes.next()?);
                match digit() {
                    Some(high) => text.push(high << 4 | digit()?),
                    // Of `u`, which is no digit.
                    None => {
                        let letter = (0..4).try_fold(0, |letter, _| Some(letter << 4 | u32::from(digit()?)))?;
                        text.extend(char::from_u32(letter)?.to_string().into_bytes());
                    }
                }
            }
            other => text.push(other),
        }
    }
    parameters.push(pair(name, text));
    Some(parameters)
}

fn pair(name: Option<Vec<u8>>, text: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    match name {
        Some(name) => (name, text),
        None => (text, Vec::new()),
    }
}

fn jetty_digit(byte: u8) -> Option<u8> {
    let value = i32::from(byte & 0x1F) + i32::from(byte >> 6) * 0x19 - 0x10;
    u8::try_from(value).ok().filter(|value| *value < 16)
}

fn add(views: &mut BTreeSet<String>, text: &str) {
    let text = text.strip_prefix('/').unwrap_or(text);
    for cut in [whole, before_parameters, before_any_end] {
        let segments: Vec<&str> = text.split('/').map(cut).collect();
        let merged: Vec<&str> = segments.iter().copied().filter(|segment| !segment.is_empty()).collect();
        views.extend([joined(&merged), resolved(&segments), resolved(&merged)]);
    }
}

fn whole(segment: &str) -> &str {
    segment
}

fn before_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

fn before_any_end(segment: &str) -> &str {
    let trimmed = segment.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let end = trimmed.find(|c: char| matches!(c, ';' | '?' | '#') || c.is_control());
    trimmed.get(..end.unwrap_or(trimmed.len())).unwrap_or_default().trim_end()
}

fn resolved(segments: &[&str]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in segments {
        match *segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    joined(&kept)
}

fn joined(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

/// ASCII that hides in over-long UTF-8 of two or three bytes, shown.
fn shortened(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        (rest, _) = match (first, tail) {
            (0xC0 | 0xC1, [low @ 0x80..=0xBF, after @ ..]) => (after, out.push((first & 1) << 6 | (low & 0x3F))),
            (0xE0, [high @ 0x80..=0x81, low @ 0x80..=0xBF, after @ ..]) => (after, out.push((high & 1) << 6 | (low & 0x3F))),
            _ => (tail, out.push(*first)),
        };
    }
    out
}
