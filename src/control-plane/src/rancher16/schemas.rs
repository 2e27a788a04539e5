//! `schemas`: what schema-driven clients build their calls from. All of it follows from the tables in `tables.rs`.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::request::{Asked, Kind};
use super::resource::{self, Input, Resource};
use super::{list_of, render};
use crate::dialect::Answer;
use crate::dialect::field::{Field, Write};
use crate::permission::{Caller, Tie};

/// The schemas as this caller has them.
pub(super) fn answer(caller: &Caller, tie: Option<Tie>, asked: &Asked) -> Result<Answer, Error> {
    if asked.method != Method::GET || asked.link.is_some() {
        return Err(Error::method_not_allowed("schemas are only read"));
    }
    match &asked.id {
        Some(id) => {
            let named = |resource: &&Resource| [resource.id, resource.plural].iter().any(|own| own.eq_ignore_ascii_case(id));
            let resource = seen_by(caller, tie).find(named).map(|resource| schema(caller, tie, asked, resource));
            let input =
                || inputs(caller, tie).find(|input| input.id.eq_ignore_ascii_case(id)).map(|input| input_schema(asked, input));
            resource.or_else(input).map(Answer::ok).ok_or_else(Error::not_found)
        }
        None => {
            let resources = seen_by(caller, tie).map(|resource| schema(caller, tie, asked, resource));
            let inputs = inputs(caller, tie).map(|input| input_schema(asked, input));
            Ok(Answer::ok(list_of("schema", &asked.base.url(&["schemas"]), resources.chain(inputs).collect())))
        }
    }
}

/// The version itself, with links to what this caller sees.
pub(super) fn root(caller: &Caller, tie: Option<Tie>, asked: &Asked) -> Value {
    render::root(&asked.base, seen_by(caller, tie))
}

/// What schemas are themselves is one of them: clients find the list of all by it.
fn seen_by(caller: &Caller, tie: Option<Tie>) -> impl Iterator<Item = &'static Resource> {
    resource::ALL.iter().filter(move |resource| resource.is_seen_by(caller, tie)).chain([&resource::SCHEMA])
}

/// What the actions that this caller sees need to know: command lines make their options of it.
fn inputs(caller: &Caller, tie: Option<Tie>) -> impl Iterator<Item = Input> {
    seen_by(caller, tie).flat_map(move |resource| resource.actions_for(caller, tie)).filter_map(|action| action.input)
}

fn input_schema(asked: &Asked, input: Input) -> Value {
    let fields: Map<String, Value> = input.fields.iter().map(|own| (own.name.to_owned(), field(own, true))).collect();
    json!({
        "id": input.id, "type": "schema", "baseType": "schema", "pluralName": format!("{}s", input.id),
        "links": {"self": asked.base.url(&["schemas", &input.id.to_ascii_lowercase()])}, "actions": {}, "collectionMethods": [],
        "resourceMethods": [], "resourceActions": {}, "collectionActions": {}, "collectionFields": {}, "resourceFields": fields,
        "collectionFilters": {}, "includeableLinks": [],
    })
}

fn schema(caller: &Caller, tie: Option<Tie>, asked: &Asked, resource: &Resource) -> Value {
    let admin = caller.standing.sees_all();
    let fields: Map<String, Value> = resource.all_fields().map(|own| (own.name.to_owned(), field(own, admin))).collect();
    let filters: Map<String, Value> = resource
        .all_fields()
        .map(|own| {
            let modifiers = json!({"modifiers": ["eq", "ne", "like", "notlike", "prefix", "null", "notnull", "lt", "lte", "gt", "gte"], "options": null});
            (own.name.to_owned(), modifiers)
        })
        .collect();
    let actions: Map<String, Value> = resource
        .actions_for(caller, tie)
        .iter()
        .map(|action| (action.name.to_owned(), json!({"input": action.input.map(|input| input.id), "output": resource.id})))
        .collect();
    // No project is in another one.
    let base = if resource.kind == Kind::Project { asked.base.unscoped() } else { asked.base.clone() };
    json!({
        "id": resource.id, "type": "schema", "baseType": "schema", "pluralName": resource.plural,
        "links": {
            "self": asked.base.url(&["schemas", &resource.id.to_ascii_lowercase()]), "collection": base.url(&[resource.plural]),
        },
        "actions": {}, "collectionMethods": resource.collection_methods_for(caller, tie), "resourceMethods": resource.methods_for(caller, tie),
        "resourceActions": actions, "collectionActions": {}, "collectionFields": {}, "resourceFields": fields,
        "collectionFilters": filters, "includeableLinks": [],
    })
}

fn field(field: &Field, admin: bool) -> Value {
    let create = match field.write {
        Write::Never => false,
        Write::OnCreateByAdmins => admin,
        Write::OnCreate | Write::Always => true,
    };
    json!({
        "type": field.kind, "create": create, "update": field.write == Write::Always, "required": field.required,
        "nullable": !field.required, "unique": false, "default": null, "options": null, "readOnCreateOnly": field.kind == "password",
    })
}
