//! Passwords, logins, and how fast they may be guessed.

use keygate_decision::{Digest, UnixSeconds};

use super::*;

const TWELVE_HOURS: u64 = 12 * 60 * 60;

impl Plane {
    async fn try_login(&self, name: &str, password: &str) -> Answer {
        self.call("", "POST", "login", Some(json!({"name": name, "password": password}))).await
    }

    /// Logs in; the token.
    async fn login(&self, name: &str) -> String {
        let answer = self.try_login(name, PASSWORD).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["token"].as_str().unwrap().to_owned()
    }

    /// The grant that proxies have of a login.
    fn login_grant(&self, token: &str) -> Option<Grant> {
        self.pushed.lock().unwrap().table.get(&Digest::of(token)).cloned()
    }

    async fn status(&self, token: &str) -> u16 {
        self.call(token, "GET", "whoami", None).await.status
    }
}

#[tokio::test]
async fn a_login_passes_like_a_key_until_it_ends() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "readonly").await;
    plane.password("alice", PASSWORD).await;

    let answer = plane.try_login("ALICE", PASSWORD).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!((&answer.body["account"], &answer.body["kind"]), (&json!("alice"), &json!("user")));
    assert_eq!(answer.body["expires"], "2027-01-15T20:00:00Z");
    assert_eq!(answer.headers["cache-control"], "no-store", "whatever stands between must not keep a secret");
    let token = answer.body["token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 40);
    let grant = plane.login_grant(&token).unwrap();
    assert_eq!(grant.expires_at, Some(UnixSeconds(START + TWELVE_HOURS)));
    let who = plane.call(&token, "GET", "whoami", None).await;
    assert_eq!((who.status, &who.body["account"]), (200, &json!("alice")));
    assert_eq!(plane.call(&token, "POST", "keys", Some(json!({"account": "alice", "name": "ci"}))).await.status, 201);
    assert_eq!(plane.call(&token, "GET", "keys", None).await.body["data"].as_array().unwrap().len(), 2, "a login is no key");

    // A change of the account shows in its logins.
    plane.admin("POST", "accounts/alice/deactivate", None, 200).await;
    assert_eq!((plane.status(&token).await, plane.login_grant(&token)), (401, None));
    plane.admin("POST", "accounts/alice/activate", None, 200).await;
    assert_eq!(plane.status(&token).await, 200);

    plane.pass(TWELVE_HOURS - 1);
    assert_eq!(plane.status(&token).await, 200);
    plane.pass(1);
    assert_eq!(plane.status(&token).await, 401);
}

#[tokio::test]
async fn logging_out_ends_a_login_everywhere_and_no_other() {
    let plane = Plane::start().await;
    let (_, key) = plane.account("alice", "user").await;
    plane.account("bob", "user").await;
    plane.password("alice", PASSWORD).await;
    plane.password("bob", PASSWORD).await;
    let (first, second, bobs) = (plane.login("alice").await, plane.login("alice").await, plane.login("bob").await);

    let gone = plane.call(&first, "DELETE", "login?wait=1", None).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    assert!(gone.revision.is_some() && gone.headers.contains_key("keygate-acknowledged"));
    assert_eq!((plane.status(&first).await, plane.login_grant(&first)), (401, None));
    assert_eq!((plane.status(&second).await, plane.status(&bobs).await), (200, 200));
    assert_eq!(plane.call(&key, "DELETE", "login", None).await.body["code"], "not_a_login");

    let own = plane.call(&second, "GET", "logins", None).await.body;
    assert_eq!(own["data"].as_array().unwrap().len(), 1, "{own}");
    let of_alice = own["data"][0]["id"].as_str().unwrap();
    assert_eq!(plane.call(&bobs, "GET", "logins?account=alice", None).await.status, 404);
    assert_eq!(plane.call(&bobs, "DELETE", &format!("logins/{of_alice}"), None).await.status, 404);
    assert_eq!(plane.admin("GET", "logins", None, 200).await.body["data"].as_array().unwrap().len(), 2);
    plane.admin("DELETE", &format!("logins/{of_alice}"), None, 204).await;
    assert_eq!((plane.status(&second).await, plane.login_grant(&second)), (401, None));
    plane.admin("DELETE", "accounts/bob", None, 204).await;
    assert_eq!((plane.status(&bobs).await, plane.login_grant(&bobs)), (401, None));
}

#[tokio::test]
async fn a_login_that_does_not_pass_now_can_be_ended_for_good() {
    let plane = Plane::start().await;
    let (_, key) = plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let (first, second) = (plane.login("alice").await, plane.login("alice").await);
    plane.admin("POST", "accounts/alice/deactivate", None, 200).await;
    let gone = plane.call(&first, "DELETE", "login?wait=1", None).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    assert!(gone.headers.contains_key("keygate-acknowledged"));
    assert_eq!(plane.call(&first, "DELETE", "login", None).await.status, 401, "it is unknown now");
    assert_eq!(plane.call(&key, "DELETE", "login", None).await.status, 401, "a key that does not pass");
    plane.admin("POST", "accounts/alice/activate", None, 200).await;
    assert_eq!((plane.status(&first).await, plane.login_grant(&first)), (401, None));
    assert_eq!(plane.status(&second).await, 200);
}

#[tokio::test]
async fn nobody_learns_which_accounts_there_are() {
    let plane = Plane::start().await;
    for name in ["alice", "ina"] {
        plane.account(name, "user").await;
        plane.password(name, PASSWORD).await;
    }
    plane.account("without", "user").await;
    plane.admin("POST", "accounts/ina/deactivate", None, 200).await;
    let mut bodies = Vec::new();
    for name in ["alice", "without", "ina", "nobody", "7", "no name\n", ""] {
        let answer = plane.try_login(name, "wrong horse battery").await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.body);
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    let inactive = plane.try_login("ina", PASSWORD).await;
    assert_eq!((inactive.status, &inactive.body["code"]), (403, &json!("account_inactive")), "who knows the password is told");
    assert_eq!(plane.try_login("without", "").await.body["field"], "password");
    assert_eq!(plane.try_login("alice", &"x".repeat(1025)).await.body["field"], "password");
}

#[tokio::test]
async fn passwords_are_set_by_their_owner_or_an_admin() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let (_, bob) = plane.account("bob", "user").await;
    plane.environment("1a5").await;
    let (_, machine) = plane.key(json!({"environment": "1a5", "name": "m"})).await;
    let set = async |token: &str, body: Value| plane.call(token, "PUT", "accounts/alice/password", Some(body)).await;
    assert_eq!(set(&bob, json!({"password": PASSWORD})).await.status, 404);
    assert_eq!(set(&machine, json!({"password": PASSWORD})).await.status, 404);
    for (weak, part) in [("elevenchars", "at least 12"), ("alice1234567", "name"), ("Password1234", "commonest")] {
        let answer = set(&plane.admin, json!({"password": weak})).await;
        assert_eq!((answer.status, &answer.body["field"]), (422, &json!("password")), "{weak}");
        assert!(answer.body["message"].as_str().unwrap().contains(part) && !answer.body.to_string().contains(weak));
    }
    // The first one is given by an admin: else whoever got hold of a key would have a way in that outlives it.
    let own = set(&alice, json!({"password": PASSWORD})).await;
    assert_eq!((own.status, &own.body["code"]), (403, &json!("forbidden")));
    plane.password("alice", PASSWORD).await;
    // Every other needs the former one, by whichever credential.
    let (used, other) = (plane.login("alice").await, plane.login("alice").await);
    for token in [&alice, &used] {
        let without = set(token, json!({"password": "another horse battery"})).await;
        assert_eq!((&without.body["code"], &without.body["field"]), (&json!("missing_field"), &json!("oldPassword")));
        let wrong = set(token, json!({"password": "another horse battery", "oldPassword": "wrong"})).await;
        assert_eq!((wrong.status, &wrong.body["code"]), (401, &json!("wrong_password")));
    }
    let changed = set(&used, json!({"password": "another horse battery", "oldPassword": PASSWORD})).await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    assert_eq!((plane.status(&used).await, plane.status(&other).await, plane.status(&alice).await), (200, 401, 200));
    assert_eq!(plane.login_grant(&other), None);
    assert_eq!(plane.try_login("alice", PASSWORD).await.status, 401);
    // An admin needs none for others, but what is said must be right; all logins of theirs are ended.
    assert_eq!(set(&plane.admin, json!({"password": PASSWORD, "oldPassword": "wrong"})).await.body["code"], "wrong_password");
    plane.password("alice", PASSWORD).await;
    assert_eq!(plane.status(&used).await, 401);
    plane.login("alice").await;
    // The admin's own is as everyone's.
    plane.password("root", PASSWORD).await;
    plane.admin("PUT", "accounts/root/password", Some(json!({"password": "another horse battery"})), 422).await;
}

#[tokio::test]
async fn guessing_is_slowed_down_for_who_guesses_and_nobody_else() {
    let plane = Plane::start().await;
    for name in ["alice", "bob"] {
        plane.account(name, "user").await;
        plane.password(name, PASSWORD).await;
    }
    let earlier = plane.login("alice").await;
    for _ in 0..5 {
        assert_eq!(plane.try_login("alice", "wrong").await.status, 401);
    }
    let refused = plane.try_login("Alice", PASSWORD).await;
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("too_many_attempts")));
    assert_eq!(refused.headers["retry-after"], "1");
    plane.login("bob").await;
    assert_eq!(plane.status(&earlier).await, 200, "what is there goes on");
    plane.pass(1);
    assert_eq!(plane.try_login("alice", "wrong").await.status, 401);
    assert_eq!(plane.try_login("alice", PASSWORD).await.headers["retry-after"], "2");
    plane.pass(2);
    plane.login("alice").await;

    // A stolen login guesses at the password no faster.
    let guess = json!({"password": "another horse battery", "oldPassword": "wrong"});
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(plane.call(&earlier, "PUT", "accounts/alice/password", Some(guess.clone())).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
    let record = plane.admin("GET", "audit?limit=2", None, 200).await.body;
    for (one, code) in [(&record["data"][0], "too_many_attempts"), (&record["data"][1], "wrong_password")] {
        assert_eq!(one["object"], "PUT /keygate/v1/accounts/{account}/password", "{one}");
        assert_eq!((&one["action"], &one["detail"]["code"]), (&json!("request.refuse"), &json!(code)), "{one}");
    }
    // A name that does not exist waits alike.
    for expected in [401, 401, 401, 401, 401, 429] {
        assert_eq!(plane.try_login("nobody", "wrong").await.status, expected);
    }
}

#[tokio::test]
async fn where_an_attempt_comes_from_is_believed_of_a_trusted_proxy_alone() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let attempt = async |from: &str| {
        let request = plane.client.post(format!("{}/keygate/v1/login", plane.url)).header("x-forwarded-for", from);
        read(request.json(&json!({"name": "alice", "password": "wrong"}))).await.status
    };
    for (from, status) in
        [("203.0.113.1", 401), ("203.0.113.2", 401), ("203.0.113.3", 401), ("203.0.113.4", 401), ("203.0.113.5", 401)]
    {
        assert_eq!(attempt(from).await, status);
    }
    assert_eq!(attempt("203.0.113.6").await, 429, "whoever writes another address each time waits all the same");
    plane.admin("PUT", "settings/trusted-proxies", Some(json!({"value": "127.0.0.1"})), 200).await;
    assert_eq!(attempt("203.0.113.6").await, 401);
    assert_eq!(attempt("203.0.113.7, 127.0.0.1").await, 401);
}

#[tokio::test]
async fn expired_logins_are_swept_from_storage_and_from_the_table() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(plane.login("alice").await);
    }
    plane.pass(TWELVE_HOURS);
    assert!(plane.login_grant(&tokens[0]).is_some(), "the edge judges expiry by itself");
    let fresh = plane.login("alice").await;
    assert!(tokens.iter().all(|token| plane.login_grant(token).is_none()));
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM credential WHERE purpose = 'login'");
    assert_eq!(count.fetch_one(&mut *plane.store.read().await.unwrap()).await.unwrap(), 1);
    assert_eq!(plane.status(&fresh).await, 200);
}

#[tokio::test]
async fn neither_password_nor_token_is_stored_anywhere() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let token = plane.login("alice").await;
    assert_eq!(plane.try_login("alice", "wrong horse battery").await.status, 401);
    for file in std::fs::read_dir(plane.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [PASSWORD, "wrong horse battery", &token] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
        }
    }
}

#[tokio::test]
async fn logins_that_are_switched_off_pass_nowhere_until_they_are_switched_on() {
    let plane = Plane::start().await;
    let (_, key) = plane.account("alice", "user").await;
    let (_, _) = plane.account("ada", "admin").await;
    for name in ["alice", "ada"] {
        plane.password(name, PASSWORD).await;
    }
    let (token, ada) = (plane.login("alice").await, plane.login("ada").await);
    let switch = |on: bool| Some(json!({"value": on.to_string()}));
    let own = plane.call(&ada, "PUT", "settings/login-enabled", switch(false)).await;
    assert_eq!((own.status, &own.body["code"]), (409, &json!("own_login")), "nobody shuts themselves out");
    plane.admin("PUT", "settings/login-enabled", switch(false), 200).await;
    assert_eq!((plane.status(&token).await, plane.login_grant(&token)), (401, None));
    assert_eq!(
        (plane.status(&key).await, plane.status("").await),
        (200, 401),
        "keys pass, and nothing passes without a credential"
    );
    assert_eq!(plane.try_login("alice", PASSWORD).await.status, 403);
    assert_eq!(plane.try_login("alice", "wrong").await.status, 401);
    plane.admin("DELETE", "settings/login-enabled", None, 200).await;
    assert_eq!(plane.status(&token).await, 200);
    assert!(plane.login_grant(&token).is_some());
}

#[tokio::test]
async fn logins_that_have_expired_go_though_nobody_logs_in() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let token = plane.login("alice").await;
    plane.pass(12 * 60 * 60 - 1);
    crate::operations::logins::sweep(&plane.store).await.unwrap();
    assert!(plane.login_grant(&token).is_some());
    plane.pass(1);
    crate::operations::logins::sweep(&plane.store).await.unwrap();
    assert_eq!(plane.login_grant(&token), None, "proxies forget it, too");
}
