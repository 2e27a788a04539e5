//! The message of a gRPC status, which travels percent-encoded: read for people, never written.

/// The text that was meant. What is no encoding stays as it is; control characters are shown escaped, so that a log line stays one.
pub fn readable(message: &str) -> String {
    let mut bytes = Vec::with_capacity(message.len());
    let mut rest = message.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let encoded = (*first == b'%').then(|| after.split_first_chunk::<2>()).flatten();
        let decoded = encoded.and_then(|([high, low], after)| Some((hex(*high)? << 4 | hex(*low)?, after)));
        let (byte, after) = decoded.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(&bytes).chars() {
        if character.is_control() { text.extend(character.escape_default()) } else { text.push(character) }
    }
    text
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_meant_and_stays_one_line() {
        for (message, meant) in [
            ("", ""),
            ("plain text", "plain text"),
            ("join%20token%203%20was%20revoked", "join token 3 was revoked"),
            ("100%", "100%"),
            ("%2", "%2"),
            ("%zz %25", "%zz %"),
            ("gr%C3%B6%c3%9fer", "gr\u{f6}\u{df}er"),
            ("%FF", "\u{fffd}"),
            ("one%0Atwo%1b", "one\\ntwo\\u{1b}"),
        ] {
            assert_eq!(readable(message), meant);
        }
    }
}
