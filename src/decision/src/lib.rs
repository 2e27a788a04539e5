//! The pure decision: may the credential in this request reach what the request asks for, now?
//!
//! This crate owns the meaning of a credential, of a route and of a grant. It performs no I/O, reads no clock, draws no
//! randomness, knows no serialization format and logs nothing; it never panics and never answers "allow" by absence.
//!
//! One request, in order: [`Policy::read`] reads the header map ([`request`]), [`Policy::rule_on`] finds the rule for the path
//! ([`route`], [`path`]) and what it demands ([`ruling`]); the caller looks the credential ([`credential`]) up by its [`Digest`];
//! [`Demand::decide`] gives the [`Decision`]. [`Policy::screen`] is both at once, for those who are in no hurry.
//!
//! Whoever is in a hurry passes over the headers that nobody watches ([`watch`]), rules on a path once ([`rulings`]), and knows what was
//! found for a credential before ([`grants`], [`absent`]) by its [`fingerprint`].

pub mod absent;
mod browser;
pub mod carrier;
pub mod credential;
pub mod credentials;
pub mod decide;
pub mod digest;
pub mod environment;
pub mod explain;
pub mod fingerprint;
pub mod grant;
pub mod grants;
pub mod identity;
pub mod key;
pub mod locator;
pub mod named;
pub mod path;
pub mod policy;
pub mod query;
pub mod readiness;
pub mod reason;
pub mod request;
pub mod route;
pub mod ruling;
pub mod rulings;
pub mod target;
pub mod watch;

pub use carrier::{Carrier, Carriers, InvalidCarrier};
pub use decide::{Decision, Permit, decide};
pub use digest::Digest;
pub use environment::{EnvironmentId, EnvironmentRef, InvalidEnvironmentId};
pub use explain::Explanation;
pub use grant::{Access, AccountId, Grant, Holder, KeyId, Reach, UnixSeconds};
pub use identity::IdentityHeader;
pub use locator::{InvalidLocator, Locator, Places};
pub use policy::Policy;
pub use readiness::{InvalidReadinessPath, ReadinessPath};
pub use reason::Reason;
pub use request::{Header, Request};
pub use route::{InvalidTemplate, Rule, TargetKind, Template};
pub use ruling::{Check, Demand, Ruling, Screening};
pub use target::{Place, Target};
