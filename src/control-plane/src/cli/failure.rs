//! Why a command did not succeed, and the exit code that says so: 1 refused, failed or unusable, 2 usage, 3 not acknowledged.
//!
//! Code 3 means that the change was made all the same: whatever goes wrong between the change and the last proxy's
//! acknowledgement is a [`Failure::NotAcknowledged`]. Never holds a secret.

use std::io;
use std::process::ExitCode;

/// Why a command did not succeed, in words that name the way out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A setting is missing or cannot be used: nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// The control plane answered that it will not do it.
    #[error("{message}{}", field_unless_said(field.as_deref(), message))]
    Refused {
        /// What is wrong, in a word that never changes; empty if the control plane gave none.
        code: String,
        /// What is wrong and the way out, in the control plane's words or, where it is the command line's, in its own.
        message: String,
        /// The field that is wrong, if it is one.
        field: Option<String>,
    },
    /// A filter's configuration cannot be used or read.
    #[error("{0}")]
    Unusable(String),
    /// No answer came, or none that a control plane gives.
    #[error("{0}")]
    NoAnswer(String),
    /// The change was made, and a proxy may still decide by the table before it.
    #[error("{0}")]
    NotAcknowledged(String),
    /// The result could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

fn field_unless_said(field: Option<&str>, message: &str) -> String {
    match field {
        Some(field) if !message.starts_with(field) => format!(" (field: {field})"),
        _ => String::new(),
    }
}

impl Failure {
    /// What the process ends with.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused { .. } | Self::Unusable(_) | Self::NoAnswer(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::NotAcknowledged(_) => 3,
        })
    }
}
