//! A generator of requests around the border: every word in some spelling, every place where an environment or a credential may stand.
//! What it makes is the same for one seed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::random::Random;

/// A request. Its header names are as they go out.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// The method.
    pub method: &'static str,
    /// What stands between method and version.
    pub target: Vec<u8>,
    /// The headers, without `host`.
    pub headers: Vec<(String, String)>,
}

/// The generator.
pub struct Spellings(Random);

const WORDS: [&str; 10] = ["v1", "v3", "projects", "1a5", "1a6", "settings", "exec", "api", "kubernetes", "x"];
const ENVIRONMENTS: [&str; 6] = ["1a5", "1a5", "1a6", "1a6", "1a5:p-1", "1a6:p-1"];
const STARTS: [&str; 7] = [
    "/v1/projects/1a5",
    "/v1/projects/1a5",
    "/v3/projects/1a5:p-1",
    "/v3/projects/1a5%3Ap-1",
    "/api/kubernetes/1a5",
    "/x",
    "/public",
];
const SEPARATORS: [&str; 46] = [
    "//",
    "%2f",
    "%2F",
    "%252F",
    "%25252f",
    "\\",
    "%5c",
    "%255c",
    "/./",
    "/../",
    "/../../",
    "/%2e/",
    "/%2e%2e/",
    "/.%2e/",
    "/%2e./",
    "/%252e%252E/",
    "/..;/",
    "/..;a=b/",
    "/.;/",
    "/..%2f",
    "%2f..%2f",
    "%2f%2e%2e%2f",
    "/..\\",
    "\\..\\",
    "/..%5c",
    "/x/../",
    "/x/%2e%2e/../",
    "/%c0%ae%c0%ae/",
    "/%e0%80%ae./",
    "/%u002e%u002e/",
    "%c0%af",
    ";/",
    ";x=y/",
    "?/",
    "#/",
    "%3f/",
    "%23/",
    "/..%3f/",
    "/..%23/",
    "%00/",
    "/..%00/",
    "/..%20/",
    "/%20../",
    "/..%09/",
    "/...",
    "/..%c2%a0/",
];
const METHODS: [&str; 10] = ["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

impl Spellings {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A path: now one that a key of `1a5` may ask for and more behind it, now anything.
    pub fn path(&mut self) -> Vec<u8> {
        let mut path = if self.0.one_in(2) {
            self.0.pick(&STARTS).to_owned()
        } else {
            let nouns = ["projects", "projects", "settings", "kubernetes"];
            let versions = ["v1", "v1", "v3", "api"];
            let (version, noun) = (self.0.pick(&versions), self.0.pick(&nouns));
            let words = [self.separator(), self.spelled(version), self.separator(), self.spelled(noun)];
            words.concat() + &self.separator() + &self.environment()
        };
        for _ in 0..self.0.below(5) {
            path += &self.separator();
            path += &if self.0.one_in(3) { self.environment() } else { self.word() };
        }
        let mut path = path.into_bytes();
        if self.0.one_in(8) {
            self.mutate(&mut path);
        }
        path
    }

    /// A whole request with one of these credentials (`access:secret`), mostly.
    pub fn request(&mut self, credentials: &[String]) -> Hostile {
        let mut target = self.path();
        let mut headers = Vec::new();
        let mut parameters = Vec::new();
        if !self.0.one_in(20) {
            let credential = self.0.pick(credentials);
            self.present(&credential, &mut headers, &mut parameters);
            if self.0.one_in(12) {
                let another = self.0.pick(credentials);
                self.present(&another, &mut headers, &mut parameters);
            }
        }
        self.name_elsewhere(&mut headers, &mut parameters);
        self.claim(&mut headers);
        if !parameters.is_empty() {
            let separator = if self.0.one_in(4) { ";" } else { "&" };
            target.push(if target.contains(&b'?') { b'&' } else { b'?' });
            target.extend_from_slice(parameters.join(separator).as_bytes());
        }
        if self.0.one_in(50) {
            target.splice(..0, *b"http://edge");
        }
        Hostile { method: self.0.pick(&METHODS), target, headers }
    }

    fn present(&mut self, credential: &str, headers: &mut Vec<(String, String)>, parameters: &mut Vec<String>) {
        match self.0.below(7) {
            0 => headers.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(credential)))),
            1 => headers.push(("Authorization".to_owned(), format!("bearer {credential}"))),
            2 => headers.push(("cookie".to_owned(), format!("a=b; {}={credential}; c=d", self.in_some_case("token")))),
            3 => parameters.push(format!("{}={credential}", self.parameter("x-api-key"))),
            4 => headers.push(("authorization".to_owned(), credential.to_owned())),
            _ => headers.push((self.in_some_case("x-api-key"), credential.to_owned())),
        }
    }

    fn name_elsewhere(&mut self, headers: &mut Vec<(String, String)>, parameters: &mut Vec<String>) {
        let environment = self.0.pick(&["1a5", "1a5", "1a6"]);
        match self.0.below(12) {
            0 => {
                let name = if self.0.one_in(4) { "x_api-project_id" } else { "x-api-project-id" };
                headers.push((self.in_some_case(name), environment.to_owned()));
            }
            1 => parameters.push(format!("{}={}", self.spelled("projectId"), self.spelled(environment))),
            2 => parameters.push(format!(
                "{}=%7b\"{}\":\"{environment}\"}}",
                self.spelled("filters"),
                self.in_some_case("EndpointID")
            )),
            3 => parameters.push(format!("p=/../{environment}&_method=DELETE")),
            _ => {}
        }
    }

    fn claim(&mut self, headers: &mut Vec<(String, String)>) {
        let (name, value) = match self.0.below(30) {
            0 => ("x-keygate-environment", "1a6"),
            1 => ("x-keygate-key", "1"),
            2 => ("X_KeyGate_Account", "1"),
            3 => ("x-original-url", "/v1/projects/1a6/x"),
            4 => ("X-Rewrite-Url", "/v1/settings/x"),
            5 => ("x-http-method-override", "DELETE"),
            6 => ("x_api-key", "any:thing"),
            _ => return,
        };
        headers.push((name.to_owned(), value.to_owned()));
    }

    /// A parameter's name, in a spelling that every upstream takes for it.
    fn parameter(&mut self, name: &str) -> String {
        if self.0.one_in(3) { self.encoded(name, "%") } else { self.in_some_case(name) }
    }

    fn environment(&mut self) -> String {
        let environment = self.0.pick(&ENVIRONMENTS);
        self.spelled(environment)
    }

    fn word(&mut self) -> String {
        let word = self.0.pick(&WORDS);
        self.spelled(word)
    }

    fn separator(&mut self) -> String {
        (if self.0.below(10) < 8 { "/" } else { self.0.pick(&SEPARATORS) }).to_owned()
    }

    /// A word as it is, mostly; or in other letters, in the singular, encoded up to three times, with a parameter.
    fn spelled(&mut self, word: &str) -> String {
        match self.0.below(40) {
            0 => word.to_uppercase(),
            1 => self.in_some_case(word),
            2 => word.trim_end_matches('s').to_owned(),
            3 => self.encoded(word, "%"),
            4 => self.encoded(word, "%25"),
            5 => self.encoded(word, "%2525"),
            6 => word.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            7 => format!("{word};a=b"),
            8 => format!("{word}%3b"),
            9 => format!("{word}%20"),
            10 => self.encoded(word, "%u00"),
            11 => self.encoded(word, "%").replace("%6a", "%6:").replace("%6f", "%6?"),
            _ => word.to_owned(),
        }
    }

    fn encoded(&mut self, word: &str, percent: &str) -> String {
        let chosen = self.0.below(word.len());
        let letters = word.bytes().enumerate();
        letters
            .map(|(index, byte)| if index == chosen { format!("{percent}{byte:02x}") } else { char::from(byte).to_string() })
            .collect()
    }

    fn in_some_case(&mut self, word: &str) -> String {
        word.chars()
            .map(|letter| if self.0.one_in(2) { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() })
            .collect()
    }

    /// Changes a byte, mostly to one that means something; never to a line's end, which would end the request line.
    fn mutate(&mut self, path: &mut Vec<u8>) {
        let new = if self.0.one_in(4) { self.0.below(256) as u8 } else { self.0.pick(b"/%.;\\:?#25eEfF+~*@,=&|") };
        let new = if matches!(new, b'\r' | b'\n') { 0 } else { new };
        let place = self.0.below(path.len());
        match self.0.below(3) {
            0 => path[place] = new,
            1 => path.insert(place, new),
            _ => drop(path.remove(place)),
        }
    }
}
