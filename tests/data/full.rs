//! A disk that fills up while clients make keys, and has room again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::{Disk, Envoy, Key, Process, Scratch, Upstream, free_port, keygate_binary, loopback};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::client::{Client, status};

const CLIENTS: usize = 3;
/// Room for a new database, its journal at its longest, and some growth.
const DISK_BYTES: u64 = 8 << 20;

/// A control plane whose data is on a disk of its own.
struct Cramped {
    disk: Disk,
    data: PathBuf,
    log: PathBuf,
    http: u16,
    sync: u16,
    _scratch: Scratch,
}

impl Cramped {
    async fn new() -> Result<(Self, Key)> {
        let scratch = Scratch::new("keygate-disk")?;
        let mount = scratch.path().join("disk");
        std::fs::create_dir(&mount)?;
        let disk = Disk::mount(&mount, DISK_BYTES).await?;
        let log = scratch.path().join("keygate.log");
        let cramped = Self { disk, data: mount.join("data"), log, http: free_port()?, sync: free_port()?, _scratch: scratch };
        let created = cramped.run(&["init", "--output", "json"]).await?;
        ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let admin = Key::from_json(&serde_json::from_slice(&created.stdout)?)?;
        Ok((cramped, admin))
    }

    /// Runs a command on the data.
    async fn run(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let mut command: Command = self.disk.command(&keygate_binary()?);
        command.args(arguments).env("KEYGATE_DATA", &self.data).output().await.context("running keygate")
    }

    fn serve(&self) -> Result<Process> {
        let enter = self.disk.enter();
        let (program, rest) = enter.split_first().context("no program")?;
        let binary = keygate_binary()?.to_string_lossy().into_owned();
        let (http, sync) = (loopback(self.http).to_string(), loopback(self.sync).to_string());
        let data = self.data.to_string_lossy();
        let mut arguments: Vec<&str> = rest.iter().map(String::as_str).collect();
        arguments.extend([binary.as_str(), "serve", "--data", &data, "--http", &http, "--sync", &sync]);
        Process::start("the control plane", Path::new(program), &arguments, &self.log)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_changes_and_nothing_else_until_there_is_room() -> Result<()> {
    let (cramped, admin) = Cramped::new().await?;
    let server = cramped.serve()?;
    let mut client = Client::new(cramped.http, &admin);
    client.until_ready(200).await?;
    let environment = serde_json::json!({"id": "1a5", "name": "production"});
    ensure!(client.ask("POST", "/keygate/v1/environments", Some(environment)).await?.status == 201, "no environment");
    let first = client.create_key("first").await?.context("refused")?;
    let upstream = Upstream::start()?;
    let envoy = Envoy::start(&harness::Config::new(upstream.port(), cramped.sync)?).await?;
    envoy.until_table().await?;
    let mut worker = harness::Connection::open(envoy.edge(), harness::Protocol::Http2).await?;

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (mut client, stopped) = (Client::new(cramped.http, &admin), stopped.clone());
        clients.spawn(async move {
            let mut answers = Vec::new();
            while !*stopped.borrow() {
                let name = format!("{number}-{}", answers.len());
                let key = client.create_key(&name).await?;
                answers.push((name, key));
            }
            anyhow::Ok(answers)
        });
    }
    // Twice, so that it is full at two different moments.
    for round in 1..=2 {
        let mut reader = Client::new(cramped.http, &admin);
        harness::until("some keys", async || Ok((reader.keys().await?.len() > 40 * round).then_some(()))).await?;
        cramped.disk.fill()?;
        client.until_ready(503).await?;
        for _ in 0..50 {
            let listed = client.ask("GET", &format!("/keygate/v1/keys/{}", first.id), None).await?;
            ensure!(listed.status == 200, "reading answered {}", listed.status);
            let found = status(&mut worker, &first).await?;
            ensure!(found == 200, "the edge answered {found}");
        }
        let metrics = client.ask("GET", "/metrics", None).await?.text();
        ensure!(metrics.contains("keygate_storage_failing 1\n"), "{metrics}");
        cramped.disk.free()?;
        client.until_ready(200).await?;
        ensure!(client.create_key("after").await?.is_some(), "refused with room on the disk");
    }
    stop.send_replace(true);
    let mut answers = Vec::new();
    while let Some(client) = clients.join_next().await {
        answers.extend(client??);
    }
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, key)| key.is_some());
    println!("{} keys made, {} refused", made.len(), refused.len());
    ensure!(made.len() > 10 && refused.len() > 1, "{} keys made, {} refused", made.len(), refused.len());
    ensure!(server.log().contains("make room on the disk"), "the log does not say what is wrong:\n{}", server.log_tail());

    // As it is now, and as it is read again from the disk.
    let fence =
        client.ask("POST", "/keygate/v1/accounts?wait=20", Some(serde_json::json!({"name": "fence", "kind": "user"}))).await?;
    ensure!(fence.header("keygate-missing") == Some(""), "the edge lags: {:?}", fence.headers);
    verify(&mut client, &made, &refused).await?;
    for key in made.iter().filter_map(|(_, key)| key.as_ref()) {
        ensure!(status(&mut worker, key).await? == 200, "a key that was made does not pass");
    }
    server.stop().await?;

    cramped.disk.fill()?;
    let mut server = cramped.serve()?;
    let ended = harness::until("a start on a full disk to be refused", async || Ok(server.ensure_running().err())).await?;
    ensure!(ended.to_string().contains("make room on the disk"), "{ended:#}");
    cramped.disk.fill()?;
    let backup = cramped.run(&["backup", &cramped.data.with_file_name("backup").to_string_lossy()]).await?;
    let said = String::from_utf8_lossy(&backup.stderr).into_owned();
    ensure!(!backup.status.success() && said.contains("make room"), "a backup on a full disk: {said}");
    let left = std::fs::read_dir(cramped.disk.outside(""))?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    ensure!(left.len() == 2, "a failed backup left something behind: {left:?}");
    cramped.disk.free()?;
    let server = cramped.serve()?;
    client.until_ready(200).await?;
    verify(&mut client, &made, &refused).await?;
    server.stop().await
}

type Wish = (String, Option<Key>);

/// What was reported made is there, what was refused is not.
async fn verify(client: &mut Client, made: &[Wish], refused: &[Wish]) -> Result<()> {
    let stored: std::collections::BTreeMap<_, _> =
        client.keys().await?.into_iter().map(|(name, id, state)| (name, (id, state))).collect();
    for (name, key) in made {
        let (id, state) = stored.get(name).with_context(|| format!("{name} was reported made and is not there"))?;
        ensure!(state == "active" && key.as_ref().is_some_and(|key| key.id == *id), "{name} is {state}");
    }
    for (name, _) in refused {
        ensure!(!stored.contains_key(name), "{name} was refused and is there");
    }
    Ok(())
}
