//! Users: made, disabled, enabled.

use super::*;

#[tokio::test]
async fn whoever_is_disabled_is_out_everywhere_until_enabled_again() {
    let plane = Plane::start().await;
    let admin = plane.rancher2(&plane.admin);
    let made = json!({"type": "user", "username": "alice", "password": PASSWORD, "name": "Alice", "mustChangePassword": false});
    let alice = admin.send("POST", "/v3/users", Some(made), 201).await;
    for (field, value) in [
        ("id", json!("user-2")),
        ("type", json!("user")),
        ("username", json!("alice")),
        ("enabled", json!(true)),
        ("me", json!(false)),
        ("principalIds", json!(["local://user-2"])),
        ("password", Value::Null),
    ] {
        assert_eq!(alice[field], value, "{field}");
    }
    let login = plane.log_in(json!({"username": "alice", "password": PASSWORD}), 201).await.body;
    let session = plane.rancher2(login["token"].as_str().unwrap());
    let (_, token) = session.make(json!({})).await;
    assert_eq!(session.get("/v3/users?me=true").await["data"][0]["id"], "user-2");
    assert_eq!(session.ids("/v3/users").await, ["user-2"], "others see themselves alone");
    assert_eq!(admin.ids("/v3/users").await, ["user-1", "user-2"]);
    assert_eq!(admin.ids("/v3/users?me=true").await, ["user-1"]);
    assert_eq!(admin.ids("/v3/users?username=alice").await, ["user-2"]);

    let off = admin.send("PUT", "/v3/users/user-2", Some(json!({"enabled": false})), 200).await;
    assert_eq!((&off["enabled"], &off["state"]), (&json!(false), &json!("inactive")));
    for presented in [&session.token, &token] {
        assert!(!plane.rancher2(presented).passes().await && plane.grant_of(presented).is_none());
    }
    let on = admin.send("PUT", "/v3/users/user-2", Some(json!({"enabled": true, "username": "other"})), 200).await;
    assert_eq!((&on["enabled"], &on["username"]), (&json!(true), &json!("alice")));
    for presented in [&session.token, &token] {
        assert!(plane.rancher2(presented).passes().await && plane.grant_of(presented).is_some());
    }
    let gone = admin.send("DELETE", "/v3/users/user-2", None, 200).await;
    assert_eq!(gone["state"], "removing");
    assert!(plane.grant_of(&token).is_none());
    assert_eq!(admin.refused("GET", "/v3/users/user-2", None, 404).await, "NotFound");
}

#[tokio::test]
async fn what_cannot_be_done_to_users_is_refused_as_in_rancher() {
    let plane = Plane::start().await;
    let admin = plane.rancher2(&plane.admin);
    let alice = plane.user("alice").await;
    plane.account("olga", "admin").await;
    let refused = async |client: &Client<'_>, method: &str, path: &str, body: Value, status: u16| {
        let answer = client.send(method, path, Some(body), status).await;
        (answer["code"].as_str().unwrap().to_owned(), answer["fieldName"].as_str().unwrap_or_default().to_owned())
    };
    let pair = |code: &str, field: &str| (code.to_owned(), field.to_owned());
    let new = |name: &str, password: &str| json!({"username": name, "password": password});
    assert_eq!(refused(&admin, "PUT", "/v3/users/user-1", json!({"enabled": false}), 422).await, pair("InvalidAction", ""));
    assert_eq!(refused(&admin, "DELETE", "/v3/users/user-1", json!({}), 422).await, pair("InvalidAction", ""));
    assert_eq!(refused(&admin, "POST", "/v3/users", new("ALICE", PASSWORD), 422).await, pair("NotUnique", "username"));
    assert_eq!(refused(&admin, "POST", "/v3/users", new("a b", PASSWORD), 422).await, pair("InvalidFormat", "username"));
    assert_eq!(refused(&admin, "POST", "/v3/users", new("zoe", "short"), 422).await, pair("InvalidFormat", "password"));
    assert_eq!(refused(&admin, "POST", "/v3/users", json!({"username": "zoe"}), 422).await, pair("MissingRequired", "password"));
    assert_eq!(admin.ids("/v3/users?username=zoe").await, [""; 0], "nothing is made of what is refused");
    assert_eq!(refused(&alice, "POST", "/v3/users", new("zoe", PASSWORD), 403).await, pair("PermissionDenied", ""));
    assert_eq!(refused(&alice, "PUT", "/v3/users/user-2", json!({"enabled": false}), 422).await, pair("InvalidAction", ""));
    assert_eq!(refused(&alice, "PUT", "/v3/users/user-1", json!({"enabled": false}), 404).await, pair("NotFound", ""));
    for id in ["user-3", "user-99", "user-", "user-+2", "2", "u"] {
        assert_eq!(refused(&alice, "GET", &format!("/v3/users/{id}"), json!({}), 404).await, pair("NotFound", ""), "{id}");
    }
    let change = "/v3/users?action=changepassword";
    let body = |current: &str| json!({"currentPassword": current, "newPassword": "another horse battery"});
    assert_eq!(refused(&alice, "POST", change, body("wrong horse battery"), 401).await, pair("Unauthorized", ""));
    let short = json!({"currentPassword": PASSWORD, "newPassword": "short"});
    assert_eq!(refused(&alice, "POST", change, short, 422).await, pair("InvalidFormat", "newPassword"));
    let set = json!({"newPassword": "another horse battery"});
    let own = refused(&alice, "POST", "/v3/users/user-2?action=setpassword", set.clone(), 422).await;
    assert_eq!(own, pair("MissingRequired", "currentPassword"), "one's own needs the former one");
    assert_eq!(alice.send("POST", change, Some(body(PASSWORD)), 200).await, Value::Null);
    plane.log_in(new("alice", "another horse battery"), 201).await;
    admin.send("PUT", "/v3/users/user-2", Some(json!({"password": PASSWORD})), 200).await;
    plane.log_in(new("alice", PASSWORD), 201).await;
    plane.password("root", PASSWORD).await;
    let path = "/v3/users/user-1?action=setpassword";
    assert_eq!(refused(&admin, "POST", path, set, 422).await, pair("MissingRequired", "currentPassword"));
    assert_eq!(refused(&admin, "POST", path, body("wrong horse battery"), 401).await, pair("Unauthorized", ""));
    assert_eq!(admin.send("POST", path, Some(body(PASSWORD)), 200).await["id"], "user-1", "an admin sets their own, too");
    plane.log_in(new("root", "another horse battery"), 201).await;
}

#[tokio::test]
async fn a_wrong_former_password_is_told_by_each_api_in_its_own_way() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    let wish = json!({"oldPassword": "wrong horse battery", "password": "another horse battery"});
    let natively = plane.call(&alice.token, "PUT", "accounts/alice/password", Some(wish)).await;
    assert_eq!((natively.status, &natively.body["code"]), (401, &json!("wrong_password")));
    assert_eq!(natively.body["field"], "oldPassword");
    let message = natively.body["message"].as_str().unwrap();
    assert!(message.contains("former password is wrong") && message.contains("admin"), "{message}");
    let login = json!({"name": "alice", "password": "wrong horse battery"});
    let login = plane.call("", "POST", "login", Some(login)).await;
    assert_eq!((login.status, &login.body["code"], &login.body["field"]), (401, &json!("wrong_password"), &Value::Null));
    assert_eq!(login.body["message"], "the name or the password is wrong");
    let wish = json!({"currentPassword": "wrong horse battery", "newPassword": "another horse battery"});
    let here = alice.send("POST", "/v3/users?action=changepassword", Some(wish), 401).await;
    assert_eq!((&here["message"], &here["fieldName"]), (&json!("authentication failed"), &Value::Null));
}

#[tokio::test]
async fn what_is_refused_of_a_user_leaves_the_password_as_it_was() {
    let plane = Plane::start().await;
    plane.user("alice").await;
    let admin = plane.rancher2(&plane.admin);
    let both = json!({"password": "another horse battery", "enabled": false});
    let refused = admin.send("PUT", "/v3/users/user-2", Some(both.clone()), 422).await;
    assert_eq!(refused["fieldName"], "password");
    admin.send("PUT", "/v3/users/user-1", Some(both), 422).await;
    assert_eq!(admin.get("/v3/users/user-2").await["enabled"], true);
    plane.log_in(json!({"username": "alice", "password": PASSWORD}), 201).await;
    plane.log_in(json!({"username": "root", "password": "another horse battery"}), 401).await;

    let same = json!({"password": "another horse battery", "enabled": true});
    admin.send("PUT", "/v3/users/user-2", Some(same), 200).await;
    plane.log_in(json!({"username": "alice", "password": "another horse battery"}), 201).await;
}
