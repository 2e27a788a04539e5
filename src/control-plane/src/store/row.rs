//! Between columns and domain types. A value in storage that no longer parses is an error, never a default.

use keygate_decision::{Digest, UnixSeconds};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::StoreError;

/// A number for a column; storage has signed ones. What does not fit is a number that no row has.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    unsigned(row.try_get(column)?, column)
}

pub(super) fn optional_number(row: &SqliteRow, column: &'static str) -> Result<Option<u64>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(|value| unsigned(value, column)).transpose()
}

pub(super) fn seconds(row: &SqliteRow, column: &'static str) -> Result<UnixSeconds, StoreError> {
    number(row, column).map(UnixSeconds)
}

pub(super) fn optional_seconds(row: &SqliteRow, column: &'static str) -> Result<Option<UnixSeconds>, StoreError> {
    Ok(optional_number(row, column)?.map(UnixSeconds))
}

pub(super) fn text<T, E>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, StoreError> {
    let value: &str = row.try_get(column)?;
    parse(value).map_err(|_| StoreError::Damaged { column, value: value.to_owned() })
}

pub(super) fn optional_text<T, E>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    match row.try_get::<Option<&str>, _>(column)? {
        Some(_) => text(row, column, parse).map(Some),
        None => Ok(None),
    }
}

pub(super) fn bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], StoreError> {
    let value: &[u8] = row.try_get(column)?;
    value.try_into().map_err(|_| StoreError::Damaged { column, value: format!("{} bytes", value.len()) })
}

pub(super) fn digest(row: &SqliteRow) -> Result<Digest, StoreError> {
    bytes(row, "digest").map(Digest::from_bytes)
}

fn unsigned(value: i64, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Damaged { column, value: value.to_string() })
}
