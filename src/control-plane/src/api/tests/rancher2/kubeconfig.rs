//! Files for kubectl.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const GENERATE: &str = "/v3/clusters/c-aaaaa?action=generateKubeconfig";

async fn start() -> Plane {
    let plane = Plane::start().await;
    plane.admin("POST", "environments", Some(json!({"id": "c-aaaaa", "name": "prod: \"eu\""})), 201).await;
    plane
}

fn token_of(config: &str) -> &str {
    config.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap().trim_matches('"')
}

#[tokio::test]
async fn a_file_carries_a_token_of_its_cluster_alone_and_each_file_its_own() {
    let plane = start().await;
    let alice = plane.user("alice").await;
    assert_eq!(alice.refused("POST", GENERATE, None, 404).await, "NotFound", "who does not see the cluster");
    plane.member("c-aaaaa", "alice", "readonly").await;
    let shown = alice.get("/v3/clusters").await["data"][0].clone();
    assert_eq!(
        (&shown["id"], &shown["actions"]["generateKubeconfig"]),
        (&json!("c-aaaaa"), &json!(format!("{}{GENERATE}", plane.url)))
    );
    let output = alice.send("POST", GENERATE, None, 200).await;
    assert_eq!(output["type"], "generateKubeConfigOutput");
    let config = output["config"].as_str().unwrap();
    for line in [
        "kind: Config".to_owned(),
        format!("    server: \"{}/k8s/clusters/c-aaaaa\"", plane.url),
        "current-context: \"prod: \\\"eu\\\"\"".to_owned(),
    ] {
        assert!(config.lines().any(|own| own == line), "{line} in {config}");
    }
    let token = token_of(config);
    assert!(token.starts_with("kubeconfig-user-2.c-aaaaa-"), "{token}");
    let grant = plane.grant_of(token).unwrap();
    assert_eq!((holder(&grant), grant.expires_at), ((2, true), None));
    let second = alice.send("POST", GENERATE, None, 200).await;
    assert_ne!(token_of(second["config"].as_str().unwrap()), token);
    assert!(plane.grant_of(token).is_some(), "another file does not end the first");
    let (name, _) = token.split_once(':').unwrap();
    let listed = alice.get(&format!("/v3/tokens/{name}")).await;
    assert_eq!((&listed["description"], &listed["clusterId"]), (&json!("Kubeconfig token"), &json!("c-aaaaa")));

    // By the token itself no other is made.
    let refused = plane.rancher2(token).send("POST", GENERATE, None, 403).await;
    assert_eq!(refused["message"], "can not generateKubeconfig cluster");
    assert_eq!(alice.refused("POST", "/v3/clusters/c-aaaaa?action=explode", None, 404).await, "ActionNotAvailable");
}

#[tokio::test]
async fn tokens_of_files_end_with_the_most_that_is_set_and_are_made_again() {
    let plane = start().await;
    let admin = plane.rancher2(&plane.admin);
    admin.send("PUT", "/v3/settings/auth-token-max-ttl-minutes", Some(json!({"value": "60"})), 200).await;
    let config = admin.send("POST", GENERATE, None, 200).await;
    let first = token_of(config["config"].as_str().unwrap()).to_owned();
    plane.pass(3600);
    let own = |token: &str| format!("/v3/tokens/{}", token.split_once(':').unwrap().0);
    assert_eq!(admin.get(&own(&first)).await["expired"], true);
    let config = admin.send("POST", GENERATE, None, 200).await;
    let second = token_of(config["config"].as_str().unwrap());
    admin.get(&own(second)).await;
    assert_eq!(admin.refused("GET", &own(&first), None, 404).await, "NotFound", "what has expired goes with a new one");
}

#[tokio::test]
async fn what_has_expired_of_another_cluster_stays() {
    let plane = start().await;
    let admin = plane.rancher2(&plane.admin);
    admin.send("PUT", "/v3/settings/auth-token-max-ttl-minutes", Some(json!({"value": "60"})), 200).await;
    let generate = async |cluster: &str| {
        let path = format!("/v3/clusters/{cluster}?action=generateKubeconfig");
        let config = admin.send("POST", &path, None, 200).await;
        token_of(config["config"].as_str().unwrap()).split_once(':').unwrap().0.to_owned()
    };
    // The name of each of them begins as those of the one cluster do.
    let others = ["c-aaaaa-b", "c_aaaaa"];
    let mut kept = Vec::new();
    for other in others {
        plane.environment(other).await;
        kept.push(generate(other).await);
    }
    let own = generate("c-aaaaa").await;
    plane.pass(3600);
    generate("c-aaaaa").await;
    let left = admin.ids("/v3/tokens?expired=true").await;
    assert!(kept.iter().all(|name| left.contains(name)), "{kept:?} {left:?}");
    assert!(!left.contains(&own), "{own} {left:?}");
}

#[tokio::test]
async fn without_tokens_in_files_kubectl_logs_in() {
    let plane = start().await;
    let admin = plane.rancher2(&plane.admin);
    let alice = plane.user("alice").await;
    plane.member("c-aaaaa", "alice", "member").await;
    let pem = include_str!("../authority.pem").trim_end();
    for (name, value) in [("cacerts", pem), ("server-url", "https://keygate.example/"), ("kubeconfig-generate-token", "false")] {
        plane.admin("PUT", &format!("settings/{name}"), Some(json!({"value": value})), 200).await;
    }
    admin.send("PUT", "/v3/settings/kubeconfig-token-ttl-minutes", Some(json!({"value": "30"})), 200).await;
    let before = alice.ids("/v3/tokens").await;
    let output = alice.send("POST", GENERATE, None, 200).await;
    let config = output["config"].as_str().unwrap();
    assert!(!config.contains("token:"), "{config}");
    let exec = config.lines().find_map(|line| line.trim().strip_prefix("exec: ")).unwrap();
    let exec: Value = serde_json::from_str(exec).unwrap();
    assert_eq!((&exec["apiVersion"], &exec["command"]), (&json!("client.authentication.k8s.io/v1beta1"), &json!("keygate")));
    // The last is for clients that run the command without telling it of the cluster.
    let authority = STANDARD.encode(format!("{pem}\n"));
    let expected = [
        "kubeconfig-login",
        "--server",
        "https://keygate.example",
        "--cluster",
        "c-aaaaa",
        "--user",
        "alice",
        "--certificate-authority-data",
        &authority,
    ];
    assert_eq!(exec["args"], json!(expected));
    assert!(config.contains("server: \"https://keygate.example/k8s/clusters/c-aaaaa\""), "{config}");
    assert!(config.contains("certificate-authority-data: \"LS0tLS1CRUdJTi"), "{config}");
    assert_eq!(alice.ids("/v3/tokens").await, before, "no token was made");
    let wish = json!({"username": "alice", "password": PASSWORD, "responseType": "kubeconfig_c-aaaaa"});
    assert_eq!(plane.log_in(wish, 201).await.body["ttl"], 1_800_000);
}
