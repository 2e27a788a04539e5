//! The audit record as a whole: every kind of management action and of refused request is in it, whichever dialect asked, and never a
//! secret.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use super::*;
use crate::push::KnownProxy;

const PASSWORDS: [&str; 4] = ["correct horse battery", "another horse battery", "wrong horse battery", "third horse battery"];

/// A control plane, and every secret that was shown or said so far.
struct Drive {
    plane: Plane,
    secrets: Vec<String>,
}

impl Drive {
    /// Sends a request as whoever has this token, as nobody if it is empty.
    async fn send(&mut self, token: &str, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.plane.client.request(method.clone(), format!("{}{path}", self.plane.url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = read(request).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        for field in ["secretKey", "token", "secretValue", "jwt"] {
            self.secrets.extend(answer.body[field].as_str().map(str::to_owned));
        }
        answer.body
    }

    async fn admin(&mut self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let admin = self.plane.admin.clone();
        self.send(&admin, method, &format!("/keygate/v1/{path}"), body, status).await
    }

    async fn rancher(&mut self, token: &str, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        self.send(token, method, &format!("/v1/{path}"), body, status).await
    }

    async fn records(&self) -> Vec<Value> {
        self.plane.admin("GET", "audit?limit=1000", None, 200).await.body["data"].as_array().unwrap().clone()
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Every action that the code can write into the record, by how its name is spelled there.
fn actions_in_the_code() -> BTreeSet<String> {
    const OBJECTS: [&str; 10] =
        ["account", "environment", "member", "key", "login", "setting", "proxy", "proxy_token", "request", "refusals"];
    let mut found = BTreeSet::new();
    let mut folders = vec![FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests" && name != "cli") {
                folders.push(path);
            } else if path.is_file() && path.file_name().is_some_and(|name| name != "tests.rs") {
                let code = std::fs::read_to_string(path).unwrap_or_default();
                let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                found.extend(code.split('"').filter(|literal| is_action(literal, &OBJECTS)).map(str::to_owned));
            }
        }
    }
    found
}

fn is_action(literal: &str, objects: &[&str]) -> bool {
    let is_verb = |verb: &str| !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    literal.split_once('.').is_some_and(|(object, verb)| objects.contains(&object) && is_verb(verb))
}

#[tokio::test]
async fn every_action_and_every_refusal_is_in_the_record_and_never_a_secret() {
    let plane = Plane::start().await;
    let mut drive = Drive { secrets: vec![plane.admin.clone()], plane };
    drive.secrets.extend(PASSWORDS.map(str::to_owned));
    let admin = drive.plane.admin.clone();

    // The native API.
    drive.admin("POST", "accounts", Some(json!({"name": "alice", "kind": "user"})), 201).await;
    drive.admin("POST", "accounts", Some(json!({"name": "gone", "kind": "user"})), 201).await;
    for (verb, status) in [("deactivate", 200), ("activate", 200)] {
        drive.admin("POST", &format!("accounts/gone/{verb}"), None, status).await;
    }
    drive.admin("POST", "environments", Some(json!({"id": "1a5", "name": "production"})), 201).await;
    drive.admin("POST", "environments", Some(json!({"id": "1a6", "name": "staging"})), 201).await;
    drive.admin("PATCH", "environments/1a6", Some(json!({"name": "testing"})), 200).await;
    drive.admin("PUT", "environments/1a5/members/alice", Some(json!({"role": "owner"})), 200).await;
    drive.admin("PUT", "environments/1a6/members/alice", Some(json!({"role": "member"})), 200).await;
    drive.admin("DELETE", "environments/1a6/members/alice", None, 204).await;
    let made = drive.admin("POST", "keys", Some(json!({"account": "alice", "name": "ci"})), 201).await;
    let (id, alice) = (text(&made, "id").to_owned(), text(&made, "token").to_owned());
    let machine = drive.admin("POST", "keys", Some(json!({"environment": "1a5", "name": "machine"})), 201).await;
    let machine_id = text(&machine, "id").to_owned();
    drive.admin("PATCH", &format!("keys/{machine_id}"), Some(json!({"description": "d"})), 200).await;
    drive.admin("POST", &format!("keys/{machine_id}/deactivate"), None, 200).await;
    drive.admin("POST", &format!("keys/{machine_id}/activate"), None, 200).await;
    drive.admin("POST", &format!("keys/{machine_id}/deactivate"), None, 200).await;
    drive.admin("DELETE", &format!("keys/{machine_id}"), None, 204).await;
    drive.admin("PUT", "accounts/alice/password", Some(json!({"password": PASSWORDS[0]})), 204).await;
    let login = json!({"name": "alice", "password": PASSWORDS[0]});
    let logged_in = drive.send("", "POST", "/keygate/v1/login", Some(login), 201).await;
    let token = text(&logged_in, "token").to_owned();
    drive.send(&token, "DELETE", "/keygate/v1/login", None, 204).await;
    drive.admin("PUT", "settings/password-min-length", Some(json!({"value": "13"})), 200).await;
    drive.admin("DELETE", "settings/password-min-length", None, 200).await;
    let known = KnownProxy { name: "edge-1".to_owned(), staleness_limit_seconds: 60 };
    drive.plane.store.proxy_register()(known).await.unwrap();
    for proxy in ["edge-1", "edge-2"] {
        let made = drive.admin("POST", &format!("proxies/{proxy}/tokens"), Some(json!({"description": "rack"})), 201).await;
        if proxy == "edge-1" {
            drive.admin("DELETE", &format!("proxy-tokens/{}", text(&made, "id")), None, 204).await;
        }
    }
    drive.plane.call(&admin, "DELETE", "proxies/edge-1", None).await;
    drive.admin("DELETE", "accounts/gone", None, 204).await;
    drive.admin("DELETE", "environments/1a6", None, 204).await;
    let native = drive.records().await.len();

    // The dialect of Rancher 1.6.
    let made = drive.rancher(&alice, "POST", "apikeys", Some(json!({"name": "dialect"})), 201).await;
    let path = format!("apikeys/{}", text(&made, "id"));
    drive.rancher(&alice, "PUT", &path, Some(json!({"description": "d"})), 200).await;
    for action in ["deactivate", "activate", "deactivate", "remove", "purge"] {
        drive.rancher(&alice, "POST", &format!("{path}/?action={action}"), None, 202).await;
    }
    let code = json!({"code": format!("alice:{}", PASSWORDS[0])});
    let logged_in = drive.rancher("", "POST", "token", Some(code), 201).await;
    drive.rancher(text(&logged_in, "jwt"), "DELETE", "token/current", None, 204).await;
    let alices = drive.rancher(&alice, "GET", "accounts", None, 200).await["data"][0]["id"].as_str().unwrap().to_owned();
    for action in ["deactivate", "activate"] {
        drive.rancher(&admin, "POST", &format!("accounts/{alices}/?action={action}"), None, 202).await;
    }
    drive.rancher(&admin, "PUT", "settings/password-min-length", Some(json!({"value": "12"})), 200).await;
    let config = json!({"accessMode": "unrestricted", "username": "root", "password": PASSWORDS[1], "enabled": true});
    drive.rancher(&admin, "POST", "localauthconfig", Some(config), 201).await;
    let records = drive.records().await;
    let of_dialect: BTreeSet<&str> = records[..records.len() - native].iter().map(|record| text(record, "action")).collect();
    let expected = [
        "account.activate",
        "account.deactivate",
        "account.set-password",
        "key.activate",
        "key.create",
        "key.deactivate",
        "key.delete",
        "key.edit",
        "key.purge",
        "login.create",
        "login.delete",
        "setting.set",
    ];
    assert_eq!(of_dialect, BTreeSet::from(expected));

    refuse(&mut drive, &id, &alice).await;

    let records = loop {
        let records = drive.records().await;
        // A login that was refused is noted after its answer.
        if records.iter().filter(|record| record["action"] == "login.refuse").count() == 2 {
            break records;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let seen: BTreeSet<String> = records.iter().map(|record| text(record, "action").to_owned()).collect();
    assert_eq!(seen, actions_in_the_code(), "every action that there is was made here");
    for record in &records {
        assert!(
            !text(record, "actor").is_empty() && !text(record, "object").is_empty() && record["time"].is_string(),
            "{record}"
        );
    }
    let said = Value::Array(records).to_string();
    drive.secrets.extend(["hush-hush".to_owned(), "kg_".to_owned(), "kgj_".to_owned(), "$argon2".to_owned()]);
    assert!(drive.secrets.len() >= 15, "few secrets were found: {}", drive.secrets.len());
    for secret in &drive.secrets {
        assert!(!said.contains(secret.as_str()), "{secret} is in the record");
    }
}

/// Is refused in every way that there is, with secrets wherever they do not belong.
async fn refuse(drive: &mut Drive, id: &str, alice: &str) {
    let admin = drive.plane.admin.clone();
    let before = drive.records().await.len();
    // What a user may not do, natively; each path holds a secret where an id should be, if it can.
    let native = [
        ("POST", "accounts", Some(json!({"name": "hush-hush", "kind": "admin"}))),
        ("POST", "accounts/hush-hush/activate", None),
        ("POST", "environments", Some(json!({"id": "hush-hush", "name": "x"}))),
        ("GET", "proxies", None),
        ("DELETE", "proxies/hush-hush", None),
        ("POST", "proxies/hush-hush/tokens", Some(json!({}))),
        ("GET", "audit", None),
        ("PUT", "settings/hush-hush", Some(json!({"value": "hush-hush"}))),
    ];
    let refused = native.len();
    for (method, path, body) in native {
        let answer = drive.plane.call(alice, method, path, body).await;
        // What a caller may not see is not there for them.
        assert!(answer.status == 403 || (answer.status == 404 && method != "GET"), "{method} {path}: {}", answer.status);
    }
    assert_eq!(drive.records().await.len(), before + refused);
    drive.plane.pass(60);

    // In the dialect, where what is for admins alone is not even there.
    let config = json!({"username": "root", "password": "hush-hush", "enabled": true});
    drive.rancher(alice, "PUT", "settings/hush-hush", Some(json!({"value": "hush-hush"})), 404).await;
    drive.rancher(alice, "POST", "localauthconfig", Some(config.clone()), 404).await;
    drive.rancher(alice, "GET", "projects/1a6/apikeys", None, 403).await;
    drive.rancher(&admin, "POST", "localauthconfig", Some(config), 401).await;
    drive.plane.call(&admin, "POST", &format!("keys/{id}/deactivate"), None).await;
    drive.send(alice, "GET", "/keygate/v1/whoami", None, 401).await;
    drive.rancher(alice, "POST", "apikeys?_method=hush-hush", None, 401).await;
    let records = drive.records().await;
    let noted = |record: &&Value| record["action"] == "request.refuse";
    assert_eq!(records[..records.len() - before - refused].iter().filter(noted).count(), 6, "{records:?}");

    // Logins: under the account that they name, and not at all where they name none.
    for code in [format!("alice:{}", PASSWORDS[2]), "hush-hush:alice".to_owned()] {
        drive.rancher("", "POST", "token", Some(json!({"code": code})), 401).await;
    }
    let login = json!({"name": "alice", "password": PASSWORDS[3]});
    drive.send("", "POST", "/keygate/v1/login", Some(login), 401).await;

    // More than are noted.
    drive.plane.pass(60);
    for _ in 0..12 {
        drive.rancher(alice, "GET", "apikeys", None, 401).await;
    }
    drive.plane.pass(60);
    drive.rancher(alice, "GET", "apikeys", None, 401).await;
}

/// What a page of another site made a browser send, what named somebody else's things in a field, and the right password while nobody
/// may log in: each with another status than most refusals.
#[tokio::test]
async fn what_is_refused_in_other_words_is_noted_too_and_is_no_use() {
    let plane = Plane::start().await;
    let (key, alice) = plane.account("alice", "user").await;
    plane.password("alice", PASSWORDS[0]).await;
    let elsewhere = ("origin", "https://elsewhere.example");
    let stored = |method: &str, path: &str, (name, value): (&str, &str), body: Value| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = plane.client.request(method, format!("{}{path}", plane.url)).header(name, value);
        read(request.bearer_auth(&alice).json(&body))
    };
    for (path, header, body, status) in [
        ("/v1/apikeys", elsewhere, json!({"name": "x"}), 403),
        ("/v3/tokens", elsewhere, json!({}), 422),
        ("/v3/tokens", ("accept", "*/*"), json!({"clusterId": "c-aaaaa"}), 422),
        ("/api/users/2/tokens", elsewhere, json!({"description": "x", "password": "x"}), 403),
    ] {
        assert_eq!(stored("POST", path, header, body).await.status, status, "{path}");
    }
    plane.store.write_uses().await.unwrap();
    let shown = plane.admin("GET", &format!("keys/{key}"), None, 200).await.body;
    assert_eq!(shown["lastUsed"], Value::Null, "a refused request is no use");
    let records = plane.admin("GET", "audit?limit=1000", None, 200).await.body;
    let refused = records["data"].as_array().unwrap().iter().filter(|record| record["action"] == "request.refuse");
    assert_eq!(refused.count(), 4, "{records}");

    plane.admin("PUT", "settings/login-enabled", Some(json!({"value": "false"})), 200).await;
    let login = json!({"name": "alice", "password": PASSWORDS[0]});
    assert_eq!(plane.call("", "POST", "login", Some(login)).await.status, 403);
    loop {
        let records = plane.admin("GET", "audit?limit=1000", None, 200).await.body;
        let found = records["data"].as_array().unwrap().iter().find(|record| record["action"] == "login.refuse").cloned();
        if let Some(record) = found {
            assert!(text(&record["detail"], "reason").starts_with("logging in is switched off"), "{record}");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
