//! The tables as pictures: SVG, written by hand, readable on a light and on a dark page. It computes nothing but places.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{Report, Table};

const WIDTH: f64 = 720.0;
const LABELS: f64 = 260.0;
const BAR: f64 = 22.0;
const MARGIN: f64 = 16.0;
const COLOURS: [&str; 4] = ["#3b7dd8", "#d8743b", "#3ba55d", "#9b59b6"];

/// Writes the pictures of those tables that there are.
pub(crate) fn write(report: &Report, folder: &Path) -> Result<()> {
    let mut pictures = Vec::new();
    if let Some(table) = report.table("compare") {
        pictures.push((
            "compare.svg",
            bars("CPU of Envoy for one request, over no filter, in microseconds", &table.column("over no filter")),
        ));
    }
    if let Some(table) = report.table("growth") {
        let lines = |names: &[&'static str]| names.iter().map(|name| (*name, points(table, name))).collect::<Vec<_>>();
        pictures.push((
            "memory.svg",
            curves("Envoy's memory in MB, by number of keys", &lines(&["Envoy MB", "after changes", "its MB"])),
        ));
        pictures.push((
            "start.svg",
            curves("Milliseconds until keys are in force, by number of keys", &lines(&["enforced ms", "starts ms"])),
        ));
        let costs = lines(&["hot CPU us", "all keys CPU us", "its CPU us"]);
        pictures.push(("growth.svg", curves("CPU over no filter in microseconds, by number of keys", &costs)));
    }
    if let Some(table) = report.table("revocation") {
        let milliseconds = ["p50 ms", "p99 ms", "max ms", "--wait p50 ms", "--wait p99 ms"];
        let of_first = |name: &&str| Some(((*name).to_owned(), table.column(name).first()?.1));
        let values: Vec<(String, f64)> = milliseconds.iter().filter_map(of_first).collect();
        pictures.push(("revocation.svg", bars("Milliseconds that a revoked key lives, from the request to revoke it", &values)));
    }
    for (name, picture) in pictures {
        let path = folder.join(name);
        fs::write(&path, picture).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// A column by the number of keys, which is the name of its row. "its" is `api_key_auth`'s.
fn points(table: &Table, column: &str) -> Vec<(f64, f64)> {
    table.column(column).into_iter().filter_map(|(keys, value)| Some((keys.parse().ok()?, value))).collect()
}

fn bars(title: &str, rows: &[(String, f64)]) -> String {
    let most = rows.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = begin(title, BAR * rows.len() as f64 + 3.0 * MARGIN);
    for (index, (name, value)) in rows.iter().enumerate() {
        let top = 2.5 * MARGIN + BAR * index as f64;
        let length = (WIDTH - LABELS - 5.0 * MARGIN) * (value / most).max(0.0);
        let middle = top + BAR * 0.6;
        svg += &text(LABELS - 8.0, middle, "end", name);
        let (height, colour) = (BAR * 0.8, COLOURS[0]);
        let _ = writeln!(svg, r#"<rect x="{LABELS}" y="{top:.1}" width="{length:.1}" height="{height:.1}" fill="{colour}"/>"#);
        svg += &text(LABELS + length + 6.0, middle, "start", &format!("{value:.1}"));
    }
    svg + "</svg>\n"
}

/// Curves over the number of keys, both axes logarithmic.
fn curves(title: &str, lines: &[(&str, Vec<(f64, f64)>)]) -> String {
    const HEIGHT: f64 = 360.0;
    let (left, right, top, bottom) = (5.0 * MARGIN, WIDTH - 9.0 * MARGIN, 3.0 * MARGIN, HEIGHT - 2.5 * MARGIN);
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied()).filter(|(_, value)| *value > 0.0);
    let decades = |of: fn((f64, f64)) -> f64| {
        let exponents = || all().map(of).map(f64::log10);
        let (least, most) = (exponents().fold(f64::MAX, f64::min).floor(), exponents().fold(f64::MIN, f64::max).ceil());
        (least, most.max(least + 1.0))
    };
    let mut svg = begin(title, HEIGHT);
    if all().next().is_none() {
        return svg + "</svg>\n";
    }
    let (keys, values) = (decades(|point| point.0), decades(|point| point.1));
    let x = |keys_of: f64| left + (right - left) * (keys_of.log10() - keys.0) / (keys.1 - keys.0);
    let y = |value: f64| bottom - (bottom - top) * (value.log10() - values.0) / (values.1 - values.0);
    for exponent in keys.0 as i32..=keys.1 as i32 {
        let place = x(10_f64.powi(exponent));
        svg += &line((place, top), (place, bottom));
        svg += &text(place, bottom + 1.2 * MARGIN, "middle", &format!("{}", 10_f64.powi(exponent)));
    }
    for exponent in values.0 as i32..=values.1 as i32 {
        let place = y(10_f64.powi(exponent));
        svg += &line((left, place), (right, place));
        svg += &text(left - 6.0, place + 4.0, "end", &format!("{}", 10_f64.powi(exponent)));
    }
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        let points: Vec<_> = points.iter().filter(|(_, value)| *value > 0.0).map(|(keys, value)| (x(*keys), y(*value))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, path.join(" "));
        if let Some((x, y)) = points.last() {
            svg += &text(x + 6.0, y + 4.0, "start", name);
        }
    }
    svg + "</svg>\n"
}

fn begin(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#888\">\n"
    );
    svg += &text(MARGIN, 1.5 * MARGIN, "start", title);
    svg
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn line(from: (f64, f64), to: (f64, f64)) -> String {
    let ((x1, y1), (x2, y2)) = (from, to);
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#8884\"/>\n")
}
