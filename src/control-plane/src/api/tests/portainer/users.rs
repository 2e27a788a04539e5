//! Users and their passwords, as Portainer's clients manage them.

use super::*;

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
