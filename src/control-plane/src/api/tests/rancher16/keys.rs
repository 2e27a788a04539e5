//! Keys in the dialect of Rancher 1.6: of accounts, of environments, and those that an admin brings along.

use super::*;

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
async fn an_admin_brings_keys_along_and_nobody_else_does() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let (admin, user) = (plane.rancher(&plane.admin), plane.rancher(&alice));
    let account = user.ids("/v1/accounts").await.remove(0);
    let secret = "tR7uQz2vKpLm9XcWbN4sYd";
    let wish = json!({"accountId": account, "publicValue": "Old-Key", "secretValue": secret});
    let made = admin.send("POST", "/v1/apikeys", Some(wish.clone()), 201).await;
    assert_eq!(
        (&made["publicValue"], &made["secretValue"], &made["accountId"]),
        (&json!("Old-Key"), &json!(secret), &json!(account))
    );
    let passes = async |access: &str, secret: &str| {
        let request = plane.client.get(format!("{}/v1/accounts", plane.url)).basic_auth(access, Some(secret));
        read(request).await.status == 200
    };
    assert!(passes("Old-Key", secret).await && !passes("old-key", secret).await && !passes("Old-Key", "x").await);
    assert!(plane.pushed.lock().unwrap().table.contains_key(&Digest::of(&format!("Old-Key:{secret}"))), "proxies know it");
    // Either half alone; the other one is drawn.
    let half = admin.send("POST", "/v1/apikeys", Some(json!({"publicValue": "half"})), 201).await;
    assert!(passes("half", half["secretValue"].as_str().unwrap()).await);
    let half = admin.send("POST", "/v1/apikeys", Some(json!({"secretValue": secret, "publicValue": ""})), 201).await;
    assert!(passes(half["publicValue"].as_str().unwrap(), secret).await);
    for (body, code, field) in [
        (json!({"publicValue": "OLD-KEY"}), "NotUnique", "publicValue"),
        (json!({"publicValue": "a:b"}), "InvalidFormat", "publicValue"),
        (json!({"publicValue": "x-api-bearer"}), "InvalidFormat", "publicValue"),
        (json!({"publicValue": 7}), "InvalidFormat", "publicValue"),
        (json!({"secretValue": "hunter2"}), "InvalidFormat", "secretValue"),
        (json!({"accountId": "1a1999999"}), "InvalidReference", "accountId"),
        (json!({"accountId": "nonsense!"}), "InvalidReference", "accountId"),
    ] {
        let refused = admin.send("POST", "/v1/apikeys", Some(body.clone()), 422).await;
        assert_eq!((&refused["code"], &refused["fieldName"]), (&json!(code), &json!(field)), "{body}");
    }
    // What is deleted does not come back by its own secret, and its access key is free again.
    let path = format!("/v1/apikeys/{}", made["id"].as_str().unwrap());
    admin.send("POST", &format!("{path}?action=deactivate"), None, 202).await;
    admin.send("DELETE", &path, None, 200).await;
    assert_eq!(admin.send("POST", "/v1/apikeys", Some(wish), 422).await["fieldName"], "secretValue");
    admin.send("POST", "/v1/apikeys", Some(json!({"publicValue": "Old-Key"})), 201).await;
    // A user's are not looked at.
    let drawn = user.send("POST", "/v1/apikeys", Some(json!({"publicValue": "mine", "secretValue": secret})), 201).await;
    assert!(drawn["publicValue"] != "mine" && drawn["secretValue"] != secret);
}
