//! `keygate backup` and `keygate restore`: the data folder as one file, and back. They say what a restored state means; how files are
//! copied and exchanged is for `store/`.

use std::fmt::Write as _;
use std::future::pending;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use keygate_decision::{KeyId, UnixSeconds};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{OutputFormat, file_argument, print_note, print_report};
use crate::clock::{self, Clock};
use crate::store::inspect::{Contents, Difference};
use crate::store::restore::{self, Replaced};
use crate::store::{DataFolder, backup};

/// What to copy, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupOptions {
    /// The file to make; it must not exist
    #[arg(value_parser = file_argument())]
    file: PathBuf,
    /// The data folder; a server may use it
    #[arg(long, value_name = "DIR", env = "KEYGATE_DATA")]
    data: PathBuf,
}

/// What to go back to, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreOptions {
    /// The file that `keygate backup` made
    #[arg(value_parser = file_argument())]
    file: PathBuf,
    /// The data folder; stop the server that uses it first. It is made if it does not exist
    #[arg(long, value_name = "DIR", env = "KEYGATE_DATA")]
    data: PathBuf,
}

/// Makes a backup. What was begun is gone if it fails or is interrupted.
pub(crate) async fn backup(options: BackupOptions, output: OutputFormat) -> anyhow::Result<()> {
    let database = DataFolder::find(&options.data)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = if hangups_are_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
    let hung_up = async {
        match &mut hangup {
            Some(hangup) => drop(hangup.recv().await),
            None => pending().await,
        }
    };
    let contents = tokio::select! {
        saved = backup::save(&database, &options.file, Clock::system().now()) => saved?,
        _ = interrupt.recv() => bail!("interrupted; there is no backup"),
        _ = terminate.recv() => bail!("stopped; there is no backup"),
        () = hung_up => bail!("the terminal is gone; there is no backup"),
    };
    let file = options.file.display();
    let report = report(json!({"file": file.to_string()}), &contents);
    Ok(print_report(&report, || format!("{file}: {}\n", describe(&contents)), output)?)
}

/// Whether whoever started this process has seen to it that the loss of its terminal does not matter, as `nohup` does. To listen for the
/// signal would undo that.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|signals| signals.trim().ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']))
}

/// Puts a backup in the place of the data, which is kept.
pub(crate) async fn restore(options: RestoreOptions, output: OutputFormat) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let found = restore::find(&options.file, now).await?;
    let folder = DataFolder::prepare(&options.data)?;
    let staged = restore::stage(&folder, found, now).await?;
    let contents = staged.contents();
    let replaced = staged.put(now).await?;
    let (file, data) = (options.file.display(), options.data.display());
    let keys = replaced.difference.as_ref().map(|Difference { again, no_more, otherwise }| {
        let ids = |ids: &[KeyId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>();
        json!({"again": ids(again), "noMore": ids(no_more), "otherwise": ids(otherwise)})
    });
    let kept = replaced.kept.as_ref().map(|kept| kept.display().to_string());
    let report = json!({"file": file.to_string(), "kept": kept, "keys": keys});
    let report = self::report(report, &contents);
    print_report(&report, || format!("{data} is again as in {file}: {}\n", describe(&contents)), output)
        .context("it is restored, but cannot be told")?;
    warnings(&options.data, &contents, &replaced).iter().for_each(|warning| print_note(warning));
    Ok(())
}

fn report(more: Value, contents: &Contents) -> Value {
    let mut report = json!({
        "revision": contents.revision,
        "passing": contents.keys,
        "lastChange": contents.last_change.map(clock::rfc3339),
    });
    if let (Value::Object(report), Value::Object(more)) = (&mut report, more) {
        report.extend(more);
    }
    report
}

fn describe(contents: &Contents) -> String {
    let mut text = match contents.revision {
        Some(revision) => format!("revision {revision}, "),
        None => String::new(),
    };
    text += &format!("{} {} may pass", contents.keys, if contents.keys == 1 { "key" } else { "keys" });
    if let Some(last) = contents.last_change {
        text += &format!(", last change at {}", clock::rfc3339(last));
    }
    text
}

/// What somebody must know who goes back: what has been withdrawn since is not withdrawn any more.
fn warnings(data: &Path, contents: &Contents, replaced: &Replaced) -> Vec<String> {
    let mut lines = Vec::new();
    let since = contents.last_change.map_or("the backup".to_owned(), |last: UnixSeconds| clock::rfc3339(last));
    lines.push(format!("WARNING: every key, account, password, member, setting and proxy's token is as it was at {since}."));
    lines
        .push("What was revoked, deleted or limited since then is so no longer; what was created since then is gone.".to_owned());
    lines.push("A password that was changed since then is the former one again: change it if others know it.".to_owned());
    match (&replaced.difference, &replaced.kept) {
        (Some(found), _) => {
            lines.push(listed("pass again and did not before", "revoke them again if they are not to", &found.again));
            lines.push(listed("pass for other things than before", "look at their accounts' members", &found.otherwise));
            lines.push(listed("passed before and do no more", "their ids may be given out again", &found.no_more));
        }
        (None, Some(_)) => lines.push(
            "The data that was there cannot be read, so nobody can say which keys these are: go through keygate key list."
                .to_owned(),
        ),
        (None, None) => lines.push(
            "There was no data here to compare with, so nobody can say which keys these are: go through keygate key list."
                .to_owned(),
        ),
    }
    lines.push("Logins have ended: some of them were ended since, too. People log in again.".to_owned());
    lines.push(if replaced.proxies_known {
        "Waits cover every proxy that the data which was there knew, and those of the backup.".to_owned()
    } else {
        "A proxy that first came after it is not waited for until it connects again. Those that the backup knows are, for up to 30 days: \
         keygate proxy forget the ones that will not come."
            .to_owned()
    });
    if let Some(kept) = &replaced.kept {
        lines.push(format!("What was there is kept as {}; delete it when you are sure.", kept.display()));
    }
    lines.push(format!("Now run keygate serve --data {}: proxies that are ahead get the whole table.", data.display()));
    lines
}

fn listed(what: &str, advice: &str, ids: &[KeyId]) -> String {
    if ids.is_empty() {
        return format!("Keys that {what}: none.");
    }
    let mut line = format!("Keys that {what}: ");
    for (index, id) in ids.iter().take(SHOWN).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(line, "{}{}", if index == 0 { "" } else { ", " }, id.0);
    }
    if ids.len() > SHOWN {
        line += &format!(" and {} more (--output json names all)", ids.len() - SHOWN);
    }
    format!("{line}; {advice}.")
}

const SHOWN: usize = 50;

#[cfg(test)]
mod tests;
