//! Printing: JSON as the API gives it, or tables for people; results to standard output, notes to standard error.
//!
//! Names and descriptions come from other people: in tables, control characters and those that change how others are shown are
//! escaped, so that none of them reaches the terminal. A reader that went away (`keygate key list | head -1`) is no error. Never
//! talks to the control plane.

use std::io::{self, ErrorKind, Write};
use std::iter::once;

use clap::ValueEnum;
use serde_json::Value;

use super::{key, proxy_token};
use crate::name;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Aligned columns; for one object, a line for each of its fields
    #[default]
    Table,
    /// The object, or an array of objects, as the API gives it
    Json,
}

/// The fields of an object that a table shows, in order.
pub(super) type View = &'static [Column];

/// One field of an object in a table.
#[derive(Debug, PartialEq)]
pub(super) struct Column {
    title: &'static str,
    /// Its name; `position/revision` is a field of a field.
    field: &'static str,
    /// What stands for null or an absent field.
    none: &'static str,
    shape: Shape,
}

#[derive(Debug, PartialEq)]
enum Shape {
    /// A value, or a list of values one after the other.
    Plain,
    /// How many items a list has.
    Count,
    /// A list of objects, where one object is printed: a table of its own below the fields.
    Table(View),
}

impl Column {
    /// A field that shows `-` for null.
    pub(super) const fn new(title: &'static str, field: &'static str) -> Self {
        Self { title, field, none: "-", shape: Shape::Plain }
    }

    /// A field that shows this word for null and for an empty list.
    pub(super) const fn or(title: &'static str, field: &'static str, none: &'static str) -> Self {
        Self { title, field, none, shape: Shape::Plain }
    }

    /// A time that shows `never` for null.
    pub(super) const fn time(title: &'static str, field: &'static str) -> Self {
        Self { title, field, none: "never", shape: Shape::Plain }
    }

    /// A list that shows how many items it has.
    pub(super) const fn count(title: &'static str, field: &'static str) -> Self {
        Self { title, field, none: "-", shape: Shape::Count }
    }

    /// A list that shows its items in a table of its own, where one object is printed.
    pub(super) const fn table(title: &'static str, field: &'static str, items: View) -> Self {
        Self { title, field, none: "-", shape: Shape::Table(items) }
    }

    fn value<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        object.pointer(&format!("/{}", self.field))
    }

    fn cell(&self, object: &Value) -> String {
        match self.value(object) {
            Some(Value::Array(items)) if self.shape != Shape::Plain => items.len().to_string(),
            None | Some(Value::Null) => self.none.to_owned(),
            Some(Value::Bool(true)) => "yes".to_owned(),
            Some(Value::Bool(false)) => "no".to_owned(),
            Some(Value::Array(items)) if items.is_empty() => self.none.to_owned(),
            Some(Value::Array(items)) => items.iter().map(word).collect::<Vec<_>>().join(", "),
            Some(other) => word(other),
        }
    }
}

/// Prints a new key with its secret, which is shown this once.
pub(crate) fn print_key_created(key: &Value, output: OutputFormat) -> io::Result<()> {
    emit(match output {
        OutputFormat::Json => json(key),
        OutputFormat::Table => {
            format!("{}\nThe secret key and the token are shown only now: they are not stored.\n", fields(key::NEW_KEY, key))
        }
    })
}

/// Prints a new join token with its text, which is shown this once.
pub(super) fn print_token_created(token: &Value, output: OutputFormat) -> io::Result<()> {
    emit(match output {
        OutputFormat::Json => json(token),
        OutputFormat::Table => {
            let shown = fields(proxy_token::NEW_TOKEN, token);
            format!("{shown}\nThe token is shown only now: it is not stored. It goes into the filter's control_plane.token.\n")
        }
    })
}

/// Prints several objects.
pub(super) fn print_list(objects: &[Value], view: View, output: OutputFormat) -> io::Result<()> {
    emit(match output {
        OutputFormat::Json => json(&objects.into()),
        OutputFormat::Table => table(view, objects),
    })
}

/// Prints one object.
pub(super) fn print_object(object: &Value, view: View, output: OutputFormat) -> io::Result<()> {
    emit(match output {
        OutputFormat::Json => json(object),
        OutputFormat::Table => fields(view, object),
    })
}

/// Prints a report: this object, or this text for people.
pub(crate) fn print_report(report: &Value, text: impl FnOnce() -> String, output: OutputFormat) -> io::Result<()> {
    emit(&match output {
        OutputFormat::Json => json(report),
        OutputFormat::Table => text(),
    })
}

/// Prints that something is gone, for people: as JSON there is nothing to show.
pub(super) fn print_gone(sentence: &str, output: OutputFormat) -> io::Result<()> {
    match output {
        OutputFormat::Json => Ok(()),
        OutputFormat::Table => emit(format!("{}\n", printable(sentence))),
    }
}

/// Prints a script as it is.
pub(crate) fn print_script(script: &[u8]) -> io::Result<()> {
    emit(script)
}

/// Prints a line on standard error.
pub(crate) fn print_note(note: &str) {
    // Where standard error is closed, nobody is left to be told; the exit code still says it.
    let _ = writeln!(io::stderr(), "{}", printable(note));
}

fn emit(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A header and a line for each object, in columns.
pub(super) fn table<'v>(view: View, objects: impl IntoIterator<Item = &'v Value>) -> String {
    let header = view.iter().map(|column| column.title.to_owned()).collect();
    let rows = objects.into_iter().map(|object| view.iter().map(|column| column.cell(object)).collect());
    align(once(header).chain(rows).collect())
}

/// A line for each field that the object has: a key has an account or an environment, and no line for the other.
pub(super) fn fields(view: View, object: &Value) -> String {
    let present = || view.iter().filter(|column| column.value(object).is_some());
    let plain = present().filter(|column| !matches!(column.shape, Shape::Table(_)));
    let lines = align(plain.map(|column| vec![column.title.to_owned(), column.cell(object)]).collect());
    let tables = present().filter_map(|column| match (&column.shape, column.value(object)) {
        (Shape::Table(items), Some(Value::Array(objects))) => Some(format!("\n{}\n{}", column.title, table(items, objects))),
        _ => None,
    });
    once(lines).chain(tables).collect()
}

/// Rows of cells, in columns.
pub(super) fn align(rows: Vec<Vec<String>>) -> String {
    let mut widths = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect::<String>();
    rows.iter().map(|row| format!("{}\n", line(row).trim_end())).collect()
}

/// A text or a number as it is.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// A text without control characters and without those that change how others are shown: they are escaped.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || name::misleads(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VIEW: View = &[Column::new("ID", "id"), Column::new("NAME", "name"), Column::time("EXPIRES", "expires")];

    #[test]
    fn columns_are_aligned_under_their_header() {
        let objects = [
            json!({"id": "7", "name": "ci", "expires": null}),
            json!({"id": "1234", "name": "größer", "expires": "2026-11-21T20:00:00Z"}),
            json!({"id": "9"}),
        ];
        assert_eq!(
            table(VIEW, &objects),
            "ID    NAME    EXPIRES\n7     ci      never\n1234  größer  2026-11-21T20:00:00Z\n9     -       never\n"
        );
    }

    #[test]
    fn an_empty_list_is_a_header_alone() {
        assert_eq!(table(VIEW, &[]), "ID  NAME  EXPIRES\n");
    }

    #[test]
    fn one_object_has_a_line_for_each_field() {
        let object = json!({"id": "7", "name": "ci", "expires": null, "connected": true});
        assert_eq!(fields(VIEW, &object), "ID       7\nNAME     ci\nEXPIRES  never\n");
    }

    #[test]
    fn a_list_of_objects_is_a_number_in_a_table_and_a_table_below_one_object() {
        const NESTED: View =
            &[Column::new("ID", "id"), Column::count("PARTS", "parts"), Column::table("ITS PARTS", "parts", VIEW)];
        let object = json!({"id": "7", "parts": [{"id": "8", "name": "ci", "expires": null}]});
        assert_eq!(table(&NESTED[..2], [&object]), "ID  PARTS\n7   1\n");
        assert_eq!(fields(NESTED, &object), "ID     7\nPARTS  1\n\nITS PARTS\nID  NAME  EXPIRES\n8   ci    never\n");
    }

    #[test]
    fn a_field_of_a_field_can_be_shown() {
        const VIEW: View = &[Column::new("AT", "at/revision"), Column::new("WHY", "refused/why")];
        assert_eq!(fields(VIEW, &json!({"at": {"revision": 5}, "refused": null})), "AT  5\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let object = json!({"id": "7", "name": "a\u{1b}[2Jb\nc\u{9b}"});
        assert_eq!(fields(VIEW, &object), "ID    7\nNAME  a\\u{1b}[2Jb\\nc\\u{9b}\n");
    }

    #[test]
    fn a_name_shows_nothing_that_it_is_not() {
        let object = json!({"id": {"a": "\u{2028}"}, "name": "\u{202e}ci\u{2066}\u{200f}\u{feff} a\u{200c}b"});
        assert_eq!(
            fields(VIEW, &object),
            "ID    {\"a\":\"\\u{2028}\"}\nNAME  \\u{202e}ci\\u{2066}\\u{200f}\\u{feff} a\u{200c}b\n"
        );
    }

    #[test]
    fn a_new_key_shows_each_value_on_a_line_of_its_own() {
        let key = json!({
            "id": "7", "accessKey": "A0", "secretKey": "s3", "token": "kg_A0_s3_0", "name": "ci", "description": null,
            "account": "alice", "state": "active", "created": "2026-11-21T20:00:00Z", "expires": null
        });
        let text = fields(key::NEW_KEY, &key);
        for (title, value) in
            [("ID", "7"), ("ACCESS KEY", "A0"), ("SECRET KEY", "s3"), ("TOKEN", "kg_A0_s3_0"), ("ACCOUNT", "alice")]
        {
            assert!(text.lines().any(|line| line.starts_with(title) && line.ends_with(&format!(" {value}"))), "{title}: {text}");
        }
        assert!(!text.contains("ENVIRONMENT"), "{text}");
    }
}
