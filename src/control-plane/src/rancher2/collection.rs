//! Lists: filtered, sorted and paged, by whatever fields their things show.

use serde_json::{Map, Value, json};

use super::Answer;
use super::error::Error;
use super::request::{Asked, Kind};
use super::resource::{self, Resource, Verb};

const USUAL_LIMIT: usize = 1000;
const HIGHEST_LIMIT: usize = 10_000;

/// Answers with those of the things that the request asks for.
pub(super) fn answer(asked: &Asked, kind: Kind, mut things: Vec<Value>) -> Result<Answer, Error> {
    let resource = resource::of(kind);
    let mut filters = Map::new();
    for (name, value) in &asked.query {
        if let Some((field, modifier)) = filter(resource, name) {
            things.retain(|thing| passes(thing.get(field).unwrap_or(&Value::Null), modifier, value));
            let said: &mut Value = filters.entry(field).or_insert_with(|| json!([]));
            if let Some(said) = said.as_array_mut() {
                said.push(json!({"modifier": modifier, "value": value}));
            }
        }
    }
    let sort = asked.parameter("sort").filter(|field| resource.all_fields().any(|own| own.name == *field));
    let descending = asked.parameter("order") == Some("desc");
    if let Some(field) = sort {
        // Stable: equal ones stay as they were made.
        things.sort_by_cached_key(|thing| thing.get(field).map(text).unwrap_or_default());
        if descending {
            things.reverse();
        }
    }
    let (things, pagination) = page(asked, resource, things)?;
    let order = if descending { "desc" } else { "asc" };
    let mut collection = frame(asked, resource);
    if let Some(fields) = collection.as_object_mut() {
        fields.insert("data".to_owned(), things.into());
        fields.insert("pagination".to_owned(), pagination);
        fields.insert("filters".to_owned(), filters.into());
        fields.insert("sort".to_owned(), json!({"name": sort, "order": order}));
    }
    Ok(Answer::ok(collection))
}

/// A list of a type, without anything in it.
pub(super) fn frame(asked: &Asked, resource: &Resource) -> Value {
    let url = asked.base.url(&[resource.plural]);
    let creates = resource.operations.iter().any(|operation| operation.verb == Verb::Create);
    let create_types = if creates { json!({resource.id: url}) } else { json!({}) };
    let actions: Map<String, Value> = resource
        .operations
        .iter()
        .filter_map(|operation| match operation.verb {
            Verb::ActOnAll(action) => Some((action.to_owned(), format!("{url}?action={action}").into())),
            _ => None,
        })
        .collect();
    json!({
        "type": "collection", "resourceType": resource.id, "links": {"self": url}, "createTypes": create_types,
        "actions": actions, "pagination": null, "sort": null, "filters": {}, "data": [],
    })
}

/// `name` or `name_ne`, of a field that the type has.
fn filter<'n>(resource: &Resource, parameter: &'n str) -> Option<(&'n str, &'n str)> {
    let known = |field: &str| resource.all_fields().any(|own| own.name == field);
    match parameter.rsplit_once('_') {
        _ if known(parameter) => Some((parameter, "eq")),
        Some((field, modifier)) if known(field) => Some((field, modifier)),
        _ => None,
    }
}

fn passes(field: &Value, modifier: &str, wanted: &str) -> bool {
    let text = text(field);
    match modifier {
        "eq" => text == wanted,
        "ne" => text != wanted,
        "in" => wanted.split(',').any(|wanted| text == wanted),
        "notin" => wanted.split(',').all(|wanted| text != wanted),
        "prefix" => text.starts_with(wanted),
        "null" => field.is_null(),
        "notnull" => !field.is_null(),
        // An unknown modifier must not show more than was asked for.
        _ => false,
    }
}

fn text(field: &Value) -> String {
    match field {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One page, and where the next one is.
fn page(asked: &Asked, resource: &Resource, things: Vec<Value>) -> Result<(Vec<Value>, Value), Error> {
    let limit = match asked.parameter("limit") {
        None => USUAL_LIMIT,
        Some(text) => text.parse::<usize>().map_err(|_| Error::invalid("InvalidFormat", "limit", "must be a number"))?,
    };
    let limit = if (1..=HIGHEST_LIMIT).contains(&limit) { limit } else { USUAL_LIMIT };
    let total = things.len();
    // A marker is the id of the first thing of a page; one that is gone begins from the start.
    let id = |thing: &Value| thing.get("id").and_then(Value::as_str).map(str::to_owned);
    let wanted = asked.parameter("marker");
    let start = wanted.and_then(|marker| things.iter().position(|thing| id(thing).as_deref() == Some(marker))).unwrap_or(0);
    let next = things.get(start.saturating_add(limit)).and_then(id);
    let at = |marker: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(asked.query.iter().filter(|(name, _)| name != "marker" && name != "limit"));
        query.append_pair("limit", &limit.to_string()).append_pair("marker", marker);
        format!("{}?{}", asked.base.url(&[resource.plural]), query.finish())
    };
    let mut pagination = json!({"limit": limit, "total": total});
    if let (Some(fields), Some(next)) = (pagination.as_object_mut(), next) {
        fields.insert("next".to_owned(), at(&next).into());
        fields.insert("partial".to_owned(), true.into());
    }
    Ok((things.into_iter().skip(start).take(limit).collect(), pagination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_mean_what_they_mean_in_rancher() {
        let name = json!("token-x7k2p");
        for (modifier, wanted, expected) in [
            ("eq", "token-x7k2p", true),
            ("eq", "token-", false),
            ("ne", "x", true),
            ("in", "a,token-x7k2p", true),
            ("notin", "a,token-x7k2p", false),
            ("prefix", "token-", true),
            ("null", "", false),
            ("notnull", "", true),
            ("unheard-of", "token-x7k2p", false),
        ] {
            assert_eq!(passes(&name, modifier, wanted), expected, "{modifier} {wanted}");
        }
        assert!(passes(&json!(true), "eq", "true") && passes(&Value::Null, "null", "") && !passes(&Value::Null, "eq", "x"));
    }
}
