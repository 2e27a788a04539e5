//! The dialect of Rancher 1.6, as its clients speak it.

use reqwest::RequestBuilder;

use super::*;

pub(super) const PASSWORD: &str = "correct horse battery";

/// A client of Rancher.
pub(super) struct Client<'p> {
    plane: &'p Plane,
    token: String,
}

impl Plane {
    /// A client with a key's token or a login's.
    pub(super) fn rancher(&self, token: &str) -> Client<'_> {
        Client { plane: self, token: token.to_owned() }
    }
}

impl Client<'_> {
    pub(super) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.plane.client.request(method, format!("{}{path}", self.plane.url));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let request = self.request(method, path);
        let answer = read(match body {
            Some(body) => request.json(&body),
            None => request,
        });
        let answer = answer.await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        if status >= 400 {
            assert_eq!((&answer.body["type"], &answer.body["status"]), (&json!("error"), &json!(status)), "{method} {path}");
            assert!(answer.body["code"].is_string() && answer.body["id"].is_string(), "{}", answer.body);
        }
        assert!(answer.headers.contains_key("x-api-schemas"), "{method} {path}");
        answer.body
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.send("GET", path, None, 200).await
    }

    pub(super) async fn ids(&self, path: &str) -> Vec<String> {
        let collection = self.get(path).await;
        assert_eq!(collection["type"], "collection");
        collection["data"].as_array().unwrap().iter().map(|thing| thing["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_query_has_bounds_and_nothing_of_a_method_gets_into_the_record() {
    let plane = Plane::start().await;
    let (key, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    let filters = |number: usize| format!("/v1/apikeys?{}", vec!["id_ne=x"; number].join("&"));
    client.get(&filters(64)).await;
    for path in [filters(65), format!("/v1/apikeys?name={}", "x".repeat(8192)), format!("{}&_method=GET", filters(65))] {
        let refused = client.send(if path.contains("_method") { "POST" } else { "GET" }, &path, None, 400).await;
        assert_eq!(refused["code"], "QueryTooLong");
    }
    plane.admin("POST", &format!("keys/{key}/deactivate"), None, 200).await;
    client.send("POST", "/v1/apikeys?_method=hunter2", None, 401).await;
    client.send("HUNTER2", "/v1/apikeys", None, 401).await;
    let record = plane.admin("GET", "audit", None, 200).await.body;
    let said = record["data"].as_array().unwrap().iter().filter(|one| one["action"] == "request.refuse");
    let said: Vec<_> = said.map(|one| one["object"].as_str().unwrap()).collect();
    assert_eq!(said, ["OTHER rancher-1.6 ApiKey", "OTHER rancher-1.6 ApiKey"]);
}

#[tokio::test]
async fn a_key_lives_as_in_rancher() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    let wish =
        json!({"name": "ci", "description": "builds", "accountId": "1a1", "state": "inactive", "unheard": [1], "kind": "x"});
    let made = client.send("POST", "/v1/apikeys", Some(wish), 201).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let account = client.get("/v1/accounts").await["data"][0]["id"].clone();
    for (field, value) in [
        ("type", json!("apiKey")),
        ("kind", json!("apiKey")),
        ("state", json!("registering")),
        ("transitioning", json!("yes")),
        ("accountId", account),
        ("name", json!("ci")),
        ("description", json!("builds")),
        ("created", json!("2027-01-15T08:00:00Z")),
        ("createdTS", json!(START * 1000)),
        ("removed", Value::Null),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let own = format!("{}/v1/apikeys/{id}", plane.url);
    assert_eq!(
        (&made["links"]["self"], &made["actions"]["deactivate"]),
        (&json!(own), &json!(format!("{own}/?action=deactivate")))
    );
    let (access, secret) = (made["publicValue"].as_str().unwrap(), made["secretValue"].as_str().unwrap());
    let whoami = plane.client.get(format!("{}/keygate/v1/whoami", plane.url)).basic_auth(access, Some(secret));
    assert_eq!(read(whoami.try_clone().unwrap()).await.status, 200);

    let path = format!("/v1/apikeys/{id}");
    let shown = client.get(&path).await;
    assert_eq!((&shown["state"], &shown["secretValue"], &shown["uuid"]), (&json!("active"), &Value::Null, &made["uuid"]));
    let edited = client.send("PUT", &path, Some(json!({"description": "", "publicValue": "x"})), 200).await;
    assert_eq!(
        (&edited["name"], &edited["description"], &edited["publicValue"]),
        (&json!("ci"), &Value::Null, &made["publicValue"])
    );
    assert_eq!(edited["state"], "updating-active");

    // Only an inactive one is deleted.
    assert_eq!(client.send("DELETE", &path, None, 405).await["code"], "Method not allowed");
    assert_eq!(client.send("POST", &format!("{path}/?action=remove"), None, 422).await["code"], "ActionNotAvailable");
    assert_eq!(client.send("POST", &format!("{path}/?action=explode"), None, 422).await["code"], "InvalidAction");
    let off = client.send("POST", &format!("{path}/?action=deactivate"), None, 202).await;
    assert_eq!((&off["state"], &off["transitioning"], &off["actions"]), (&json!("deactivating"), &json!("yes"), &json!({})));
    assert_eq!(read(whoami.try_clone().unwrap()).await.status, 401);
    let shown = client.get(&path).await;
    let actions: Vec<&str> = shown["actions"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((&shown["state"], actions), (&json!("inactive"), vec!["activate", "remove"]));
    assert_eq!(client.send("POST", &format!("{path}?action=activate"), None, 202).await["state"], "activating");
    assert_eq!(read(whoami).await.status, 200);
    client.send("POST", &format!("{path}?action=deactivate"), None, 202).await;

    assert_eq!(client.send("DELETE", &path, None, 200).await["state"], "removing");
    assert!(!client.ids("/v1/apikeys").await.contains(&id));
    assert!(client.ids("/v1/apikeys?_removed=true").await.contains(&id));
    assert!(client.ids("/v1/apikeys?state=removed").await.contains(&id));
    let shown = client.get(&path).await;
    assert_eq!((&shown["state"], &shown["removed"]), (&json!("removed"), &json!("2027-01-15T08:00:00Z")));
    assert_eq!(client.send("POST", &format!("{path}?action=activate"), None, 422).await["code"], "ActionNotAvailable");
    client.send("PUT", &path, Some(json!({"name": "x"})), 405).await;
    assert_eq!(client.send("POST", &format!("{path}?action=purge"), None, 202).await["state"], "purging");
    client.send("GET", &path, None, 404).await;
    assert!(!client.ids("/v1/apikeys?_removed").await.contains(&id));
}

#[tokio::test]
async fn keys_of_an_environment_are_made_and_seen_in_its_project() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    plane.environment("1a6").await;
    let (_, olga) = plane.account("olga", "user").await;
    let (_, ulf) = plane.account("ulf", "user").await;
    plane.member("1a5", "olga", "owner").await;
    let client = plane.rancher(&olga);
    let made = client.send("POST", "/v2-beta/projects/1a5/apikeys", Some(json!({"name": "robots"})), 201).await;
    assert_eq!(made["accountId"], "1a5");
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["links"]["self"], format!("{}/v2-beta/projects/1a5/apikeys/{id}", plane.url));
    assert_eq!(client.ids("/v1/projects/1a5/apiKeys").await, [id]);
    let header = read(client.request("GET", "/v1/apikeys").header("X-API-Project-Id", "1a5")).await;
    assert_eq!(header.body["data"][0]["id"], *id, "the environment may be named in a header");
    assert_eq!(client.ids("/v1/apikeys?projectId=1a5").await, [id]);
    assert_eq!(client.ids("/v1/apikeys").await.len(), 1, "an account's own list has only the account's own");
    assert_eq!(client.get(&format!("/v1/projects/1a5/apikeys/{id}/account")).await["type"], "project");
    assert_eq!(client.get("/v1/projects/1a5/projectmembers").await["data"][0]["name"], "olga");
    assert_eq!(client.ids("/v1/projects?name=1a5").await, ["1a5"]);
    let project = client.get("/v1/project/1a5").await;
    assert_eq!(project["links"]["apiKeys"], format!("{}/v1/projects/1a5/apikeys", plane.url));

    for outside in
        ["/v1/projects/1a6/apikeys", "/v1/projects/1a9/apikeys", "/v1/projects/.../apikeys", "/v1/apikeys?projectId=1a6"]
    {
        assert_eq!(client.send("GET", outside, None, 403).await["code"], "Forbidden", "{outside}");
        client.send("POST", outside, Some(json!({"name": "x"})), 403).await;
    }
    client.send("GET", "/v1/projects/1a6", None, 404).await;
    let stranger = plane.rancher(&ulf);
    stranger.send("GET", "/v1/projects/1a5/apikeys", None, 403).await;
    stranger.send("GET", &format!("/v1/apikeys/{id}"), None, 404).await;
    stranger.send("POST", &format!("/v1/apikeys/{id}?action=deactivate"), None, 404).await;
    let admin = plane.rancher(&plane.admin);
    let made = admin.send("POST", "/v1/apikeys", Some(json!({"name": "x", "accountId": "1a6"})), 201).await;
    assert_eq!(made["accountId"], "1a6");
    assert_eq!(admin.ids("/v1/apikeys").await.len(), 5, "an admin sees all");
    let id = made["id"].as_str().unwrap();
    admin.send("GET", &format!("/v1/projects/1a5/apikeys/{id}"), None, 404).await;
    plane.admin("POST", "environments", Some(json!({"id": "1A1000001", "name": "x"})), 409).await;
}

#[tokio::test]
async fn a_password_opens_a_token_and_its_end_is_final() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    let path = "accounts/alice/password";
    plane.admin("PUT", path, Some(json!({"password": PASSWORD})), 204).await;
    let nobody = plane.rancher("");
    let before = nobody.get("/v1/token").await;
    assert_eq!((&before["data"][0]["authProvider"], &before["data"][0]["user"]), (&json!("localAuthConfig"), &Value::Null));
    assert_eq!((&before["data"][0]["security"], &before["data"][0]["enabled"]), (&json!(true), &json!(true)));

    let form = nobody.request("POST", "/v2-beta/token").header("content-type", "application/x-www-form-urlencoded");
    let form = form.body(format!("code=alice%3A{}", PASSWORD.replace(' ', "+")));
    let made = read(form).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((&made.body["user"], &made.body["userType"]), (&json!("alice"), &json!("user")));
    assert_eq!(made.body["userIdentity"]["id"], format!("rancher_id:{}", made.body["accountId"].as_str().unwrap()));
    let jwt = made.body["jwt"].as_str().unwrap();

    let client = plane.rancher(jwt);
    assert_eq!(client.get("/v1/token").await["data"][0]["jwt"], jwt);
    let cookie = |method: &str, path: &str| nobody.request(method, path).header("cookie", format!("token={jwt}"));
    assert_eq!(read(cookie("GET", "/v1/projects")).await.status, 200);
    assert_eq!(client.get("/v1/identities").await["data"][0]["name"], "alice");
    assert!(client.get("/v1/identities?name=root").await["data"].as_array().unwrap().is_empty());
    let own = client.get("/v1/identities?name=alice").await["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("/v1/identities/{own}")).await["login"], "alice");
    let browser = cookie("POST", "/v1/apikeys").header("user-agent", "Mozilla/5.0");
    assert_eq!(read(browser).await.body["code"], "InvalidCSRFToken");

    let gone = read(cookie("DELETE", "/v1/token/current")).await;
    assert_eq!(gone.status, 204);
    assert!(gone.headers["set-cookie"].to_str().unwrap().starts_with("token=;"));
    client.send("GET", "/v1/apikeys", None, 401).await;
    assert_eq!(client.get("/v1/token").await["data"][0]["user"], Value::Null);
    assert_eq!(nobody.send("DELETE", "/v1/token/current", None, 500).await["code"], "JWTNotProvided");
    for (body, status, code) in [
        (json!({"code": "alice:wrong"}), 401, "Unauthorized"),
        (json!({"code": "nobody:wrong"}), 401, "Unauthorized"),
        (json!({"code": "alice"}), 403, "Forbidden"),
        (json!({"code": null}), 400, "codeInvalid"),
        (json!({"code": 7}), 422, "InvalidFormat"),
        (json!({}), 422, "MissingRequired"),
    ] {
        assert_eq!(nobody.send("POST", "/v1/token", Some(body.clone()), status).await["code"], code, "{body}");
    }
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    for name in ["b-two", "a-one", "c-three"] {
        client.send("POST", "/v1/apikey", Some(json!({"name": name})), 201).await;
    }
    let names = async |query: &str| {
        let body = client.get(&format!("/v1/apikeys?{query}")).await;
        body["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("name=a-one").await, ["a-one"]);
    assert_eq!(names("name_prefix=b").await, ["b-two"]);
    assert_eq!(names("name_like=%25t%25&name_ne=test").await, ["b-two", "c-three"]);
    assert_eq!(names("sort=name&order=desc").await, ["test", "c-three", "b-two", "a-one"]);
    assert_eq!(names("state=inactive").await, Vec::<String>::new());
    assert_eq!(names("unheard=of").await.len(), 4, "what no key has is no filter");
    let first = client.get("/v1/apikeys?limit=3").await;
    let page = &first["pagination"];
    assert_eq!((&first["data"][0]["name"], &page["total"], &page["partial"]), (&json!("test"), &json!(4), &json!(true)));
    let next = client.get(page["next"].as_str().unwrap().strip_prefix(&plane.url).unwrap()).await;
    assert_eq!((next["data"].as_array().unwrap().len(), &next["data"][0]["name"]), (1, &json!("c-three")));
    assert_eq!(next["pagination"]["previous"], page["first"].as_str().unwrap());
    assert_eq!(client.get("/v1/apikeys?marker=9").await["data"], json!([]));
    let first = client.get("/v1/apikeys?limit=3&sort=name").await;
    assert_eq!((&first["pagination"]["partial"], &first["data"][0]["name"]), (&json!(true), &json!("a-one")));
    let next = first["pagination"]["next"].as_str().unwrap().strip_prefix(&plane.url).unwrap();
    let second = client.get(next).await;
    assert_eq!((second["data"].as_array().unwrap().len(), &second["pagination"]["next"]), (1, &Value::Null));
    assert_eq!(client.get("/v1/apikeys").await["pagination"], Value::Null);
    client.send("GET", "/v1/apikeys?limit=x", None, 422).await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_ranchers_own_shape() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    let nobody = read(plane.rancher("").request("GET", "/v1/apikeys")).await;
    assert_eq!(
        (nobody.status, &nobody.body["code"], &nobody.body["message"]),
        (401, &json!("Unauthorized"), &json!("Unauthorized"))
    );
    let asks = r#"Basic realm="Enter API access key and secret key as username and password""#;
    assert_eq!(nobody.headers["www-authenticate"], asks);
    let quiet = read(plane.rancher("").request("GET", "/v1/apikeys").header("x-api-no-challenge", "true")).await;
    assert!(!quiet.headers.contains_key("www-authenticate"));

    let post = |body: &'static str| client.request("POST", "/v1/apikeys").body(body);
    for (body, status, code) in [
        ("{", 400, "InvalidBodyContent"),
        ("[]", 400, "InvalidBodyContent"),
        (r#"{"name": 7}"#, 422, "InvalidFormat"),
        (r#"{"name": "a\u0000"}"#, 422, "InvalidFormat"),
    ] {
        let answer = read(post(body)).await;
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{body}: {}", answer.body);
    }
    let long = json!({"name": "x".repeat(129)});
    let answer = client.send("POST", "/v1/apikeys", Some(long), 422).await;
    assert_eq!((&answer["fieldName"], &answer["message"]), (&json!("name"), &Value::Null));
    assert_eq!(read(client.request("POST", "/v1/apikeys").body(vec![b'{', 0xff])).await.status, 400);
    assert_eq!(read(post("")).await.status, 201, "a key needs no name");
    // As curl -d sends it, and JSON over the query.
    let curl = client.request("POST", "/v1/apikeys?name=query&description=query");
    let curl = curl.header("content-type", "application/x-www-form-urlencoded").body(r#"{"name": "body"}"#);
    let made = read(curl).await.body;
    assert_eq!((&made["name"], &made["description"]), (&json!("body"), &json!("query")));
    for path in ["/v1/unheard", "/v1/apikeys/1c999", "/v1/apikeys/7", "/v1/apikeys/1c1/x/y", "/v1/accounts/1a1000001", "/v1/%ff"]
    {
        client.send("GET", path, None, 404).await;
    }
    for (method, path) in
        [("PUT", "/v1/apikeys"), ("POST", "/v1/accounts"), ("DELETE", "/v1/projects"), ("POST", "/v1/identities")]
    {
        client.send(method, path, None, 405).await;
    }
    assert_eq!(client.send("POST", "/v1/token?code=x", None, 403).await["code"], "Forbidden");
}

#[tokio::test]
async fn schemas_say_what_each_caller_may_write() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    let answer = read(client.request("GET", "/v1")).await;
    assert_eq!(answer.headers["x-api-schemas"], format!("{}/v1/schemas", plane.url));
    let schemas = client.get("/v1/schemas").await;
    let key = schemas["data"].as_array().unwrap().iter().find(|schema| schema["id"] == "apiKey").unwrap().clone();
    assert_eq!(key["links"]["collection"], format!("{}/v1/apikeys", plane.url));
    assert_eq!(key["collectionMethods"], json!(["GET", "POST"]));
    assert_eq!(key["resourceFields"]["name"]["update"], true);
    assert_eq!(key["resourceFields"]["accountId"]["create"], false);
    let admin = plane.rancher(&plane.admin).get("/v1/schemas/apikey").await;
    assert_eq!(admin["resourceFields"]["accountId"]["create"], true);
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "member").await;
    let scoped = client.get("/v1/projects/1a5/schemas/apiKey").await;
    assert_eq!(scoped["links"]["collection"], format!("{}/v1/projects/1a5/apikeys", plane.url));
}

#[tokio::test]
async fn accounts_are_switched_by_admins_alone() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let (admin, client) = (plane.rancher(&plane.admin), plane.rancher(&alice));
    assert_eq!(admin.get("/v1/accounts?kind=admin").await["data"].as_array().unwrap().len(), 1);
    let id = client.ids("/v1/accounts").await.remove(0);
    assert_eq!(client.get(&format!("/v1/accounts/{id}")).await["actions"], json!({}));
    client.send("POST", &format!("/v1/accounts/{id}?action=deactivate"), None, 422).await;
    let off = admin.send("POST", &format!("/v1/accounts/{id}?action=deactivate"), None, 202).await;
    assert_eq!(off["state"], "deactivating");
    client.send("GET", "/v1/accounts", None, 401).await;
    admin.send("POST", &format!("/v1/accounts/{id}?action=activate"), None, 202).await;
    client.get("/v1/accounts").await;
    let root = admin.ids("/v1/accounts?kind=admin").await.remove(0);
    assert_eq!(
        admin.send("POST", &format!("/v1/accounts/{root}?action=deactivate"), None, 405).await["code"],
        "Method not allowed"
    );
    let records = plane.admin("GET", "audit", None, 200).await.body;
    let refused = records["data"].as_array().unwrap().iter().find(|record| record["action"] == "request.refuse").unwrap();
    assert_eq!(refused["object"], "GET rancher-1.6 Account");
}

#[tokio::test]
async fn local_login_is_tried_before_it_is_switched_on_and_nothing_passes_without_a_credential() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    plane.admin("PUT", "accounts/alice/password", Some(json!({"password": PASSWORD})), 204).await;
    let (admin, user, nobody) = (plane.rancher(&plane.admin), plane.rancher(&alice), plane.rancher(""));
    for method in ["GET", "POST"] {
        user.send(method, "/v1/localauthconfig", None, 404).await;
        nobody.send(method, "/v1/localauthconfig", None, 401).await;
    }
    let config = |password: &str, enabled: Value| json!({"type": "localAuthConfig", "accessMode": "required", "username": "root", "password": password, "enabled": enabled});
    let weak = admin.send("POST", "/v1/localauthconfig", Some(config("short", json!(false))), 422).await;
    assert_eq!(weak["fieldName"], "password");
    let saved = admin.send("POST", "/v1/localauthconfig", Some(config("another horse battery", json!(false))), 201).await;
    assert_eq!((&saved["enabled"], &saved["accessMode"], &saved["password"]), (&json!(false), &json!("required"), &Value::Null));
    let wrong = admin.send("POST", "/v1/localauthconfig", Some(config("wrong horse battery", json!(true))), 401).await;
    assert_eq!(wrong["code"], "IncorrectPassword");
    let record = plane.admin("GET", "audit?limit=1", None, 200).await.body;
    assert_eq!(record["data"][0]["object"], "POST rancher-1.6 LocalAuthConfig");
    assert_eq!(record["data"][0]["detail"], json!({"status": 401, "code": "IncorrectPassword"}));
    let user_named = json!({"username": "alice", "password": PASSWORD, "enabled": true});
    admin.send("POST", "/v1/localauthconfig", Some(user_named), 401).await;

    let trial = nobody.send("POST", "/v1/token", Some(json!({"code": format!("alice:{PASSWORD}")})), 201).await;
    assert_eq!((&trial["enabled"], &trial["security"], &trial["userType"]), (&json!(false), &json!(true), &json!("user")));
    let token = plane.rancher(trial["jwt"].as_str().unwrap());
    token.send("GET", "/v1/apikeys", None, 401).await;
    nobody.send("GET", "/v1/apikeys", None, 401).await;
    user.get("/v1/apikeys").await;
    admin.send("POST", "/v1/localauthconfig", Some(config("another horse battery", json!(true))), 201).await;
    token.get("/v1/apikeys").await;
    assert_eq!(admin.get("/v1/accounts?kind=admin").await["data"].as_array().unwrap().len(), 1, "nobody was promoted");
    let shown = admin.get("/v1/localauthconfig").await;
    assert_eq!((&shown["data"][0]["enabled"], &shown["data"][0]["password"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn how_long_a_token_lives_is_a_setting_by_ranchers_name_too() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let (admin, user) = (plane.rancher(&plane.admin), plane.rancher(&alice));
    let path = "/v1/settings/api.auth.jwt.token.expiry";
    user.send("GET", path, None, 404).await;
    let shown = admin.get(path).await;
    assert_eq!((&shown["activeValue"], &shown["value"], &shown["inDb"]), (&json!("43200000"), &Value::Null, &json!(false)));
    let set = admin.send("PUT", path, Some(json!({"value": "57600000"})), 200).await;
    assert_eq!((&set["value"], &set["source"]), (&json!("57600000"), &json!("Database")));
    assert_eq!(admin.get("/v1/activesettings/1as!login-ttl-minutes").await["value"], "960");
    assert_eq!(admin.send("PUT", path, Some(json!({"value": "1000"})), 422).await["fieldName"], "value");
    assert_eq!(admin.send("PUT", path, Some(json!({"value": ""})), 200).await["inDb"], false);
    assert!(admin.ids("/v1/settings").await.contains(&"1as!api.auth.jwt.token.expiry".to_owned()));
    admin.send("GET", "/v1/settings/unheard.of", None, 404).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_in_ranchers_own_shape_and_read_to_be_heard() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    for (method, path) in
        [("POST", "/v1/apikeys"), ("PUT", "/v2-beta/apikeys/1c1"), ("POST", "/v1/token"), ("POST", "/v1/unheard")]
    {
        let answer = read(client.request(method, path).body(vec![b'x'; 10_000_000])).await;
        assert_eq!((answer.status, &answer.body["type"], &answer.body["status"]), (413, &json!("error"), &json!(413)), "{path}");
    }
    assert_eq!(client.ids("/v1/apikeys").await.len(), 1, "nothing was made");
}

#[tokio::test]
async fn access_modes_are_stored_and_shown_and_local_accounts_pass_in_each() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    for name in ["alice", "root"] {
        plane.admin("PUT", &format!("accounts/{name}/password"), Some(json!({"password": PASSWORD})), 204).await;
    }
    let (admin, nobody) = (plane.rancher(&plane.admin), plane.rancher(""));
    let config = |mode: Value| json!({"accessMode": mode, "username": "root", "password": PASSWORD, "enabled": true, "allowedIdentities": []});
    let login = json!({"code": format!("alice:{PASSWORD}")});
    for mode in ["restricted", "required", "unrestricted"] {
        assert_eq!(admin.send("POST", "/v1/localauthconfig", Some(config(json!(mode))), 201).await["accessMode"], mode);
        assert_eq!(admin.get("/v1/localauthconfig").await["data"][0]["accessMode"], mode);
        assert_eq!(plane.admin("GET", "settings/access-mode", None, 200).await.body["value"], mode);
        let token = nobody.send("POST", "/v1/token", Some(login.clone()), 201).await;
        plane.rancher(token["jwt"].as_str().unwrap()).get("/v1/apikeys").await;
    }
    for (mode, code) in [(json!("open"), "InvalidOption"), (json!(7), "InvalidFormat"), (json!(""), "InvalidOption")] {
        let refused = admin.send("POST", "/v1/localauthconfig", Some(config(mode)), 422).await;
        assert_eq!((&refused["code"], &refused["fieldName"]), (&json!(code), &json!("accessMode")));
    }
    assert_eq!(admin.get("/v1/localauthconfig").await["data"][0]["accessMode"], "unrestricted");
}

#[tokio::test]
async fn everything_that_is_shown_can_be_viewed_by_its_own_link() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.environment("1a5").await;
    plane.environment("Prod.1").await;
    plane.member("Prod.1", "alice", "owner").await;
    plane.key(json!({"environment": "Prod.1", "name": "m"})).await;
    plane.member("1a5", "alice", "owner").await;
    plane.key(json!({"environment": "1a5", "name": "m"})).await;
    plane.admin("PUT", "accounts/alice/password", Some(json!({"password": PASSWORD})), 204).await;
    let admin = plane.rancher(&plane.admin);
    let path = |link: &Value| link.as_str().unwrap().strip_prefix(&plane.url).unwrap().to_owned();
    let mut seen = Vec::new();
    for (name, link) in admin.get("/v1").await["links"].as_object().unwrap() {
        let body = admin.get(&path(link)).await;
        for thing in body["data"].as_array().into_iter().flatten().filter(|thing| thing["links"].get("self").is_some()) {
            assert_eq!(admin.get(&path(&thing["links"]["self"])).await["id"], thing["id"], "{name}");
            seen.push(thing["type"].as_str().unwrap().to_owned());
        }
    }
    for name in ["apiKey", "account", "project", "projectMember", "password", "identity", "setting", "schema"] {
        assert!(seen.iter().any(|seen| seen == name), "{name}: {seen:?}");
    }
    let made = admin.send("POST", "/v1/projects/1a5/apikeys", None, 201).await;
    let project = admin.get(&path(&made["links"]["project"])).await;
    for link in ["apiKeys", "schemas", "projectMembers"] {
        admin.get(&path(&project["links"][link])).await;
    }
}
