//! Taking over accounts and tokens of another system: all of them or none, and nobody reaches more than they did.

use super::*;

fn account(name: &str, kind: &str, existing: bool, tokens: &[&str]) -> Value {
    let token = |text: &&str| json!({"name": "ci", "prefix": "ptr_Ab1", "digest": hex::encode(Digest::of(text).as_bytes())});
    json!({"name": name, "kind": kind, "existing": existing, "tokens": tokens.iter().map(token).collect::<Vec<_>>()})
}

impl Plane {
    async fn take_over(&self, accounts: &[Value], status: u16) -> Answer {
        self.admin("POST", "takeover", Some(json!({"accounts": accounts})), status).await
    }

    async fn number_of_accounts(&self) -> usize {
        self.admin("GET", "accounts", None, 200).await.body["data"].as_array().unwrap().len()
    }

    async fn speaks(&self, token: &str) -> u16 {
        self.call(token, "GET", "whoami", None).await.status
    }
}

#[tokio::test]
async fn tokens_go_on_working_and_reach_what_their_accounts_reach_here() {
    let plane = Plane::start().await;
    plane.environment("4").await;
    let accounts = [account("alice", "user", false, &["ptr_one", "ptr_two"]), account("boss", "admin", false, &["ptr_3"])];
    let taken = plane.take_over(&accounts, 201).await;
    let (alice, boss) = (&taken.body["accounts"][0], &taken.body["accounts"][1]);
    assert_eq!(
        (&alice["account"], &alice["kind"], &alice["made"], &alice["tokens"]),
        (&json!("alice"), &json!("user"), &json!(true), &json!(2))
    );
    assert_eq!((&boss["kind"], &boss["tokens"]), (&json!("admin"), &json!(1)));
    assert!(taken.revision.is_some(), "one change, to be waited for");
    assert_eq!(plane.pushed.lock().unwrap().revisions.last().unwrap().1, 3, "in one revision");
    for token in ["ptr_one", "ptr_two", "ptr_3"] {
        assert_eq!(plane.speaks(token).await, 200);
    }
    assert_eq!(plane.call("ptr_3", "GET", "accounts", None).await.body["data"].as_array().unwrap().len(), 3);
    let reach = || plane.pushed.lock().unwrap().table[&Digest::of("ptr_one")].clone();
    let before = reach();
    plane.member("4", "alice", "member").await;
    assert_ne!(reach(), before, "a membership shows in the tokens");
    let shown = plane.call("ptr_one", "GET", "keys", None).await.body;
    assert_eq!((&shown["data"][0]["name"], &shown["data"][0]["expires"]), (&json!("ci"), &Value::Null));
    // Nobody has a password yet.
    let login = plane.call("", "POST", "login", Some(json!({"name": "alice", "password": "$2a$10$hash"}))).await;
    assert_eq!(login.status, 401);
}

#[tokio::test]
async fn what_is_here_already_is_taken_for_the_same_only_if_someone_says_so() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.account("carol", "admin").await;
    let accounts = [
        account("new", "user", false, &["ptr_0"]),
        account("Alice", "user", false, &["ptr_1"]),
        account("root", "admin", false, &[]),
    ];
    let clash = plane.take_over(&accounts, 409).await.body;
    assert_eq!((&clash["code"], &clash["field"]), (&json!("name_taken"), &json!("accounts")));
    assert!(clash["message"].as_str().unwrap().contains("Alice, root"), "{clash}");
    assert_eq!((plane.number_of_accounts().await, plane.speaks("ptr_0").await), (3, 401), "nothing of it is done");

    let elevated =
        plane.take_over(&[account("new", "user", false, &["ptr_0"]), account("carol", "user", true, &["ptr_1"])], 409).await;
    assert_eq!(elevated.body["code"], "would_elevate");
    assert_eq!((plane.number_of_accounts().await, plane.speaks("ptr_0").await), (3, 401));

    let accounts = [account("Alice", "user", true, &["ptr_1"]), account("carol", "admin", true, &["ptr_2"])];
    let taken = plane.take_over(&accounts, 201).await.body;
    assert_eq!((&taken["accounts"][0]["account"], &taken["accounts"][0]["made"]), (&json!("alice"), &json!(false)));
    assert_eq!(plane.call("ptr_1", "GET", "whoami", None).await.body["account"], "alice");

    // Again: what is known stays, what was deleted since stays deleted, and no token changes its owner.
    let key = plane.call("ptr_1", "GET", "keys", None).await.body["data"].as_array().unwrap().len();
    let number = plane.call("ptr_1", "GET", "keys", None).await.body["data"][key - 1]["id"].as_str().unwrap().to_owned();
    plane.admin("DELETE", &format!("keys/{number}"), None, 204).await;
    let again = plane.take_over(&accounts, 201).await.body;
    assert_eq!((&again["accounts"][0]["deleted"], &again["accounts"][0]["tokens"]), (&json!(1), &json!(0)));
    assert_eq!(again["accounts"][1]["known"], 1);
    assert_eq!(plane.speaks("ptr_1").await, 401);
    let moved = plane.take_over(&[account("dave", "user", false, &["ptr_4", "ptr_2"])], 409).await.body;
    assert_eq!(moved["code"], "token_taken");
    assert!(moved["message"].as_str().unwrap().contains("ptr_Ab1 of dave"), "{moved}");
    assert_eq!(plane.speaks("ptr_4").await, 401);

    // Also what went with its account.
    plane.admin("DELETE", "accounts/carol", None, 204).await;
    let returned = plane.take_over(&[account("carol", "admin", false, &["ptr_2"])], 201).await.body;
    let [made, deleted] = ["made", "deleted"].map(|field| &returned["accounts"][0][field]);
    assert_eq!((made, deleted), (&json!(true), &json!(1)), "{returned}");
    assert_eq!(plane.speaks("ptr_2").await, 401);

    // What a login shows is no token that was deleted.
    plane.password("alice", "correct horse battery").await;
    let login = json!({"name": "alice", "password": "correct horse battery"});
    let login = plane.call("", "POST", "login", Some(login)).await.body["token"].as_str().unwrap().to_owned();
    let taken = plane.take_over(&[account("erin", "user", false, &[&login])], 409).await.body;
    assert_eq!(taken["code"], "token_taken");
}

#[tokio::test]
async fn only_admins_take_over_and_what_is_wrong_is_named() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let body = json!({"accounts": [account("mallory", "admin", false, &["ptr_1"])]});
    assert_eq!(plane.call(&alice, "POST", "takeover", Some(body.clone())).await.status, 403);
    assert_eq!(plane.call("", "POST", "takeover", Some(body)).await.status, 401);
    for (pointer, value, message) in [
        ("/0/name", json!("a b"), "[0].name must be 1 to 64"),
        ("/0/kind", json!("god"), "[0].kind must be one of"),
        ("/0/existing", json!(1), "[0].existing must be true or false"),
        ("/0/tokens", json!({}), "[0].tokens must be a list"),
        ("/0/tokens/1", json!(7), "[0].tokens[1] must be an object"),
        ("/0/tokens/1/digest", json!("ab"), "[0].tokens[1].digest must be a SHA-256"),
        ("/0/tokens/1/prefix", json!(""), "[0].tokens[1].prefix must be 1 to 128"),
        ("/0/tokens/1/name", Value::Null, "[0].tokens[1].name must be a string"),
        ("/0", json!({"name": "x", "kind": "user", "tokens": [], "password": "x"}), "[0].password is unknown"),
    ] {
        let mut accounts = json!([account("new", "user", false, &["ptr_1", "ptr_2"])]);
        *accounts.pointer_mut(pointer).unwrap() = value;
        let refused = plane.admin("POST", "takeover", Some(json!({"accounts": accounts})), 422).await.body;
        assert_eq!(refused["field"], "accounts");
        assert!(refused["message"].as_str().unwrap().contains(message), "{refused}");
    }
    assert_eq!((plane.number_of_accounts().await, plane.speaks("ptr_1").await), (2, 401));
}

#[tokio::test]
async fn thousands_are_taken_over_in_one_body_that_nothing_else_may_have() {
    let plane = Plane::start().await;
    let texts: Vec<String> = (0..3000).map(|number| format!("ptr_{number}")).collect();
    let tokens: Vec<&str> = texts.iter().map(String::as_str).collect();
    let body = json!({"accounts": [account("many", "user", false, &tokens)]});
    assert!(body.to_string().len() > 300_000);
    let refused = plane.call(&plane.admin, "POST", "accounts", Some(body.clone())).await;
    assert_eq!((refused.status, &refused.body["code"]), (413, &json!("body_too_large")));
    let taken = plane.admin("POST", "takeover", Some(body), 201).await.body;
    assert_eq!(taken["accounts"][0]["tokens"], 3000);
    assert_eq!(plane.speaks("ptr_2999").await, 200);
    let too_much = json!({"accounts": "x".repeat(5 * 1024 * 1024)});
    assert_eq!(plane.admin("POST", "takeover", Some(too_much), 413).await.body["code"], "body_too_large");
}

#[tokio::test]
async fn two_of_one_name_are_never_taken_for_one() {
    let plane = Plane::start().await;
    let two = [account("Bob", "user", false, &["ptr_1"]), account("bob", "user", false, &["ptr_2"])];
    let refused = plane.take_over(&two, 422).await.body;
    assert_eq!(refused["field"], "accounts");
    assert!(refused["message"].as_str().unwrap().contains("bob twice"), "{refused}");
    let mapped = [account("bob", "admin", true, &["ptr_1"]), account("bob", "admin", true, &["ptr_2"])];
    plane.take_over(&mapped, 422).await;
    assert_eq!((plane.number_of_accounts().await, plane.speaks("ptr_1").await, plane.speaks("ptr_2").await), (1, 401, 401));
}
