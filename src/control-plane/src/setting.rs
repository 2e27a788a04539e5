//! What an operator may set while the server runs. Owns the names, defaults and meanings of all settings; it stores nothing.

use std::net::IpAddr;

use crate::model::AccessMode;
use crate::name::Lifetime;

/// A setting whose value means a `T`.
#[derive(Debug)]
pub(crate) struct Setting<T> {
    pub(crate) name: &'static str,
    /// What holds while nothing is set; it parses.
    pub(crate) default: &'static str,
    /// What it does, in one sentence.
    pub(crate) about: &'static str,
    /// Parses a value; the error says what is accepted.
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

/// So long a login lives.
pub(crate) const LOGIN_TTL: Setting<Lifetime> = Setting {
    name: "login-ttl-minutes",
    default: "720",
    about: "So many minutes a login lives; it holds for logins made from then on",
    parse: |text| whole(text, 1, 365 * 24 * 60).and_then(|minutes| Lifetime::from_seconds(minutes * 60)),
};

/// So many characters a password that is set has at least.
pub(crate) const PASSWORD_MIN_LENGTH: Setting<u64> = Setting {
    name: "password-min-length",
    default: "12",
    about: "So many characters a password has at least; it holds for passwords set from then on",
    parse: |text| whole(text, 8, 128),
};

/// Whether logins pass. Without, they can still be made, to try a password, and pass once it is switched on.
pub(crate) const LOGIN_ENABLED: Setting<bool> = Setting {
    name: "login-enabled",
    default: "true",
    about: "Whether logins pass, true or false; keys pass in any case, and nothing passes without a credential",
    parse: |text| text.parse().map_err(|_| "must be true or false".to_owned()),
};

/// Who may log in of those whom a directory knows.
pub(crate) const ACCESS_MODE: Setting<AccessMode> = Setting {
    name: "access-mode",
    default: "unrestricted",
    about: "Who may log in: unrestricted, restricted or required; a local account may in each of them",
    parse: AccessMode::parse,
};

/// The addresses whose word is taken for where a request comes from.
pub(crate) const TRUSTED_PROXIES: Setting<Vec<IpAddr>> = Setting {
    name: "trusted-proxies",
    default: "",
    about: "Addresses, separated by commas, of proxies whose X-Forwarded-For says where an attempt to log in comes from",
    parse: |text| {
        let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
        let parse =
            |address: &str| address.parse().map_err(|_| format!("{address} is no IP address, such as 192.0.2.1 or 2001:db8::1"));
        addresses.map(parse).collect::<Result<Vec<IpAddr>, _>>().and_then(|addresses| match addresses.len() {
            0..=64 => Ok(addresses),
            _ => Err("must be at most 64 addresses".to_owned()),
        })
    },
};

/// Where people reach an environment, with [`ENVIRONMENT`] for its id; none if nobody said so.
pub(crate) const ENVIRONMENT_URL: Setting<Option<String>> = Setting {
    name: "environment-url",
    default: "",
    about: "Where an environment is reached, shown when a key of it is made, such as https://keys.example.com/v1/projects/{environment}",
    parse: |text| {
        if text.is_empty() {
            return Ok(None);
        }
        let graphic = text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic());
        let web = text.starts_with("https://") || text.starts_with("http://");
        let valid = graphic && web && text.matches(ENVIRONMENT).count() == 1;
        valid.then(|| Some(text.to_owned())).ok_or_else(|| format!("must be an http or https URL that holds {ENVIRONMENT} once"))
    },
};

/// What stands in [`ENVIRONMENT_URL`] for an environment's id.
pub(crate) const ENVIRONMENT: &str = "{environment}";

/// A setting whose meaning does not matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) about: &'static str,
    /// Says what would be accepted, unless the value is.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// All settings, by name.
pub(crate) const ALL: [Known; 6] = [
    known(&ACCESS_MODE, |text| (ACCESS_MODE.parse)(text).map(drop)),
    known(&ENVIRONMENT_URL, |text| (ENVIRONMENT_URL.parse)(text).map(drop)),
    known(&LOGIN_ENABLED, |text| (LOGIN_ENABLED.parse)(text).map(drop)),
    known(&LOGIN_TTL, |text| (LOGIN_TTL.parse)(text).map(drop)),
    known(&PASSWORD_MIN_LENGTH, |text| (PASSWORD_MIN_LENGTH.parse)(text).map(drop)),
    known(&TRUSTED_PROXIES, |text| (TRUSTED_PROXIES.parse)(text).map(drop)),
];

const fn known<T>(setting: &Setting<T>, check: fn(&str) -> Result<(), String>) -> Known {
    Known { name: setting.name, default: setting.default, about: setting.about, check }
}

/// Finds a setting by its name.
pub(crate) fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}

fn whole(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_and_every_name_is_known_once() {
        for known in ALL {
            assert_eq!((known.check)(known.default), Ok(()), "{}", known.name);
            assert_eq!(ALL.iter().filter(|other| other.name == known.name).count(), 1, "{}", known.name);
            assert!(find(known.name).is_some());
        }
        assert!(find("login-ttl").is_none());
    }

    #[test]
    fn values_are_checked() {
        for (name, good, bad) in [
            ("login-ttl-minutes", &["1", "525600"][..], &["0", "525601", "", "-1", "+1", "1.5", "12h"][..]),
            ("login-enabled", &["true", "false"], &["", "yes", "TRUE"]),
            ("access-mode", &["unrestricted", "restricted", "required"], &["", "open"]),
            (
                "environment-url",
                &["", "https://k.example/v1/projects/{environment}", "http://{environment}.k.example"],
                &["k.example/{environment}", "https://k.example", "ftp://k/{environment}", "https://{environment}/{environment}"],
            ),
            ("password-min-length", &["8", "128"], &["7", "129", "long"]),
            ("trusted-proxies", &["", "192.0.2.1", "192.0.2.1, ::1,"], &["localhost", "192.0.2.0/24", "192.0.2.1:80"]),
        ] {
            let check = find(name).unwrap().check;
            assert!(good.iter().all(|value| check(value).is_ok()), "{name}");
            assert!(bad.iter().all(|value| check(value).is_err()), "{name}");
        }
    }
}
