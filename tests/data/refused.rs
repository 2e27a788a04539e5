//! What `keygate serve` refuses to start with, each seen: what is wrong, and the way out.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use harness::{ControlPlane, Protocol, Scratch, free_port, keygate_binary, loopback};
use tokio::process::Command;

use super::client::Client;

/// Serves from a folder, which must be refused within a while; what it says. `before` are a program and arguments that start it.
async fn refused(before: &[&str], data: &Path, http: u16) -> Result<String> {
    let binary = keygate_binary()?;
    let (http, sync) = (loopback(http).to_string(), loopback(free_port()?).to_string());
    let mut command = match before.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&binary);
            command
        }
        None => Command::new(&binary),
    };
    command.arg("serve").arg("--data").arg(data).args(["--http", &http, "--sync", &sync]).kill_on_drop(true);
    let ended = tokio::time::timeout(harness::DEADLINE, command.output()).await;
    let Output { status, stderr, .. } = ended.context("it serves, or hangs")??;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(status.code() == Some(1), "it ended with {status}: {said}");
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_one_folder_is_refused_and_the_first_unharmed() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let said = refused(&[], control_plane.data(), free_port()?).await?;
    ensure!(said.contains("another keygate uses") && said.contains("stop it first"), "{said}");
    control_plane.cli().text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    Client::admin(&control_plane).until_ready(200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() -> Result<()> {
    let (one, mut other) = (ControlPlane::start().await?, ControlPlane::start().await?);
    other.stop().await?;
    let said = refused(&[], other.data(), one.http_port()).await?;
    ensure!(
        said.contains(&format!("cannot listen on {}", loopback(one.http_port()))) && said.contains("choose another"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_cannot_be_used_is_named_with_the_way_out() -> Result<()> {
    let scratch = Scratch::new("keygate-refused")?;
    let (file, data) = (scratch.path().join("file"), scratch.path().join("data"));
    fs::write(&file, "")?;
    let said = refused(&[], &file, free_port()?).await?;
    ensure!(said.contains("name a folder, not a file"), "{said}");
    let said = refused(&[], &data, free_port()?).await?;
    ensure!(said.contains("keygate init --data"), "{said}");

    ControlPlane::init(&data).await?;
    let text = data.to_string_lossy().into_owned();
    let read_only = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let said = refused(&["unshare", "--map-root-user", "--mount", "sh", "-c", read_only, &text], &data, free_port()?).await?;
    ensure!(said.to_lowercase().contains("read-only file system") && said.contains("for writing"), "{said}");

    // Root may do anything unless that is taken from it.
    let root = Command::new("id").arg("-u").output().await?.stdout.starts_with(b"0\n");
    let without: &[&str] = if root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] };
    let permit = |path: &Path, mode| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode));
    for (path, mode, usual) in
        [(data.clone(), 0o000, 0o700), (data.join("keygate.db"), 0o400, 0o600), (data.clone(), 0o500, 0o700)]
    {
        permit(&path, mode)?;
        let said = refused(without, &data, free_port()?).await;
        permit(&path, usual)?;
        let said = said.with_context(|| format!("{path:?} {mode:o}"))?;
        ensure!(said.contains("the user who runs keygate"), "{path:?} {mode:o}: {said}");
    }

    let database = data.join("keygate.db");
    let whole = fs::read(&database)?;
    let mut torn = whole.clone();
    torn[whole.len() / 2..whole.len() / 2 + 3000].fill(0x5a);
    for bytes in [torn, whole[..whole.len() / 2].to_vec(), b"no database".to_vec()] {
        fs::write(&database, bytes)?;
        let said = refused(&[], &data, free_port()?).await?;
        ensure!(said.contains("damaged") && said.contains("keygate restore"), "{said}");
    }
    fs::write(&database, whole)?;
    let admin = ControlPlane::recover(&data).await?;
    let mut served = ControlPlane::over(&data, &scratch.path().join("log"), free_port()?, free_port()?, admin).await?;
    let mut connection = harness::Connection::open(loopback(served.http_port()), Protocol::Http1).await?;
    ensure!(connection.get("/healthz", &[]).await?.status == 200, "what was refused was harmed");
    served.stop().await
}
