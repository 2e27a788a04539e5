//! What Rancher 1.6 alone has: a user of Basic whose password is a token, and more places than one that name an environment. It must
//! never repeat what holds for every preset.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_decision::Digest;

use super::tables::{READS, WITHIN, WRITES};
use super::tests::{WHO, bench, examples, set};

/// Rancher 1.6's special user of Basic: a token, and where it is for.
fn by_special_user(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:key")))
}

#[test]
fn a_token_of_rancher_1_6_may_come_by_a_special_user_who_says_where() {
    let bench = bench("rancher-1.6");
    let passers = |method: &str, path: &str, user: &str| -> BTreeSet<_> {
        let path = path.replace("{a}", bench.a).replace("{b}", bench.b);
        let user = user.replace("{a}", bench.a).replace("{b}", bench.b);
        let all = [(":method", method.to_owned()), (":path", path), ("authorization", by_special_user(&user))];
        WHO.into_iter().filter(|who| bench.passes(who, &all)).collect()
    };
    for example in examples("rancher-1.6").iter().filter(|example| !example.is("public")) {
        let (method, path) = (example.method.as_str(), example.path.as_str());
        let plain = bench.passers(method, path, &[]);
        assert_eq!(passers(method, path, "x-api-bearer"), plain, "{method} {path}");
        let allowed = match example.rule["target"].as_str().unwrap() {
            "environment" if example.names_environment() => "",
            "environment" | "own" | "within" => "b admin",
            _ => "admin",
        };
        let elsewhere = passers(method, path, "x-api-bearer={b}");
        assert!(elsewhere.is_subset(&set(allowed)), "{method} {path}: {elsewhere:?}");
    }
    for (method, path, user, expected) in [
        ("GET", "/v1/projects/{a}/hosts", "x-api-bearer={a}", READS),
        ("POST", "/v1/projects/{a}/hosts", "X-API-Bearer={a}", WRITES),
        ("GET", "/v1/hosts", "x-api-bearer={a}", READS),
        ("POST", "/v1/hosts", "x-api-bearer={a}", WRITES),
        ("GET", "/v1/hosts", "x-api-bearer={b}", "b admin"),
        ("GET", "/v1/hosts?projectId={a}", "x-api-bearer={b}", ""),
        ("GET", "/v1/hosts", "x-api-bearer=", ""),
        ("GET", "/v1/hosts", "x-api-bearer=1a5,1a6", ""),
        ("GET", "/v1/identities", "x-api-bearer={b}", "admin"),
    ] {
        assert_eq!(passers(method, path, user), set(expected), "{method} {path} {user}");
    }
    // Other users have passwords that are no tokens.
    let digest = |user: &str| {
        let value = by_special_user(user);
        bench.policy.read([(b"authorization".as_slice(), value.as_bytes())]).credentials.digest()
    };
    assert_eq!(digest("x-api-bearer=1a5"), Ok(Digest::of("key")));
    assert_eq!(digest("x-api-bearer1a5"), Ok(Digest::of("x-api-bearer1a5:key")));
}

#[test]
fn an_environment_that_only_rancher_1_6_could_look_up_is_refused() {
    let bench = bench("rancher-1.6");
    for example in examples("rancher-1.6").iter().filter(|example| !example.is("public")) {
        for name in ["x-api-client-access-key", "X_API_Client_Access_Key"] {
            let found = bench.passers(&example.method, &example.path, &[(name, "0123456789ABCDEF0123")]);
            assert_eq!(found, set(""), "{} {}", example.method, example.path);
        }
    }
}

/// Path, header, query and special user, each with every name and without.
#[test]
fn whatever_names_an_environment_agrees_or_nobody_passes() {
    const NAMED: [Option<&str>; 5] = [None, Some("1a5"), Some("1a6"), Some("1A5"), Some("")];
    let bench = bench("rancher-1.6");
    for number in 0..NAMED.len().pow(4) {
        let [path, header, query, user] = [0, 1, 2, 3].map(|place| NAMED[number / NAMED.len().pow(place) % NAMED.len()]);
        let named: BTreeSet<_> = [path, header, query, user].into_iter().flatten().collect();
        let path = path.map_or_else(|| "/v1/hosts".to_owned(), |id| format!("/v1/projects/{id}/hosts"));
        let path = path + &query.map_or_else(String::new, |id| format!("?projectId={id}"));
        let user = user.map_or_else(|| "x-api-bearer".to_owned(), |id| format!("x-api-bearer={id}"));
        let mut all = vec![(":method", "GET".to_owned()), (":path", path), ("authorization", by_special_user(&user))];
        all.extend(header.map(|id| ("x-api-project-id", id.to_owned())));
        let passers: BTreeSet<_> = WHO.into_iter().filter(|who| bench.passes(who, &all)).collect();
        let expected = match named.into_iter().collect::<Vec<_>>().as_slice() {
            [] => WITHIN,
            ["1a5"] => READS,
            ["1a6"] => "b admin",
            ["1A5"] => "admin",
            _ => "",
        };
        assert_eq!(passers, set(expected), "{all:?} by {user}");
    }
}

#[test]
fn rancher_1_6_takes_an_environment_from_a_header() {
    let bench = bench("rancher-1.6");
    for (path, expected) in [
        ("/v1/hosts", "b admin"),
        ("/v1/projects/{b}/hosts", "b admin"),
        ("/v1/projects/{a}/hosts", ""),
        ("/v1/hosts?projectId={a}", ""),
        ("/v1/identities", "admin"),
    ] {
        assert_eq!(bench.passers("GET", path, &[("x-api-project-id", "{b}")]), set(expected), "{path}");
    }
}
