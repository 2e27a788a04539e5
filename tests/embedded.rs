//! An edge without a control plane: `keygate export` writes the table into the filter's configuration, and Envoy judges by it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use harness::{
    Cli, Config, Connection, ControlPlane, EMBEDDED_FILTER, Envoy, Key, Protocol, Scratch, Upstream, free_port, module, until,
};
use serde_json::{Value, json};

use crate::edge::INSIDE;
use crate::vectors;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_vector_without_a_control_plane() -> Result<()> {
    let scratch = Scratch::new("keygate-export")?;
    let (base, file) = (scratch.path().join("base.json"), scratch.path().join("filter.json"));
    std::fs::write(&base, vectors::filter()?)?;
    let mut control_plane = ControlPlane::start().await?;
    let world = World::create(&control_plane).await?;
    let cli = control_plane.cli();
    export(&cli, &file, Some(&base)).await?;
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others may read the table");
    ensure!(std::fs::read_dir(scratch.path())?.count() == 2, "something was left over");
    let before = std::fs::read(&file)?;
    export(&cli, &file, None).await?;
    ensure!(std::fs::read(&file)? == before, "exported again, an unchanged table looks otherwise");
    control_plane.stop().await?;

    let file_name = file.to_string_lossy();
    let report = cli.json(&["filter", "check", &file_name]).await?;
    // Of the world's keys the inactive one is not in the table, nor is the unknown one.
    ensure!((&report["embeddedKeys"], &report["embeddedExpired"]) == (&json!(5), &json!(1)), "{report}");
    let as_alice = world.fill("${alice.id}")?;
    let explained = cli.json(&["filter", "explain", &file_name, "GET", INSIDE, "--as", &as_alice]).await?;
    ensure!(explained["verdict"]["outcome"] == "passes", "without the API, {}", explained["verdict"]);

    let upstream = Upstream::start()?;
    let mut config = Config::new(upstream.port(), free_port()?)?;
    config.filter = std::fs::read_to_string(&file)?;
    config.edits = vec![
        ("normalize_path: true", "normalize_path: false"),
        ("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    ];
    let envoy = Envoy::start(&config).await?;
    vectors::try_every_vector(&envoy, &upstream, &world, &[Protocol::Http1]).await?;
    let table = envoy.stats(r"^wasmcustom\.keygate\.default\.table_").await?;
    ensure!(table.get("wasmcustom.keygate.default.table_keys") == Some(&5), "{table:?}");
    ensure!(table.get("wasmcustom.keygate.default.table_revision") == report["embeddedRevision"].as_u64().as_ref(), "{table:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_into_place_is_in_force_on_every_worker_without_a_restart() -> Result<()> {
    let scratch = Scratch::new("keygate-export")?;
    let (base, file) = (scratch.path().join("base.json"), scratch.path().join("filter.json"));
    let sample = EMBEDDED_FILTER.replace("/etc/keygate/keygate_filter.wasm", &module()?.to_string_lossy());
    std::fs::write(&base, sample)?;
    let mut control_plane = ControlPlane::start().await?;
    let cli = control_plane.cli();
    cli.text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let key = cli.create_key(&["--environment", "1a5", "--name", "one"]).await?;
    let other = cli.create_key(&["--environment", "1a5", "--name", "other"]).await?;
    let short = cli.json(&["key", "create", "--environment", "1a5", "--name", "short", "--ttl", "8s"]).await?;
    let expires = humantime::parse_rfc3339(short["expires"].as_str().context("no expiry")?)?;
    let short = Key::from_json(&short)?;
    export(&cli, &file, Some(&base)).await?;

    // The check takes the very file that Envoy reads, too.
    let report = cli.json(&["filter", "check", &file.to_string_lossy()]).await?;
    ensure!(report["embeddedKeys"] == json!(4), "{report}");

    let upstream = Upstream::start()?;
    let envoy = Envoy::start_embedded(&file, &Config::new(upstream.port(), free_port()?)?).await?;
    let mut connections = envoy.connections_on_every_worker(Protocol::Http1).await?;
    for connection in &mut connections {
        ensure!(connection.get("/keygate/ready", &[]).await?.status == 200, "it is not ready");
        for key in [&key, &other, &short] {
            ensure!(status(connection, key, INSIDE).await? == 200, "a key of the table did not pass");
        }
        ensure!(SystemTime::now() < expires, "too slow to prove anything of expiry");
        ensure!(status(connection, &key, "/v1/projects/1a6/containers").await? == 403, "out of scope");
    }

    cli.text(&["key", "deactivate", &key.id]).await?;
    export(&cli, &file, None).await?;
    control_plane.kill();
    for connection in &mut connections {
        until("the new file to be in force", async || Ok((status(connection, &key, INSIDE).await? == 401).then_some(()))).await?;
        ensure!(status(connection, &other, INSIDE).await? == 200, "the other one is in the new table, too");
    }
    until("the second of expiry", async || Ok((SystemTime::now() >= expires).then_some(()))).await?;
    for connection in &mut connections {
        ensure!(status(connection, &short, INSIDE).await? == 401, "an expired key passed");
    }

    // What the filter cannot use denies everything, as ever.
    let mut broken: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    broken["resources"][0]["typed_config"]["config"]["configuration"]["value"] = "{".into();
    let beside = scratch.path().join("broken.json");
    std::fs::write(&beside, broken.to_string())?;
    std::fs::rename(&beside, &file)?;
    for connection in &mut connections {
        until("the broken file to close the edge", async || {
            Ok((connection.get("/public/x", &[]).await?.status == 503).then_some(()))
        })
        .await?;
        ensure!(status(connection, &other, INSIDE).await? == 503, "a key passed by a broken configuration");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_notices_an_export_through_the_link_that_it_watches() -> Result<()> {
    let scratch = Scratch::new("keygate-export")?;
    let path = |name: &str| scratch.path().join(name);
    std::fs::write(path("base.json"), EMBEDDED_FILTER.replace("/etc/keygate/keygate_filter.wasm", &module()?.to_string_lossy()))?;
    let control_plane = ControlPlane::start().await?;
    let cli = control_plane.cli();
    cli.text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let key = cli.create_key(&["--environment", "1a5", "--name", "one"]).await?;
    std::fs::create_dir(path("exported"))?;
    export(&cli, &path("exported/filter.json"), Some(&path("base.json"))).await?;
    // One link leads to another, each in a folder of its own.
    std::os::unix::fs::symlink("exported/filter.json", path("inner.json"))?;
    std::fs::create_dir(path("watched"))?;
    let link = path("watched/filter.json");
    std::os::unix::fs::symlink("../inner.json", &link)?;

    let upstream = Upstream::start()?;
    let envoy = Envoy::start_embedded(&link, &Config::new(upstream.port(), free_port()?)?).await?;
    let mut connections = envoy.connections_on_every_worker(Protocol::Http1).await?;
    for connection in &mut connections {
        ensure!(status(connection, &key, INSIDE).await? == 200, "a key of the table did not pass");
    }
    cli.text(&["key", "deactivate", &key.id]).await?;
    export(&cli, &link, None).await?;
    for connection in &mut connections {
        until("the new file to be in force", async || Ok((status(connection, &key, INSIDE).await? == 401).then_some(()))).await?;
    }
    ensure!(link.is_symlink() && path("inner.json").is_symlink(), "a link became a file");
    ensure!(std::fs::read_dir(path("watched"))?.count() == 1, "something was left over");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_used_leaves_everything_as_it_was() -> Result<()> {
    let scratch = Scratch::new("keygate-export")?;
    let path = |name: &str| scratch.path().join(name);
    let control_plane = ControlPlane::start().await?;
    let cli = control_plane.cli();
    cli.text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    let machine = cli.create_key(&["--environment", "1a5", "--name", "machine"]).await?;
    let good = r#"{"rules":[{"path":"/**","target":"account"}]}"#;
    for (name, text) in [("good.json", good), ("bad.json", r#"{"rules":[]}"#), ("other.txt", "my notes"), ("base.json", good)] {
        std::fs::write(path(name), text)?;
    }
    let file = path("filter.json");
    let failing = async |cli: &Cli, file: &Path, from: Option<&str>, said: &str| {
        let from = from.map(path);
        let output = cli.run(&arguments(file, from.as_deref()).each_ref().map(String::as_str)).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && stderr.contains(said), "expected {said:?}, got {stderr:?}");
        Ok(())
    };
    failing(&cli, &file, None, "--from").await?;
    failing(&cli, &file, Some("bad.json"), "rules: must hold").await?;
    failing(&cli, &file, Some("missing.json"), "cannot read").await?;
    failing(&cli, &file, Some("other.txt"), "not usable JSON").await?;
    failing(&cli, &path("other.txt"), Some("good.json"), "carries no embedded_table").await?;
    failing(&cli, &path("base.json"), Some("base.json"), "carries no embedded_table").await?;
    failing(&cli.with_key(&machine), &file, Some("good.json"), "only an admin").await?;
    failing(&cli, &path("nowhere/filter.json"), Some("good.json"), "cannot write").await?;
    ensure!(!file.exists() && std::fs::read_to_string(path("other.txt"))? == "my notes", "something was written");
    export(&cli, &file, Some(&path("good.json"))).await?;
    let before = std::fs::read(&file)?;
    failing(&cli, &file, Some("bad.json"), "nothing is written").await?;
    ensure!(std::fs::read(&file)? == before, "a good file was replaced by none");
    ensure!(std::fs::read_dir(scratch.path())?.count() == 5, "something was left over");
    Ok(())
}

fn arguments(file: &Path, from: Option<&Path>) -> [String; 5] {
    let file = file.display().to_string();
    // Twice the same file is the same as without --from.
    let from = from.map_or(["--output".to_owned(), "table".to_owned()], |from| ["--from".to_owned(), from.display().to_string()]);
    let [flag, value] = from;
    ["export".to_owned(), "--filter".to_owned(), file, flag, value]
}

async fn export(cli: &Cli, file: &Path, from: Option<&Path>) -> Result<String> {
    cli.text(&arguments(file, from).each_ref().map(String::as_str)).await
}

async fn status(connection: &mut Connection, key: &Key, path: &str) -> Result<u16> {
    Ok(connection.get(path, &[("x-api-key", &key.token)]).await?.status)
}
