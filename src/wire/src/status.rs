//! The message of a gRPC status, which travels percent-encoded: read for people, never written.

use keygate_decision::path;

/// The text that was meant. What is no encoding stays as it is; control characters are shown escaped, so that a log line stays one.
pub fn readable(message: &str) -> String {
    let bytes = path::decode_once(message.as_bytes());
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(&bytes).chars() {
        if character.is_control() { text.extend(character.escape_default()) } else { text.push(character) }
    }
    text
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
