//! The machine and its processes as the kernel accounts for them: which cores there are, who runs on which, what a process has used. It
//! starts nothing that stays.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

/// As many files as a thousand proxies need, on both ends.
const OPEN_FILES: u64 = 8192;

/// The two cores that are told apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// What is measured runs here.
    pub(crate) measured: usize,
    /// This program, the load, and what else must not disturb runs here.
    pub(crate) load: usize,
}

impl Cores {
    /// The first and the last core that this program may use.
    pub(crate) fn find() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let list = list.context("the kernel does not say which cores there are")?.trim();
        let ends = |range: &str| -> Option<(usize, usize)> {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        let ranges: Option<Vec<_>> = list.split(',').map(ends).collect();
        let ranges = ranges.with_context(|| format!("reading the list of cores {list:?}"))?;
        match (ranges.first(), ranges.last()) {
            (Some((first, _)), Some((_, last))) if first != last => Ok(Self { measured: *first, load: *last }),
            _ => bail!("this takes two cores, one for Envoy and one for the load"),
        }
    }

    /// Moves this program, with all that it will start, to the core of the load, and lets it open enough files.
    pub(crate) fn settle(self) -> Result<()> {
        pin(std::process::id(), &[self.load])?;
        let pid = std::process::id().to_string();
        run("prlimit", &["--pid", &pid, &format!("--nofile={OPEN_FILES}:{OPEN_FILES}")])
    }
}

/// Binds all threads of a process, and those that they will start, to some cores.
pub(crate) fn pin(pid: u32, cores: &[usize]) -> Result<()> {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    run("taskset", &["--all-tasks", "--cpu-list", "--pid", &cores.join(","), &pid.to_string()])
}

/// Lets all others on its core go before a process: one that would be on another machine must not keep those waiting that tell the time.
pub(crate) fn give_way(pid: u32) -> Result<()> {
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
        run("renice", &["-n", "19", "-p", &thread?.file_name().to_string_lossy()])?;
    }
    Ok(())
}

/// The processor time that a process has used so far, all its threads together, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0_u64;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let running = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        nanoseconds += running.with_context(|| format!("{} says {text:?}", path.display()))?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// The memory that a process holds resident, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.parse::<f64>().ok());
    Ok(kilobytes.context("the kernel does not say how much is resident")? * 1024.0)
}

/// The processor, how many cores of it there are, and the kernel.
pub(crate) fn description() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, name)| name);
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {count} cores, Linux {}", kernel.trim())
}

/// The date, as in 2026-01-31.
pub(crate) fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// Runs a program of the system to its end; what it says is only of interest if it fails.
fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("running {program}"))?;
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
