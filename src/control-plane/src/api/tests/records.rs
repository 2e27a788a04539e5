//! Settings, and what the audit record shows of everything.

use super::*;

impl Plane {
    /// What the audit record says, oldest first: actor, action, object.
    async fn records(&self, query: &str) -> Vec<[String; 3]> {
        let mut records = self.admin("GET", &format!("audit?{query}"), None, 200).await.body["data"].as_array().unwrap().clone();
        records.reverse();
        let text = |record: &Value, field: &str| record[field].as_str().unwrap().to_owned();
        records.iter().map(|record| ["actor", "action", "object"].map(|field| text(record, field))).collect()
    }

    /// Waits for a record that nobody waited for when it was made.
    async fn record(&self, action: &str) -> Value {
        loop {
            let body = self.admin("GET", "audit", None, 200).await.body;
            if let Some(record) = body["data"].as_array().unwrap().iter().find(|record| record["action"] == action) {
                return record.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

fn actions(records: &[[String; 3]]) -> Vec<&str> {
    records.iter().map(|[_, action, _]| action.as_str()).collect()
}

#[tokio::test]
async fn settings_are_checked_hold_at_once_and_can_be_taken_back() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let path = "settings/password-min-length";
    let shown = plane.admin("GET", path, None, 200).await.body;
    assert_eq!((&shown["value"], &shown["source"]), (&json!("12"), &json!("default")));
    for (method, body) in [("GET", None), ("PUT", Some(json!({"value": "9"}))), ("DELETE", None)] {
        assert_eq!(plane.call(&alice, method, path, body).await.status, 403, "{method}");
    }
    let wrong = plane.admin("PUT", path, Some(json!({"value": "7"})), 422).await;
    assert_eq!(wrong.body["field"], "value");
    plane.admin("PUT", path, Some(json!({"value": 9})), 422).await;
    plane.admin("PUT", "settings/unknown", Some(json!({"value": "9"})), 404).await;

    let set = plane.admin("PUT", path, Some(json!({"value": "20"})), 200).await.body;
    assert_eq!((&set["value"], &set["default"], &set["source"]), (&json!("20"), &json!("12"), &json!("set")));
    let password = Some(json!({"password": "correct horse"}));
    plane.admin("PUT", "accounts/alice/password", password.clone(), 422).await;
    plane.admin("DELETE", path, None, 200).await;
    plane.admin("DELETE", path, None, 200).await;
    plane.admin("PUT", "accounts/alice/password", password, 204).await;

    plane.admin("PUT", "settings/login-ttl-minutes", Some(json!({"value": "1"})), 200).await;
    let login = plane.call("", "POST", "login", Some(json!({"name": "alice", "password": "correct horse"}))).await.body;
    assert_eq!(login["expires"], "2027-01-15T08:01:00Z");
    let all = plane.admin("GET", "settings", None, 200).await.body;
    assert_eq!(all["data"].as_array().unwrap().len(), crate::setting::ALL.len());
    let records = plane.records("").await;
    let of_settings: Vec<_> = actions(&records).into_iter().filter(|action| action.starts_with("setting")).collect();
    assert_eq!(of_settings, ["setting.set", "setting.unset", "setting.set"], "what changes nothing is not noted");
}

#[tokio::test]
async fn the_audit_record_is_read_by_time_account_and_key() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    plane.pass(60);
    let (alice_key, alice) = plane.account("alice", "user").await;
    let (_, bob) = plane.account("bob", "user").await;
    let (machine_key, _) = plane.key(json!({"environment": "1a5", "name": "m"})).await;
    let made = plane.call(&alice, "POST", "keys", Some(json!({"account": "alice", "name": "ci"}))).await.body;
    plane.admin("PUT", "accounts/alice/password", Some(json!({"password": "correct horse"})), 204).await;
    let login = plane.call("", "POST", "login", Some(json!({"name": "alice", "password": "correct horse"}))).await.body;
    let token = login["token"].as_str().unwrap();
    assert_eq!(plane.call(token, "POST", &format!("keys/{alice_key}/deactivate"), None).await.status, 200);
    assert_eq!(plane.call(token, "DELETE", "login", None).await.status, 204);
    assert_eq!(plane.call(&bob, "GET", "audit", None).await.status, 403);

    let (id, ci) = (login["id"].as_str().unwrap(), made["id"].as_str().unwrap());
    let alice_number = plane.admin("GET", "accounts/alice", None, 200).await.body["id"].as_str().unwrap().to_owned();
    let account = format!("account {alice_number}");
    let of_alice = plane.records("account=alice").await;
    assert_eq!(
        actions(&of_alice),
        ["account.create", "key.create", "key.create", "account.set-password", "login.create", "key.deactivate", "login.delete"]
    );
    assert_eq!(of_alice[2], [format!("{account} key {alice_key}"), "key.create".to_owned(), format!("key {ci}")]);
    assert_eq!(of_alice[4], [account.clone(), "login.create".to_owned(), format!("login {id}")]);
    assert_eq!(of_alice[5][0], format!("{account} login {id}"));
    assert_eq!(plane.records(&format!("account={alice_number}")).await, of_alice);
    assert_eq!(actions(&plane.records(&format!("key={alice_key}")).await), ["key.create", "key.create", "key.deactivate"]);
    assert_eq!(actions(&plane.records(&format!("key={id}")).await), ["login.create", "key.deactivate", "login.delete"]);
    assert_eq!(actions(&plane.records(&format!("key={machine_key}")).await), ["key.create"]);
    assert_eq!(
        actions(&plane.records("until=2027-01-15T08:01:00Z").await),
        ["account.create", "key.create", "environment.create"]
    );
    assert!(!actions(&plane.records("since=2027-01-15T08:01:00Z").await).contains(&"environment.create"));
    assert!(plane.records("since=2027-01-15T08:01:01Z").await.is_empty());

    let all = plane.records("").await;
    let newest = plane.admin("GET", "audit?limit=2", None, 200).await.body["data"].clone();
    let before = newest[1]["id"].as_str().unwrap();
    let next = plane.records(&format!("limit=2&before={before}")).await;
    assert_eq!(next, all[all.len() - 4..all.len() - 2]);
    for (query, field) in
        [("since=yesterday", "since"), ("limit=0", "limit"), ("limit=1001", "limit"), ("key=x", "key"), ("before=x", "before")]
    {
        assert_eq!(plane.admin("GET", &format!("audit?{query}"), None, 422).await.body["field"], field);
    }
    plane.admin("GET", "audit?account=nobody", None, 404).await;
}

#[tokio::test]
async fn what_others_did_to_an_account_and_what_its_limited_tokens_did_is_found() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    let (alice_key, alice) = plane.account("alice", "user").await;
    plane.account("bob", "user").await;
    for name in ["alice", "bob"] {
        plane.member("1a5", name, "member").await;
        plane.password(name, PASSWORD).await;
    }
    let limited = read(plane.request(&alice, "POST", "/v3/tokens").json(&json!({"clusterId": "1a5"}))).await.body;
    let made = plane.records("").await.pop().unwrap();
    let number = made[2].strip_prefix("key ").unwrap();
    assert_eq!(read(plane.request(limited["token"].as_str().unwrap(), "GET", "/v3/tokens")).await.status, 401);
    let login = plane.call("", "POST", "login", Some(json!({"name": "alice", "password": PASSWORD}))).await.body;
    plane.admin("DELETE", &format!("logins/{}", login["id"].as_str().unwrap()), None, 204).await;
    for verb in ["deactivate", "activate"] {
        plane.admin("POST", &format!("keys/{alice_key}/{verb}"), None, 200).await;
    }
    plane.admin("DELETE", "environments/1a5/members/alice", None, 204).await;

    let with_limited = plane.records(&format!("key={number}")).await;
    assert_eq!(actions(&with_limited), ["key.create", "request.refuse"]);
    assert!(with_limited[1][0].ends_with(&format!(" token {number} limited to 1a5")), "{with_limited:?}");
    assert_eq!(
        actions(&plane.records("account=alice").await),
        [
            "account.create",
            "key.create",
            "member.put",
            "account.set-password",
            "key.create",
            "request.refuse",
            "login.create",
            "login.delete",
            "key.deactivate",
            "key.activate",
            "member.remove",
        ]
    );
}

#[tokio::test]
async fn refused_requests_of_known_callers_are_noted_without_what_may_be_secret() {
    let plane = Plane::start().await;
    let (id, alice) = plane.account("alice", "user").await;
    plane.admin("PUT", "accounts/alice/password", Some(json!({"password": "correct horse"})), 204).await;
    assert_eq!(plane.call(&alice, "POST", "environments", Some(json!({"id": "1a5", "name": "hush"}))).await.status, 403);
    assert_eq!(plane.call(&alice, "POST", &format!("accounts/{}/activate", "2"), None).await.status, 403);
    assert_eq!(plane.call(&alice, "DELETE", "settings/hush-hush", None).await.status, 403);
    plane.admin("POST", &format!("keys/{id}/deactivate"), None, 200).await;
    assert_eq!(plane.call(&alice, "GET", "whoami", None).await.status, 401);
    assert_eq!(plane.call("kg_unknown", "GET", "whoami", None).await.status, 401);
    let unknown = random::key_pair().unwrap().token();
    assert_eq!(plane.call(&unknown, "GET", "whoami", None).await.status, 401);

    let records = plane.records("account=alice").await;
    let refused: Vec<_> = records.iter().filter(|[_, action, _]| action == "request.refuse").collect();
    let objects: Vec<&str> = refused.iter().map(|[_, _, object]| object.as_str()).collect();
    assert_eq!(
        objects,
        [
            "POST /keygate/v1/environments",
            "POST /keygate/v1/accounts/2/activate",
            "DELETE /keygate/v1/settings/{setting}",
            "GET /keygate/v1/whoami",
        ]
    );
    assert!(refused.iter().all(|[actor, ..]| *actor == format!("account 2 key {id}")), "{refused:?}");
    let body = plane.admin("GET", "audit", None, 200).await.body;
    assert!(!body.to_string().contains("hush"), "{body}");
    assert_eq!(body["data"].as_array().unwrap().iter().filter(|record| record["action"] == "request.refuse").count(), 4);

    // A wrong password is noted under its account; a name that is none may be a password, and is not.
    for (name, password) in [("alice", "hush-hush"), ("hush-hush", "alice")] {
        assert_eq!(plane.call("", "POST", "login", Some(json!({"name": name, "password": password}))).await.status, 401);
    }
    let record = plane.record("login.refuse").await;
    assert_eq!((&record["actor"], &record["detail"]["reason"]), (&json!("account 2"), &json!("wrong password")));
    assert!(!plane.admin("GET", "audit", None, 200).await.body.to_string().contains("hush"));

    // Many refusals of one caller do not fill the record.
    plane.admin("POST", &format!("keys/{id}/activate"), None, 200).await;
    for _ in 0..30 {
        assert_eq!(plane.call(&alice, "GET", "proxies", None).await.status, 403);
    }
    plane.pass(60);
    assert_eq!(plane.call(&alice, "GET", "proxies", None).await.status, 403);
    let count = async |action: &str| plane.records("limit=1000").await.iter().filter(|[_, own, _]| own == action).count();
    assert_eq!(count("request.refuse").await, 11);
    let omitted = plane.record("refusals.omit").await;
    assert_eq!(omitted["detail"]["count"], 24);
}

#[tokio::test]
async fn what_calls_the_api_has_been_used_unless_it_was_refused() {
    let plane = Plane::start().await;
    let (alice_key, alice) = plane.account("alice", "user").await;
    let (bob_key, bob) = plane.account("bob", "user").await;
    let (idle_key, _) = plane.key(json!({"account": "alice", "name": "idle"})).await;
    plane.pass(60);
    assert_eq!(plane.call(&alice, "GET", "keys", None).await.status, 200);
    assert_eq!(plane.call(&alice, "GET", "keys/999", None).await.status, 404);
    plane.pass(60);
    assert_eq!(plane.call(&alice, "GET", "settings", None).await.status, 403, "a refusal is no use");
    assert_eq!(plane.call(&bob, "GET", "settings", None).await.status, 403);
    let before = plane.pushed.lock().unwrap().revisions.len();
    plane.store.write_uses().await.unwrap();
    let last_used = async |key: &str| plane.admin("GET", &format!("keys/{key}"), None, 200).await.body["lastUsed"].clone();
    assert_eq!(last_used(&alice_key).await, "2027-01-15T08:01:00Z");
    assert_eq!(last_used(&bob_key).await, Value::Null);
    assert_eq!(last_used(&idle_key).await, Value::Null);

    let client = plane.client.get(format!("{}/v1/apikeys", plane.url)).bearer_auth(&bob);
    assert_eq!(client.send().await.unwrap().status().as_u16(), 200);
    plane.store.write_uses().await.unwrap();
    assert_eq!(last_used(&bob_key).await, "2027-01-15T08:02:00Z", "also by another dialect");
    assert_eq!(plane.pushed.lock().unwrap().revisions.len(), before, "proxies hear nothing of it");
    assert!(plane.records("").await.iter().all(|[actor, ..]| actor != "sync"), "a use is no action");
}

#[tokio::test]
async fn a_key_of_an_environment_says_where_that_is_once_somebody_has_said_so() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    let make = async |wish: Value| plane.admin("POST", "keys", Some(wish), 201).await.body["endpoint"].clone();
    assert_eq!(make(json!({"environment": "1a5", "name": "x"})).await, Value::Null);
    let url = json!({"value": "https://keys.example.com/v1/projects/{environment}"});
    plane.admin("PUT", "settings/environment-url", Some(url), 200).await;
    assert_eq!(make(json!({"environment": "1a5", "name": "y"})).await, "https://keys.example.com/v1/projects/1a5");
    assert_eq!(make(json!({"account": "root", "name": "z"})).await, Value::Null);
}
