//! Lists: filtered, sorted and paged, by whatever fields their things show.

use std::cmp::{Ordering, Reverse};

use serde_json::{Value, json};

use super::error::Error;
use super::request::{Asked, Kind};
use super::{list_of, resource};
use crate::dialect::Answer;
use crate::dialect::list::{Filters, as_text, page_url};

const USUAL_LIMIT: usize = 100;
const HIGHEST_LIMIT: usize = 1000;
/// So many things of a sorted list may come before a page: all of them are held until the last one is known.
const DEEPEST_SORTED: usize = 10_000;
/// Parameters that are no filters.
const OTHER: [&str; 9] = ["limit", "marker", "sort", "order", "projectId", "action", "_method", "include", "_"];

/// Answers with those of the things that the request asks for.
pub(super) fn answer(asked: &Asked, kind: Kind, things: Vec<Value>) -> Result<Answer, Error> {
    let mut gathered = Gathered::new(asked, kind)?;
    things.into_iter().for_each(|thing| gathered.take(thing));
    Ok(gathered.answer())
}

/// What a list is made of, thing by thing: it holds little more than the page that is asked for, however many things there are.
#[derive(Debug)]
pub(super) struct Gathered<'a> {
    asked: &'a Asked,
    kind: Kind,
    filters: Filters<'a>,
    /// By which field, and whether the last one comes first.
    sort: Option<(&'a str, bool)>,
    page: Page,
    things: Vec<Value>,
    total: usize,
}

impl<'a> Gathered<'a> {
    /// Reads what is asked for.
    pub(super) fn new(asked: &'a Asked, kind: Kind) -> Result<Self, Error> {
        let resource = resource::of(kind);
        let descending = asked.parameter("order").is_some_and(|order| order.eq_ignore_ascii_case("desc"));
        let sort = asked.parameter("sort").filter(|field| resource.all_fields().any(|own| own.name == *field));
        let page = Page::of(asked)?;
        // A page before it leads here all the same: who follows is told, and does not take the list for whole.
        if sort.is_some() && page.start > DEEPEST_SORTED {
            let why = format!("a sorted list is paged up to {DEEPEST_SORTED}: ask for less by filters, or leave sort out");
            return Err(Error::invalid("InvalidFormat", "marker", why));
        }
        Ok(Self {
            asked,
            kind,
            filters: filters(asked, resource)?,
            sort: sort.map(|field| (field, descending)),
            page,
            things: Vec::new(),
            total: 0,
        })
    }

    /// Takes a thing in, if it is asked for.
    pub(super) fn take(&mut self, thing: Value) {
        if !self.filters.take(&thing, passes) {
            return;
        }
        self.total += 1;
        let end = self.page.start.saturating_add(self.page.most);
        if self.sort.is_some() {
            self.things.push(thing);
            if self.things.len() >= end.saturating_mul(2).saturating_add(HIGHEST_LIMIT) {
                self.sort();
                self.things.truncate(end);
            }
        } else if self.total > self.page.start && self.total <= end {
            self.things.push(thing);
        }
    }

    /// Stable: equal ones stay as they came.
    fn sort(&mut self) {
        match self.sort {
            Some((field, false)) => self.things.sort_by_cached_key(|thing| Place::of(thing.get(field))),
            Some((field, true)) => self.things.sort_by_cached_key(|thing| Reverse(Place::of(thing.get(field)))),
            None => {}
        }
    }

    /// The list.
    pub(super) fn answer(self) -> Answer {
        Answer::ok(self.collection())
    }

    fn collection(mut self) -> Value {
        self.sort();
        if self.sort.is_some() {
            self.things = self.things.into_iter().skip(self.page.start).take(self.page.most).collect();
        }
        let mut collection = collection(self.asked, self.kind, &self.page, self.things, self.total);
        if let Some(fields) = collection.as_object_mut() {
            fields.insert("filters".to_owned(), self.filters.shown());
            if let Some((field, descending)) = self.sort {
                let order = if descending { "desc" } else { "asc" };
                fields.insert("sort".to_owned(), json!({"name": field, "order": order, "reverse": null}));
            }
        }
        collection
    }
}

fn filters<'a>(asked: &'a Asked, resource: &resource::Resource) -> Result<Filters<'a>, Error> {
    let may_be = asked.query.iter().filter(|(name, _)| !OTHER.contains(&name.as_str()));
    let filters = Filters::of(may_be, |field| resource.all_fields().any(|own| own.name == field));
    filters.map_err(|why| Error::invalid("InvalidOption", resource.plural, why))
}

fn passes(field: &Value, modifier: &str, wanted: &str) -> bool {
    let text = as_text(field);
    let same = |text: &String| text.eq_ignore_ascii_case(wanted);
    let order = |expected: &[Ordering]| {
        text.as_ref().is_some_and(|text| expected.contains(&Place::of_text(text).cmp(&Place::of_text(wanted))))
    };
    match modifier {
        "ne" => !text.as_ref().is_some_and(same),
        "null" => text.is_none(),
        "notnull" => text.is_some(),
        "prefix" => text.is_some_and(|text| text.to_lowercase().starts_with(&wanted.to_lowercase())),
        "like" => text.is_some_and(|text| is_like(&text.to_lowercase(), &wanted.to_lowercase())),
        "notlike" => !text.is_some_and(|text| is_like(&text.to_lowercase(), &wanted.to_lowercase())),
        "lt" => order(&[Ordering::Less]),
        "lte" => order(&[Ordering::Less, Ordering::Equal]),
        "gt" => order(&[Ordering::Greater]),
        "gte" => order(&[Ordering::Greater, Ordering::Equal]),
        // An unknown modifier must not show more than was asked for.
        _ => modifier == "eq" && text.as_ref().is_some_and(same),
    }
}

/// `%` stands for any text, as in SQL: the parts between follow one another, the first at the beginning, the last at the end.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('%') else { return text == pattern };
    let (middle, end) = rest.rsplit_once('%').unwrap_or(("", rest));
    let Some(inner) = text.strip_prefix(start).and_then(|text| text.strip_suffix(end)) else { return false };
    let mut left = inner;
    middle.split('%').all(|part| match left.split_once(part) {
        Some((_, after)) => {
            left = after;
            true
        }
        None => false,
    })
}

/// Where a field's value puts its thing in a list: what has none first, then numbers by their size, then texts whatever their case. One
/// order for all of them: a sort may panic over values of which each comes before the next and the last before the first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Nowhere,
    Number(i64),
    Text(String),
}

impl Place {
    fn of(value: Option<&Value>) -> Self {
        value.and_then(as_text).map_or(Self::Nowhere, |text| Self::of_text(&text))
    }

    fn of_text(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Text(text.to_lowercase()), Self::Number)
    }
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub(super) struct Page {
    /// How many things come before it.
    pub(super) start: usize,
    /// How many things it has at most.
    pub(super) most: usize,
    /// Whether the request says how many.
    is_asked: bool,
}

impl Page {
    fn of(asked: &Asked) -> Result<Self, Error> {
        let number = |name: &'static str| match asked.parameter(name) {
            None => Ok(None),
            Some(text) => text.parse::<i64>().map(Some).map_err(|_| Error::invalid("InvalidFormat", name, "must be a number")),
        };
        let limit = number("limit")?;
        let most = match limit {
            None => USUAL_LIMIT,
            // Whoever wants no limit, as Rancher's command line does, says less than one.
            Some(limit) => {
                usize::try_from(limit).ok().filter(|limit| (1..HIGHEST_LIMIT).contains(limit)).unwrap_or(HIGHEST_LIMIT)
            }
        };
        let start = number("marker")?.map_or(0, |marker| usize::try_from(marker).unwrap_or(0));
        Ok(Self { start, most, is_asked: limit.is_some() })
    }

    /// Where this page and others are. Nothing is said of pages if nobody asks and all fits into one.
    fn links(&self, asked: &Asked, url: &str, shown: usize, total: usize) -> Value {
        let next = self.start.saturating_add(shown);
        let partial = next < total || self.start > 0;
        if !self.is_asked && !partial {
            return Value::Null;
        }
        let at = |marker: usize| page_url(url, &asked.query, self.most, &marker.to_string());
        let previous = (self.start > 0).then(|| at(self.start.saturating_sub(self.most)));
        json!({
            "first": at(0), "previous": previous, "next": (next < total).then(|| at(next)),
            "limit": self.most, "total": total, "partial": partial,
        })
    }
}

/// The page that is asked for, if nothing else is: then storage can find it without reading the rest.
pub(super) fn plain_page(asked: &Asked, kind: Kind) -> Result<Option<Page>, Error> {
    let is_plain = |(name, _): &(String, String)| name != "sort" && !name.starts_with("_removed");
    let is_plain = asked.query.iter().all(is_plain) && filters(asked, resource::of(kind))?.is_empty();
    is_plain.then(|| Page::of(asked)).transpose()
}

/// Answers with one page of things, of so many.
pub(super) fn one_page(asked: &Asked, kind: Kind, page: &Page, things: Vec<Value>, total: usize) -> Answer {
    Answer::ok(collection(asked, kind, page, things, total))
}

fn collection(asked: &Asked, kind: Kind, page: &Page, things: Vec<Value>, total: usize) -> Value {
    let resource = resource::of(kind);
    let url = asked.base.url(&[resource.plural]);
    let pagination = page.links(asked, &url, things.len(), total);
    let mut collection = list_of(resource.id, &url, things);
    if let Some(fields) = collection.as_object_mut() {
        fields.insert("pagination".to_owned(), pagination);
    }
    collection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_mean_what_they_mean_in_rancher() {
        let text = json!("Ci-Runner");
        for (modifier, wanted, expected) in [
            ("eq", "ci-runner", true),
            ("eq", "ci", false),
            ("ne", "ci", true),
            ("prefix", "CI", true),
            ("like", "%run%", true),
            ("like", "run", false),
            ("like", "ci%er", true),
            ("like", "c%-%r%er", true),
            ("like", "%er%er", false),
            ("notlike", "%run%", false),
            ("null", "", false),
            ("notnull", "", true),
            ("unheard-of", "ci-runner", false),
        ] {
            assert_eq!(passes(&text, modifier, wanted), expected, "{modifier} {wanted}");
        }
        assert!(passes(&Value::Null, "null", "") && !passes(&Value::Null, "eq", "") && passes(&Value::Null, "ne", "x"));
        assert!(passes(&json!(10), "gt", "9") && !passes(&json!(10), "lt", "9"));
        assert!(passes(&json!("1a"), "gt", "9") && passes(&json!("Ab"), "lt", "ac"), "in the order of a sorted list");
    }

    fn asked(query: &str) -> Asked {
        let uri: axum::http::Uri = format!("/v1/apikeys?{query}").parse().unwrap();
        let none = axum::http::HeaderMap::new();
        let base = super::super::render::Base::of(&crate::dialect::Site::of(&none, false), uri.path());
        Asked::read(&axum::http::Method::GET, &uri, &none, b"", base).unwrap()
    }

    #[test]
    fn whatever_names_are_they_have_one_order() {
        // `9` before `10` as numbers, and `10` before `1a` before `9` as texts, would be no order.
        let names = [
            "11a", "2a", "12", "11", "13a", "2", "6", "5", "8", "1a", "10", "4a", "15a", "14", "7a", "1", "6a", "14a", "7", "13",
            "5a", "8a", "15", "16", "4", "16a", "3", "9a", "10a", "12a", "3a", "9", "",
        ];
        let sorted = |query: &str| {
            let asked = asked(query);
            let mut gathered = Gathered::new(&asked, Kind::ApiKey).unwrap();
            names.iter().for_each(|name| gathered.take(json!({"name": name})));
            gathered.take(json!({"name": null}));
            let body = gathered.collection();
            let names = body["data"].as_array().unwrap().iter().map(|thing| thing["name"].as_str().unwrap_or("-").to_owned());
            names.collect::<Vec<_>>()
        };
        let ascending = sorted("sort=name");
        let expected =
            ["-", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "", "10a", "11a"];
        assert_eq!(ascending[..20], expected);
        assert_eq!(sorted("sort=name&order=desc"), ascending.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_page_far_down_a_sorted_list_is_not_worth_holding_what_comes_before_it() {
        for (query, taken) in [
            ("sort=name&marker=10000", true),
            ("sort=name&marker=10001", false),
            ("sort=name&marker=9223372036854775807", false),
            ("marker=9223372036854775807", true),
        ] {
            assert_eq!(Gathered::new(&asked(query), Kind::ApiKey).is_ok(), taken, "{query}");
        }
    }

    #[test]
    fn a_page_of_many_is_found_without_holding_them_all() {
        for (query, first) in
            [("", 20), ("&sort=createdTS&order=desc", 4979), ("&sort=createdTS", 20), ("&createdTS_gte=100", 120)]
        {
            let asked = asked(&format!("limit=10&marker=20{query}"));
            let mut gathered = Gathered::new(&asked, Kind::ApiKey).unwrap();
            let mut most = 0;
            for number in 0..5000 {
                gathered.take(json!({"createdTS": number}));
                most = most.max(gathered.things.len());
            }
            assert!(most < 2000, "{most}");
            let body = gathered.collection();
            assert_eq!((&body["data"][0]["createdTS"], body["data"].as_array().unwrap().len()), (&json!(first), 10), "{query}");
            assert_eq!(body["pagination"]["total"], if query.contains("gte") { 4900 } else { 5000 });
        }
    }
}
