//! The dialect of Rancher 2, as its clients speak it. This file holds what the tests share.

mod errors; // what is refused, and in which shape
mod kubeconfig; // files for kubectl
mod logins; // by password, and out
mod schemas; // what schema-driven clients need
mod settings; // Rancher's names, sources and refusals
mod tokens; // made, listed, expired, limited, deleted
mod users; // made, disabled, enabled

use keygate_decision::{Digest, Grant, Holder};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Answer, PASSWORD, Plane, START, ids, read, read_with};
use crate::rancher2::is_documented;

const LOGIN: &str = "/v3-public/localProviders/local?action=login";

/// A client of Rancher 2.
struct Client<'p> {
    plane: &'p Plane,
    token: String,
}

impl Plane {
    /// A client with a token, a key's or a login's; without any if it is empty.
    fn rancher2(&self, token: &str) -> Client<'_> {
        Client { plane: self, token: token.to_owned() }
    }

    /// A user with a password; the key of whom is a client's.
    async fn user(&self, name: &str) -> Client<'_> {
        let (_, key) = self.account(name, "user").await;
        self.password(name, PASSWORD).await;
        self.rancher2(&key)
    }

    /// The grant that proxies have of a token as it is presented.
    fn grant_of(&self, token: &str) -> Option<Grant> {
        self.pushed.lock().unwrap().table.get(&Digest::of(token)).cloned()
    }

    /// Logs in; the answer.
    async fn log_in(&self, body: Value, status: u16) -> Answer {
        self.rancher2("").answer("POST", LOGIN, Some(body), status).await
    }
}

impl Client<'_> {
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.plane.request(&self.token, method, path)
    }

    /// Sends a request and expects this status, and that it is one that the API's table has.
    async fn answer(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Answer {
        let answer = read_with(self.request(method, path), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(is_documented(method, path, status), "{method} {path}: {status} is not in the table");
        let schemas = answer.headers["x-api-schemas"].to_str().unwrap();
        assert!(schemas.starts_with(&self.plane.url) && schemas.ends_with("/schemas"), "{schemas}");
        assert_eq!(status == 405, answer.headers.contains_key("allow"), "{method} {path}");
        if status >= 400 && answer.body["status"] != "401" {
            let (error, number) = (json!("error"), json!(status));
            assert_eq!((&answer.body["type"], &answer.body["baseType"]), (&error, &error), "{method} {path}");
            assert_eq!(answer.body["status"], number, "{method} {path}");
            assert!(answer.body["code"].is_string() && answer.body["message"].is_string(), "{}", answer.body);
        }
        answer
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        self.answer(method, path, body, status).await.body
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, None, 200).await
    }

    /// The code of a refusal.
    async fn refused(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> String {
        self.send(method, path, body, status).await["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Makes a token; its id and how it is presented.
    async fn make(&self, wish: Value) -> (String, String) {
        let made = self.send("POST", "/v3/tokens", Some(wish), 201).await;
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    async fn ids(&self, path: &str) -> Vec<String> {
        ids(&self.get(path).await)
    }

    /// Whether the token passes at the control plane.
    async fn passes(&self) -> bool {
        read(self.request("GET", "/v3/tokens")).await.status == 200
    }
}

/// The account of a grant, and whether it is limited.
fn holder(grant: &Grant) -> (u64, bool) {
    match &grant.holder {
        Holder::Account { account, limited, .. } => (account.0, *limited),
        Holder::Environment(_) => panic!("{grant:?}"),
    }
}
