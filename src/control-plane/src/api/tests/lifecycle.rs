//! On, off, gone, expired: what each means to the key that is presented and to its grant.

use keygate_decision::{Access, EnvironmentId, Holder, Reach, UnixSeconds};

use super::*;

#[tokio::test]
async fn a_secret_is_shown_once_and_stored_nowhere() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    let wish = json!({"account": "alice", "name": "ci", "description": "builds", "ttlSeconds": 60});
    let created = plane.admin("POST", "keys", Some(wish), 201).await.body;
    let (id, secret) = (created["id"].as_str().unwrap(), created["secretKey"].as_str().unwrap());
    assert_eq!(
        (created["created"].as_str(), created["expires"].as_str()),
        (Some("2027-01-15T08:00:00Z"), Some("2027-01-15T08:01:00Z"))
    );
    assert_eq!((&created["account"], created.get("environment")), (&json!("alice"), None));
    let mut shown = plane.admin("GET", &format!("keys/{id}"), None, 200).await.body;
    for once in ["secretKey", "token"] {
        shown[once] = created[once].clone();
    }
    assert_eq!(shown, created, "but for the secret, a key looks as at its creation");
    for file in std::fs::read_dir(plane.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_key_passes_while_it_is_active_and_is_deleted_only_after() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    let (id, token) = plane.key(json!({"account": "alice", "name": "ci"})).await;
    let path = format!("keys/{id}");
    assert_eq!(plane.admin("DELETE", &path, None, 409).await.body["code"], "key_active");

    let off = plane.admin("POST", &format!("{path}/deactivate"), None, 200).await;
    assert_eq!((off.body["state"].as_str(), plane.grant(&token)), (Some("inactive"), None));
    assert_eq!(plane.call(&token, "GET", "whoami", None).await.status, 401);
    let again = plane.admin("POST", &format!("{path}/deactivate"), None, 200).await;
    assert_eq!(again.revision, off.revision, "switching off what is off changes nothing");

    let on = plane.admin("POST", &format!("{path}/activate"), None, 200).await;
    assert_eq!(on.revision, off.revision.map(|revision| revision + 1));
    assert!(plane.grant(&token).is_some());
    assert_eq!(plane.call(&token, "GET", "whoami", None).await.status, 200);

    // Someone may switch off the very key they use.
    assert_eq!(plane.call(&token, "POST", &format!("{path}/deactivate"), None).await.status, 200);
    let gone = plane.admin("DELETE", &path, None, 204).await;
    assert_eq!(gone.revision, on.revision.map(|revision| revision + 1), "an inactive key has no grant to lose");
    for (method, path) in [("GET", path.clone()), ("POST", format!("{path}/activate")), ("DELETE", path)] {
        plane.admin(method, &path, None, 404).await;
    }
}

#[tokio::test]
async fn a_grant_is_shown_with_the_environments_by_name() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    plane.environment("1a6").await;
    let (alice, _) = plane.account("alice", "user").await;
    plane.member("1a5", "alice", "owner").await;
    plane.member("1a6", "alice", "readonly").await;
    let grant = async |key: &str, status| plane.admin("GET", &format!("keys/{key}/grant"), None, status).await.body;
    let shown = grant(&alice, 200).await;
    let account = plane.admin("GET", "accounts/alice", None, 200).await.body["id"].clone();
    let reach = json!([{"environment": "1a5", "access": "write"}, {"environment": "1a6", "access": "read"}]);
    assert_eq!(shown, json!({"key": alice, "account": account, "limited": false, "reach": reach, "expires": null}));

    let (root, _) = plane.key(json!({"account": "root", "name": "k", "ttlSeconds": 60})).await;
    let shown = grant(&root, 200).await;
    assert_eq!((&shown["reach"], &shown["expires"]), (&json!("all"), &json!("2027-01-15T08:01:00Z")));
    let (machine, _) = plane.key(json!({"environment": "1a6", "name": "k"})).await;
    let shown = grant(&machine, 200).await;
    assert_eq!((&shown["environment"], shown.get("account")), (&json!("1a6"), None));

    plane.admin("POST", &format!("keys/{root}/deactivate"), None, 200).await;
    plane.admin("POST", "accounts/alice/deactivate", None, 200).await;
    for (key, who) in [(&root, format!("key {root} is")), (&alice, format!("key {alice}'s account is"))] {
        let refusal = grant(key, 409).await;
        assert_eq!(refusal["code"], "no_grant");
        assert!(refusal["message"].as_str().unwrap().starts_with(&who), "{refusal}");
    }
}

#[tokio::test]
async fn a_key_is_edited_field_by_field() {
    let plane = Plane::start().await;
    let (id, _) = plane.key(json!({"account": "root", "name": "ci", "description": "one"})).await;
    let path = format!("keys/{id}");
    let edited = plane.admin("PATCH", &path, Some(json!({"name": "cd"})), 200).await.body;
    assert_eq!((&edited["name"], &edited["description"]), (&json!("cd"), &json!("one")));
    let edited = plane.admin("PATCH", &path, Some(json!({"description": null})), 200).await.body;
    assert_eq!((&edited["name"], &edited["description"]), (&json!("cd"), &Value::Null));
    assert_eq!(plane.admin("PATCH", &path, Some(json!({})), 200).await.body, edited);
    assert_eq!(plane.admin("GET", &path, None, 200).await.body, edited);
}

#[tokio::test]
async fn a_key_is_refused_from_the_very_second_of_its_expiry() {
    let plane = Plane::start().await;
    let (_, token) = plane.key(json!({"account": "root", "name": "short", "ttlSeconds": 60})).await;
    plane.pass(59);
    assert_eq!(plane.call(&token, "GET", "whoami", None).await.status, 200);
    plane.pass(1);
    assert_eq!(plane.call(&token, "GET", "whoami", None).await.status, 401);
    assert_eq!(plane.grant(&token).unwrap().expires_at, Some(UnixSeconds(START + 60)), "the edge judges expiry by itself");
}

#[tokio::test]
async fn an_account_switches_all_its_keys_in_one_revision() {
    let plane = Plane::start().await;
    let (_, one) = plane.account("alice", "user").await;
    let (_, two) = plane.key(json!({"account": "alice", "name": "two"})).await;
    let off = plane.admin("POST", "accounts/ALICE/deactivate", None, 200).await;
    assert_eq!((off.body["state"].as_str(), plane.grant(&one), plane.grant(&two)), (Some("inactive"), None, None));
    assert_eq!(plane.pushed.lock().unwrap().revisions.last(), Some(&(off.revision.unwrap(), 2)));
    assert_eq!(plane.call(&one, "GET", "whoami", None).await.status, 401);
    plane.admin("POST", "accounts/alice/activate", None, 200).await;
    assert!(plane.grant(&one).is_some() && plane.grant(&two).is_some());

    plane.admin("DELETE", "accounts/alice", None, 204).await;
    assert_eq!((plane.grant(&one), plane.grant(&two)), (None, None));
    let again = plane.admin("POST", "accounts", Some(json!({"name": "Alice", "kind": "user"})), 201).await.body;
    assert_eq!(again["id"], "3", "a name is free again, an id never");
    assert_eq!(plane.call(&one, "GET", "whoami", None).await.status, 401);
}

#[tokio::test]
async fn the_last_active_admin_stays() {
    let plane = Plane::start().await;
    for (method, path) in [("POST", "accounts/root/deactivate"), ("DELETE", "accounts/root")] {
        assert_eq!(plane.admin(method, path, None, 409).await.body["code"], "last_admin");
    }
    plane.account("second", "admin").await;
    plane.admin("POST", "accounts/root/deactivate", None, 200).await;
    assert_eq!(plane.call(&plane.admin, "GET", "whoami", None).await.status, 401);
}

#[tokio::test]
async fn memberships_are_what_a_users_key_reaches() {
    let plane = Plane::start().await;
    let (_, token) = plane.account("alice", "user").await;
    let reach = |plane: &Plane| match plane.grant(&token).unwrap().holder {
        Holder::Account { reach: Reach::Only(map), .. } => map.into_iter().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reach(&plane), []);
    plane.environment("1a5").await;
    let reference = EnvironmentId::parse("1a5").unwrap().reference();
    for (role, access) in
        [("readonly", Access::Read), ("restricted", Access::Write), ("member", Access::Write), ("owner", Access::Write)]
    {
        let member = plane.member("1a5", "alice", role).await;
        assert_eq!(member.body["role"], role);
        assert_eq!(reach(&plane), [(reference, access)], "{role}");
    }
    let revision = plane.member("1a5", "alice", "owner").await.revision;
    assert_eq!(plane.member("1a5", "alice", "owner").await.revision, revision, "the same role again changes nothing");
    plane.member("1a5", "root", "owner").await;
    plane.admin("DELETE", "environments/1a5/members/alice", None, 204).await;
    assert_eq!(reach(&plane), []);
}

#[tokio::test]
async fn the_last_owner_stays_one_whichever_way_is_tried() {
    let plane = Plane::start().await;
    for name in ["alice", "bob"] {
        plane.account(name, "user").await;
    }
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "owner").await;
    plane.member("1a5", "bob", "member").await;
    let alice = "environments/1a5/members/alice";
    for (method, body) in [("DELETE", None), ("PUT", Some(json!({"role": "member"})))] {
        let refused = plane.admin(method, alice, body, 409).await.body;
        assert_eq!(refused["code"], "last_owner", "{refused}");
    }
    let members = plane.admin("GET", "environments/1a5/members", None, 200).await.body;
    assert_eq!(members["data"].as_array().unwrap().len(), 2);
    // Whoever is none goes as they are, and beside another owner each may go.
    plane.admin("DELETE", "environments/1a5/members/bob", None, 204).await;
    plane.member("1a5", "bob", "owner").await;
    plane.admin("DELETE", alice, None, 204).await;
}

#[tokio::test]
async fn whose_account_is_inactive_owns_nothing_for_the_others() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    for name in ["alice", "bob"] {
        plane.account(name, "user").await;
        plane.member("1a5", name, "owner").await;
    }
    plane.admin("POST", "accounts/bob/deactivate", None, 200).await;
    let alice = "environments/1a5/members/alice";
    for (method, body) in [("DELETE", None), ("PUT", Some(json!({"role": "member"})))] {
        let refused = plane.admin(method, alice, body, 409).await.body;
        assert_eq!(refused["code"], "last_owner", "{refused}");
    }
    // Bob is one owner too many as long as alice is there.
    plane.admin("DELETE", "environments/1a5/members/bob", None, 204).await;
    plane.member("1a5", "bob", "owner").await;
    plane.admin("POST", "accounts/bob/activate", None, 200).await;
    plane.admin("DELETE", alice, None, 204).await;
    // To withdraw access is never refused.
    plane.admin("POST", "accounts/bob/deactivate", None, 200).await;
}

#[tokio::test]
async fn an_environment_takes_its_keys_and_memberships_along() {
    let plane = Plane::start().await;
    let (_, user) = plane.account("alice", "user").await;
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "owner").await;
    // The key outlives whoever made it, but not the environment.
    let made = plane.call(&user, "POST", "keys", Some(json!({"environment": "1a5", "name": "machine"}))).await;
    let machine = made.body["token"].as_str().unwrap().to_owned();
    plane.member("1a5", "root", "owner").await;
    plane.admin("DELETE", "environments/1a5/members/alice", None, 204).await;
    assert!(matches!(plane.grant(&machine).unwrap().holder, Holder::Environment(_)));
    plane.member("1a5", "alice", "member").await;

    plane.admin("DELETE", "environments/1a5", None, 204).await;
    assert_eq!(plane.grant(&machine), None);
    plane.environment("1A5").await;
    assert_eq!(plane.call(&user, "GET", "environments/1A5", None).await.status, 404, "memberships do not come back");
    assert_eq!(plane.call(&machine, "GET", "whoami", None).await.status, 401);
}
