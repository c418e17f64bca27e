//! Which client names a mask matches.
//!
//! Names split on `.`; `?` is exactly one part, `*` one or more trailing parts, and what follows a `*` is ignored.

/// Whether a mask addresses one name only.
pub(crate) fn is_exact(mask: &str) -> bool {
    mask.split('.').all(|part| part != "?" && part != "*")
}

/// Whether a mask matches a name.
pub(crate) fn matches(mask: &str, name: &str) -> bool {
    let mut parts = name.split('.');
    for wanted in mask.split('.') {
        let part = parts.next();
        match (wanted, part) {
            (_, None) => return false,
            ("*", Some(_)) => return true,
            ("?", Some(_)) => {}
            (wanted, Some(part)) if wanted == part => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn oracle(mask: &[&str], name: &[&str]) -> bool {
        match (mask, name) {
            (["*", ..], name) => !name.is_empty(),
            ([], []) => true,
            (["?", mask @ ..], [_, name @ ..]) => oracle(mask, name),
            ([part, mask @ ..], [other, name @ ..]) => part == other && oracle(mask, name),
            _ => false,
        }
    }

    #[test]
    fn the_examples_of_the_protocol_hold() {
        assert!(matches("g.*.b", "g.a.c"));
        assert!(matches("*", "anybody"));
        assert!(matches("g.?", "g.a"));
        assert!(!matches("g.?", "g.a.c"));
        assert!(!matches("g.*", "g"));
        assert!(matches("g", "g"));
        assert!(!matches("g", "g%%1"));
        assert!(is_exact("g.a") && !is_exact("g.?") && !is_exact("*.a"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn masks_agree_with_the_definition(mask in r"([ab?*]?\.){0,3}[ab?*]?", name in r"([ab]?\.){0,3}[ab]?") {
            let split = |text: &'static str| -> Vec<&str> { text.split('.').collect() };
            let (mask, name): (&str, &str) = (mask.leak(), name.leak());
            prop_assert_eq!(matches(mask, name), oracle(&split(mask), &split(name)));
            if is_exact(mask) {
                prop_assert_eq!(matches(mask, name), mask == name);
            }
        }
    }
}
