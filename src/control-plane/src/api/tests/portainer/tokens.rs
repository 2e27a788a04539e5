//! Access tokens, as Portainer's clients make and delete them.

use keygate_decision::{AccountId, EnvironmentId, KeyId};

use super::*;
use crate::model::{AccountRef, Form, Purpose};
use crate::name::Label;
use crate::operations::Refusal;
use crate::operations::keys::TokenWish;
use crate::permission::{Caller, Standing};

#[tokio::test]
async fn an_access_token_is_shown_once_used_and_deleted() {
    let plane = Plane::start().await;
    let (id, login) = plane.portainer_user("alice").await;
    let path = format!("/api/users/{id}/tokens");
    let wish = json!({"Password": PASSWORD, "Description": "ci"});
    let made = plane.portainer(&login, "POST", &path, Some(wish), 201).await.body;
    let (raw, token) = (made["rawAPIKey"].as_str().unwrap(), &made["apiKey"]);
    assert!(raw.starts_with("ptr_") && raw.len() == 48, "{raw}");
    let digest = STANDARD.encode(Digest::of(raw).as_bytes());
    let number = token["id"].as_u64().unwrap();
    let mut expected = json!({
        "id": number, "userId": id, "description": "ci", "prefix": raw[..7], "dateCreated": START, "lastUsed": 0, "digest": digest,
    });
    assert_eq!(token, &expected);
    assert!(plane.passes(raw));

    expected.as_object_mut().unwrap().remove("digest");
    for shown in [
        Shown::Header(raw.to_owned()),
        Shown::Query("X-API-Key", raw.to_owned()),
        Shown::Query("x-api-KEY", raw.to_owned()),
        Shown::Bearer(raw.to_owned()),
        login.clone(),
    ] {
        assert_eq!(plane.portainer(&shown, "GET", &path, None, 200).await.body, json!([expected]));
    }
    let own = Shown::Header(raw.to_owned());
    plane.portainer(&own, "DELETE", &format!("{path}/{number}"), None, 204).await;
    assert!(!plane.passes(raw));
    says(&plane.portainer(&own, "GET", &path, None, 401).await, "Invalid JWT token", "Unauthorized");
    let again = plane.portainer(&login, "DELETE", &format!("{path}/{number}"), None, 500).await;
    says(&again, "API Key not found", "Object not found inside the database");
    assert_eq!(plane.portainer(&login, "GET", &path, None, 200).await.body, json!([]));
}

#[tokio::test]
async fn a_token_takes_a_login_its_own_user_and_the_password_again() {
    let plane = Plane::start().await;
    let ((alice, login), (bob, _)) = (plane.portainer_user("alice").await, plane.portainer_user("bob").await);
    let (_, raw) = plane.portainer_token(&login, alice, "first").await;
    let path = format!("/api/users/{alice}/tokens");
    let wish = json!({"password": PASSWORD, "description": "ci"});
    for shown in [Shown::Header(raw.clone()), Shown::Query("x-api-key", raw), Shown::Bearer(plane.admin.clone())] {
        let refused = plane.portainer(&shown, "POST", &path, Some(wish.clone()), 401).await;
        says(&refused, "Auth not supported", "Authentication required");
    }
    let other = plane.portainer(&login, "POST", &format!("/api/users/{bob}/tokens"), Some(wish.clone()), 403).await;
    says(&other, "Permission denied to create user access token", "Unauthorized");
    plane.password("root", PASSWORD).await;
    let root = plane.portainer_login("root").await;
    plane.portainer(&root, "POST", &path, Some(wish), 403).await;

    for (field, value, details) in [
        ("description", json!(""), "Invalid description: cannot be empty"),
        ("description", json!(" \t"), "Invalid description: cannot contain only whitespaces"),
        ("description", json!("ä".repeat(128)), "Invalid description: cannot be longer than 128 characters"),
        ("password", json!(""), "Invalid password: cannot be empty"),
        ("password", Value::Null, "Invalid password: cannot be empty"),
    ] {
        let mut wish = json!({"password": PASSWORD, "description": "ci"});
        wish[field] = value;
        let refused = plane.portainer(&login, "POST", &path, Some(wish), 400).await;
        says(&refused, "Invalid request payload", details);
    }
    let longest = json!({"password": PASSWORD, "description": "ä".repeat(127)});
    plane.portainer(&login, "POST", &path, Some(longest), 201).await;
    let wrong = json!({"password": "wrong horse", "description": "ci"});
    let refused = plane.portainer(&login, "POST", &path, Some(wrong), 403).await;
    says(&refused, "Current password doesn't match", "Current password does not match the password provided. Please try again");
    says(
        &plane.portainer(&login, "POST", "/api/users/x/tokens", Some(json!({"password": "x", "description": "x"})), 400).await,
        "Invalid user identifier route variable",
        "It must be a whole number",
    );
}

#[tokio::test]
async fn tokens_are_seen_and_deleted_by_their_user_and_by_admins() {
    let plane = Plane::start().await;
    let ((alice, of_alice), (bob, of_bob)) = (plane.portainer_user("alice").await, plane.portainer_user("bob").await);
    let ((first, _), (second, raw)) =
        (plane.portainer_token(&of_alice, alice, "ci").await, plane.portainer_token(&of_bob, bob, "ci").await);
    let admin = Shown::Bearer(plane.admin.clone());
    let list = |user: u64| format!("/api/users/{user}/tokens");
    assert_eq!(plane.portainer(&admin, "GET", &list(alice), None, 200).await.body[0]["id"], first);
    for user in [bob, 999, 1] {
        let refused = plane.portainer(&of_alice, "GET", &list(user), None, 403).await;
        says(&refused, "Permission denied to get user access tokens", "Unauthorized");
        plane.portainer(&of_alice, "DELETE", &format!("{}/{second}", list(user)), None, 403).await;
    }
    // Administrators do not look at one another's.
    plane.account("carol", "admin").await;
    let carol = plane.admin("GET", "accounts/carol", None, 200).await.body["id"].as_str().unwrap().parse().unwrap();
    plane.portainer(&admin, "GET", &list(carol), None, 403).await;
    plane.portainer(&admin, "GET", &list(1), None, 200).await;
    plane.portainer(&admin, "GET", &list(999), None, 404).await;

    for (shown, user) in [(&of_alice, alice), (&admin, alice)] {
        let refused = plane.portainer(shown, "DELETE", &format!("{}/{second}", list(user)), None, 403).await;
        says(&refused, "Permission denied to remove api-key", "Unauthorized");
        plane.portainer(shown, "DELETE", &format!("{}/99999", list(user)), None, 500).await;
    }
    says(
        &plane.portainer(&of_alice, "DELETE", &format!("{}/x", list(alice)), None, 400).await,
        "Invalid api-key identifier route variable",
        "It must be a whole number",
    );
    plane.portainer(&admin, "DELETE", &format!("{}/{second}", list(bob)), None, 204).await;
    assert!(!plane.passes(&raw));
}

#[tokio::test]
async fn a_key_of_another_dialect_is_seen_used_and_deleted_here_and_the_other_way_round() {
    let plane = Plane::start().await;
    let (id, login) = plane.portainer_user("alice").await;
    let (pair, token) = plane.key(json!({"account": "alice", "name": "of keygate"})).await;
    let (own, raw) = plane.portainer_token(&login, id, "of portainer").await;
    let listed = plane.portainer(&Shown::Header(token.clone()), "GET", &format!("/api/users/{id}/tokens"), None, 200).await.body;
    let access = plane.admin("GET", &format!("keys/{pair}"), None, 200).await.body["accessKey"].as_str().unwrap().to_owned();
    let of = |index: usize| (&listed[index]["description"], &listed[index]["prefix"]);
    assert_eq!(of(0), (&json!("of keygate"), &json!(access[..7])));
    assert_eq!(of(1), (&json!("of portainer"), &json!(raw[..7])));

    // Of Portainer's tokens there are no inactive ones, so an active key is deleted at once.
    plane.portainer(&login, "DELETE", &format!("/api/users/{id}/tokens/{pair}"), None, 204).await;
    assert!(plane.grant(&token).is_none());
    plane.portainer(&Shown::Header(token), "GET", "/api/users/me", None, 401).await;
    // And a token is switched off and on like a key.
    let shown = plane.call(&raw, "GET", "keys", None).await.body;
    assert_eq!(shown["data"][0]["id"], own.to_string());
    plane.admin("POST", &format!("keys/{own}/deactivate"), None, 200).await;
    says(
        &plane.portainer(&Shown::Header(raw.clone()), "GET", "/api/users/me", None, 401).await,
        "Invalid JWT token",
        "Unauthorized",
    );
    plane.admin("POST", &format!("keys/{own}/activate"), None, 200).await;
    plane.portainer(&Shown::Header(raw.clone()), "GET", "/api/users/me", None, 200).await;
    plane.admin("DELETE", &format!("keys/{own}"), None, 204).await;
    assert!(!plane.passes(&raw));
}

#[tokio::test]
async fn tokens_of_other_systems_and_limited_ones_are_seen_and_deleted_here_too() {
    let plane = Plane::start().await;
    let (id, login) = plane.portainer_user("alice").await;
    plane.environment("4").await;
    plane.member("4", "alice", "member").await;
    let make = async |name: &'static str, limit: Option<&'static str>| {
        let made = async move |change: &mut Change<'_>| {
            let admin = Caller { key: KeyId(1), purpose: Purpose::Key, standing: Standing::Admin(AccountId(1)) };
            let wish = TokenWish {
                account: AccountRef::Id(AccountId(id)),
                form: Form::Named(Label::parse(name).unwrap()),
                digest: Digest::of(&format!("{name}:secret")),
                name: Name::parse("of rancher").unwrap(),
                description: None,
                lifetime: None,
                limit: limit.map(|id| EnvironmentId::parse(id).unwrap()),
            };
            keys::create_token(change, &admin, wish).await
        };
        plane.store.write::<_, Refusal, _>(Actor::Local, made).await.unwrap().value.id.0
    };
    let (whole, limited) = (make("token-x7k2p", None).await, make("token-limited", Some("4")).await);
    let path = format!("/api/users/{id}/tokens");
    let listed = plane.portainer(&login, "GET", &path, None, 200).await.body;
    assert_eq!((&listed[0]["id"], &listed[0]["prefix"], &listed[1]["id"]), (&json!(whole), &json!("token-x"), &json!(limited)));
    let shown = |name: &str| Shown::Bearer(format!("{name}:secret"));
    assert_eq!(plane.portainer(&shown("token-x7k2p"), "GET", "/api/users/me", None, 200).await.body["Id"], id);
    // Of what its account may do, one that is limited to an environment has nothing but that.
    for (method, path) in [("GET", "/api/users/me"), ("GET", &path), ("DELETE", &format!("{path}/{whole}"))] {
        plane.portainer(&shown("token-limited"), method, path, None, 403).await;
    }
    for (number, name) in [(whole, "token-x7k2p"), (limited, "token-limited")] {
        plane.portainer(&login, "DELETE", &format!("{path}/{number}"), None, 204).await;
        assert!(!plane.passes(&format!("{name}:secret")));
        plane.portainer(&shown(name), "GET", "/api/users/me", None, 401).await;
    }
}
