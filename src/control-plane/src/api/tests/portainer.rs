//! The dialect of Portainer, as its clients speak it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;

use super::*;

const PASSWORD: &str = "correct horse battery";

/// What a request shows of who sends it.
#[derive(Clone)]
enum Shown {
    Nothing,
    Header(String),
    Query(&'static str, String),
    Cookie(String),
    Bearer(String),
}

impl Shown {
    fn text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Header(text) | Self::Query(_, text) | Self::Cookie(text) | Self::Bearer(text) => text.clone(),
        }
    }
}

impl Plane {
    fn ask(&self, shown: &Shown, method: &str, path: &str) -> RequestBuilder {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.url)).unwrap();
        if let Shown::Query(name, key) = shown {
            url.query_pairs_mut().append_pair(name, key);
        }
        let request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        match shown {
            Shown::Nothing | Shown::Query(..) => request,
            Shown::Header(key) => request.header("X-API-Key", key),
            Shown::Cookie(token) => request.header("cookie", format!("portainer_api_key={token}")),
            Shown::Bearer(token) => request.bearer_auth(token),
        }
    }

    async fn portainer(&self, shown: &Shown, method: &str, path: &str, body: Option<Value>, status: u16) -> Answer {
        let request = self.ask(shown, method, path);
        let answer = read(match body {
            Some(body) => request.json(&body),
            None => request,
        });
        let answer = answer.await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        if status >= 400 {
            let fields: Vec<_> = answer.body.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(fields, ["details", "message"], "{method} {path}");
        }
        answer
    }

    /// Makes a user with a password and logs in; the user's id and the login.
    async fn portainer_user(&self, name: &str) -> (u64, Shown) {
        let wish = json!({"username": name, "password": PASSWORD, "role": 2});
        let user = self.portainer(&Shown::Bearer(self.admin.clone()), "POST", "/api/users", Some(wish), 200).await.body;
        (user["Id"].as_u64().unwrap(), self.portainer_login(name).await)
    }

    async fn portainer_login(&self, name: &str) -> Shown {
        let words = json!({"Username": name, "Password": PASSWORD});
        let answer = self.portainer(&Shown::Nothing, "POST", "/api/auth", Some(words), 200).await;
        Shown::Bearer(answer.body["jwt"].as_str().unwrap().to_owned())
    }

    /// Makes an access token; its id and its text.
    async fn portainer_token(&self, login: &Shown, user: u64, description: &str) -> (u64, String) {
        let wish = json!({"password": PASSWORD, "description": description});
        let made = self.portainer(login, "POST", &format!("/api/users/{user}/tokens"), Some(wish), 201).await.body;
        (made["apiKey"]["id"].as_u64().unwrap(), made["rawAPIKey"].as_str().unwrap().to_owned())
    }

    /// Whether proxies let this string pass.
    fn passes(&self, text: &str) -> bool {
        self.pushed.lock().unwrap().table.contains_key(&Digest::of(text))
    }
}

fn says(answer: &Answer, message: &str, details: &str) {
    assert_eq!((&answer.body["message"], &answer.body["details"]), (&json!(message), &json!(details)));
}

#[tokio::test]
async fn a_password_opens_a_login_and_logging_out_ends_it() {
    let plane = Plane::start().await;
    let (id, _) = plane.portainer_user("alice").await;
    for body in [
        json!({"Username": "alice", "Password": PASSWORD}),
        json!({"username": "alice", "password": PASSWORD}),
        json!({"USERNAME": "ALICE", "pAssword": PASSWORD, "unheard": [1]}),
    ] {
        plane.portainer(&Shown::Nothing, "POST", "/api/auth", Some(body), 200).await;
    }
    // Whatever the media type says: pctl and curl send what they like.
    let plain =
        plane.ask(&Shown::Nothing, "POST", "/api/auth").body(json!({"username": "alice", "password": PASSWORD}).to_string());
    let answer = read(plain).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = answer.body["jwt"].as_str().unwrap().to_owned();
    let cookie = format!("portainer_api_key={token}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
    assert_eq!(answer.headers["set-cookie"], cookie.as_str());
    assert!(plane.passes(&token));

    for shown in [Shown::Bearer(token.clone()), Shown::Cookie(token.clone())] {
        let me = plane.portainer(&shown, "GET", "/api/users/me", None, 200).await.body;
        assert_eq!(me, json!({"Id": id, "Username": "alice", "Role": 2, "forceChangePassword": false}));
    }
    let gone = plane.portainer(&Shown::Cookie(token.clone()), "POST", "/api/auth/logout", None, 204).await;
    assert!(gone.headers["set-cookie"].to_str().unwrap().starts_with("portainer_api_key=; Path=/; Expires=Thu, 01 Jan 1970"));
    assert!(!plane.passes(&token));
    let refused = plane.portainer(&Shown::Bearer(token), "GET", "/api/users/me", None, 401).await;
    says(&refused, "Invalid JWT token", "Unauthorized");
    plane.portainer(&Shown::Nothing, "POST", "/api/auth/logout", None, 204).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_as_portainer_tells_it() {
    let plane = Plane::start().await;
    plane.portainer_user("alice").await;
    let attempt = async |body: Value, status| plane.portainer(&Shown::Nothing, "POST", "/api/auth", Some(body), status).await;
    for (name, password) in [("alice", "wrong horse"), ("nobody", PASSWORD), ("root", "x")] {
        let refused = attempt(json!({"Username": name, "Password": password}), 422).await;
        says(&refused, "Invalid credentials", "Unauthorized");
    }
    for (body, details) in [
        (json!({"Username": "", "Password": "x"}), "Invalid username"),
        (json!({"Username": "alice"}), "Invalid password"),
        (json!({"Username": 7, "Password": "x"}), "Username must be a string"),
        (
            json!({"Username": "alice", "username": "bob", "Password": "x"}),
            "Username is given twice, in different letter case; give it once",
        ),
        (json!([]), "The body must be a JSON object"),
    ] {
        says(&attempt(body, 400).await, "Invalid request payload", details);
    }
    says(
        &plane.portainer(&Shown::Nothing, "POST", "/api/auth", None, 400).await,
        "Invalid request payload",
        "EOF while parsing a value at line 1 column 0",
    );
    // Whoever guesses on is slowed down, in Portainer's words.
    let mut refused = attempt(json!({"Username": "alice", "Password": "wrong"}), 422).await;
    while refused.status == 422 {
        let words = json!({"Username": "alice", "Password": "wrong"});
        refused = read(plane.ask(&Shown::Nothing, "POST", "/api/auth").json(&words)).await;
    }
    assert_eq!(refused.status, 403);
    says(&refused, "Access denied", "Access denied to resource");
    assert!(refused.headers.contains_key("retry-after"));
}

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
    plane.admin("PUT", "accounts/root/password", Some(json!({"password": PASSWORD})), 204).await;
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
async fn which_credential_counts_is_never_a_guess() {
    let plane = Plane::start().await;
    let (id, login) = plane.portainer_user("alice").await;
    let (_, raw) = plane.portainer_token(&login, id, "ci").await;
    let jwt = login.text();
    let none = plane.portainer(&Shown::Nothing, "GET", "/api/users/me", None, 401).await;
    says(&none, "A valid authorization token is missing", "Unauthorized");
    for wrong in ["ptr_wrong", "eyJhbGciOiJIUzI1NiJ9.e30.x"] {
        for shown in [Shown::Header(wrong.to_owned()), Shown::Bearer(wrong.to_owned()), Shown::Cookie(wrong.to_owned())] {
            says(&plane.portainer(&shown, "GET", "/api/users/me", None, 401).await, "Invalid JWT token", "Unauthorized");
        }
    }
    // A key and a login at a time, whichever route, even a public one, even if they are the same.
    for (path, second) in [("/api/users/me", &jwt), ("/api/users/me", &raw), ("/api/status", &jwt)] {
        let both = read(plane.ask(&Shown::Header(raw.clone()), "GET", path).bearer_auth(second)).await;
        assert_eq!(both.status, 403, "{path}");
        let text = "api key and auth header are not allowed at the same time";
        says(&both, text, "Api key and auth header are not allowed at the same time");
    }
    let cookie = format!("portainer_api_key={jwt}");
    let differing = plane.ask(&Shown::Header(raw.clone()), "GET", "/api/users/me").header("cookie", &cookie);
    assert_eq!(read(differing).await.status, 400);
    let twice = plane.ask(&Shown::Header(raw.clone()), "GET", "/api/users/me").header("x-api-key", &raw);
    assert_eq!(read(twice).await.status, 401);
    let same = plane.ask(&Shown::Cookie(jwt.clone()), "GET", "/api/users/me").bearer_auth(&jwt);
    assert_eq!(read(same).await.status, 200);
}

#[tokio::test]
async fn no_page_of_another_site_writes_with_a_browsers_cookie() {
    let plane = Plane::start().await;
    let (id, login) = plane.portainer_user("alice").await;
    let jwt = login.text();
    let (path, wish) = (format!("/api/users/{id}/tokens"), json!({"password": PASSWORD, "description": "ci"}));
    let browser = |cookies: &str| {
        let cookies = format!("portainer_api_key={jwt}{cookies}");
        plane.ask(&Shown::Nothing, "POST", &path).header("user-agent", "Mozilla/5.0").header("cookie", cookies).json(&wish)
    };
    let refused = read(browser("")).await;
    assert_eq!((refused.status, &refused.body["message"]), (403, &json!("Forbidden - CSRF token invalid")));
    assert_eq!(read(browser("; CSRF=abc").header("x-api-csrf", "abc")).await.status, 201);
    let foreign = browser("; CSRF=abc").header("x-api-csrf", "abc").header("origin", "https://evil.example");
    assert_eq!(read(foreign).await.status, 403);
    let logout = plane.ask(&Shown::Cookie(jwt.clone()), "POST", "/api/auth/logout").header("user-agent", "Mozilla/5.0");
    assert_eq!(read(logout).await.status, 403);
    let listed = plane.ask(&Shown::Cookie(jwt.clone()), "GET", &path).header("user-agent", "Mozilla/5.0");
    assert_eq!(read(listed).await.status, 200);
}

#[tokio::test]
async fn users_are_made_shown_and_deleted_by_admins() {
    let plane = Plane::start().await;
    let admin = Shown::Bearer(plane.admin.clone());
    let (alice, login) = plane.portainer_user("alice").await;
    let listed = plane.portainer(&admin, "GET", "/api/users", None, 200).await.body;
    assert_eq!(listed, json!([{"Id": 1, "Username": "root", "Role": 1}, {"Id": alice, "Username": "alice", "Role": 2}]));
    assert_eq!(plane.portainer(&login, "GET", &format!("/api/users/{alice}"), None, 200).await.body, listed[1]);
    for user in [1, 999] {
        let refused = plane.portainer(&login, "GET", &format!("/api/users/{user}"), None, 403).await;
        says(&refused, "Permission denied inspect user", "Access denied to resource");
    }
    let wish = |name: &str, password: &str, role: u64| json!({"Username": name, "Password": password, "Role": role});
    for (method, path, body) in [
        ("GET", "/api/users".to_owned(), None),
        ("POST", "/api/users".to_owned(), Some(wish("mallory", PASSWORD, 1))),
        ("DELETE", format!("/api/users/{alice}"), None),
        ("DELETE", "/api/users/1".to_owned(), None),
    ] {
        says(&plane.portainer(&login, method, &path, body, 403).await, "Access denied", "Unauthorized");
    }
    let missing = plane.portainer(&admin, "GET", "/api/users/999", None, 404).await;
    says(
        &missing,
        "Unable to find a user with the specified identifier inside the database",
        "Object not found inside the database",
    );
    says(
        &plane.portainer(&admin, "GET", "/api/users/x", None, 400).await,
        "Invalid user identifier route variable",
        "It must be a whole number",
    );

    let roles = "Invalid role value. Value must be one of: 1 (administrator) or 2 (regular user)";
    for (body, message, details) in [
        (wish("a b", PASSWORD, 2), "Invalid request payload", "Invalid username. Must not contain any whitespace"),
        (wish("", PASSWORD, 2), "Invalid request payload", "Invalid username. Must not contain any whitespace"),
        (wish("bob", PASSWORD, 3), "Invalid request payload", roles),
        (json!({"Username": "bob", "Password": PASSWORD}), "Invalid request payload", roles),
        (wish("bob", "short", 2), "Password does not meet the requirements", "Must be at least 12 characters"),
        (wish("bob", "", 2), "Password does not meet the requirements", "Must be 1 to 1024 bytes"),
    ] {
        says(&plane.portainer(&admin, "POST", "/api/users", Some(body), 400).await, message, details);
    }
    let taken = plane.portainer(&admin, "POST", "/api/users", Some(wish("Alice", PASSWORD, 2)), 409).await;
    says(&taken, "Another user with the same username already exists", "User already exists");
    assert_eq!(plane.admin("GET", "accounts", None, 200).await.body["data"].as_array().unwrap().len(), 2, "nothing was made");

    let (_, raw) = plane.portainer_token(&login, alice, "ci").await;
    plane.portainer(&admin, "DELETE", &format!("/api/users/{alice}"), None, 204).await;
    assert!(!plane.passes(&raw), "keys go with their user");
    let gone = plane.portainer(&Shown::Header(raw), "GET", "/api/users/me", None, 401).await;
    says(&gone, "An authorization token is invalid", "Unauthorized");
    plane.portainer(&admin, "DELETE", &format!("/api/users/{alice}"), None, 404).await;
    let first = plane.portainer(&admin, "DELETE", "/api/users/1", None, 403).await;
    says(&first, "Cannot remove the initial admin account", "Cannot remove the initial admin account");
    let (_, second) = plane.account("second", "admin").await;
    let second = Shown::Bearer(second);
    let own = plane.portainer(&second, "GET", "/api/users/me", None, 200).await.body["Id"].as_u64().unwrap();
    let refused = plane.portainer(&second, "DELETE", &format!("/api/users/{own}"), None, 403).await;
    assert_eq!(refused.body["message"], "Cannot remove your own user account. Contact another administrator");
}

#[tokio::test]
async fn a_changed_password_ends_logins_and_leaves_tokens() {
    const NEW: &str = "another horse battery";
    let plane = Plane::start().await;
    let admin = Shown::Bearer(plane.admin.clone());
    let ((alice, login), (bob, of_bob)) = (plane.portainer_user("alice").await, plane.portainer_user("bob").await);
    let other = plane.portainer_login("alice").await;
    let (_, raw) = plane.portainer_token(&login, alice, "ci").await;
    let path = format!("/api/users/{alice}/passwd");
    let words = |former: &str, new: &str| Some(json!({"password": former, "newPassword": new}));
    says(
        &plane.portainer(&of_bob, "PUT", &path, words(PASSWORD, NEW), 403).await,
        "Permission denied to update user",
        "Unauthorized",
    );
    for (shown, body, details) in [
        (&login, words("", NEW), "Invalid current password"),
        (&login, words(PASSWORD, ""), "Invalid new password"),
        (&admin, words("", NEW), "Invalid current password"),
    ] {
        says(&plane.portainer(shown, "PUT", &path, body, 400).await, "Invalid request payload", details);
    }
    for shown in [&login, &admin] {
        let wrong = plane.portainer(shown, "PUT", &path, words("wrong horse", NEW), 403).await;
        assert_eq!(wrong.body["message"], "Current password doesn't match");
    }
    says(
        &plane.portainer(&login, "PUT", &path, words(PASSWORD, "short"), 400).await,
        "Password does not meet the requirements",
        "Must be at least 12 characters",
    );
    plane.portainer(&login, "PUT", &path, words(PASSWORD, NEW), 204).await;
    plane.portainer(&login, "GET", "/api/users/me", None, 200).await;
    plane.portainer(&other, "GET", "/api/users/me", None, 401).await;
    plane.portainer(&Shown::Header(raw), "GET", "/api/users/me", None, 200).await;
    plane.portainer(&admin, "PUT", "/api/users/999/passwd", words(PASSWORD, NEW), 404).await;

    // An admin needs no former password where Portainer's own page asks for none.
    let of_bobs = format!("/api/users/{bob}");
    let update =
        async |shown: &Shown, body: Value, status| plane.portainer(shown, "PUT", &of_bobs, Some(body), status).await.body;
    assert_eq!(update(&admin, json!({"newPassword": NEW, "role": 2, "username": "bob"}), 200).await["Username"], "bob");
    plane.portainer(&of_bob, "GET", "/api/users/me", None, 401).await;
    let words = json!({"username": "bob", "password": NEW});
    plane.portainer(&Shown::Nothing, "POST", "/api/auth", Some(words), 200).await;
    for body in [json!({"role": 1}), json!({"username": "robert"}), json!({"role": 3}), json!({"password": NEW})] {
        assert_eq!(update(&admin, body, 400).await["message"], "Invalid request payload");
    }
    update(&login, json!({"newPassword": PASSWORD}), 403).await;
    let escalation = plane.portainer(&login, "PUT", &format!("/api/users/{alice}"), Some(json!({"role": 1})), 403).await;
    says(&escalation, "Permission denied to update user to administrator role", "Access denied to resource");
}

#[tokio::test]
async fn nobody_becomes_an_administrator_by_asking() {
    let plane = Plane::start().await;
    let nobody = Shown::Nothing;
    plane.portainer(&nobody, "GET", "/api/users/admin/check", None, 204).await;
    let wish = json!({"Username": "mallory", "Password": PASSWORD});
    let refused = plane.portainer(&nobody, "POST", "/api/users/admin/init", Some(wish.clone()), 409).await;
    says(&refused, "Unable to create administrator user", "An administrator user already exists");
    plane.portainer(&nobody, "POST", "/api/users/admin/init", Some(json!({"Username": "root", "Password": PASSWORD})), 409).await;
    plane.portainer(&nobody, "POST", "/api/users/admin/init", Some(json!({"Username": ""})), 400).await;
    assert_eq!(plane.admin("GET", "accounts", None, 200).await.body["data"].as_array().unwrap().len(), 1);
    plane.portainer(&nobody, "POST", "/api/auth", Some(json!({"Username": "root", "Password": PASSWORD})), 422).await;
    assert_eq!(plane.portainer(&nobody, "GET", "/api/status", None, 200).await.body["Version"], "2.23.0");
    plane.portainer(&nobody, "GET", "/api/system/status", None, 200).await;
    let settings = plane.portainer(&nobody, "GET", "/api/settings/public", None, 200).await.body;
    assert_eq!((&settings["AuthenticationMethod"], &settings["RequiredPasswordLength"]), (&json!(1), &json!(12)));
}

#[tokio::test]
async fn what_is_no_user_or_no_path_here_is_refused() {
    let plane = Plane::start().await;
    plane.environment("4").await;
    let (_, machine) = plane.key(json!({"environment": "4", "name": "machine"})).await;
    let machine = Shown::Bearer(machine);
    for path in ["/api/users/me", "/api/users"] {
        says(&plane.portainer(&machine, "GET", path, None, 403).await, "Access denied", "Unauthorized");
    }
    plane.portainer(&machine, "GET", "/api/users/1", None, 403).await;
    plane.portainer(&machine, "GET", "/api/users/1/tokens", None, 403).await;
    let admin = Shown::Bearer(plane.admin.clone());
    for path in ["/api/endpoints", "/api/settings", "/api/users/", "/api/users/1/2", "/api/Users", "/api/auth/oauth/validate"] {
        assert_eq!(plane.portainer(&admin, "GET", path, None, 404).await.body["message"], "Not found");
    }
    let wrong = plane.portainer(&admin, "PATCH", "/api/users/1", None, 405).await;
    assert_eq!(wrong.headers["allow"], "GET, HEAD, PUT, DELETE");
    plane.portainer(&Shown::Nothing, "GET", "/api/auth", None, 405).await;
    // Whoever is known and refused stands in the record, without what stood in the path.
    let record = plane.admin("GET", "audit", None, 200).await.body;
    let said = record["data"].as_array().unwrap().iter().filter(|one| one["action"] == "request.refuse");
    let said: Vec<_> = said.map(|one| one["object"].as_str().unwrap()).collect();
    assert_eq!(
        said,
        ["GET portainer users/{id}/tokens", "GET portainer users/{id}", "GET portainer users", "GET portainer users/me"]
    );
}
