//! Fuzz target: a filter's configuration. What is accepted lets no weaker rule decide an environment's path, and is what it says.

use keygate_decision::{Carrier, Locator, Template};
use keygate_wire::FilterConfig;

/// The bytes are a configuration.
pub fn configuration(data: &[u8]) {
    let Ok(config) = FilterConfig::parse(data) else { return };
    let policy = config.policy;
    assert_eq!(policy.first_bypass(), None, "a weaker rule decides");
    assert!(!policy.rules.is_empty() && !policy.carriers.used.is_empty());
    for rule in &policy.rules {
        assert_eq!(Template::parse(&rule.template.to_string()).as_ref(), Ok(&rule.template), "{rule:?}");
    }
    for carrier in &policy.carriers.used {
        assert_eq!(Carrier::parse(&carrier.to_string()).as_ref(), Ok(carrier));
    }
    for carrier in &policy.carriers.stripped {
        assert_eq!(Carrier::parse_stripped(&carrier.to_string()).as_ref(), Ok(carrier));
    }
    for locator in &policy.locators {
        assert_eq!(Locator::parse(&locator.to_string()).as_ref(), Ok(locator));
    }
}
