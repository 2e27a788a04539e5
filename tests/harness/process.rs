//! A program in the background: its log in a file, stopped or killed by its owner, and never left behind.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::{io, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::until;

const LOG_LINES_SHOWN: usize = 20;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with `arguments`; what it prints is appended to the file `log`. `name` is for messages.
    pub fn start(name: &str, program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
        Self::start_with(name, program, arguments, &[], log)
    }

    /// The same with these variables in its environment.
    pub fn start_with(
        name: &str,
        program: &Path,
        arguments: &[&str],
        environment: &[(&'static str, PathBuf)],
        log: &Path,
    ) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("opening {}", log.display()))?;
        // The kernel ends the program if this one is killed before it could do so itself.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C in the terminal is for the owner, who stops its programs in order.
            .process_group(0);
        let child = spawn(command).with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// An error with the last lines of its log, if the program has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.log_tail()),
        }
    }

    /// Asks it to end and waits until it has. Fails if it does not, or not with success.
    pub async fn stop(mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            self.signal("TERM")?;
        }
        let name = self.name.clone();
        let status = until(&format!("{name} to end"), async || Ok(self.child.try_wait()?)).await?;
        ensure_success(&name, status, &self.log_tail())
    }

    /// Kills it, as a crash would.
    pub fn kill(mut self) {
        self.end();
    }

    /// Its number, which on Linux is that of its main thread, too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name: `STOP` makes it hang, `CONT` go on.
    pub fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status()?;
        ensure!(sent.success(), "{} got no SIG{name}", self.name);
        Ok(())
    }

    /// How much memory it has resident, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a program without VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// The last lines of what it printed.
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LOG_LINES_SHOWN);
        lines.get(first..).unwrap_or_default().join("\n")
    }

    /// All that it printed so far.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn end(&mut self) {
        // Both fail only for a program that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn ensure_success(name: &str, status: ExitStatus, log_tail: &str) -> Result<()> {
    ensure!(status.success(), "{name} ended badly ({status}):\n{log_tail}");
    Ok(())
}

/// Starts a program from a thread that lives as long as this program does. The kernel counts the starting *thread* as the
/// parent whose death ends the child, and a test's thread dies with its test.
fn spawn(command: Command) -> Result<Child> {
    type Job = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Job>> = LazyLock::new(|| {
        let (jobs, queue) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                // Who asked may have given up.
                let _ = reply.send(command.spawn());
            }
        });
        jobs
    });
    let (reply, child) = channel();
    SPAWNER.send((command, reply)).map_err(|_| anyhow!("the spawning thread is gone"))?;
    Ok(child.recv()??)
}
