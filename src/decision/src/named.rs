//! Which environments a request names besides its path, in every spelling that some upstream may read, and which of them every upstream
//! reads. Whether the names agree is the policy's affair.

use crate::carrier::{is_same_word, is_spelled};
use crate::credential;
use crate::locator::{FORWARDED_HOSTS, JsonField, Locator, Places};
use crate::query;

/// So many parameters every upstream reads. Of more, PHP and Node read the first, and Go, beyond ten times as many, none.
const READ_BY_ALL: usize = 1000;

/// What a request names besides its path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedEnvironments {
    /// Place by place and in order, in every spelling that some upstream may read; `None` for what is there but cannot be read.
    pub named: Vec<Option<String>>,
    /// The places that name one so that every upstream reads it. What only some read must not contradict, but the others may take an
    /// environment from elsewhere, a form in the body for one.
    pub plainly: Places,
}

impl NamedEnvironments {
    /// Notes what the place of this index says.
    fn push(&mut self, index: usize, named: Option<String>, plain: bool) {
        if plain && named.is_some() {
            self.plainly = self.plainly.with(index);
        }
        self.named.push(named);
    }

    /// Reads one header, `:authority` included.
    pub fn read_header(&mut self, locators: &[Locator], name: &[u8], value: &[u8]) {
        for (index, locator) in locators.iter().enumerate() {
            match locator {
                Locator::Header(own) if is_spelled(name, own.as_bytes()) => self.push(index, text(value), name == own.as_bytes()),
                Locator::Opaque(own) if is_spelled(name, own.as_bytes()) => self.push(index, None, false),
                Locator::Basic(user) if name == b"authorization" => {
                    if let Some(named) = credential::environment_of_basic(value, user) {
                        self.push(index, Some(named), true);
                    }
                }
                Locator::Host(label) if name == b":authority" || FORWARDED_HOSTS.iter().any(|own| is_spelled(name, own)) => {
                    self.push(index, host_label(value, *label), name == b":authority");
                }
                Locator::Host(_) if is_spelled(name, b"forwarded") => {
                    if let Some(named) = forwarded_host(value) {
                        self.push(index, named, false);
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads a query.
    pub fn read_query(&mut self, locators: &[Locator], json: JsonField, query: &[u8]) {
        let in_query =
            |locator: &Locator| matches!(locator, Locator::Query(_) | Locator::QueryBeforeColon(_) | Locator::Json { .. });
        if !locators.iter().any(in_query) {
            return;
        }
        let are_few = query.split(|byte| *byte == b'&').count() <= READ_BY_ALL;
        let (mut spoke, mut silent) = (Places::default(), Places::default());
        // Go, for one, leaves out whatever stands between two `&` and holds a `;`.
        for piece in query.split(|byte| *byte == b'&') {
            let whole = are_few && !piece.iter().any(|byte| matches!(byte, b';' | b'?'));
            for (name, value) in query::parameters(piece) {
                for (index, locator) in locators.iter().enumerate() {
                    match self.read_parameter((index, locator), json, (&name, value), whole) {
                        Some(true) => spoke = spoke.with(index),
                        Some(false) => silent = silent.with(index),
                        None => {}
                    }
                }
            }
        }
        // Of two documents some upstreams take the first and others the last.
        if spoke.meet(silent) {
            self.named.push(None);
        }
    }

    /// Whether a parameter that the place is about names something, be it what cannot be read; a document may name nothing.
    fn read_parameter(
        &mut self,
        (index, locator): (usize, &Locator),
        json: JsonField,
        (name, value): (&[u8], &[u8]),
        whole: bool,
    ) -> Option<bool> {
        let is_plain = |own: &str| whole && name == own.as_bytes();
        match locator {
            Locator::Query(own) if is_same_word(name, own) => self.push(index, text(&query::decode(value)), is_plain(own)),
            Locator::QueryBeforeColon(own) if is_same_word(name, own) => {
                let named = text(&query::decode(value));
                self.push(index, named.and_then(|named| Some(named.split_once(':')?.0.to_owned())), is_plain(own));
            }
            Locator::Json { parameter, field } if is_same_word(name, parameter) => match json(&query::decode(value), field) {
                Some(None) => return Some(false),
                Some(Some(found)) => self.push(index, Some(found.text), found.plain && is_plain(parameter)),
                None => self.push(index, None, false),
            },
            _ => return None,
        }
        Some(true)
    }
}

/// A host in a `Forwarded` header cannot be read: `None` for it, nothing where there is none.
fn forwarded_host(value: &[u8]) -> Option<Option<String>> {
    value.to_ascii_lowercase().windows(4).any(|part| part == b"host").then_some(None)
}

fn text(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// Host names have no letter case: an environment in one is in lower case. What is more than a name and a port has no label: of a list
/// some readers take the first and others the last, and of `a@b` some take `a` and others `b`.
fn host_label(authority: &[u8], index: usize) -> Option<String> {
    let authority = std::str::from_utf8(authority).ok()?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !is_name || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    host.split('.').nth(index).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locator::FieldText;

    fn no_json(_: &[u8], _: &str) -> Option<Option<FieldText>> {
        None
    }

    #[test]
    fn only_what_all_read_is_named_plainly() {
        let locators = ["header:x-project", "query:endpointId", "host:0"].map(|text| Locator::parse(text).unwrap());
        let plainly = |query: &str, header: (&str, &str)| {
            let mut named = NamedEnvironments::default();
            named.read_query(&locators[1..2], no_json, query.as_bytes());
            named.read_header(&locators, header.0.as_bytes(), header.1.as_bytes());
            assert_eq!(named.named.len(), 1, "{query} {header:?}");
            named.plainly != Places::default()
        };
        let many = "a&".repeat(READ_BY_ALL);
        for (query, header, plain) in [
            ("endpointId=4", ("", ""), true),
            ("x&endpoint%49d=4&y", ("", ""), true),
            ("ENDPOINTID=4", ("", ""), false),
            ("endpointId=4;", ("", ""), false),
            ("x?endpointId=4", ("", ""), false),
            ("+endpointId=4", ("", ""), false),
            (&format!("{many}endpointId=4"), ("", ""), false),
            (&format!("endpointId=4&{many}"), ("", ""), false),
            ("", ("x-project", "1a5"), true),
            ("", ("x.project", "1a5"), false),
            ("", (":authority", "1a5.example"), true),
            ("", ("x-forwarded-host", "1a5.example"), false),
        ] {
            assert_eq!(plainly(query, header), plain, "{query} {header:?}");
        }
    }

    #[test]
    fn each_place_is_told_apart() {
        let locators = ["header:x-project", "query:project"].map(|text| Locator::parse(text).unwrap());
        let mut named = NamedEnvironments::default();
        named.read_header(&locators, b"x-project", b"4");
        assert!(named.plainly.meet(Places::default().with(0)) && !named.plainly.meet(Places::default().with(1)));
        named.read_query(&locators, no_json, b"project=4");
        assert!(named.plainly.meet(Places::default().with(1)) && named.plainly.meet(Places::ALL));
    }

    #[test]
    fn two_documents_of_which_one_names_nothing_agree_on_nothing() {
        // Stands in for JSON: a document is the environment that it names, or a minus.
        let json: JsonField = |value, _| {
            let text = String::from_utf8_lossy(value).into_owned();
            Some((text != "-").then_some(FieldText { text, plain: true }))
        };
        let locators = ["json:filters.E", "query:project"].map(|text| Locator::parse(text).unwrap());
        for (query, expected) in [
            ("filters=4", vec![Some("4")]),
            ("filters=-", vec![]),
            ("filters=-&filters=-", vec![]),
            ("filters=-&project=4", vec![Some("4")]),
            ("filters=-&filters=4", vec![Some("4"), None]),
            ("FILTERS=4&project=4&filters[]=-", vec![Some("4"), Some("4"), None]),
        ] {
            let mut named = NamedEnvironments::default();
            named.read_query(&locators, json, query.as_bytes());
            let found: Vec<_> = named.named.iter().map(Option::as_deref).collect();
            assert_eq!(found, expected, "{query}");
        }
    }

    #[test]
    fn a_project_names_the_environment_before_its_colon() {
        let locators = [Locator::parse("query:projectId:*").unwrap()];
        let mut named = NamedEnvironments::default();
        named.read_query(&locators, no_json, b"projectId=c-a:p-1&PROJECTID=c-b%3Ap:2&projectid=p-1&projectId=:p&projectId=");
        let expected = [Some("c-a"), Some("c-b"), None, Some(""), None];
        assert_eq!(named.named, expected.map(|name| name.map(str::to_owned)));
    }

    #[test]
    fn what_only_the_upstream_could_look_up_is_never_read_and_a_user_may_say_where() {
        let locators = ["opaque:x-key", "basic:by"].map(|text| Locator::parse(text).unwrap());
        let mut named = NamedEnvironments::default();
        // by:a, by=1a5:a, BY=:a and other:a
        for value in ["Basic Ynk6YQ==", "Basic Ynk9MWE1OmE=", "basic Qlk9OmE=", "Basic b3RoZXI6YQ=="] {
            named.read_header(&locators, b"authorization", value.as_bytes());
        }
        named.read_header(&locators, b"x_key", b"1a5");
        named.read_header(&locators, b"x-key", b"");
        assert_eq!(named.named, [Some("1a5".to_owned()), Some(String::new()), None, None]);
        assert!(locators[0].is_header(b"X_Key") && locators[1].is_header(b"authorization"));
    }

    #[test]
    fn a_host_that_an_upstream_may_believe_is_read_like_the_hosts_name() {
        let locators = [Locator::parse("host:0").unwrap()];
        let mut named = NamedEnvironments::default();
        for (name, value) in [
            (":authority", "1a5.example"),
            ("x-forwarded-host", "1A6.example:80"),
            ("x_forwarded_host", "1a7.example"),
            ("x-forwarded-host", "1a5.example, 1a6.example"),
            ("x-original-host", "1a8"),
            ("forwarded", "for=192.0.2.1;Host=1a6.example"),
            ("forwarded", "for=192.0.2.1;proto=https"),
            ("x-forwarded-for", "192.0.2.1"),
            // What stands before `@` is a user to some readers, and what follows `;` or `%00` is nothing.
            (":authority", "1a5.e@1a6.e"),
            (":authority", "1a5:80@1a6.e"),
            ("x-forwarded-host", "1a5.e;1a6"),
            (":authority", "1a5.e%00.1a6"),
            (":authority", "1a5.e:443"),
        ] {
            named.read_header(&locators, name.as_bytes(), value.as_bytes());
        }
        let expected = [Some("1a5"), Some("1a6"), Some("1a7"), None, Some("1a8"), None, None, None, None, None, Some("1a5")];
        assert_eq!(named.named, expected.map(|name| name.map(str::to_owned)));
    }

    #[test]
    fn every_place_is_read_and_what_cannot_be_read_is_not_overlooked() {
        let locators =
            ["header:x-project", "query:endpointId", "host:0", "json:filters.E"].map(|text| Locator::parse(text).unwrap());
        let mut named = NamedEnvironments::default();
        named.read_header(&locators, b"x-project", b"1a5");
        named.read_header(&locators, b"x_project", b"\xFF");
        named.read_header(&locators, b"x-other", b"1a7");
        named.read_header(&locators, b":authority", b"C-Abc.example.org:443");
        named.read_query(&locators, no_json, b"a=b&EndpointID=4&endpoint%49d=%35;endpointid=6&filter%C5%BF=x");
        named.read_query(&locators, no_json, b"endpo%C4%B1nt%C4%B0d=7&+endpointId=8&endpointId%00=9");
        named.read_query(&locators, no_json, b"endpointId[]=10&%5BendpointId%5D=11&endpointId%5D=12&a[endpointId]=13");
        let named_by_query =
            [Some("4"), Some("5"), Some("6"), None, Some("7"), Some("8"), Some("9"), Some("10"), Some("11"), Some("12")];
        let expected: Vec<_> = [Some("1a5"), None, Some("c-abc")].into_iter().chain(named_by_query).collect();
        assert_eq!(named.named, expected.into_iter().map(|name| name.map(str::to_owned)).collect::<Vec<_>>());
    }
}
