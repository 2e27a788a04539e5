//! Why a request is refused, and exactly what its sender is told. Nothing here names a key, a path or a header's value.

/// Why a request is refused. The order of the variants is the order in which they are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The filter's configuration is unusable, so nothing passes.
    Misconfigured,
    /// The path could be read as another one by an upstream.
    AmbiguousPath,
    /// No table has been received yet.
    NoTable,
    /// The control plane has not been heard for longer than the staleness limit.
    StaleTable,
    /// Two different credentials in one request.
    ConflictingCredentials,
    /// No credential at all.
    NoCredential,
    /// A credential that has no canonical string: malformed, doubled, over-long, of an unknown scheme.
    MalformedCredential,
    /// Not in the table: unknown, wrong secret, inactive, deleted, or its account is inactive.
    UnknownCredential,
    /// Its expiry has been reached.
    Expired,
    /// No rule covers the request.
    NoRule,
    /// The request names different environments in different places.
    EnvironmentsDisagree,
    /// A browser's write by cookie, without the proof that its own page sent it.
    ForgedByBrowser,
    /// The credential is good but does not reach the target.
    OutOfScope,
    /// The credential reaches the environment only for reading.
    ReadOnly,
}

impl Reason {
    /// Every reason, for those who enumerate them (metrics, documentation).
    pub const ALL: [Self; 14] = [
        Self::Misconfigured,
        Self::AmbiguousPath,
        Self::NoTable,
        Self::StaleTable,
        Self::ConflictingCredentials,
        Self::NoCredential,
        Self::MalformedCredential,
        Self::UnknownCredential,
        Self::Expired,
        Self::NoRule,
        Self::EnvironmentsDisagree,
        Self::ForgedByBrowser,
        Self::OutOfScope,
        Self::ReadOnly,
    ];

    /// The HTTP status of the local reply.
    pub const fn status(self) -> u16 {
        match self {
            Self::Misconfigured | Self::NoTable | Self::StaleTable => 503,
            Self::AmbiguousPath | Self::ConflictingCredentials => 400,
            Self::NoCredential | Self::MalformedCredential | Self::UnknownCredential | Self::Expired => 401,
            Self::NoRule | Self::EnvironmentsDisagree | Self::ForgedByBrowser | Self::OutOfScope | Self::ReadOnly => 403,
        }
    }

    /// The JSON body of the local reply, without a trailing newline.
    pub const fn body(self) -> &'static str {
        match self {
            Self::Misconfigured => r#"{"details":"Service unavailable","message":"The filter is not configured"}"#,
            Self::NoTable | Self::StaleTable => {
                r#"{"details":"Service unavailable","message":"Authorization data is not available"}"#
            }
            Self::AmbiguousPath => r#"{"details":"Bad request","message":"The request path is ambiguous"}"#,
            Self::ConflictingCredentials => {
                r#"{"details":"Bad request","message":"The request carries two different credentials"}"#
            }
            Self::NoCredential | Self::MalformedCredential | Self::UnknownCredential | Self::Expired => {
                r#"{"details":"Unauthorized","message":"A valid authorization token is missing"}"#
            }
            Self::NoRule | Self::EnvironmentsDisagree | Self::ForgedByBrowser | Self::OutOfScope | Self::ReadOnly => {
                r#"{"details":"Unauthorized","message":"Access denied"}"#
            }
        }
    }

    /// A stable name for metrics, logs and Envoy's response code details.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Misconfigured => "misconfigured",
            Self::AmbiguousPath => "ambiguous_path",
            Self::NoTable => "no_table",
            Self::StaleTable => "stale_table",
            Self::ConflictingCredentials => "conflicting_credentials",
            Self::NoCredential => "no_credential",
            Self::MalformedCredential => "malformed_credential",
            Self::UnknownCredential => "unknown_credential",
            Self::Expired => "expired",
            Self::NoRule => "no_rule",
            Self::EnvironmentsDisagree => "environments_disagree",
            Self::ForgedByBrowser => "forged_by_browser",
            Self::OutOfScope => "out_of_scope",
            Self::ReadOnly => "read_only",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_of_scope_reply_is_byte_for_byte_the_promised_one() {
        assert_eq!(Reason::OutOfScope.status(), 403);
        assert_eq!(Reason::OutOfScope.body(), r#"{"details":"Unauthorized","message":"Access denied"}"#);
    }
}
