//! The page that describes the APIs, against what they do.

use super::*;

/// A request's answer, whatever its shape.
async fn answer(plane: &Plane, method: &str, path: &str, token: &str) -> reqwest::Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = plane.client.request(method, format!("{}{path}", plane.url)).bearer_auth(token);
    request.header("content-type", "application/json").body("{}").send().await.unwrap()
}

async fn page(plane: &Plane) -> Value {
    let page = plane.client.get(format!("{}/openapi.json", plane.url));
    let page = read(page).await;
    assert_eq!(page.status, 200, "it needs no credential");
    page.body
}

/// Each operation: its path, its method in capitals and what is said of it.
fn operations(page: &Value) -> Vec<(String, String, Value)> {
    let paths = page["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters");
        operations.map(|(method, operation)| (path.clone(), method.to_uppercase(), operation.clone())).collect::<Vec<_>>()
    });
    operations.collect()
}

#[tokio::test]
async fn whatever_the_page_lists_is_there_and_answers_as_it_says() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let page = page(&plane).await;
    let operations = operations(&page);
    assert!(operations.len() > 100, "{}", operations.len());
    let ids: std::collections::BTreeSet<_> = operations.iter().map(|(.., said)| said["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "each has an id of its own");
    for (path, method, said) in &operations {
        for token in [&plane.admin, &alice] {
            // What exists of nobody, so that nothing ends that is needed further on.
            let path = path.replace("{projectId}", "1a5").split('{').enumerate().fold(String::new(), |path, (place, part)| {
                if place == 0 { part.to_owned() } else { format!("{path}none{}", part.split_once('}').unwrap().1) }
            });
            let answer = answer(&plane, method, &path, token).await;
            let status = answer.status().as_u16();
            assert!(said["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
            if status == 405 {
                assert!(answer.headers().contains_key("allow"), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_page_does_not_list_is_refused() {
    let plane = Plane::start().await;
    let page = page(&plane).await;
    for (path, taken) in page["paths"].as_object().unwrap() {
        let path = path.replace("{projectId}", "1a5").replace("{id}", "none");
        for method in ["PUT", "PATCH", "DELETE", "TRACE"].iter().filter(|method| taken.get(method.to_lowercase()).is_none()) {
            let status = answer(&plane, method, &path, &plane.admin).await.status().as_u16();
            assert!([403, 404, 405].contains(&status), "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn the_page_lists_each_parameter_that_a_list_takes() {
    let plane = Plane::start().await;
    let page = page(&plane).await;
    let mut lists = 0;
    for (path, method, said) in operations(&page) {
        let described = said["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        let described: std::collections::BTreeSet<_> = described.collect();
        if method != "GET" || !path.starts_with("/keygate/v1/") || path.contains('{') || described.is_empty() {
            continue;
        }
        let refused = read(plane.request(&plane.admin, "GET", &format!("{path}?unheard=1"))).await.body;
        let known = refused["message"].as_str().unwrap().split_once("known are: ").unwrap().1;
        assert_eq!(described, known.split(", ").map(str::to_owned).collect(), "{path}");
        lists += 1;
    }
    assert_eq!(lists, 3);
}
