//! The README's figures are those that `make bench` left, to the letter.

use anyhow::{Context, Result, ensure};
use harness::project;

#[test]
fn it_shows_what_was_measured() -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(project().join(path)).with_context(|| format!("reading {path}"));
    let (readme, measured) = (read("README.md")?, read("tests/bench/results.md")?);
    ensure!(readme.contains(measured.trim_end()), "what it costs: put tests/bench/results.md into README.md as it is");
    Ok(())
}
