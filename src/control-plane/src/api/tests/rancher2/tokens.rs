//! Tokens: made, listed, expired, limited, deleted.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use keygate_decision::UnixSeconds;

use super::*;

#[tokio::test]
async fn a_token_lives_as_in_rancher() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    let wish = json!({"type": "token", "description": "ci", "ttl": 3_600_000, "unheard": [1]});
    let made = alice.send("POST", "/v3/tokens", Some(wish), 201).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let token = made["token"].as_str().unwrap().to_owned();
    let (name, secret) = token.split_once(':').unwrap();
    assert!(name == id && id.len() == "token-".len() + 5 && id.starts_with("token-"), "{id}");
    let alphabet = "bcdfghjklmnpqrstvwxz2456789";
    assert!(secret.len() == 54 && secret.chars().all(|c| alphabet.contains(c)), "54 of {alphabet}");
    for (field, value) in [
        ("type", json!("token")),
        ("baseType", json!("token")),
        ("name", json!(id)),
        ("userId", json!("user-2")),
        ("userPrincipal", json!("local://user-2")),
        ("authProvider", json!("local")),
        ("isDerived", json!(true)),
        ("current", json!(false)),
        ("description", json!("ci")),
        ("clusterId", json!("")),
        ("ttl", json!(3_600_000)),
        ("expired", json!(false)),
        ("expiresAt", json!("2027-01-15T09:00:00Z")),
        ("enabled", json!(true)),
        ("created", json!("2027-01-15T08:00:00Z")),
        ("createdTS", json!(START * 1000)),
        ("creatorId", Value::Null),
        ("groupPrincipals", json!([])),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let own = format!("{}/v3/tokens/{id}", plane.url);
    assert_eq!((&made["links"]["self"], &made["links"]["remove"]), (&json!(own), &json!(own)));
    assert_eq!(made["actions"], json!({}));
    let grant = plane.grant_of(&token).unwrap();
    assert_eq!((holder(&grant), grant.expires_at), ((2, false), Some(UnixSeconds(START + 3600))));

    // What made it need not be a login: a token makes tokens.
    let client = plane.rancher2(&token);
    let (second, _) = client.make(json!({})).await;
    let shown = client.get(&format!("/v3/tokens/{id}")).await;
    assert_eq!((&shown["token"], &shown["current"], &shown["uuid"]), (&Value::Null, &json!(true), &made["uuid"]));
    let list = client.get("/v3/tokens").await;
    assert_eq!((&list["resourceType"], &list["pagination"]["total"]), (&json!("token"), &json!(3)));
    let logout = format!("{}/v3/tokens?action=logout", plane.url);
    assert_eq!((&list["actions"]["logout"], &list["data"][2]["id"]), (&json!(logout), &json!(second)));
    assert!(!list.to_string().contains(secret));

    // It is a key like any other: seen and ended by the native API, too.
    let keys = plane.admin("GET", "keys?account=alice", None, 200).await.body;
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["accessKey"] == *id).unwrap().clone();
    assert_eq!((&key["purpose"], &key["description"]), (&json!("token"), &json!("ci")));
    plane.admin("POST", &format!("keys/{}/deactivate", key["id"].as_str().unwrap()), None, 200).await;
    assert!(!client.passes().await && plane.grant_of(&token).is_none());
    assert_eq!(alice.get(&format!("/v3/tokens/{id}")).await["enabled"], false);
    plane.admin("POST", &format!("keys/{}/activate", key["id"].as_str().unwrap()), None, 200).await;
    assert!(client.passes().await);

    // A derived one may delete itself.
    assert_eq!(client.send("DELETE", &format!("/v3/tokens/{id}"), None, 204).await, Value::Null);
    assert!(!client.passes().await && plane.grant_of(&token).is_none());
    assert_eq!(alice.refused("GET", &format!("/v3/tokens/{id}"), None, 404).await, "NotFound");
    assert_eq!(alice.refused("DELETE", &format!("/v3/tokens/{id}"), None, 404).await, "NotFound");
}

#[tokio::test]
async fn every_carrier_of_rancher_carries_a_token_and_no_other() {
    let plane = Plane::start().await;
    let (_, token) = plane.user("alice").await.make(json!({})).await;
    let (_, other) = plane.user("bob").await.make(json!({})).await;
    let client = plane.rancher2("");
    let status = async |headers: &[(&str, &str)]| {
        let mut request = client.request("GET", "/v3/tokens");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await.status
    };
    let (bearer, cookie) = (format!("bEARER {token}"), format!("a=b; R_SESS={token}"));
    let (standard, url_safe) = (format!("Basic {}", STANDARD.encode(&token)), format!("basic {}", URL_SAFE.encode(&token)));
    for headers in [
        &[("authorization", bearer.as_str())][..],
        &[("authorization", &standard)],
        &[("authorization", &url_safe)],
        &[("cookie", &cookie)],
        &[("authorization", "  "), ("cookie", &cookie)],
        // The header goes before the cookie, whoever that is of.
        &[("authorization", &bearer), ("cookie", &format!("R_SESS={other}"))],
        &[("authorization", &bearer), ("cookie", "R_SESS=nobody:nothing")],
    ] {
        assert_eq!(status(headers).await, 200, "{headers:?}");
    }
    let cut = &token[..token.len() - 1];
    for headers in [
        &[][..],
        &[("authorization", "Negotiate x"), ("cookie", cookie.as_str())],
        &[("authorization", "Bearer"), ("cookie", &cookie)],
        &[("authorization", &format!("Bearer {cut}")), ("cookie", &cookie)],
        &[("authorization", &format!("Bearer {token}:x"))],
        &[("authorization", &format!("Bearer {}", token.to_uppercase()))],
        &[("authorization", &bearer), ("authorization", &bearer)],
        &[("cookie", &format!("token={token}"))],
        &[("cookie", &format!("R_SESS={token}; R_SESS={token}"))],
        &[("x-api-key", &token)],
    ] {
        assert_eq!(status(headers).await, 401, "{headers:?}");
    }
    assert_eq!(read(client.request("GET", &format!("/v3/tokens?token={token}"))).await.status, 401);
}

#[tokio::test]
async fn a_ttl_ends_at_its_very_second_and_what_has_expired_is_still_listed() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    let (short, token) = alice.make(json!({"ttl": "2500"})).await;
    let (forever, _) = alice.make(json!({"ttl": 0, "description": null})).await;
    plane.pass(1);
    assert!(plane.rancher2(&token).passes().await);
    assert_eq!(alice.get(&format!("/v3/tokens/{short}")).await["expired"], false);
    plane.pass(1);
    assert!(!plane.rancher2(&token).passes().await);
    let shown = alice.get(&format!("/v3/tokens/{short}")).await;
    assert_eq!(
        (&shown["expired"], &shown["expiresAt"], &shown["ttl"]),
        (&json!(true), &json!("2027-01-15T08:00:02Z"), &json!(2000))
    );
    assert!(alice.ids("/v3/tokens?expired=true").await.contains(&short));
    let shown = alice.get(&format!("/v3/tokens/{forever}")).await;
    assert_eq!((&shown["expired"], &shown["expiresAt"], &shown["ttl"]), (&json!(false), &json!(""), &json!(0)));
    alice.send("DELETE", &format!("/v3/tokens/{short}"), None, 204).await;
}

#[tokio::test]
async fn a_token_never_outlives_the_most_that_is_set_and_nobody_is_refused_for_it() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    let admin = plane.rancher2(&plane.admin);
    let ttl = async |wish: Value| alice.send("POST", "/v3/tokens", Some(wish), 201).await["ttl"].as_u64().unwrap();
    for (most, asked, granted) in [
        ("0", json!({}), 0),
        ("0", json!({"ttl": 31_536_000_000_u64}), 31_536_000_000),
        ("0", json!({"ttl": -1}), 0),
        ("1.5", json!({"ttl": 0}), 90_000),
        ("1.5", json!({"ttl": -1}), 90_000),
        ("1.5", json!({"ttl": "-90001"}), 90_000),
        ("1.5", json!({"ttl": i64::MIN}), 90_000),
        ("1.5", json!({}), 90_000),
        ("1.5", json!({"ttl": 90_001}), 90_000),
        ("1.5", json!({"ttl": 60_000}), 60_000),
        ("1.5", json!({"ttl": u64::MAX}), 90_000),
    ] {
        admin.send("PUT", "/v3/settings/auth-token-max-ttl-minutes", Some(json!({"value": most})), 200).await;
        assert_eq!(ttl(asked.clone()).await, granted, "{most} {asked}");
    }
}

#[tokio::test]
async fn a_token_of_a_cluster_counts_there_alone() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    for cluster in ["c-aaaaa", "c-bbbbb", "c-ccccc"] {
        plane.environment(cluster).await;
    }
    plane.member("c-aaaaa", "alice", "member").await;
    plane.member("c-bbbbb", "alice", "readonly").await;
    let (id, token) = alice.make(json!({"clusterId": "c-aaaaa"})).await;
    assert_eq!(alice.get(&format!("/v3/tokens/{id}")).await["clusterId"], "c-aaaaa");
    let grant = plane.grant_of(&token).unwrap();
    let reference = |id: &str| keygate_decision::EnvironmentId::parse(id).unwrap().reference();
    let reaches = |grant: &Grant, id: &str| match &grant.holder {
        Holder::Account { reach, .. } => reach.access(reference(id)),
        Holder::Environment(_) => None,
    };
    assert_eq!(holder(&grant), (2, true));
    assert!(reaches(&grant, "c-aaaaa").is_some() && reaches(&grant, "c-bbbbb").is_none());

    let client = plane.rancher2(&token);
    assert_eq!(client.get("/v3/clusters/c-aaaaa").await["id"], "c-aaaaa");
    assert_eq!(client.get("/v3/cluster/c-aaaaa").await["id"], "c-aaaaa");
    for path in
        ["/v3/clusters/c-bbbbb", "/v3/clusters/c-ccccc", "/v3/clusters", "/v3/tokens", "/v3/users?me=true", "/v3", "/v3/schemas"]
    {
        let refused = client.send("GET", path, None, 401).await;
        assert_eq!(refused, json!({"type": "error", "status": "401", "message": "must authenticate"}), "{path}");
    }
    assert_eq!(client.refused("POST", "/v3/tokens", Some(json!({})), 401).await, "");
    // Where its owner is no member any more, it counts nowhere.
    plane.admin("DELETE", "environments/c-aaaaa/members/alice", None, 204).await;
    assert!(reaches(&plane.grant_of(&token).unwrap(), "c-aaaaa").is_none());
    assert_eq!(client.send("GET", "/v3/tokens", None, 401).await["message"], "must authenticate");

    for cluster in ["c-ccccc", "nowhere", "a/b"] {
        let refused = alice.send("POST", "/v3/tokens", Some(json!({"clusterId": cluster})), 422).await;
        assert_eq!((&refused["code"], &refused["fieldName"]), (&json!("InvalidReference"), &json!("clusterId")), "{cluster}");
    }
    let admin = plane.rancher2(&plane.admin);
    let (_, limited) = admin.make(json!({"clusterId": "c-ccccc"})).await;
    let grant = plane.grant_of(&limited).unwrap();
    assert!(reaches(&grant, "c-ccccc").is_some() && reaches(&grant, "c-bbbbb").is_none());
    plane.admin("DELETE", "environments/c-ccccc", None, 204).await;
    assert!(plane.grant_of(&limited).is_none());
}

#[tokio::test]
async fn nobody_sees_or_deletes_the_tokens_of_others() {
    let plane = Plane::start().await;
    let (alice, bob) = (plane.user("alice").await, plane.user("bob").await);
    let admin = plane.rancher2(&plane.admin);
    let (id, token) = alice.make(json!({})).await;
    for client in [&bob, &admin] {
        assert!(!client.ids("/v3/tokens").await.contains(&id));
        for method in ["GET", "DELETE"] {
            assert_eq!(client.refused(method, &format!("/v3/tokens/{id}"), None, 404).await, "NotFound");
        }
    }
    assert!(plane.rancher2(&token).passes().await);
    // Whoever else says whose it is to be, or how it is to be called, is not asked.
    let (own, _) = bob.make(json!({"userId": "user-2", "name": "agent-x"})).await;
    assert!(own.starts_with("token-") && bob.ids("/v3/tokens").await.contains(&own));
    assert!(!alice.ids("/v3/tokens").await.contains(&own));
    // An admin makes one for somebody, whose it is then.
    let (given, _) = admin.make(json!({"userId": "user-2"})).await;
    assert!(alice.ids("/v3/tokens").await.contains(&given) && !admin.ids("/v3/tokens").await.contains(&given));
}

#[tokio::test]
async fn whatever_is_listed_is_found_by_its_one_name() {
    let plane = Plane::start().await;
    let (alice, bob) = (plane.user("alice").await, plane.user("bob").await);
    alice.make(json!({})).await;
    plane.log_in(json!({"username": "alice", "password": PASSWORD}), 201).await;
    let natively = json!({"name": "alice", "password": PASSWORD});
    assert_eq!(plane.call("", "POST", "login", Some(natively)).await.status, 201);
    let token = json!({"name": "portainer", "prefix": "ptr_a", "digest": hex::encode(Digest::of("ptr_a").as_bytes())});
    let taken = json!({"accounts": [{"name": "alice", "kind": "user", "existing": true, "tokens": [token]}]});
    assert!(plane.call(&plane.admin, "POST", "takeover", Some(taken)).await.status < 300);

    let names = alice.ids("/v3/tokens").await;
    let begin = |with: &str| names.iter().filter(|name| name.starts_with(with)).count();
    assert_eq!((begin("token-"), begin("key:"), begin("login:"), names.len()), (2, 1, 1, 5), "{names:?}");
    for name in &names {
        let path = format!("/v3/tokens/{name}");
        assert_eq!(alice.get(&path).await["id"], **name);
        assert_eq!(bob.refused("GET", &path, None, 404).await, "NotFound");
        let otherwise = if name.starts_with("token-") { name.to_uppercase() } else { name.to_lowercase().replace(':', ":0") };
        if otherwise != *name {
            assert_eq!(alice.refused("GET", &format!("/v3/tokens/{otherwise}"), None, 404).await, "NotFound");
        }
    }
    for number in 0..10 {
        let known = names.contains(&format!("key:{number}"));
        alice.send("GET", &format!("/v3/tokens/key:{number}"), None, if known { 200 } else { 404 }).await;
    }
}

#[tokio::test]
async fn a_key_of_the_native_api_is_seen_and_ended_by_its_access_key() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    let (_, key) = plane.key(json!({"account": "alice", "name": "native"})).await;
    let pair = keygate_decision::key::KeyPair::parse_token(&key).unwrap();
    let client = plane.rancher2(&pair.canonical());
    assert!(client.passes().await);
    let shown = client.get(&format!("/v3/tokens/{}", pair.access.as_str())).await;
    assert_eq!((&shown["current"], &shown["isDerived"]), (&json!(true), &json!(true)));
    assert_eq!(client.refused("POST", "/v3/tokens?action=logout", None, 422).await, "InvalidAction");
    alice.send("DELETE", &format!("/v3/tokens/{}", pair.access.as_str()), None, 204).await;
    assert!(!client.passes().await && plane.grant(&key).is_none());
    // An environment's key counts at its environment alone.
    plane.environment("c-aaaaa").await;
    let (_, key) = plane.key(json!({"environment": "c-aaaaa", "name": "deploy"})).await;
    let client = plane.rancher2(&key);
    assert_eq!(client.get("/v3/clusters/c-aaaaa").await["name"], "c-aaaaa");
    client.send("GET", "/v3/clusters", None, 401).await;
}

#[tokio::test]
async fn rancher_s_own_tokens_have_their_names_and_are_found_described_and_deleted_by_them() {
    let plane = Plane::start().await;
    let admin = plane.rancher2(&plane.admin);
    plane.user("alice").await;
    let names = [
        ("kubeconfig-user-vqkqt", "kubeconfig"),
        ("kubectl-shell-user-vqkqt", "kubectl-shell"),
        ("agent-user-vqkqt", "agent"),
        ("compose-token-user-vqkqt", "compose"),
        ("helm-token-user-vqkqt", "helm"),
        ("p-x7k2p-pipeline", "pipeline"),
        ("telemetry-user-vqkqt", "telemetry"),
        ("drain-node-user-vqkqt", "drain-node"),
    ];
    for (name, class) in names {
        let made = admin.send("POST", "/v3/tokens", Some(json!({"name": name, "ttl": 0})), 201).await;
        assert_eq!((&made["id"], &made["ttl"]), (&json!(name), &json!(0)));
        assert!(made["description"].as_str().unwrap().to_lowercase().contains(class.split('-').next().unwrap()), "{made}");
        assert!(plane.rancher2(made["token"].as_str().unwrap()).passes().await);
    }
    let (_, ends) = admin.make(json!({"name": "agent-that-ends", "ttl": 60_000, "description": "mine"})).await;
    assert!(ends.starts_with("agent-that-ends:"));
    let listed = plane.admin("GET", "keys?neverExpires=true", None, 200).await.body;
    let listed = listed["data"].as_array().unwrap();
    for (name, class) in names {
        let key = listed.iter().find(|key| key["accessKey"] == name).unwrap();
        assert_eq!((&key["class"], &key["expires"]), (&json!(class), &Value::Null));
    }
    assert!(listed.iter().all(|key| key["accessKey"] != "agent-that-ends"));
    plane.admin("GET", "keys?neverExpires=perhaps", None, 422).await;

    admin.send("DELETE", "/v3/tokens/kubectl-shell-user-vqkqt", None, 204).await;
    assert!(!admin.ids("/v3/tokens").await.contains(&"kubectl-shell-user-vqkqt".to_owned()));
    // An admin finds and deletes those of others by their names, too; nobody else does.
    let given = json!({"name": "kubectl-shell-user-2", "userId": "user-2"});
    let (_, of_alice) = admin.make(given).await;
    let bob = plane.user("bob").await;
    bob.send("GET", "/v3/tokens/kubectl-shell-user-2", None, 404).await;
    bob.send("DELETE", "/v3/tokens/kubectl-shell-user-2", None, 404).await;
    assert!(plane.rancher2(&of_alice).passes().await);
    assert_eq!(admin.get("/v3/tokens/kubectl-shell-user-2").await["userId"], "user-2");
    admin.send("DELETE", "/v3/tokens/kubectl-shell-user-2", None, 204).await;
    assert!(!plane.rancher2(&of_alice).passes().await);
    // A name is free again once its token is gone, and never before.
    admin.make(json!({"name": "kubectl-shell-user-vqkqt"})).await;
    assert_eq!(admin.refused("POST", "/v3/tokens", Some(json!({"name": "agent-user-vqkqt"})), 422).await, "NotUnique");
    for name in ["token-x7k2p", "Agent-x", "a b", "agent-"] {
        let refused = admin.send("POST", "/v3/tokens", Some(json!({"name": name})), 422).await;
        assert_eq!((&refused["code"], &refused["fieldName"]), (&json!("InvalidFormat"), &json!("name")), "{name}");
    }
}
