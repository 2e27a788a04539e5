//! schemathesis against `/openapi.json`: it makes up requests from what the page says and looks at the answers. None may be a server's
//! error, and none may have a status that the page does not name.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::{ControlPlane, Scratch, Venv};

/// So long goes one round, with data of its own: sooner or later the tester takes away what it needs itself.
const ROUND: Duration = Duration::from_secs(60);
/// Keys that are made before the tester's: it is seldom that it finds its own.
const KEYS_BEFORE: usize = 30;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Tester {
    /// How long it tries as an admin, and then as a user.
    pub each: Duration,
    /// Decides which requests it makes up.
    pub seed: u64,
}

impl Tester {
    /// Runs it; what it tells is for people.
    ///
    /// # Errors
    /// What the tester found, in its own words, with requests to try again.
    pub async fn run(self) -> Result<String> {
        let venv = Venv::of("tests/schemathesis").await?;
        let mut told = String::new();
        for kind in ["admin", "user"] {
            let (began, mut rounds, mut whole) = (Instant::now(), 0, 0);
            while began.elapsed() < self.each {
                let left = ROUND.min(self.each - began.elapsed().min(self.each));
                let round = Round { kind, time: left, seed: self.seed + rounds };
                whole += u64::from(round.run(&venv).await.with_context(|| format!("{round:?}"))?);
                rounds += 1;
            }
            ensure!(whole > 0, "as {kind} the tester lost its key in each of {rounds} rounds, so little was tried");
            writeln!(told, "as {kind} in {rounds} rounds: no server's error and no status that the page does not name")?;
        }
        Ok(told)
    }
}

#[derive(Debug)]
struct Round {
    kind: &'static str,
    time: Duration,
    seed: u64,
}

impl Round {
    /// Whether the tester's key still passes in the end.
    async fn run(&self, venv: &Venv) -> Result<bool> {
        let control_plane = ControlPlane::start().await?;
        let cli = control_plane.cli();
        for command in [
            &["environment", "create", "--id", "1a5", "--name", "Default"][..],
            &["account", "create", "--name", "tester", "--kind", self.kind],
            &["account", "create", "--name", "alice", "--kind", "user"],
            &["member", "add", "--environment", "1a5", "--account", "alice", "--role", "owner"],
        ] {
            cli.text(command).await?;
        }
        if self.kind == "user" {
            cli.text(&["member", "add", "--environment", "1a5", "--account", "tester", "--role", "owner"]).await?;
        }
        for _ in 0..KEYS_BEFORE {
            cli.create_key(&["--account", "tester", "--name", "former"]).await?;
        }
        let key = cli.create_key(&["--account", "tester", "--name", "own"]).await?;
        // It leaves files where it runs.
        let scratch = Scratch::new("keygate-tester")?;
        let mut command = Command::new(venv.program("schemathesis"));
        command
            .args(["run", &format!("{}/openapi.json", control_plane.url())])
            // One worker: with more of them no seed gives the same requests again, and Python's parser, which the tester calls, fails
            // now and then when two threads are in it.
            .args(["--checks", "not_a_server_error,status_code_conformance", "--workers", "1"])
            .args([
                "--max-time",
                &self.time.as_secs().max(1).to_string(),
                "--seed",
                &self.seed.to_string(),
                // The one way of showing a key that all dialects share.
                "--header",
                &format!("Authorization: Bearer {}", key.token),
                // Portainer answers 500 where there is no such token, and so does its dialect.
                "--exclude-operation-id",
                "delete_api_users_id_tokens_keyID",
            ])
            .current_dir(scratch.path())
            .env("NO_COLOR", "1")
            .kill_on_drop(true);
        let output = command.output().await.context("running schemathesis")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        // What it found stands there first, with a line for curl to try it again; behind it come hints about the page.
        let found = said.find(" FAILURES ").and_then(|at| said.get(at..)).unwrap_or(&said);
        ensure!(output.status.success() && said.contains(" generated, "), "{}:\n{found}", output.status);
        Ok(cli.with_key(&key).run(&["key", "list"]).await?.status.success())
    }
}
