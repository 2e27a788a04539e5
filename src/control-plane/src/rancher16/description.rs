//! What `/openapi.json` says of this dialect. All of it follows from the tables in `tables.rs`.

use serde_json::{Value, json};

use super::resource::{self, Resource};
use crate::dialect::described_body;
use crate::openapi::{Api, Body, Field, Operation};

/// What any request may be told.
const ERRORS: [u16; 9] = [400, 401, 403, 404, 405, 408, 413, 422, 503];
/// What a request that changes something may be told, too.
const CHANGE_ERRORS: [u16; 2] = [409, 429];
/// Bodies are read whatever they are said to be; these are what clients send.
const TYPES: &[&str] = &["application/json", "application/x-www-form-urlencoded"];

/// The dialect of Rancher 1.6, in both of its versions.
pub(crate) fn description() -> Api {
    let mut operations = Vec::new();
    for version in ["/v1", "/v2-beta"] {
        operations.push(operation("GET", version.to_owned(), "Shows where everything is", 200));
        for resource in resource::ALL.iter().chain([&resource::SCHEMA]) {
            of_resource(version, resource, &mut operations);
            if resource.is_in_projects() {
                of_resource(&format!("{version}/projects/{{projectId}}"), resource, &mut operations);
            }
        }
    }
    Api { name: "Rancher 1.6", carriers: &["basic", "bearer"], error: error(), operations }
}

fn of_resource(base: &str, resource: &Resource, operations: &mut Vec<Operation>) {
    let (id, plural) = (resource.id, resource.plural);
    let collection = format!("{base}/{}", plural.to_ascii_lowercase());
    let one = format!("{collection}/{{id}}");
    let open = resource.needs_no_credential();
    let mut add = |operation: Operation| operations.push(Operation { needs_credential: !open, ..operation });
    for method in resource.collection_methods {
        add(match *method {
            "POST" => Operation {
                body: Some(described_body(resource.fields, true, TYPES)),
                ..operation("POST", collection.clone(), &format!("Makes or saves a {id}"), 201)
            },
            _ => Operation { query: listing(), ..operation("GET", collection.clone(), &format!("Lists {plural}"), 200) },
        });
    }
    for method in resource.resource_methods {
        add(match *method {
            "PUT" => Operation {
                body: Some(described_body(resource.fields, false, TYPES)),
                ..operation("PUT", one.clone(), &format!("Edits a {id}"), 200)
            },
            "DELETE" if open => {
                let ended = operation("DELETE", one.clone(), "Ends the token that is shown", 204);
                Operation { errors: [ended.errors.as_slice(), &[500]].concat(), ..ended }
            }
            "DELETE" => operation("DELETE", one.clone(), &format!("Removes a {id}"), 200),
            _ => operation("GET", one.clone(), &format!("Shows a {id}"), 200),
        });
    }
    if !resource.actions.is_empty() {
        let names: Vec<&str> = resource.actions.iter().map(|action| action.name).collect();
        let input =
            described_body(resource.actions.iter().filter_map(|action| action.input).flat_map(|input| input.fields), true, TYPES);
        add(Operation {
            query: vec![Field { schema: json!({"type": "string", "enum": names}), ..Field::text("action", true) }],
            body: Some(Body { required: false, ..input }),
            ..operation("POST", one, &format!("Does something to a {id}"), 202)
        });
    }
}

fn operation(method: &'static str, path: String, summary: &str, success: u16) -> Operation {
    Operation {
        method,
        path,
        summary: summary.to_owned(),
        query: Vec::new(),
        body: None,
        success,
        errors: if method == "GET" { ERRORS.to_vec() } else { [&ERRORS[..], &CHANGE_ERRORS].concat() },
        headers: &[],
        needs_credential: true,
    }
}

/// How a list is paged and sorted. Each field of a resource is a filter, too, by its own name and by its name with a modifier.
fn listing() -> Vec<Field> {
    let number = |name| Field { schema: json!({"type": "integer", "minimum": 0}), ..Field::text(name, false) };
    let order = Field { schema: json!({"type": "string", "enum": ["asc", "desc"]}), ..Field::text("order", false) };
    vec![
        number("limit"),
        number("marker"),
        Field::text("sort", false),
        order,
        Field::text("name", false),
        Field::text("state", false),
    ]
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["id", "type", "links", "actions", "status", "code", "message", "detail"],
        "properties": {
            "id": {"type": "string", "nullable": true, "description": "To quote to people"},
            "type": {"type": "string", "enum": ["error"]},
            "links": {"type": "object"},
            "actions": {"type": "object"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "message": {"type": "string", "nullable": true},
            "detail": {"type": "string", "nullable": true, "description": "For people: what is wrong, and the way out"},
            "fieldName": {"type": "string", "description": "The field or parameter that is at fault"},
        },
    })
}
