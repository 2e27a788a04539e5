//! `/metrics`: who may read it, and that it counts what happened under names that nobody outside chooses.

use sqlx::Connection as _;

use super::*;

async fn text(plane: &Plane, token: &str) -> String {
    let answer = plane.client.get(format!("{}/metrics", plane.url)).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer.text().await.unwrap()
}

/// The value of the series with this name and these labels.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn only_an_admin_sees_them_at_the_api() {
    let plane = Plane::start().await;
    let (_, token) = plane.account("alice", "user").await;
    let status = async |token: &str| {
        let request = plane.client.get(format!("{}/metrics", plane.url));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        read(request).await.status
    };
    assert_eq!((status("").await, status(&token).await, status("wrong").await), (401, 403, 401));
    let mut words = keygate_decision::key::KeyPair::parse_token(&plane.admin).unwrap();
    let secret = std::mem::replace(&mut words.secret, random::key_pair().unwrap().secret);
    let basic = plane.client.get(format!("{}/metrics", plane.url)).basic_auth(words.access.as_str(), Some(secret.expose()));
    assert_eq!(basic.send().await.unwrap().status(), 200, "the way Prometheus presents a key");
}

#[tokio::test]
async fn they_count_what_happened_by_names_that_nobody_outside_chooses() {
    let plane = Plane::start().await;
    let before = value(&text(&plane, &plane.admin).await, "keygate_changes_total").unwrap();
    plane.account("alice", "user").await;
    for path in ["keys/1", "keys/2", "keys/7770007770", "nowhere/1", "nowhere/2"] {
        plane.call(&plane.admin, "GET", path, None).await;
    }
    for method in ["BREW", "PROPFIND"] {
        plane.call(&plane.admin, method, "keys/1", None).await;
    }
    let text = text(&plane, &plane.admin).await;
    let value = |series: &str| value(&text, series);
    assert_eq!(value("keygate_changes_total"), Some(before + 2.0), "{text}");
    assert_eq!((value("keygate_table_revision"), value("keygate_table_keys")), (Some(2.0), Some(2.0)));
    assert_eq!((value("keygate_storage_failing"), value("keygate_failed_commits_total")), (Some(0.0), Some(0.0)));
    assert!(value("keygate_commit_duration_seconds_count").is_some_and(|count| count >= 2.0));
    let requests = |method: &str, route: &str, status: u16| {
        value(&format!("keygate_request_duration_seconds_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"))
    };
    assert_eq!(requests("GET", "/keygate/v1/keys/{key}", 200), Some(2.0));
    assert_eq!(requests("GET", "/keygate/v1/keys/{key}", 404), Some(1.0));
    assert_eq!(requests("POST", "/keygate/v1/keys", 201), Some(1.0));
    assert_eq!(requests("other", "/keygate/v1/keys/{key}", 405), Some(2.0));
    assert!(!text.contains("nowhere") && !text.contains("7770007770") && !text.contains("BREW"), "{text}");
    assert!(text.contains(&format!("keygate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn storage_that_fails_shows() {
    let plane = Plane::start().await;
    let mut connection =
        sqlx::sqlite::SqliteConnection::connect_with(&sqlx::sqlite::SqliteConnectOptions::new().filename(plane.database()))
            .await
            .unwrap();
    sqlx::query("ALTER TABLE change RENAME TO hidden").execute(&mut connection).await.unwrap();
    plane.admin("POST", "keys", Some(json!({"account": "root", "name": "x"})), 503).await;
    let text = text(&plane, &plane.admin).await;
    assert_eq!(value(&text, "keygate_storage_failing"), Some(1.0));
    assert!(value(&text, "keygate_failed_commits_total").is_some_and(|count| count >= 1.0));
}
