//! The dialect of Rancher 1.6, as its clients speak it. This file holds what the tests share.

mod callers; // who asks, and for which project
mod input; // what is refused, and that nothing came of it
mod keys; // of accounts and of environments
mod lists; // filtered, sorted, paged, and what schema-driven clients need
mod logins; // by password, and out
mod people; // accounts, passwords and members
mod settings; // Rancher's names, and whether people log in

use super::*;

/// A client of Rancher.
struct Client<'p> {
    plane: &'p Plane,
    token: String,
}

impl Plane {
    /// A client with a key's token or a login's.
    fn rancher(&self, token: &str) -> Client<'_> {
        Client { plane: self, token: token.to_owned() }
    }

    /// An environment `1a5` with an owner, a member and a key of its own: their tokens.
    async fn staffed(&self) -> [String; 3] {
        let (_, olga) = self.account("olga", "user").await;
        let (_, mark) = self.account("mark", "user").await;
        self.environment("1a5").await;
        self.member("1a5", "olga", "owner").await;
        self.member("1a5", "mark", "member").await;
        let (_, machine) = self.key(json!({"environment": "1a5", "name": "m"})).await;
        [olga, mark, machine]
    }

    /// Logs in with [`PASSWORD`]; a client with the login's token.
    async fn rancher_login(&self, name: &str) -> Client<'_> {
        let code = json!({"code": format!("{name}:{PASSWORD}")});
        let made = self.rancher("").send("POST", "/v1/token", Some(code), 201).await;
        self.rancher(made["jwt"].as_str().unwrap())
    }
}

impl Client<'_> {
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.plane.request(&self.token, method, path)
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let answer = read_with(self.request(method, path), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        if status >= 400 {
            assert_eq!((&answer.body["type"], &answer.body["status"]), (&json!("error"), &json!(status)), "{method} {path}");
            assert!(answer.body["code"].is_string() && answer.body["id"].is_string(), "{}", answer.body);
        }
        assert!(answer.headers.contains_key("x-api-schemas"), "{method} {path}");
        answer.body
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, None, 200).await
    }

    async fn ids(&self, path: &str) -> Vec<String> {
        ids(&self.get(path).await)
    }
}
