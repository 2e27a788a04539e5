//! What may depend on what: the filter carries nothing of a server, the decision nothing but arithmetic.

use std::process::Command;

use anyhow::{Result, ensure};
use harness::project;

#[test]
fn the_filter_carries_nothing_of_a_server() -> Result<()> {
    let names = dependencies_of("keygate-filter")?;
    for banned in ["tokio", "sqlx", "axum", "hyper", "tonic", "reqwest", "rustls", "ring", "keygate"] {
        ensure!(!names.iter().any(|name| name == banned), "keygate-filter depends on {banned}");
    }
    Ok(())
}

#[test]
fn the_control_plane_carries_nothing_of_the_filter() -> Result<()> {
    let names = dependencies_of("keygate")?;
    for banned in ["keygate-filter", "proxy-wasm", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"] {
        ensure!(!names.iter().any(|name| name == banned), "keygate depends on {banned}");
    }
    Ok(())
}

#[test]
fn the_decision_knows_no_serialization_no_log_and_no_randomness() -> Result<()> {
    let names = dependencies_of("keygate-decision")?;
    for banned in ["serde", "serde_json", "prost", "log", "tracing", "getrandom", "rand"] {
        ensure!(!names.iter().any(|name| name == banned), "keygate-decision depends on {banned}");
    }
    Ok(())
}

fn dependencies_of(package: &str) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(project())
        .args(["tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .output()?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect())
}
