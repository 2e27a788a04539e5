//! Back to an older state, with an edge that was ahead of it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{ControlPlane, DEADLINE, Key, Scratch, keygate_binary};
use serde_json::Value;
use tokio::process::Command;

use super::client::{Client, Traffic, expect};
use crate::edge::Edge;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_the_edge_holds_exactly_what_the_backup_held() -> Result<()> {
    let mut edge = Edge::start(1).await?;
    let cli = edge.control_plane.cli();
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let kept = cli.create_key(&["--environment", "1a5", "--name", "kept", "--wait"]).await?;
    let revoked = cli.create_key(&["--environment", "1a5", "--name", "revoked later", "--wait"]).await?;
    let traffic = Traffic::start(&edge, &kept).await?;

    // While the server runs, and in its epoch, so that the edge is on the same line and ahead.
    let file = edge.control_plane.data().with_file_name("backup");
    let (file, data) = (file.to_string_lossy().into_owned(), edge.control_plane.data().to_string_lossy().into_owned());
    let said = cli.json(&["backup", &file, "--data", &data]).await?;
    ensure!(said["passing"] == 3, "the backup holds {said}");
    edge.change(&["key", "deactivate", &revoked.id]).await?;
    let created = cli.create_key(&["--environment", "1a5", "--name", "created later", "--wait"]).await?;
    expect(&edge, "revoked after the backup", &revoked, 401).await?;
    expect(&edge, "created after the backup", &created, 200).await?;

    let refused = cli.run(&["restore", &file, "--data", &data]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("stop it first"), "beside a server it said {said:?}");
    edge.control_plane.kill();
    let restored = cli.run(&["restore", &file, "--data", &data, "--output", "json"]).await?;
    let warning = String::from_utf8_lossy(&restored.stderr).into_owned();
    ensure!(restored.status.success(), "{warning}");
    let said: Value = serde_json::from_slice(&restored.stdout)?;
    ensure!(said["keys"]["again"] == serde_json::json!([revoked.id]), "it said {said}");
    ensure!(said["keys"]["noMore"] == serde_json::json!([created.id]), "it said {said}");
    ensure!(
        warning.contains("WARNING") && warning.contains(&format!("pass again and did not before: {}", revoked.id)),
        "{warning}"
    );
    let put_aside = Path::new(said["kept"].as_str().context("nothing was kept")?).to_owned();

    edge.control_plane.serve().await?;
    edge.change(&["environment", "create", "--id", "1a6", "--name", "fence"]).await?;
    expect(&edge, "kept", &kept, 200).await?;
    expect(&edge, "revoked after the backup", &revoked, 200).await?;
    expect(&edge, "created after the backup", &created, 401).await?;
    let metrics = Client::admin(&edge.control_plane).ask("GET", "/metrics", None).await?.text();
    ensure!(metrics.contains("keygate_snapshots_sent_total 1\n"), "the edge was not given the whole table: {metrics}");
    edge.change(&["key", "deactivate", &revoked.id]).await?;
    expect(&edge, "revoked again", &revoked, 401).await?;
    let also = cli.create_key(&["--environment", "1a5", "--name", "another", "--wait"]).await?;
    expect(&edge, "created again", &also, 200).await?;

    // What was put aside is whole, the changes that stood in the journal of the killed server among it.
    edge.control_plane.stop().await?;
    cli.text(&["restore", &put_aside.to_string_lossy(), "--data", &data]).await?;
    edge.control_plane.serve().await?;
    edge.change(&["environment", "create", "--id", "1a7", "--name", "fence"]).await?;
    expect(&edge, "revoked after the backup", &revoked, 401).await?;
    expect(&edge, "created after the backup", &created, 200).await?;
    expect(&edge, "created in the other state", &also, 401).await?;
    traffic.stop().await
}

/// The edge is exactly where the backup was made, so that nothing but the restore itself tells it apart from one that lacks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_a_restore_ends_passes_at_no_edge() -> Result<()> {
    let mut edge = Edge::start(1).await?;
    edge.add_alice().await?;
    edge.set_password("alice", "correct horse battery").await?;
    let kept = edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "kept", "--wait"]).await?;
    let asked = serde_json::json!({"name": "alice", "password": "correct horse battery"});
    let answer = Client::admin(&edge.control_plane).ask("POST", "/keygate/v1/login", Some(asked)).await?;
    let token = answer.json()?["token"].as_str().context("no token")?.to_owned();
    let login = Key { token, ..kept.clone() };
    edge.change(&["environment", "create", "--id", "1a8", "--name", "fence before"]).await?;
    expect(&edge, "a login", &login, 200).await?;

    restore_what_is_there(&mut edge, async |_| Ok(())).await?;
    expect(&edge, "a key of the backup", &kept, 200).await?;
    expect(&edge, "a login from before the restore", &login, 401).await
}

/// As many revisions are made on the restored data as the edge has that they know nothing of.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_after_a_restore_is_not_taken_for_what_was_there_before() -> Result<()> {
    let (mut edge, kept) = Edge::with_key(1).await?;
    let (mut lost, mut recovered) = (None, None);
    restore_what_is_there(&mut edge, async |step| {
        match step {
            Step::SavedBackup(edge) => {
                lost = Some(edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "lost", "--wait"]).await?);
            }
            Step::Restored(data) => recovered = Some(ControlPlane::recover(Path::new(&data)).await?),
        }
        Ok(())
    })
    .await?;
    expect(&edge, "a key of the backup", &kept, 200).await?;
    expect(&edge, "a key that the backup does not hold", &lost.context("no key")?, 401).await?;
    expect(&edge, "the key that was made on the restored data", &recovered.context("no key")?, 200).await
}

enum Step<'e> {
    SavedBackup(&'e Edge),
    Restored(String),
}

/// Saves a backup and restores it, and waits until the edge has what is in force then. `each` is told of the steps.
async fn restore_what_is_there(edge: &mut Edge, mut each: impl AsyncFnMut(Step<'_>) -> Result<()>) -> Result<()> {
    let cli = edge.control_plane.cli();
    let data = edge.control_plane.data().to_string_lossy().into_owned();
    let file = edge.control_plane.data().with_file_name("backup").to_string_lossy().into_owned();
    cli.text(&["backup", &file, "--data", &data]).await?;
    each(Step::SavedBackup(edge)).await?;
    edge.control_plane.kill();
    cli.text(&["restore", &file, "--data", &data]).await?;
    each(Step::Restored(data)).await?;
    edge.control_plane.serve().await?;
    edge.change(&["environment", "create", "--id", "1a9", "--name", "fence"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_the_old_state_or_the_new() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    let cli = control_plane.cli();
    let scratch = Scratch::new("keygate-restore")?;
    let backup = scratch.path().join("backup").to_string_lossy().into_owned();
    let data = control_plane.data().to_owned();
    cli.text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let old = cli.json(&["backup", &backup, "--data", &data.to_string_lossy()]).await?["revision"].clone();
    let mut newest = old.clone();
    for name in ["one", "two"] {
        cli.create_key(&["--environment", "1a5", "--name", name]).await?;
        newest = Value::from(newest.as_u64().context("a revision")? + 1);
    }
    // Both keys stand in the journal alone.
    control_plane.kill();
    ensure!(fs::metadata(data.join("keygate.db-wal"))?.len() > 0, "there is no journal to be lost");

    // Most of the kills fall where the files are exchanged: near the end.
    let whole = killed(&data, scratch.path(), &backup, None).await?;
    let (mut stayed, mut went) = (0, 0);
    for attempt in 0..KILLS {
        let after = whole.took.mul_f64(0.5 + 0.6 * f64::from(attempt) / f64::from(KILLS));
        let killed = killed(&data, scratch.path(), &backup, Some(after)).await?;
        let probe = scratch.path().join(format!("probe-{attempt}")).to_string_lossy().into_owned();
        let found = cli.json(&["backup", &probe, "--data", &killed.data]).await?["revision"].clone();
        ensure!(found == old || found == newest, "killed after {after:?}: neither {old} nor {newest} but {found}");
        ensure!(!killed.done || found == old, "it was done and has done nothing");
        if found == old {
            went += 1;
        } else {
            stayed += 1;
        }
    }
    println!("of {KILLS} kills, {stayed} left the old state and {went} the new");
    ensure!(stayed > 0 && went > 0, "of {KILLS} kills, {stayed} left the old state and {went} the new");
    Ok(())
}

const KILLS: u32 = 40;

/// A restore and what came of it.
struct Restore {
    data: String,
    took: Duration,
    done: bool,
}

/// Restores into a copy of the data as a killed server left it, and is killed in turn.
async fn killed(data: &Path, scratch: &Path, backup: &str, after: Option<Duration>) -> Result<Restore> {
    let copy = scratch.join(format!("copy-{:?}", after.unwrap_or_default()));
    fs::create_dir(&copy)?;
    for name in ["keygate.db", "keygate.db-wal"] {
        fs::copy(data.join(name), copy.join(name))?;
    }
    let data = copy.to_string_lossy().into_owned();
    let mut restore = Command::new(keygate_binary()?);
    restore.args(["restore", backup, "--data", &data]).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let started = Instant::now();
    let mut restore = restore.spawn()?;
    let ended = tokio::time::timeout(after.unwrap_or(DEADLINE), restore.wait()).await;
    restore.kill().await?;
    Ok(Restore { data, took: started.elapsed(), done: ended.is_ok_and(|status| status.is_ok_and(|status| status.success())) })
}
