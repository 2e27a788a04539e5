//! The dialect of Portainer, as its clients speak it: who they are. Users and tokens have files of their own.

mod tokens;
mod users;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;

use super::*;

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
    let cookie = format!("portainer_api_key={token}; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict");
    assert_eq!(answer.headers["set-cookie"], cookie.as_str());
    assert!(plane.passes(&token));
    let by_tls = plane.ask(&Shown::Nothing, "POST", "/api/auth").header("x-forwarded-proto", "https");
    let by_tls = read(by_tls.json(&json!({"username": "alice", "password": PASSWORD}))).await;
    assert!(by_tls.headers["set-cookie"].to_str().unwrap().ends_with("; SameSite=Strict; Secure"), "{by_tls:?}");

    for shown in [Shown::Bearer(token.clone()), Shown::Cookie(token.clone())] {
        let me = plane.portainer(&shown, "GET", "/api/users/me", None, 200).await.body;
        assert_eq!(me, json!({"Id": id, "Username": "alice", "Role": 2, "forceChangePassword": false}));
    }
    let alone = plane.ask(&Shown::Nothing, "GET", "/api/users/me").header("authorization", &token);
    assert_eq!(read(alone).await.status, 200, "the word Bearer may be left out");
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

#[tokio::test]
async fn logging_out_ends_a_login_that_does_not_pass_now() {
    let plane = Plane::start().await;
    let (_, login) = plane.portainer_user("alice").await;
    plane.admin("POST", "accounts/alice/deactivate", None, 200).await;
    plane.portainer(&login, "POST", "/api/auth/logout", None, 204).await;
    plane.admin("POST", "accounts/alice/activate", None, 200).await;
    plane.portainer(&login, "GET", "/api/users/me", None, 401).await;
}
