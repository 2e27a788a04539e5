//! Logging in with the real command line, and what a login is worth at the edge.

use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use harness::{Connection, ControlPlane, Envoy, Protocol, Scratch, keygate_binary};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::edge::{Edge, INSIDE};

const PASSWORD: &str = "correct horse battery";

/// Somebody at a terminal.
pub(crate) struct Person {
    url: String,
    home: Scratch,
    /// The arguments that show a key, if there is one.
    key: Vec<String>,
}

/// The admin, who has a key.
pub(crate) fn admin(control_plane: &ControlPlane) -> Result<Person> {
    let key = control_plane.admin();
    let arguments = ["--access-key", &key.access_key, "--secret-key", &key.secret_key].map(str::to_owned).to_vec();
    Ok(Person { key: arguments, ..Person::at(control_plane)? })
}

impl Person {
    fn at(control_plane: &ControlPlane) -> Result<Self> {
        Ok(Self { url: control_plane.url(), home: Scratch::new("keygate-home")?, key: Vec::new() })
    }

    /// Runs a command and writes these lines to its standard input.
    async fn run(&self, arguments: &[&str], lines: &str) -> Result<Output> {
        let mut command = Command::new(keygate_binary()?);
        command
            .args(arguments)
            .args(&self.key)
            .env("KEYGATE_URL", &self.url)
            .env("XDG_CONFIG_HOME", self.home.path())
            .kill_on_drop(true);
        command.env_remove("KEYGATE_ACCESS_KEY").env_remove("KEYGATE_SECRET_KEY");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = process.stdin.take().context("no standard input")?;
        stdin.write_all(lines.as_bytes()).await?;
        drop(stdin);
        process.wait_with_output().await.context("running keygate")
    }

    /// Logs in as alice; the token, by which every edge decides when this returns.
    async fn token(&self) -> Result<String> {
        let arguments = ["login", "alice", "--stdin", "--wait", "20", "--output", "json"];
        let login: Value = serde_json::from_str(&self.text(&arguments, &format!("{PASSWORD}\n")).await?)?;
        Ok(login["token"].as_str().context("no token")?.to_owned())
    }

    /// Runs a command that must succeed; what it printed.
    pub(crate) async fn text(&self, arguments: &[&str], lines: &str) -> Result<String> {
        let output = self.run(arguments, lines).await?;
        ensure!(output.status.success(), "keygate {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The statuses that a token gets at the edge, as bearer and as cookie.
async fn statuses(envoy: &Envoy, token: &str) -> Result<[u16; 2]> {
    let mut connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
    let bearer = connection.get(INSIDE, &[("authorization", &format!("Bearer {token}"))]).await?.status;
    let cookie = connection.get(INSIDE, &[("cookie", &format!("token={token}"))]).await?.status;
    Ok([bearer, cookie])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_opens_the_edge_and_its_end_closes_it() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    let mut config = edge.config("edge-1")?;
    config.edit_filter(|filter| filter["carriers"] = serde_json::json!(["basic", "bearer", "cookie:token"]))?;
    edge.add(&config).await?;
    edge.add_alice().await?;
    let key = edge.control_plane.cli().create_key(&["--account", "alice", "--name", "ci"]).await?;

    let person = Person::at(&edge.control_plane)?;
    let alone = person.run(&["key", "list"], "").await?;
    assert_eq!(alone.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("keygate login"));
    // An admin gives the first password, not whoever has a key; then the password is enough.
    let with_key = ["--access-key", &key.access_key, "--secret-key", &key.secret_key];
    let first = ["account", "set-password", "alice", "--stdin"];
    let by_key = person.run(&[&first[..], &with_key].concat(), &format!("{PASSWORD}\n")).await?;
    assert!(String::from_utf8_lossy(&by_key.stderr).contains("only an admin"), "{by_key:?}");
    let said = admin(&edge.control_plane)?.text(&first, &format!("{PASSWORD}\n")).await?;
    assert!(said.contains("but not those made by Rancher 2's API"), "{said}");
    let wrong = person.run(&["login", "alice", "--stdin"], "correct horse\n").await?;
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("wrong"));

    // One that cannot be kept is ended again.
    let place = person.home.path().join("keygate");
    std::fs::write(&place, "not a folder")?;
    let unkept = person.run(&["login", "alice", "--stdin"], &format!("{PASSWORD}\n")).await?;
    assert!(!unkept.status.success() && String::from_utf8_lossy(&unkept.stderr).contains("it is ended again"), "{unkept:?}");
    assert!(edge.control_plane.cli().text(&["audit", "list", "--account", "alice"]).await?.contains("login.delete"));
    std::fs::remove_file(&place)?;

    let token = person.token().await?;
    assert_eq!(statuses(&edge.envoys[0], &token).await?, [200, 200]);
    assert!(person.text(&["key", "list"], "").await?.contains(&key.access_key));

    // A further login by people shows no token, and takes the place of the first one, which ends.
    let shown = person.text(&["login", "alice", "--stdin"], &format!("{PASSWORD}\n")).await?;
    assert!(shown.contains("EXPIRES") && !shown.contains("TOKEN"), "{shown}");
    person.text(&["logout", "--wait", "20"], "").await?;
    assert_eq!(statuses(&edge.envoys[0], &token).await?, [401, 401]);
    let after = person.run(&["key", "list"], "").await?;
    assert_eq!(after.status.code(), Some(2), "{}", String::from_utf8_lossy(&after.stderr));

    // Another password ends what there is, everywhere.
    let token = person.token().await?;
    assert_eq!(statuses(&edge.envoys[0], &token).await?, [200, 200]);
    let again = format!("another horse battery\n{PASSWORD}\n");
    let arguments = [&["account", "set-password", "alice", "--stdin", "--wait", "20"][..], &with_key].concat();
    person.text(&arguments, &again).await?;
    assert_eq!(statuses(&edge.envoys[0], &token).await?, [401, 401]);
    assert_eq!(person.run(&["login", "alice", "--stdin"], &format!("{PASSWORD}\n")).await?.status.code(), Some(1));
    let records = edge.control_plane.cli().text(&["audit", "list", "--account", "alice"]).await?;
    for action in ["account.set-password", "login.create", "login.delete", "login.refuse"] {
        assert!(records.contains(action), "{records}");
    }
    Ok(())
}
