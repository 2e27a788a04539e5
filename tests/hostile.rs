//! Hostile input: the corpus of every fuzz target, and generated spellings, by the crates alone and through real Envoy.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::hostile::spelling::Spellings;
use harness::hostile::{BODIES, paths};
use harness::project;
use harness::soak::Soak;

/// The same at every run: what is new is for `make fuzz` and `make soak` to find.
const SEED: u64 = 1;
const PATHS: usize = 50_000;

/// Of the long soak, this is the short form.
const SHORT: Soak = Soak { requests: 20_000, seed: SEED, limit: Duration::from_secs(300) };

fn corpus() -> PathBuf {
    project().join("tests/fuzz/corpus")
}

#[test]
fn the_corpus_of_every_fuzz_target_holds() -> Result<()> {
    for (target, body) in BODIES {
        let folder = corpus().join(target);
        let files = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut replayed = 0;
        for file in files {
            let path = file?.path();
            // Shown only if the body panics.
            println!("{}", path.display());
            body(&std::fs::read(&path)?);
            replayed += 1;
        }
        ensure!(replayed > 0, "no file in {}", folder.display());
    }
    ensure!(std::fs::read_dir(corpus())?.count() == BODIES.len(), "a corpus without a target");
    Ok(())
}

#[test]
fn no_spelling_crosses_into_another_environment() {
    let mut spellings = Spellings::new(SEED);
    (0..PATHS).for_each(|_| paths(&spellings.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_crosses_in_real_envoy() -> Result<()> {
    println!("{}", SHORT.run().await?);
    Ok(())
}
