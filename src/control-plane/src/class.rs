//! What a token of name and secret is for, as far as its name says so: Rancher 2 names the tokens of its own parts by fixed patterns, and
//! makes them without an expiry. A class is a function of the name and nothing else: it gives no right and takes none.

use crate::model::Form;

/// The parts of Rancher 2 whose tokens are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Kubeconfig,
    KubectlShell,
    Agent,
    Compose,
    Helm,
    Pipeline,
    Telemetry,
    DrainNode,
}

/// Prefixes of names, with the class that they stand for.
const PREFIXES: [(&str, Class); 7] = [
    ("kubeconfig-", Class::Kubeconfig),
    ("kubectl-shell-", Class::KubectlShell),
    ("agent-", Class::Agent),
    ("compose-token-", Class::Compose),
    ("helm-token-", Class::Helm),
    ("telemetry-", Class::Telemetry),
    ("drain-node-", Class::DrainNode),
];
/// What stands anywhere in the name of a pipeline's token.
const PIPELINE: &str = "-pipeline";
/// Telemetry's token also has this name alone.
const TELEMETRY: &str = "telemetry";

impl Class {
    /// The class of a token, if its name says one.
    pub(crate) fn of(form: &Form) -> Option<Self> {
        let Form::Named(label) = form else { return None };
        let name = label.as_str();
        let by_prefix = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, class)| *class);
        by_prefix
            .or_else(|| (name == TELEMETRY).then_some(Self::Telemetry))
            .or_else(|| name.contains(PIPELINE).then_some(Self::Pipeline))
    }

    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kubeconfig => "kubeconfig",
            Self::KubectlShell => "kubectl-shell",
            Self::Agent => "agent",
            Self::Compose => "compose",
            Self::Helm => "helm",
            Self::Pipeline => "pipeline",
            Self::Telemetry => "telemetry",
            Self::DrainNode => "drain-node",
        }
    }

    /// What its tokens are for: how a token is described that nobody has described.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Kubeconfig => "Kubeconfig token",
            Self::KubectlShell => "Token for kubectl in the browser",
            Self::Agent => "Token of an agent",
            Self::Compose => "Token for compose",
            Self::Helm => "Token for Helm charts",
            Self::Pipeline => "Token of a project's pipeline",
            Self::Telemetry => "Telemetry token",
            Self::DrainNode => "Token for draining nodes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Label;

    #[test]
    fn a_class_is_a_function_of_the_name() {
        let label = |name: &str| Label::parse(name).unwrap();
        for (name, word) in [
            ("kubeconfig-user-7.c-abcde-x7k2p", "kubeconfig"),
            ("kubeconfig-user-vqkqt", "kubeconfig"),
            ("kubectl-shell-user-vqkqt", "kubectl-shell"),
            ("agent-user-vqkqt", "agent"),
            ("compose-token-x", "compose"),
            ("helm-token-x", "helm"),
            ("p-x7k2p-pipeline", "pipeline"),
            ("p-x7k2p-pipeline-2", "pipeline"),
            ("telemetry-x", "telemetry"),
            ("telemetry", "telemetry"),
            ("drain-node-user-vqkqt", "drain-node"),
        ] {
            assert_eq!(Class::of(&Form::Named(label(name))).map(Class::as_str), Some(word), "{name}");
        }
        for name in ["token-x7k2p", "kubeconfig", "pipeline", "my-agent-x", "Agent-x"] {
            assert_eq!(Class::of(&Form::Named(label(name))), None, "{name}");
        }
        assert_eq!(Class::of(&Form::Whole(label("agent-x"))), None, "only names say something");
    }
}
