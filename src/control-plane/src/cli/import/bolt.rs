//! A BoltDB file, read as far as Portainer's needs it: the values of a bucket at the top. It never writes, and trusts nothing that it
//! reads: every place is checked, and a tree that does not end is given up.
//!
//! The file is pages of one size, numbered from 0. The first two hold what there is to know of the whole, by turns; the newer one whose
//! checksum is right counts. A bucket is a tree of pages: branches name pages, leaves hold keys and values; a value may be a bucket
//! again, in a tree of its own or, if it is small, in place.

use std::fmt;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// A page's number, kind and counts stand before its elements.
const HEADER_LEN: usize = 16;
const ELEMENT_LEN: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// A leaf's element whose value is a bucket.
const BUCKET: u32 = 1;
/// A bucket's value begins with the number of its first page and its counter.
const BUCKET_LEN: usize = 16;
/// A page may be so many bytes.
const PAGE_SIZES: [usize; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
/// No tree is deeper.
const DEEPEST: usize = 32;

/// The file is not what it seemed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the database is damaged or was cut short; take a backup of Portainer again, or stop it before you copy the file",
        )
    }
}

/// Whether it begins as such a file does.
pub(super) fn is_one(file: &[u8]) -> bool {
    u32_at(file, HEADER_LEN) == Some(MAGIC)
}

/// The values of a bucket, by their keys; `None` if there is no such bucket.
pub(super) fn values<'f>(file: &'f [u8], bucket: &str) -> Result<Option<Vec<&'f [u8]>>, Damaged> {
    read(file, bucket).ok_or(Damaged)
}

fn read<'f>(bytes: &'f [u8], bucket: &str) -> Option<Option<Vec<&'f [u8]>>> {
    let (page_size, root) = newest_root(bytes)?;
    let file = File { bytes, page_size };
    let mut found = None;
    file.walk(file.page(root)?, &mut |flags, key, value| {
        if flags & BUCKET != 0 && key == bucket.as_bytes() {
            found = Some(value);
        }
    })?;
    let Some(value) = found else { return Some(None) };
    let mut values = Vec::new();
    let tree = match u64_at(value, 0)? {
        0 => value.get(BUCKET_LEN..)?,
        root => file.page(root)?,
    };
    file.walk(tree, &mut |flags, _, value| {
        if flags & BUCKET == 0 {
            values.push(value);
        }
    })?;
    Some(Some(values))
}

/// The size of pages, and where the tree of all buckets begins.
fn newest_root(bytes: &[u8]) -> Option<(usize, u64)> {
    let first = Meta::read(bytes);
    // Where the second one stands follows from the first one, if that is whole.
    let sizes = PAGE_SIZES.iter().filter(|size| first.as_ref().is_none_or(|first| first.page_size == **size));
    let second = sizes.filter_map(|size| Meta::read(bytes.get(*size..)?).filter(|meta| meta.page_size == *size)).next();
    let newest = first.into_iter().chain(second).max_by_key(|meta| meta.transaction)?;
    Some((newest.page_size, newest.root))
}

struct Meta {
    page_size: usize,
    root: u64,
    transaction: u64,
}

impl Meta {
    /// Reads one of the first two pages, if it is whole.
    fn read(page: &[u8]) -> Option<Self> {
        const CHECKED_LEN: usize = 56;
        let meta = page.get(HEADER_LEN..)?;
        let page_size = usize::try_from(u32_at(meta, 8)?).ok()?;
        let whole = u32_at(meta, 0)? == MAGIC
            && u32_at(meta, 4)? == VERSION
            && PAGE_SIZES.contains(&page_size)
            && u64_at(meta, CHECKED_LEN)? == fnv1a(meta.get(..CHECKED_LEN)?);
        whole.then_some(Self { page_size, root: u64_at(meta, 16)?, transaction: u64_at(meta, 48)? })
    }
}

struct File<'f> {
    bytes: &'f [u8],
    page_size: usize,
}

impl<'f> File<'f> {
    /// A page with those that it runs over into.
    fn page(&self, number: u64) -> Option<&'f [u8]> {
        let start = usize::try_from(number).ok()?.checked_mul(self.page_size)?;
        let page = self.bytes.get(start..)?;
        let pages = usize::try_from(u32_at(page, 12)?).ok()?.checked_add(1)?;
        page.get(..pages.checked_mul(self.page_size)?)
    }

    /// Visits the elements of all leaves of a tree, in order: flags, key and value. `None` if the tree cannot be read.
    fn walk(&self, tree: &'f [u8], visit: &mut dyn FnMut(u32, &'f [u8], &'f [u8])) -> Option<()> {
        // No page stands twice in a tree.
        let mut left = self.bytes.len() / self.page_size;
        self.descend(tree, DEEPEST, &mut left, visit)
    }

    fn descend(
        &self,
        page: &'f [u8],
        depth: usize,
        left: &mut usize,
        visit: &mut dyn FnMut(u32, &'f [u8], &'f [u8]),
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        *left = left.checked_sub(1)?;
        let (kind, count) = (u16_at(page, 8)?, u16_at(page, 10)?);
        for index in 0..usize::from(count) {
            let element = page.get(HEADER_LEN + index * ELEMENT_LEN..)?;
            match kind {
                BRANCH => self.descend(self.page(u64_at(element, 8)?)?, depth, left, visit)?,
                LEAF => {
                    let number = |at| usize::try_from(u32_at(element, at)?).ok();
                    let (place, key_len, value_len) = (number(4)?, number(8)?, number(12)?);
                    let (key, rest) = element.get(place..)?.split_at_checked(key_len)?;
                    visit(u32_at(element, 0)?, key, rest.get(..value_len)?);
                }
                _ => return None,
            }
        }
        Some(())
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &[u8] = include_bytes!("portainer.db");

    #[test]
    fn buckets_are_found_in_trees_of_their_own_and_in_place() {
        assert!(is_one(DATABASE));
        let count = |bucket: &str| values(DATABASE, bucket).map(|values| values.map(|values| values.len()));
        assert_eq!(count("api_key"), Ok(Some(32)));
        assert_eq!(count("version"), Ok(Some(1)));
        assert_eq!(count("endpoints"), Ok(Some(0)));
        assert_eq!(count("absent"), Ok(None));
        // Longer than a page.
        assert_eq!(values(DATABASE, "settings").unwrap().unwrap()[0].len(), 3 * 1024 + r#"{"LogoURL":""}"#.len());
    }

    #[test]
    fn the_other_of_the_first_pages_counts_where_one_is_damaged() {
        let mut damaged = DATABASE.to_vec();
        damaged[HEADER_LEN + 20] ^= 1;
        assert!(values(&damaged, "users").is_ok_and(|users| users.is_some_and(|users| users.len() == 3)));
        damaged[1024 + HEADER_LEN + 20] ^= 1;
        assert_eq!(values(&damaged, "users"), Err(Damaged));
    }
}
