//! The logins that this user has at control planes: a file for each URL, for the user's eyes alone, below `$XDG_CONFIG_HOME/keygate` or
//! `~/.config/keygate`. Never sends a token anywhere, and never gives one out for another URL than that which made it.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde_json::{Value, json};

use super::connection::SecretKey;
use super::failure::Failure;

/// The folder of the files; `None` for a user without a home.
#[derive(Debug, Clone)]
pub(super) struct Logins(Option<PathBuf>);

impl Logins {
    /// Those of the user who runs this.
    pub(super) fn of_user() -> Self {
        let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
        Self(config.map(|config| config.join("keygate")))
    }

    /// Those in a folder.
    #[cfg(test)]
    pub(super) fn below(folder: &Path) -> Self {
        Self(Some(folder.to_owned()))
    }

    /// None at all.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The token of the login at a URL, if there is one.
    pub(super) fn token(&self, url: &Url) -> Result<Option<SecretKey>, Failure> {
        let token = |login: Value| login.get("token").and_then(Value::as_str).map(|token| SecretKey::from(token.to_owned()));
        Ok(self.kept(url)?.and_then(token))
    }

    /// The login at a URL as it is kept, with its token, if there is one.
    pub(super) fn kept(&self, url: &Url) -> Result<Option<Value>, Failure> {
        let Ok(path) = self.path(url) else { return Ok(None) };
        let damaged = |why: &str| Failure::Usage(format!("{} {why}: log in again with keygate login", path.display()));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(&format!("cannot be read ({error})"))),
        };
        let open = fs::metadata(&path).map_or(true, |metadata| metadata.mode() & 0o077 != 0);
        if open {
            return Err(damaged("can be read by other users, who may have used it"));
        }
        let login: Value = serde_json::from_str(&text).map_err(|_| damaged("is damaged"))?;
        let field = |name: &str| login.get(name).and_then(Value::as_str);
        match (field("url"), field("token")) {
            // Two URLs may share a file name; a token goes to its own alone.
            (Some(own), Some(_)) if own != url.as_str() => Ok(None),
            (Some(_), Some(_)) => Ok(Some(login)),
            _ => Err(damaged("is damaged")),
        }
    }

    /// Keeps a login as the control plane gave it; where.
    pub(super) fn keep(&self, url: &Url, login: &Value) -> Result<PathBuf, Failure> {
        let path = self.path(url)?;
        let mut kept = json!({"url": url.as_str()});
        if let (Some(kept), Some(login)) = (kept.as_object_mut(), login.as_object()) {
            kept.extend(login.clone());
        }
        let written = write_private(&path, &format!("{kept:#}\n"));
        written.map_err(|error| Failure::Usage(format!("the login cannot be kept in {}: {error}", path.display())))?;
        Ok(path)
    }

    /// Forgets the login at a URL; whether there was one.
    pub(super) fn forget(&self, url: &Url) -> Result<bool, Failure> {
        let Ok(path) = self.path(url) else { return Ok(false) };
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::Usage(format!("{} cannot be removed: {error}", path.display()))),
        }
    }

    fn path(&self, url: &Url) -> Result<PathBuf, Failure> {
        let none = "there is nowhere to keep a login: set XDG_CONFIG_HOME or HOME to a folder of yours, or use a key";
        let folder = self.0.as_ref().ok_or_else(|| Failure::Usage(none.to_owned()))?;
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        let name: String = url.as_str().trim_end_matches('/').chars().map(plain).collect();
        Ok(folder.join(format!("login-{name}.json")))
    }
}

/// Replaces a file at once, for the user alone from its first byte on.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        // What it is about is already wrong; a leftover is overwritten by nobody and read by nobody.
        let _ = fs::remove_file(&temporary);
    }
    result
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::api::Scratch;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_login_is_kept_for_its_url_and_for_its_user_alone() {
        let scratch = Scratch::new();
        let logins = Logins::below(&scratch.path().join("keygate"));
        let here = url("http://127.0.0.1:8080");
        assert!(logins.token(&here).unwrap().is_none());
        let path = logins.keep(&here, &json!({"token": "hush", "account": "alice"})).unwrap();
        assert_eq!(logins.token(&here).unwrap().unwrap().expose(), "hush");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        logins.keep(&here, &json!({"token": "newer"})).unwrap();
        assert_eq!(logins.token(&here).unwrap().unwrap().expose(), "newer");
        assert!(logins.token(&url("http://127.0.0.1:8081")).unwrap().is_none());
        assert!(logins.token(&url("http://127.0.0.1_8080")).unwrap().is_none(), "of the same file name");
        assert_eq!((logins.forget(&here).unwrap(), logins.forget(&here).unwrap()), (true, false));
        assert!(logins.token(&here).unwrap().is_none());
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_damaged_is_not_used() {
        let scratch = Scratch::new();
        let logins = Logins::below(scratch.path());
        let here = url("http://127.0.0.1:8080");
        let path = logins.keep(&here, &json!({"token": "hush"})).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(logins.token(&here).is_err_and(|failure| failure.to_string().contains("keygate login")));
        logins.keep(&here, &json!({})).unwrap();
        assert!(logins.token(&here).is_err());
        assert!(Logins::none().keep(&here, &json!({})).is_err_and(|failure| failure.to_string().contains("HOME")));
    }
}
