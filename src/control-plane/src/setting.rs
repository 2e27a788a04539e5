//! What an operator may set while the server runs. Owns the names, defaults and meanings of all settings; it stores nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use crate::model::AccessMode;
use crate::name::Lifetime;
use crate::tls;

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

/// So long a login lives that was made in Portainer's way, unless [`LOGIN_TTL`] is shorter.
pub(crate) const PORTAINER_LOGIN_TTL: Setting<Lifetime> = Setting {
    name: "portainer-login-ttl-minutes",
    default: "480",
    about: "So many minutes a login lives at most that was made at /api/auth; it holds for logins made from then on",
    parse: LOGIN_TTL.parse,
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
        let parse = |address: &str| {
            let parsed = address.parse::<IpAddr>().map(|address| address.to_canonical());
            parsed.map_err(|_| format!("{address} is no IP address, such as 192.0.2.1 or 2001:db8::1"))
        };
        addresses.map(parse).collect::<Result<Vec<IpAddr>, _>>().and_then(|addresses| match addresses.len() {
            0..=64 => Ok(addresses),
            _ => Err("must be at most 64 addresses".to_owned()),
        })
    },
};

/// So long a token of name and secret lives at most; `None` for ever.
pub(crate) const TOKEN_MAX_TTL: Setting<Option<Lifetime>> = Setting {
    name: "auth-token-max-ttl-minutes",
    default: "0",
    about: "So many minutes a token of name and secret (Rancher 2) lives at most, 0 for ever; it holds for tokens made from then on",
    parse: minutes,
};

/// So long a login of Rancher 2 lives.
pub(crate) const SESSION_TTL: Setting<Lifetime> = Setting {
    name: "auth-user-session-ttl-minutes",
    default: "960",
    about: "So many minutes a login by Rancher 2's API lives; it holds for logins made from then on",
    parse: |text| minutes(text)?.ok_or_else(|| "must be more than 0: a login ends by itself".to_owned()),
};

/// Who signed the certificate of the one URL.
pub(crate) const CA_CERTS: Setting<String> = Setting {
    name: "cacerts",
    default: "",
    about: "Certificates, as PEM, by which clients of the one URL trust it; kubeconfig files carry them",
    parse: |text| match text.trim() {
        "" => Ok(String::new()),
        pem if pem.starts_with("-----BEGIN CERTIFICATE-----") && pem.len() <= 64 * 1024 => {
            let checked = tls::ensure_only_certificates(pem);
            checked
                .map(|()| format!("{pem}\n"))
                .map_err(|error| format!("must be certificates as PEM and nothing else: it {error}"))
        }
        _ => Err("must be certificates as PEM, which begin with -----BEGIN CERTIFICATE-----, or nothing".to_owned()),
    },
};

/// Whether kubeconfig files carry a token.
pub(crate) const KUBECONFIG_GENERATE: Setting<bool> = Setting {
    name: "kubeconfig-generate-token",
    default: "true",
    about: "Whether a kubeconfig file carries a token, true or false; without, kubectl asks for a login by keygate kubeconfig-login",
    parse: |text| match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    },
};

/// So long a token lives that a login for kubectl gives; `None` for ever.
pub(crate) const KUBECONFIG_TTL: Setting<Option<Lifetime>> = Setting {
    name: "kubeconfig-token-ttl-minutes",
    default: "960",
    about: "So many minutes a token lives that keygate kubeconfig-login gets, 0 for ever; changed only while kubeconfig-generate-token is false",
    parse: minutes,
};

/// Where clients reach the one URL.
pub(crate) const SERVER_URL: Setting<String> = Setting {
    name: "server-url",
    default: "",
    about: "The one URL of edge and control plane, such as https://host; kubeconfig files lead there. Empty: where they were asked for",
    parse: |text| {
        let url = text.trim_end_matches('/');
        let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        match authority {
            _ if url.is_empty() => Ok(String::new()),
            Some(authority) if !authority.is_empty() && authority.bytes().all(plain) => Ok(url.to_owned()),
            _ => Err("must be https:// (or http://), a host and perhaps a port, and nothing else".to_owned()),
        }
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
    /// The variable of the server's environment that goes before what is set: Rancher's settings have one.
    pub(crate) variable: Option<&'static str>,
    /// Says what would be accepted, unless the value is.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// A setting without its meaning; the variable of the server's environment is one of Rancher's.
macro_rules! known {
    ($setting:ident) => {
        known!($setting, None)
    };
    ($setting:ident from $variable:literal) => {
        known!($setting, Some($variable))
    };
    ($setting:ident, $variable:expr) => {
        Known {
            name: $setting.name,
            default: $setting.default,
            about: $setting.about,
            variable: $variable,
            check: |text| ($setting.parse)(text).map(drop),
        }
    };
}

/// All settings, by name.
pub(crate) const ALL: [Known; 13] = [
    known!(ACCESS_MODE),
    known!(TOKEN_MAX_TTL from "CATTLE_AUTH_TOKEN_MAX_TTL_MINUTES"),
    known!(SESSION_TTL from "CATTLE_AUTH_USER_SESSION_TTL_MINUTES"),
    known!(CA_CERTS from "CATTLE_CACERTS"),
    known!(ENVIRONMENT_URL),
    known!(KUBECONFIG_GENERATE from "CATTLE_KUBECONFIG_GENERATE_TOKEN"),
    known!(KUBECONFIG_TTL from "CATTLE_KUBECONFIG_TOKEN_TTL_MINUTES"),
    known!(LOGIN_ENABLED),
    known!(LOGIN_TTL),
    known!(PASSWORD_MIN_LENGTH),
    known!(PORTAINER_LOGIN_TTL),
    known!(SERVER_URL from "CATTLE_SERVER_URL"),
    known!(TRUSTED_PROXIES),
];

/// What the server's environment says of settings, by their names. Read once: it does not change while a process runs.
static FIXED: LazyLock<HashMap<&'static str, String>> = LazyLock::new(|| {
    let value = |known: &Known| known.variable.and_then(|variable| std::env::var(variable).ok()).filter(|text| !text.is_empty());
    ALL.iter().filter_map(|known| Some((known.name, value(known)?))).collect()
});

/// What the server's environment says of a setting, which goes before what is set.
pub(crate) fn fixed(name: &str) -> Option<&'static str> {
    FIXED.get(name).map(String::as_str)
}

/// Whether what the environment says can be used; the error names the variable.
pub(crate) fn check_environment() -> Result<(), String> {
    let wrong = |known: &Known| {
        let why = (known.check)(fixed(known.name)?).err()?;
        Some(format!("the variable {} {why}", known.variable.unwrap_or_default()))
    };
    ALL.iter().find_map(wrong).map_or(Ok(()), Err)
}

/// Finds a setting by its name.
pub(crate) fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.name == name)
}

/// Minutes, also with a fraction; none of them stands for ever.
fn minutes(text: &str) -> Result<Option<Lifetime>, String> {
    const MILLISECONDS: u64 = 60_000;
    const WRONG: &str = "must be a number of minutes from 0 to 52704000 (a hundred years), such as 60 or 1.5";
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(WRONG.to_owned());
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| WRONG.to_owned());
    let scale = fraction.bytes().fold(1_u64, |scale, _| scale.saturating_mul(10));
    let rest = number(fraction)?.saturating_mul(MILLISECONDS).div_ceil(scale);
    let milliseconds = number(whole)?.saturating_mul(MILLISECONDS).saturating_add(rest);
    if milliseconds > 52_704_000 * MILLISECONDS {
        return Err(WRONG.to_owned());
    }
    Ok(Lifetime::from_milliseconds(milliseconds))
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
    fn minutes_may_have_a_fraction() {
        let seconds = |text: &str| minutes(text).unwrap().map(|life| life.end(keygate_decision::UnixSeconds(0)).0);
        assert_eq!([seconds("0"), seconds("1.5"), seconds("0.01"), seconds("1440")], [None, Some(90), Some(1), Some(86_400)]);
    }

    #[test]
    fn rancher_2_settings_have_the_variables_that_rancher_gives_them() {
        for known in ALL {
            let named = format!("CATTLE_{}", known.name.to_uppercase().replace('-', "_"));
            assert!(known.variable.is_none_or(|variable| variable == named), "{}", known.name);
        }
        assert_eq!(ALL.iter().filter(|known| known.variable.is_some()).count(), 6);
        assert!(ALL.is_sorted_by_key(|known| known.name));
    }

    /// As some servers want their certificate.
    const WITH_KEY: &str =
        concat!(include_str!("api/tests/authority.pem"), "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");

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
            (
                "auth-token-max-ttl-minutes",
                &["0", "60", "1.5", "0.01", "52704000"],
                &["", "-1", "1h", "1.", ".5", "1e3", "52704001"],
            ),
            ("auth-user-session-ttl-minutes", &["960", "0.5"], &["", "0", "0.0"]),
            ("kubeconfig-generate-token", &["true", "False"], &["", "yes"]),
            ("kubeconfig-token-ttl-minutes", &["0", "960"], &["", "soon"]),
            (
                "cacerts",
                &["", include_str!("api/tests/authority.pem")],
                &[
                    "AA==",
                    "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
                    "-----BEGIN CERTIFICATE-----",
                    WITH_KEY,
                    concat!(include_str!("api/tests/authority.pem"), "and a remark\n"),
                ],
            ),
            (
                "server-url",
                &["", "https://host", "https://host:8443/", "http://[::1]:80"],
                &["host", "https://", "https://h/p", "ftp://h"],
            ),
            ("trusted-proxies", &["", "192.0.2.1", "192.0.2.1, ::1,"], &["localhost", "192.0.2.0/24", "192.0.2.1:80"]),
        ] {
            let check = find(name).unwrap().check;
            assert!(good.iter().all(|value| check(value).is_ok()), "{name}");
            assert!(bad.iter().all(|value| check(value).is_err()), "{name}");
        }
        // As connections are compared with them.
        let parsed = (TRUSTED_PROXIES.parse)("::ffff:192.0.2.1").unwrap();
        assert_eq!(parsed, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
