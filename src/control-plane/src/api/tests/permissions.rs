//! The rules of `permission.rs` as a caller meets them, and how a caller is recognized.

use super::*;

/// Statuses for: admin, owner, member, readonly member, a user who is no member, a key of the environment, a key of another one.
type Statuses = [u16; 7];

struct Cast {
    plane: Plane,
    tokens: [String; 7],
}

async fn cast() -> Cast {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    plane.environment("1a6").await;
    let mut tokens = vec![plane.admin.clone()];
    for (name, role) in [("olga", Some("owner")), ("mia", Some("member")), ("rita", Some("readonly")), ("ulf", None)] {
        tokens.push(plane.account(name, "user").await.1);
        if let Some(role) = role {
            plane.member("1a5", name, role).await;
        }
    }
    for environment in ["1a5", "1a6"] {
        tokens.push(plane.key(json!({"environment": environment, "name": "machine"})).await.1);
    }
    Cast { plane, tokens: tokens.try_into().unwrap() }
}

impl Cast {
    async fn expect(&self, method: &str, path: &str, body: Option<Value>, statuses: Statuses) {
        for (token, status) in self.tokens.iter().zip(statuses) {
            let answer = self.plane.call(token, method, path, body.clone()).await;
            assert_eq!(answer.status, status, "{method} {path} by {}: {}", self.name(token).await, answer.body);
        }
        assert_eq!(self.plane.call("", method, path, body).await.status, 401, "{method} {path}");
    }

    async fn name(&self, token: &str) -> String {
        self.plane.call(token, "GET", "whoami", None).await.body.to_string()
    }

    async fn count(&self, path: &str) -> Vec<usize> {
        let mut counts = Vec::new();
        for token in &self.tokens {
            counts.push(self.plane.call(token, "GET", path, None).await.body["data"].as_array().map_or(0, Vec::len));
        }
        counts
    }
}

#[tokio::test]
async fn everyone_reads_what_is_theirs_and_nothing_else() {
    let cast = cast().await;
    cast.expect("GET", "whoami", None, [200; 7]).await;
    cast.expect("GET", "accounts/olga", None, [200, 200, 404, 404, 404, 404, 404]).await;
    cast.expect("GET", "environments/1a5", None, [200, 200, 200, 200, 404, 200, 404]).await;
    cast.expect("GET", "environments/1a5/members", None, [200, 200, 200, 200, 404, 200, 404]).await;
    cast.expect("GET", "keys?environment=1a5", None, [200, 200, 403, 403, 404, 403, 404]).await;
    cast.expect("GET", "keys?account=olga", None, [200, 200, 404, 404, 404, 404, 404]).await;
    cast.expect("GET", "proxies", None, [200, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("GET", "proxy-tokens", None, [200, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("GET", "proxies/edge-1/tokens", None, [200, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("GET", "table", None, [200, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("GET", "proxies/edge-1", None, [404, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("GET", "revisions/1", None, [200, 200, 200, 200, 200, 403, 403]).await;
    assert_eq!(cast.count("accounts").await, [5, 1, 1, 1, 1, 0, 0]);
    assert_eq!(cast.count("environments").await, [2, 1, 1, 1, 0, 1, 1]);
    // The admin's own, four users', two environments'; an owner sees the keys of the environment.
    assert_eq!(cast.count("keys").await, [7, 2, 1, 1, 1, 0, 0]);
    let role = cast.plane.call(&cast.tokens[3], "GET", "environments/1a5", None).await.body["role"].clone();
    assert_eq!(role, "readonly");
}

#[tokio::test]
async fn nobody_changes_what_is_not_theirs() {
    let cast = cast().await;
    let name = Some(json!({"name": "other"}));
    cast.expect("POST", "accounts/mia/activate", None, [200, 404, 403, 404, 404, 404, 404]).await;
    cast.expect("POST", "environments", Some(json!({"id": "1A5", "name": "x"})), [409, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("PATCH", "environments/1a5", name.clone(), [200, 200, 403, 403, 404, 403, 404]).await;
    cast.expect("PUT", "environments/1a5/members/mia", Some(json!({"role": "member"})), [200, 200, 403, 403, 404, 403, 404])
        .await;
    cast.expect("DELETE", "environments/1a5/members/ulf", None, [404, 404, 403, 403, 404, 403, 404]).await;
    let wish = Some(json!({"environment": "1a5", "name": "k"}));
    cast.expect("POST", "keys", wish, [201, 201, 403, 403, 404, 403, 404]).await;
    let wish = Some(json!({"account": "mia", "name": "k"}));
    cast.expect("POST", "keys", wish, [201, 404, 201, 404, 404, 404, 404]).await;
    cast.expect("POST", "proxies/edge-9/tokens", Some(json!({})), [201, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("DELETE", "proxy-tokens/1", None, [204, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("DELETE", "proxies/edge-1", None, [404, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("DELETE", "proxies/edge-1/former", None, [404, 403, 403, 403, 403, 403, 403]).await;

    let (account_key, _) = cast.plane.key(json!({"account": "mia", "name": "k"})).await;
    cast.expect("GET", &format!("keys/{account_key}"), None, [200, 404, 200, 404, 404, 404, 404]).await;
    cast.expect("GET", &format!("keys/{account_key}/grant"), None, [200, 404, 200, 404, 404, 404, 404]).await;
    cast.expect("PATCH", &format!("keys/{account_key}"), name.clone(), [200, 404, 200, 404, 404, 404, 404]).await;
    let (environment_key, _) = cast.plane.key(json!({"environment": "1a5", "name": "k"})).await;
    let path = format!("keys/{environment_key}");
    cast.expect("GET", &path, None, [200, 200, 404, 404, 404, 404, 404]).await;
    cast.expect("GET", &format!("{path}/grant"), None, [200, 200, 404, 404, 404, 404, 404]).await;
    cast.expect("PATCH", &path, name, [200, 200, 404, 404, 404, 404, 404]).await;
    cast.expect("POST", &format!("{path}/deactivate"), None, [200, 200, 404, 404, 404, 404, 404]).await;
    cast.expect("DELETE", &path, None, [204, 404, 404, 404, 404, 404, 404]).await;
    cast.expect("POST", "accounts", Some(json!({"name": "MIA", "kind": "user"})), [409, 403, 403, 403, 403, 403, 403]).await;
    cast.expect("DELETE", "accounts/mia", None, [204, 404, 401, 404, 404, 404, 404]).await;
    cast.expect("DELETE", "environments/1a5", None, [204, 404, 401, 404, 404, 401, 404]).await;
}

#[tokio::test]
async fn a_caller_is_recognized_in_every_spelling_and_in_no_mixture() {
    let plane = Plane::start().await;
    let pair = keygate_decision::key::KeyPair::parse_token(&plane.admin).unwrap();
    let (access, secret) = (pair.access.as_str().to_owned(), pair.secret.expose().to_owned());
    let request = || plane.client.get(format!("{}/keygate/v1/whoami", plane.url));
    for spelled in [
        request().basic_auth(&access, Some(&secret)),
        request().bearer_auth(pair.canonical()),
        request().header("x-api-key", plane.admin.as_str()),
        request().header("x-api-key", plane.admin.as_str()).basic_auth(&access, Some(&secret)),
    ] {
        let answer = read(spelled).await;
        assert_eq!((answer.status, &answer.body["account"], &answer.body["kind"]), (200, &json!("root"), &json!("admin")));
    }
    let other = plane.account("alice", "user").await.1;
    for (refused, status) in [
        (request(), 401),
        (request().bearer_auth("kg_nonsense"), 401),
        (request().basic_auth(&access, Some("wrong")), 401),
        (request().header("x-api-key", plane.admin.as_str()).header("x-api-key", plane.admin.as_str()), 401),
        (request().header("x-api-key", plane.admin.as_str()).bearer_auth(&other), 400),
    ] {
        let answer = read(refused).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
        assert!(answer.body["code"].is_string() && answer.body["message"].is_string(), "{}", answer.body);
    }
    let quiet = read(request().header("x-api-no-challenge", "true")).await;
    assert!(quiet.status == 401 && !quiet.headers.contains_key("www-authenticate"));
}
