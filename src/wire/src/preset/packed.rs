//! Unpacks what `build.rs` packed, and describes there.

/// The text; `None` for what was not packed so.
pub(super) fn unpack(packed: &[u8]) -> Option<String> {
    let (mut text, mut rest) = (Vec::new(), packed);
    while let Some((control, tail)) = rest.split_first() {
        let len = usize::from(control & 127);
        if *control < 128 {
            let (literal, tail) = tail.split_at_checked(len + 1)?;
            text.extend_from_slice(literal);
            rest = tail;
        } else {
            let (distance, tail) = tail.split_first_chunk()?;
            let from = text.len().checked_sub(usize::from(u16::from_le_bytes(*distance)))?;
            for place in from..from + len + 4 {
                text.push(*text.get(place)?);
            }
            rest = tail;
        }
    }
    String::from_utf8(text).ok()
}
