//! The version itself and its `schemas`: what schema-driven clients build their calls from. All of it follows from the tables in
//! `resource.rs`.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::request::Asked;
use super::resource::{self, Operation, Resource, Verb};
use crate::dialect::Answer;
use crate::dialect::field::{Field, Write};

/// What the version shows: where everything is. A POST asks the same, as in Rancher: there are clients that begin with one.
pub(super) fn root(asked: &Asked) -> Result<Answer, Error> {
    if ![Method::GET, Method::POST].contains(&asked.method) {
        return Err(Error::method_not_allowed(&["GET", "POST"]));
    }
    let mut links = Map::from_iter([("self".to_owned(), Value::from(asked.base.url(&[])))]);
    links.extend(here(asked).map(|resource| (resource.plural.to_owned(), asked.base.url(&[resource.plural]).into())));
    Ok(Answer::ok(json!({
        "type": "apiRoot", "baseType": "apiRoot", "apiVersion": version(asked), "links": links, "actions": {},
    })))
}

/// The schemas.
pub(super) fn answer(asked: &Asked) -> Result<Answer, Error> {
    if asked.method != Method::GET {
        return Err(Error::method_not_allowed(&["GET"]));
    }
    let resources = here(asked).map(|resource| (resource.id, resource.plural, schema(asked, resource)));
    let inputs = here(asked).flat_map(|resource| resource.operations).filter_map(|operation| operation.input);
    let inputs = inputs.map(|(id, fields)| (id, id, input_schema(asked, id, fields)));
    let mut all = resources.chain(inputs);
    match &asked.id {
        Some(wanted) => {
            let named = |(id, plural, _): &(&str, &str, Value)| [id, plural].iter().any(|own| own.eq_ignore_ascii_case(wanted));
            all.find(named).map(|(_, _, schema)| Answer::ok(schema)).ok_or_else(Error::not_found)
        }
        None => {
            let schemas: Vec<Value> = all.map(|(_, _, schema)| schema).collect();
            Ok(Answer::ok(json!({
                "type": "collection", "resourceType": "schema", "links": {"self": asked.base.url(&["schemas"])},
                "createTypes": {}, "actions": {}, "pagination": {"limit": 1000, "total": schemas.len()}, "sort": null,
                "filters": {}, "data": schemas,
            })))
        }
    }
}

fn here(asked: &Asked) -> impl Iterator<Item = &'static Resource> {
    let public = asked.base.is_public();
    resource::ALL.iter().filter(move |resource| resource.public == public)
}

fn version(asked: &Asked) -> Value {
    json!({"group": "management.cattle.io", "path": asked.base.version_path(), "version": "v3"})
}

fn schema(asked: &Asked, resource: &Resource) -> Value {
    let methods = |of_all: bool| {
        let is_here = |verb| match verb {
            Verb::List | Verb::Create => of_all,
            Verb::Show | Verb::Update | Verb::Remove => !of_all,
            Verb::Act(_) | Verb::ActOnAll(_) => false,
        };
        let verbs = resource.operations.iter().map(|operation| operation.verb).filter(move |verb| is_here(*verb));
        verbs.map(Verb::method).collect::<Vec<_>>()
    };
    let actions = |of_all: bool| -> Map<String, Value> {
        let named = |operation: &Operation| match operation.verb {
            Verb::Act(action) if !of_all => Some((action.to_owned(), action_of(operation))),
            Verb::ActOnAll(action) if of_all => Some((action.to_owned(), action_of(operation))),
            _ => None,
        };
        resource.operations.iter().filter_map(named).collect()
    };
    let filter = json!({"modifiers": ["eq", "ne", "in", "notin", "prefix", "null", "notnull"]});
    let filters: Map<String, Value> = resource.all_fields().map(|field| (field.name.to_owned(), filter.clone())).collect();
    let own = json!({
        "pluralName": resource.plural, "baseType": "schema",
        "links": {"self": asked.base.url(&["schemas", resource.id]), "collection": asked.base.url(&[resource.plural])},
        "collectionMethods": methods(true), "resourceMethods": methods(false), "collectionActions": actions(true),
        "resourceActions": actions(false), "collectionFilters": filters,
    });
    frame(asked, resource.id, resource.all_fields(), own)
}

fn action_of(operation: &Operation) -> Value {
    let input = operation.input.map(|(id, _)| id);
    let named = [("input", input), ("output", operation.output)];
    named.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?.into()))).collect::<Map<String, Value>>().into()
}

/// What an action takes is a type, too, though there are no things of it.
fn input_schema(asked: &Asked, id: &str, fields: &[Field]) -> Value {
    let own = json!({
        "pluralName": id, "baseType": "schema", "links": {"self": asked.base.url(&["schemas", id])}, "collectionMethods": [],
        "resourceMethods": [], "collectionActions": {}, "resourceActions": {}, "collectionFilters": {},
    });
    frame(asked, id, fields.iter(), own)
}

fn frame<'f>(asked: &Asked, id: &str, fields: impl Iterator<Item = &'f Field>, own: Value) -> Value {
    let fields: Map<String, Value> = fields.map(|own| (own.name.to_owned(), field(own))).collect();
    let mut schema = json!({
        "id": id, "type": "schema", "version": version(asked), "embed": false, "actions": {}, "collectionFields": {},
        "resourceFields": fields, "includeableLinks": [],
    });
    if let (Some(schema), Value::Object(own)) = (schema.as_object_mut(), own) {
        schema.extend(own);
    }
    schema
}

fn field(field: &Field) -> Value {
    json!({
        "type": field.kind, "create": field.write != Write::Never, "update": field.write == Write::Always,
        "required": field.required, "nullable": !field.required, "writeOnly": field.kind == "password",
    })
}
