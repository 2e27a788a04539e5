//! What the benchmark found: tables, and which targets are met. Printed as Markdown, as a README takes it, and written as JSON. It measures
//! nothing.

use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figure::Figure;
use crate::machine;

/// Everything that one run found.
pub(crate) struct Report {
    /// How it was called.
    pub(crate) command: String,
    /// A run that only shows that all of it works.
    pub(crate) quick: bool,
    pub(crate) tables: Vec<Table>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Measurements side by side.
pub(crate) struct Table {
    /// One word, by which scripts find it.
    pub(crate) name: &'static str,
    /// What was measured, and how, in a sentence.
    pub(crate) title: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: Vec<(String, Vec<Option<Figure>>)>,
}

/// One target and what was reached.
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) reached: Figure,
    pub(crate) must: Bound,
    pub(crate) aim: Bound,
}

/// Where good begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// It is only reported.
    None,
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
            Self::None => true,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<= {}", (bound * 1000.0).round() / 1000.0),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::None => f.write_str("report"),
        }
    }
}

impl Verdict {
    fn word(&self) -> &'static str {
        let value = self.reached.value;
        match (self.must, self.aim.holds(value)) {
            (_, true) => "yes, the aim too",
            (Bound::None, false) => "not the aim",
            (must, false) if must.holds(value) => "yes",
            (_, false) => "**no**",
        }
    }
}

impl Table {
    /// The rows' figures of one column, where there are any.
    pub(crate) fn column(&self, name: &str) -> Vec<(String, f64)> {
        let Some(index) = self.columns.iter().position(|column| *column == name) else { return Vec::new() };
        let value = |figures: &Vec<Option<Figure>>| figures.get(index).copied().flatten().map(|figure| figure.value);
        self.rows.iter().filter_map(|(row, figures)| Some((row.clone(), value(figures)?))).collect()
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let heading = std::iter::once(String::new()).chain(self.columns.iter().map(|column| (*column).to_owned()));
        let row = |(name, figures): &(String, Vec<Option<Figure>>)| {
            let texts = figures.iter().map(|figure| figure.map_or_else(|| "-".to_owned(), |figure| figure.text()));
            std::iter::once(name.clone()).chain(texts).collect()
        };
        std::iter::once(heading.collect()).chain(self.rows.iter().map(row)).collect()
    }

    fn json(&self) -> Value {
        let row = |(name, figures): &(String, Vec<Option<Figure>>)| json!({ "name": name, "figures": figures.iter().map(|figure| figure.map(|figure| figure.json())).collect::<Value>() });
        json!({ "name": self.name, "title": self.title, "columns": self.columns, "rows": self.rows.iter().map(row).collect::<Value>() })
    }
}

impl Report {
    /// A table by its name.
    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Writes it as `results.json` and `results.md`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let verdict = |verdict: &Verdict| {
            json!({
                "what": verdict.what,
                "reached": verdict.reached.json(),
                "must": verdict.must.to_string(),
                "aim": verdict.aim.to_string(),
                "verdict": verdict.word(),
            })
        };
        let report = json!({
            "machine": machine::description(),
            "date": machine::today(),
            "command": self.command,
            "quick": self.quick,
            "tables": self.tables.iter().map(Table::json).collect::<Value>(),
            "targets": self.verdicts.iter().map(verdict).collect::<Value>(),
        });
        for (name, text) in [("results.json", serde_json::to_string_pretty(&report)? + "\n"), ("results.md", self.to_string())] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}, `{}`.", machine::description(), machine::today(), self.command)?;
        if self.quick {
            writeln!(f, "\nQUICK: this run only shows that everything works. Its numbers mean nothing.")?;
        }
        if !self.verdicts.is_empty() {
            let heading = ["target", "must", "aim", "measured", "met"].map(str::to_owned).to_vec();
            let row = |verdict: &Verdict| {
                let bounds = [verdict.what.to_owned(), verdict.must.to_string(), verdict.aim.to_string()];
                bounds.into_iter().chain([verdict.reached.text(), verdict.word().to_owned()]).collect()
            };
            writeln!(f)?;
            aligned(f, &std::iter::once(heading).chain(self.verdicts.iter().map(row)).collect::<Vec<Vec<String>>>())?;
        }
        for table in &self.tables {
            writeln!(f, "\n{}:\n", table.title)?;
            aligned(f, &table.lines())?;
        }
        Ok(())
    }
}

/// A Markdown table, readable as it is: the first column to the left and the others to the right.
fn aligned(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let texts = lines.iter().filter_map(|line| line.get(column));
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        let mut text = String::from("|");
        for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
            if index == 0 { write!(text, " {cell:<width$} |")? } else { write!(text, " {cell:>width$} |")? }
        }
        writeln!(f, "{text}")?;
        if number == 0 {
            let rule =
                |(index, width): (usize, &usize)| if index == 0 { "-".repeat(width + 2) } else { "-".repeat(width + 1) + ":" };
            writeln!(f, "|{}|", widths.iter().enumerate().map(rule).collect::<Vec<_>>().join("|"))?;
        }
    }
    Ok(())
}
