//! `keygate export`: writes a filter's configuration that carries the whole table, for an edge without a control plane. What is written is
//! parsed first with the code that the filter is made of, and takes the place of what was there at once or not at all. Never writes a
//! secret: a table holds digests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use clap::Args;
use keygate_wire::{FilterConfig, Source};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Call, Client};
use super::connection::ConnectionArgs;
use super::failure::Failure;
use super::file::file_argument;
use super::output::{self, Column, OutputFormat, View};
use crate::clock::Clock;

const EXPORTED: View = &[
    Column::new("FILE", "file"),
    Column::new("REVISION", "revision"),
    Column::new("KEYS", "keys"),
    Column::new("EXPIRED", "expired"),
];

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write: a filter's configuration, or an Envoy file in JSON that holds one, as --from is. It is replaced at once, with
    /// mode 0600, and only if it is a former export; of a link, what it leads to, and the link is put there anew for whoever watches it
    #[arg(long, value_name = "FILE", value_parser = file_argument())]
    filter: PathBuf,
    /// Where all but the table is taken from; without it, from FILE as it is
    #[arg(long, value_name = "BASE")]
    from: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(args: &ExportArgs, connection: &ConnectionArgs, output: OutputFormat) -> Result<(), Failure> {
    // Looked up once: what is read is what is written, whatever becomes of a link meanwhile.
    let place = behind_links(&args.filter)?;
    let document = base(args, &place.file)?;
    let reply = Client::new(connection)?.send(&Call::get(&["table"])).await?;
    let table: Table = serde_json::from_value(reply.body).map_err(|_| {
        Failure::NoAnswer("the table that the control plane gave cannot be read: is it newer than this command?".to_owned())
    })?;
    let (keys, revision) = (table.entries.len(), table.revision);
    let (text, config) = document.with_table(table).checked()?;
    let expired = match config.source {
        Source::Embedded { table, .. } => table.expired(Clock::system().now()),
        Source::ControlPlane(_) => 0,
    };
    let file = args.filter.display().to_string();
    replace(&place.file, text.as_bytes()).map_err(|error| Failure::Unusable(format!("cannot write {file}: {error}")))?;
    for link in &place.links {
        link.renew().map_err(|error| {
            let (link, behind) = (link.path.display(), place.file.display());
            Failure::Unusable(format!(
                "{behind} is written, but the link {link} cannot be put there anew ({error}), so that Envoy does not notice where it \
                 watches the link: let it watch {behind}, and name that with --filter"
            ))
        })?;
    }
    let report = json!({"file": file, "revision": revision, "keys": keys, "expired": expired});
    Ok(output::print_object(&report, EXPORTED, output)?)
}

/// The filter's configuration that an Envoy file in JSON holds as text, if it holds exactly one.
pub(super) fn configuration_inside(bytes: &[u8]) -> Option<String> {
    let document = Document::read(Path::new(""), bytes).ok()?;
    document.inside.map(|_| Value::from(document.config).to_string())
}

/// The table as the API gives it.
#[derive(Deserialize)]
struct Table {
    revision: u64,
    entries: Map<String, Value>,
}

/// A JSON file that holds a filter's configuration.
#[derive(Debug)]
struct Document {
    whole: Value,
    /// The JSON pointer of Envoy's text that is the configuration; `None` if the whole file is.
    inside: Option<String>,
    config: Map<String, Value>,
}

/// Finds what to build on, and makes sure that nothing else than a former export would be lost.
fn base(args: &ExportArgs, place: &Path) -> Result<Document, Failure> {
    let file = args.filter.display();
    let former = match fs::read(place) {
        Ok(bytes) => Some(Document::read(place, &bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::Unusable(format!("cannot read {file}: {error}"))),
    };
    let former = match former {
        Some(Ok(document)) if document.config.contains_key("embedded_table") => Some(document),
        Some(_) => {
            let message = format!("{file} is there and carries no embedded_table: name another file, and this one with --from");
            return Err(Failure::Unusable(message));
        }
        None => None,
    };
    match (&args.from, former) {
        (Some(from), _) => {
            let bytes = fs::read(from);
            Document::read(from, &bytes.map_err(|error| Failure::Unusable(format!("cannot read {}: {error}", from.display())))?)
        }
        (None, Some(former)) => Ok(former),
        (None, None) => {
            let message = format!("{file} is not there yet: say with --from which configuration to take rules and all else from");
            Err(Failure::Unusable(message))
        }
    }
}

impl Document {
    fn read(file: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        let unusable = |why: String| Failure::Unusable(format!("{}: {why}", file.display()));
        let whole: Value = serde_json::from_slice(bytes).map_err(|error| {
            unusable(format!("not usable JSON, as a filter's configuration or envoy/embedded.json is: {error}"))
        })?;
        if let Some(config) = config_of(&whole) {
            return Ok(Self { inside: None, config: config.clone(), whole });
        }
        let mut found = Vec::new();
        find_texts(&whole, "", &mut found);
        match (found.pop(), found.is_empty()) {
            (Some((pointer, config)), true) => Ok(Self { inside: Some(pointer), config, whole }),
            (None, _) => {
                Err(unusable("holds no filter's configuration, neither by itself nor as text in a StringValue".to_owned()))
            }
            (Some(_), false) => {
                Err(unusable("holds several filters' configurations: put each into a file of its own".to_owned()))
            }
        }
    }

    /// The same configuration with this table instead of where its table came from.
    fn with_table(mut self, table: Table) -> Self {
        for other_source in ["proxy", "control_plane", "staleness_limit_seconds"] {
            self.config.remove(other_source);
        }
        self.config.insert("embedded_table".to_owned(), table.entries.into());
        self.config.insert("embedded_revision".to_owned(), table.revision.into());
        self
    }

    /// The file's text, and what the filter makes of it.
    fn checked(mut self) -> Result<(String, FilterConfig), Failure> {
        let config = Value::from(self.config);
        let parsed = FilterConfig::parse(config.to_string().as_bytes())
            .map_err(|error| Failure::Unusable(format!("nothing is written, because the filter could not use it: {error}")))?;
        let whole = match self.inside.as_deref().and_then(|pointer| self.whole.pointer_mut(pointer)) {
            Some(text) => {
                *text = config.to_string().into();
                self.whole
            }
            None => config,
        };
        Ok((format!("{whole:#}\n"), parsed))
    }
}

/// A filter's configuration, by the fields of which each has one.
fn config_of(value: &Value) -> Option<&Map<String, Value>> {
    value
        .as_object()
        .filter(|fields| ["control_plane", "embedded_table", "preset", "rules"].iter().any(|field| fields.contains_key(*field)))
}

/// Finds the texts of Envoy's `StringValue`s that are filters' configurations, with where they stand.
fn find_texts(value: &Value, pointer: &str, found: &mut Vec<(String, Map<String, Value>)>) {
    match value {
        Value::Object(fields) => {
            let is_text =
                fields.get("@type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("google.protobuf.StringValue"));
            let text = fields.get("value").and_then(Value::as_str).filter(|_| is_text);
            if let Some(config) = text.and_then(|text| serde_json::from_str(text).ok()) {
                found.extend(config_of(&config).map(|config| (format!("{pointer}/value"), config.clone())));
            }
            for (name, inner) in fields {
                find_texts(inner, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                find_texts(inner, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Replaces a file at once: whoever reads it sees the former or the new one whole, also after a crash.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    move_into_place(file, |beside| write_new(beside, bytes))
}

/// Makes something beside a place and moves it there, which is what Envoy watches for.
fn move_into_place(place: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let name = place.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    let folder = folder_of(place);
    let beside = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let done = make(&beside).and_then(|()| fs::rename(&beside, place));
    if done.is_err() {
        // What went wrong is told; what is left over is not worth a second message.
        let _ = fs::remove_file(&beside);
    }
    done.and_then(|()| File::open(folder)?.sync_all())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file that is meant, and the links that lead to it.
#[derive(Debug)]
struct Place {
    file: PathBuf,
    links: Vec<Link>,
}

/// A link as it was found.
#[derive(Debug)]
struct Link {
    path: PathBuf,
    to: PathBuf,
}

impl Link {
    /// Puts the same link in its place: Envoy looks for a move of the very name that it watches, and sees none where only the file moved.
    /// Whoever has put something else there meanwhile means that.
    fn renew(&self) -> io::Result<()> {
        if !fs::read_link(&self.path).is_ok_and(|to| to == self.to) {
            return Err(io::Error::other("it was changed meanwhile"));
        }
        move_into_place(&self.path, |beside| symlink(&self.to, beside))
    }
}

/// The file that is meant: where links lead to, which must be there, or the one of this name. A link stays a link: whoever reads what it
/// leads to by its own name is to see the new one, too.
fn behind_links(file: &Path) -> Result<Place, Failure> {
    let unusable = |error| Failure::Unusable(format!("cannot follow the link {}: {error}", file.display()));
    let mut links = Vec::new();
    if !file.is_symlink() {
        return Ok(Place { file: file.to_owned(), links });
    }
    // Folders may be links, too. Fails where links lead in a circle, or nowhere.
    let behind = fs::canonicalize(file).map_err(unusable)?;
    let mut path = file.to_owned();
    while path.is_symlink() {
        let to = fs::read_link(&path).map_err(unusable)?;
        let next = folder_of(&path).join(&to);
        links.push(Link { path, to });
        path = next;
    }
    Ok(Place { file: behind, links })
}

fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use keygate_decision::{Digest, EnvironmentId, Grant, Holder, KeyId};
    use keygate_wire::embedded::entry_text;

    use super::*;
    use crate::api::Scratch;

    fn read(value: &Value) -> Result<Document, Failure> {
        Document::read(Path::new("base.json"), value.to_string().as_bytes())
    }

    fn table() -> Table {
        let holder = Holder::Environment(EnvironmentId::parse("1a5").unwrap());
        let (digest, grant) = entry_text(&Digest::of("a:b"), &Grant { key: KeyId(7), holder, expires_at: None });
        Table { revision: 3, entries: Map::from_iter([(digest, grant.into())]) }
    }

    fn config() -> Value {
        json!({
            "proxy": "edge-1", "control_plane": {"cluster": "keygate"}, "staleness_limit_seconds": 60, "carriers": ["bearer"],
            "rules": [{"path": "/**", "target": "account"}]
        })
    }

    #[test]
    fn all_but_the_source_is_kept() {
        let (text, parsed) = read(&config()).unwrap().with_table(table()).checked().unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&written["carriers"], &written["rules"]), (&config()["carriers"], &config()["rules"]));
        assert!(written.get("proxy").is_none() && written.get("control_plane").is_none());
        assert!(matches!(parsed.source, Source::Embedded { revision: 3, table } if table.len() == 1));
        // What was written can be built on.
        let again = read(&written).unwrap().with_table(table()).checked().unwrap();
        assert_eq!(again.0, text);
    }

    #[test]
    fn a_configuration_inside_of_envoys_is_replaced_where_it_stands() {
        let text = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config().to_string()});
        let other = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"});
        let envoys = json!({"resources": [{"a/b~c": {"configuration": text.clone()}, "other": other}]});
        let (written, _) = read(&envoys).unwrap().with_table(table()).checked().unwrap();
        let written: Value = serde_json::from_str(&written).unwrap();
        let inside = written["resources"][0]["a/b~c"]["configuration"]["value"].as_str().unwrap();
        assert!(FilterConfig::parse(inside.as_bytes()).is_ok_and(|config| matches!(config.source, Source::Embedded { .. })));
        assert_eq!(written["resources"][0]["other"], envoys["resources"][0]["other"]);
        assert!(read(&json!({"a": text.clone(), "b": text})).unwrap_err().to_string().contains("several"));
        assert!(read(&json!({"a": 1})).unwrap_err().to_string().contains("holds no filter's configuration"));
    }

    #[test]
    fn what_a_link_leads_to_is_replaced_and_not_the_link() {
        let scratch = Scratch::new();
        let inner = scratch.path().join("inner");
        fs::create_dir_all(&inner).unwrap();
        let (file, link, further) = (inner.join("file"), inner.join("link"), scratch.path().join("link"));
        symlink("file", &link).unwrap();
        symlink("inner/link", &further).unwrap();
        assert!(behind_links(&further).is_err(), "nothing is made where a link happens to lead");
        fs::write(&file, "former").unwrap();
        let place = behind_links(&further).unwrap();
        assert_eq!(place.links.iter().map(|link| link.path.as_path()).collect::<Vec<_>>(), [further.as_path(), &link]);
        replace(&place.file, b"replaced").unwrap();
        place.links.iter().for_each(|link| link.renew().unwrap());
        let newer = scratch.path().join("newer");
        symlink("elsewhere", &newer).unwrap();
        let changed = Link { path: newer, to: "nowhere".into() };
        assert!(changed.renew().is_err() && fs::read_link(&changed.path).unwrap() == Path::new("elsewhere"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "replaced");
        assert_eq!(fs::read_to_string(&further).unwrap(), "replaced");
        assert!([&link, &further].iter().all(|link| link.is_symlink()) && !file.is_symlink());
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 2);
        let circle = scratch.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(behind_links(&circle).is_err());
        // What is put in its place meanwhile is replaced itself.
        let elsewhere = scratch.path().join("elsewhere");
        fs::write(&elsewhere, "of somebody else").unwrap();
        fs::remove_file(&file).unwrap();
        symlink(&elsewhere, &file).unwrap();
        replace(&place.file, b"again").unwrap();
        assert!(!file.is_symlink() && fs::read_to_string(&elsewhere).unwrap() == "of somebody else");
    }

    #[test]
    fn what_the_filter_could_not_use_is_not_written() {
        let mut broken = config();
        broken["rulez"] = json!([]);
        let refused = read(&broken).unwrap().with_table(table()).checked().unwrap_err().to_string();
        assert!(refused.starts_with("nothing is written") && refused.contains("rulez"), "{refused}");
    }
}
