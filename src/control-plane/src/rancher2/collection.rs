//! Lists: filtered, sorted and paged, by whatever fields their things show.

use serde_json::{Map, Value, json};

use super::error::Error;
use super::request::{Asked, Kind};
use super::resource::{self, Resource, Verb};
use crate::dialect::Answer;
use crate::dialect::list::{Filters, as_text, page_url};

const USUAL_LIMIT: usize = 1000;
const HIGHEST_LIMIT: usize = 10_000;

/// Answers with those of the things that the request asks for.
pub(super) fn answer(asked: &Asked, kind: Kind, mut things: Vec<Value>) -> Result<Answer, Error> {
    let resource = resource::of(kind);
    let is_known = |field: &str| resource.all_fields().any(|own| own.name == field);
    let filters = Filters::of(&asked.query, is_known);
    let filters = filters.map_err(|why| Error::invalid("InvalidOption", resource.plural, why))?;
    things.retain(|thing| filters.take(thing, passes));
    let sort = asked.parameter("sort").filter(|field| is_known(field));
    let descending = asked.parameter("order") == Some("desc");
    if let Some(field) = sort {
        // Stable: equal ones stay as they were made.
        things.sort_by_cached_key(|thing| thing.get(field).and_then(as_text).unwrap_or_default());
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
        fields.insert("filters".to_owned(), filters.shown());
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

fn passes(field: &Value, modifier: &str, wanted: &str) -> bool {
    let text = as_text(field).unwrap_or_default();
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

/// One page, and where the next one is.
fn page(asked: &Asked, resource: &Resource, things: Vec<Value>) -> Result<(Vec<Value>, Value), Error> {
    let limit = match asked.parameter("limit").map(str::parse::<i64>) {
        // Whoever wants no limit, as Rancher's command line does, says less than one.
        None | Some(Ok(..=0)) => USUAL_LIMIT,
        Some(Ok(limit)) => usize::try_from(limit).map_or(HIGHEST_LIMIT, |limit| limit.min(HIGHEST_LIMIT)),
        Some(Err(_)) => return Err(Error::invalid("InvalidFormat", "limit", "must be a number")),
    };
    let total = things.len();
    // A marker is the id of the first thing of a page; one that is gone begins from the start.
    let id = |thing: &Value| thing.get("id").and_then(Value::as_str).map(str::to_owned);
    let wanted = asked.parameter("marker");
    let start = wanted.and_then(|marker| things.iter().position(|thing| id(thing).as_deref() == Some(marker))).unwrap_or(0);
    let next = things.get(start.saturating_add(limit)).and_then(id);
    let mut pagination = json!({"limit": limit, "total": total});
    if let (Some(fields), Some(next)) = (pagination.as_object_mut(), next) {
        fields.insert("next".to_owned(), page_url(&asked.base.url(&[resource.plural]), &asked.query, limit, &next).into());
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
