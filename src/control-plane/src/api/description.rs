//! What `/openapi.json` says of the native API. Which paths and methods there are comes from the route table; what bodies and queries
//! hold stands here, for handlers read them field by field. A test compares the two.

use serde_json::{Value, json};

use super::route_table::Route;
use super::{Native, reply};
use crate::openapi::{Api, Body, Field, Operation};

/// What any request may be told.
const ERRORS: [u16; 9] = [400, 401, 403, 404, 405, 408, 413, 422, 503];
/// What a request that changes something may be told, too.
const CHANGE_ERRORS: [u16; 3] = [409, 415, 429];

/// The native API.
pub(super) fn of(native: &Native) -> Api {
    let Native { with_body, with_parameters, plain, without_credential, with_any_login } = native;
    let secured = [with_body, with_parameters, plain, with_any_login]
        .into_iter()
        .flat_map(|table| &table.routes)
        .map(|route| describe(route, true));
    let open = without_credential.routes.iter().map(|route| describe(route, false));
    let watched = ["/healthz", "/readyz"].map(|path| Operation {
        path: path.to_owned(),
        errors: vec![503],
        ..describe(&Route { method: "GET", path }, false)
    });
    Api {
        name: "Keygate",
        carriers: &["basic", "bearer", "apiKey"],
        error: error(),
        operations: secured.chain(open).chain(watched).collect(),
    }
}

fn describe(route: &Route, needs_credential: bool) -> Operation {
    let Route { method, path } = *route;
    let changes = method != "GET";
    let fields = body(route);
    let success = match method {
        "POST" if fields.is_some() => 201,
        "DELETE" if path != "/settings/{setting}" => 204,
        _ if path.ends_with("/password") => 204,
        _ => 200,
    };
    let mut query = query(route);
    if changes && needs_credential {
        query.push(Field { schema: json!({"type": "integer", "minimum": 0, "maximum": 300}), ..Field::text("wait", false) });
    }
    Operation {
        method,
        path: format!("/keygate/v1{path}"),
        summary: format!("{method} {path}"),
        query,
        body: fields.map(|fields| Body { fields, types: &["application/json"], required: true }),
        success,
        headers: if changes && needs_credential { &reply::CHANGE_HEADERS } else { &[] },
        errors: if changes { [&ERRORS[..], &CHANGE_ERRORS].concat() } else { ERRORS.to_vec() },
        needs_credential,
    }
}

/// The fields of a body; none if it takes none.
fn body(route: &Route) -> Option<Vec<Field>> {
    let needed = |name| Field::text(name, true);
    let optional = |name| Field { schema: json!({"type": "string", "nullable": true}), ..Field::text(name, false) };
    let one_of = |name, words: &[&str]| Field { schema: json!({"type": "string", "enum": words}), ..Field::text(name, true) };
    Some(match (route.method, route.path) {
        ("POST", "/accounts") => vec![needed("name"), one_of("kind", &["admin", "user"])],
        ("PUT", "/accounts/{account}/password") => vec![needed("password"), optional("oldPassword")],
        ("POST", "/environments") => vec![needed("id"), needed("name")],
        ("PATCH", "/environments/{environment}") => vec![needed("name")],
        ("PUT", "/environments/{environment}/members/{account}") => {
            vec![one_of("role", &["owner", "member", "restricted", "readonly"])]
        }
        ("POST", "/keys") => vec![
            optional("account"),
            optional("environment"),
            needed("name"),
            optional("description"),
            Field { schema: json!({"type": "integer", "minimum": 1, "nullable": true}), ..Field::text("ttlSeconds", false) },
        ],
        ("PATCH", "/keys/{key}") => vec![Field::text("name", false), optional("description")],
        ("POST", "/login") => vec![needed("name"), needed("password")],
        ("POST", "/proxies/{proxy}/tokens") => vec![optional("description")],
        ("PUT", "/settings/{setting}") => vec![needed("value")],
        ("POST", "/takeover") => vec![Field { schema: newcomers(), ..Field::text("accounts", true) }],
        _ => return None,
    })
}

/// Accounts of another system, with the digests of their tokens.
fn newcomers() -> Value {
    let text = json!({"type": "string"});
    let object = |properties: Value, required: &[&str]| json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties});
    let token = object(json!({"name": text, "prefix": text, "digest": text}), &["name", "prefix", "digest"]);
    let account = json!({
        "name": text, "kind": {"type": "string", "enum": ["admin", "user"]}, "existing": {"type": "boolean", "nullable": true},
        "tokens": {"type": "array", "items": token},
    });
    json!({"type": "array", "items": object(account, &["name", "kind", "tokens"])})
}

fn query(route: &Route) -> Vec<Field> {
    let number = |name, least: u32, most: u32| Field {
        schema: json!({"type": "integer", "minimum": least, "maximum": most}),
        ..Field::text(name, false)
    };
    let time = |name| Field { schema: json!({"type": "string", "format": "date-time"}), ..Field::text(name, false) };
    match (route.method, route.path) {
        ("GET", "/audit") => vec![
            time("since"),
            time("until"),
            Field::text("account", false),
            Field::text("key", false),
            Field::text("before", false),
            number("limit", 1, 1000),
        ],
        ("GET", "/keys") => {
            let yes_or_no = Field { schema: json!({"type": "boolean"}), ..Field::text("neverExpires", false) };
            vec![Field::text("account", false), Field::text("environment", false), yes_or_no]
        }
        ("GET", "/logins") => vec![Field::text("account", false)],
        ("GET", "/revisions/{revision}") => vec![number("wait", 0, 300)],
        _ => Vec::new(),
    }
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message", "field"],
        "properties": {
            "code": {"type": "string", "description": "A word that never changes"},
            "message": {"type": "string", "description": "For people: what is wrong, and the way out"},
            "field": {"type": "string", "nullable": true, "description": "The field or parameter that is at fault"},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::native;

    #[test]
    fn every_route_that_takes_a_body_or_parameters_is_described_and_no_other() {
        let native = native();
        for route in native.with_body.routes.iter().chain(&native.without_credential.routes) {
            assert!(body(route).is_some(), "{route:?}");
        }
        for route in &native.with_parameters.routes {
            assert!(!query(route).is_empty(), "{route:?}");
        }
        for route in &native.plain.routes {
            assert!(body(route).is_none() && query(route).is_empty(), "{route:?}");
        }
        let operations = of(&native).operations;
        let distinct: BTreeSet<_> = operations.iter().map(|operation| (operation.method, &operation.path)).collect();
        assert_eq!(distinct.len(), operations.len(), "each stands there once");
    }
}
