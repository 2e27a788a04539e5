//! Packs the presets for the module, which all of them are in: they repeat themselves a lot. `src/preset/packed.rs` unpacks them.
//!
//! What is packed is a row of pieces: a byte below 128 and one more byte than it says, as they are; or 128 and more, for four more bytes
//! than its lower bits say, from so far back in what was unpacked already as the two bytes behind it say, the lower one first.

use std::collections::HashMap;
use std::path::Path;
use std::{env, fs, io};

const MIN_MATCH: usize = 4;
const MAX_MATCH: usize = MIN_MATCH + 127;
const MAX_LITERAL: usize = 128;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=presets");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    for entry in fs::read_dir("presets")? {
        let path = entry?.path();
        if let Some(name) = path.file_stem() {
            fs::write(Path::new(&out).join(name).with_added_extension("packed"), pack(&fs::read(&path)?))?;
        }
    }
    Ok(())
}

fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    // Where four bytes stood before, the latest place last.
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let (mut at, mut literal_from) = (0, 0);
    while at < text.len() {
        let found = longest_match(text, at, &places);
        let step = found.map_or(1, |(len, _)| len);
        if let Some((len, distance)) = found {
            put_literals(text.get(literal_from..at).unwrap_or_default(), &mut packed);
            packed.push(128 | (len - MIN_MATCH) as u8);
            packed.extend(distance.to_le_bytes());
            literal_from = at + len;
        }
        for place in at..at + step {
            if let Some(key) = text.get(place..place + MIN_MATCH) {
                places.entry(key).or_default().push(place);
            }
        }
        at += step;
    }
    put_literals(text.get(literal_from..).unwrap_or_default(), &mut packed);
    packed
}

/// Its length, and how far back it stands.
fn longest_match(text: &[u8], at: usize, places: &HashMap<&[u8], Vec<usize>>) -> Option<(usize, u16)> {
    let candidates = places.get(text.get(at..at + MIN_MATCH)?)?.iter().rev();
    let near = candidates.map_while(|place| Some((*place, u16::try_from(at - place).ok()?)));
    let measured = near.map(|(place, distance)| {
        let same = text.iter().skip(place).zip(text.iter().skip(at)).take_while(|(one, other)| one == other);
        (same.take(MAX_MATCH).count(), distance)
    });
    measured.max_by_key(|(len, distance)| (*len, std::cmp::Reverse(*distance)))
}

fn put_literals(bytes: &[u8], packed: &mut Vec<u8>) {
    for piece in bytes.chunks(MAX_LITERAL) {
        packed.push((piece.len() - 1) as u8);
        packed.extend(piece);
    }
}
