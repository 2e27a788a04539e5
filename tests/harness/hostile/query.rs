//! Fuzz target: a `:path` whose query carries credentials. What is taken out is what is named as a carrier, and nothing else changes.

use keygate_decision::Carrier;

use super::border;
use super::views::{decoded, folded};

/// The bytes are a `:path`.
pub fn query(data: &[u8]) {
    for keep in [false, true] {
        let carriers = &border::policy().carriers;
        let used = carriers.used.iter().filter(|_| !keep);
        let names: Vec<&[u8]> = used.chain(&carriers.stripped).filter_map(name_of).collect();
        let goes = |piece: &&[u8]| names.contains(&folded(&parameter_name(piece)).as_slice());

        let (path, query) = halves(data);
        let expected: Vec<&[u8]> = pieces(query).filter(|piece| !goes(piece)).collect();
        match carriers.strip_query(data, keep) {
            None => assert_eq!(expected.len(), pieces(query).count(), "a carrier is left"),
            Some(left) => {
                let (left_path, left_query) = halves(&left);
                let left_pieces: Vec<&[u8]> = pieces(left_query).collect();
                assert_eq!(path, left_path, "the path has changed");
                assert!(left_pieces == expected || (expected.is_empty() && left_query.is_empty()), "not the others are left");
                assert_eq!(carriers.strip_query(&left, keep), None, "a carrier is left");
            }
        }
    }
}

fn name_of(carrier: &Carrier) -> Option<&[u8]> {
    if let Carrier::Query(name) = carrier { Some(name.as_bytes()) } else { None }
}

fn halves(path: &[u8]) -> (&[u8], &[u8]) {
    let mark = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
    (&path[..mark], path.get(mark + 1..).unwrap_or_default())
}

fn pieces(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|byte| matches!(byte, b'&' | b';' | b'?'))
}

fn parameter_name(piece: &[u8]) -> Vec<u8> {
    let name = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
    decoded(&name.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>())
}
