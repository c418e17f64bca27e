//! Whether filters and masks allow something: match it, or cover all that another one can match.

/// How addresses of one kind are written.
#[derive(Debug)]
pub(super) struct Grammar {
    separator: char,
    /// Exactly one part.
    one: &'static str,
    /// One or more trailing parts; what follows is ignored.
    rest: &'static str,
    /// Whether wildcards within a part are taken for a mistake; topics may well have theirs there.
    is_strict: bool,
}

/// Topics: `a/+/c`, `a/#`.
pub(super) const TOPICS: Grammar = Grammar { separator: '/', one: "+", rest: "#", is_strict: false };
/// Client names: `a.?.c`, `a.*`.
pub(super) const NAMES: Grammar = Grammar { separator: '.', one: "?", rest: "*", is_strict: true };

impl Grammar {
    /// Whether something follows what stands for all the rest: it would be ignored.
    pub(super) fn has_ignored_parts(&self, pattern: &str) -> bool {
        let mut parts = pattern.split(self.separator);
        parts.any(|part| part == self.rest) && parts.next().is_some()
    }

    /// Whether a wildcard is only a letter of a part, by mistake.
    pub(super) fn has_wildcards_within(&self, pattern: &str) -> bool {
        let has_one = |part: &str| part.contains(self.one) || part.contains(self.rest);
        self.is_strict && pattern.split(self.separator).any(|part| part.len() > 1 && has_one(part))
    }

    /// Whether any of the patterns matches an address; wildcards in the address itself stand for themselves.
    pub(super) fn matches(&self, patterns: &[Box<str>], address: &str) -> bool {
        patterns.iter().any(|pattern| self.matches_one(pattern, address))
    }

    /// Whether one pattern matches an address.
    pub(super) fn matches_one(&self, pattern: &str, address: &str) -> bool {
        let mut parts = address.split(self.separator);
        for wanted in pattern.split(self.separator) {
            match parts.next() {
                None => return false,
                Some(_) if wanted == self.rest => return true,
                Some(part) if wanted == self.one || wanted == part => {}
                Some(_) => return false,
            }
        }
        parts.next().is_none()
    }

    /// Whether every address that a pattern can match is matched by one of the patterns, not always the same.
    ///
    /// It goes through the pattern part by part with what is left of each of the patterns that still match. For a
    /// wildcard it tries a part that stands in none of them: only their wildcards match it, and these match any other
    /// part as well.
    pub(super) fn covers(&self, patterns: &[Box<str>], pattern: &str) -> bool {
        let mut left: Vec<_> = patterns.iter().map(|pattern| pattern.split(self.separator)).collect();
        for part in pattern.split(self.separator) {
            if part == self.rest {
                return self.cover_every_length(left);
            }
            let is_literal = part != self.one;
            let mut is_covered = false;
            left.retain_mut(|rest| match rest.next() {
                Some(wanted) if wanted == self.rest => {
                    is_covered = true;
                    true
                }
                Some(wanted) => wanted == self.one || (is_literal && wanted == part),
                None => false,
            });
            if is_covered {
                return true;
            }
        }
        left.iter_mut().any(|rest| rest.next().is_none())
    }

    /// Whether one or more parts that stand in no pattern are matched, however many they are.
    fn cover_every_length(&self, mut left: Vec<std::str::Split<'_, char>>) -> bool {
        while !left.is_empty() {
            let (mut is_covered, mut has_end) = (false, false);
            left.retain_mut(|rest| match rest.next() {
                Some(wanted) if wanted == self.rest => {
                    is_covered = true;
                    true
                }
                Some(wanted) if wanted == self.one => {
                    has_end |= rest.clone().next().is_none();
                    true
                }
                _ => false,
            });
            if is_covered {
                return true;
            }
            // Addresses of this length end here: one of the patterns has to do so, too.
            if !has_end {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every address of up to this many parts over this alphabet, the last of which stands in no pattern.
    const LONGEST: usize = 5;

    fn addresses(grammar: &Grammar) -> Vec<String> {
        let alphabet = ["a", "b", "", "z"];
        let mut all: Vec<String> = Vec::new();
        let mut longest: Vec<String> = alphabet.map(str::to_owned).to_vec();
        for _ in 0..LONGEST {
            all.extend_from_slice(&longest);
            let longer = |address: &String| alphabet.map(|part| format!("{address}{}{part}", grammar.separator));
            longest = longest.iter().flat_map(longer).collect();
        }
        all
    }

    /// Matching as the protocol defines it, in so many words.
    fn is_match(grammar: &Grammar, pattern: &[&str], address: &[&str]) -> bool {
        match (pattern, address) {
            ([first, ..], address) if *first == grammar.rest => !address.is_empty(),
            ([], []) => true,
            ([first, pattern @ ..], [part, address @ ..]) => {
                (*first == grammar.one || first == part) && is_match(grammar, pattern, address)
            }
            _ => false,
        }
    }

    fn matches_by_definition(grammar: &Grammar, pattern: &str, address: &str) -> bool {
        let split = |text| -> Vec<&str> { str::split(text, grammar.separator).collect() };
        is_match(grammar, &split(pattern), &split(address))
    }

    fn boxed(patterns: &[String]) -> Vec<Box<str>> {
        patterns.iter().map(|pattern| pattern.as_str().into()).collect()
    }

    /// Patterns have at most three parts, so that addresses of up to five tell all of them apart.
    fn agrees_with_the_definition(grammar: &Grammar, patterns: &[String], pattern: &str) -> Result<(), TestCaseError> {
        let allowed = boxed(patterns);
        let mut is_covered = true;
        for address in addresses(grammar) {
            let is_allowed = patterns.iter().any(|one| matches_by_definition(grammar, one, &address));
            prop_assert_eq!(grammar.matches(&allowed, &address), is_allowed, "{:?}", address);
            is_covered &= is_allowed || !matches_by_definition(grammar, pattern, &address);
        }
        prop_assert_eq!(grammar.covers(&allowed, pattern), is_covered);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn a_filter_is_covered_when_all_that_it_can_match_is_allowed(
            patterns in prop::collection::vec("([ab+#]?/){0,2}[ab+#]?", 0..5),
            pattern in "([ab+#]?/){0,2}[ab+#]?",
        ) {
            agrees_with_the_definition(&TOPICS, &patterns, &pattern)?;
        }

        #[test]
        fn a_mask_is_covered_when_all_that_it_can_match_is_allowed(
            patterns in prop::collection::vec(r"([ab?*]?\.){0,2}[ab?*]?", 0..5),
            pattern in r"([ab?*]?\.){0,2}[ab?*]?",
        ) {
            agrees_with_the_definition(&NAMES, &patterns, &pattern)?;
        }

        /// Sets that random ones rarely are: those which cover a `#` together and not one by one.
        #[test]
        fn filters_that_cover_only_together_are_found(
            patterns in prop::sample::subsequence(
                vec!["a/+", "a/+/#", "a/+/+", "a/+/+/#", "a/b/#", "a/#", "+/+", "+/+/+", "#"], 0..6),
            pattern in prop::sample::select(vec!["a/#", "a/+/#", "a/b/#", "+/#", "#", "a/+", "a/+/+", "a/b/+"]),
        ) {
            let patterns: Vec<String> = patterns.into_iter().map(str::to_owned).collect();
            agrees_with_the_definition(&TOPICS, &patterns, pattern)?;
        }
    }

    #[test]
    fn a_wildcard_does_not_slip_through_a_narrower_permission() {
        let covers = |patterns: &[&str], pattern| {
            TOPICS.covers(&patterns.iter().map(|pattern| (*pattern).into()).collect::<Vec<_>>(), pattern)
        };
        assert!(covers(&["a/#"], "a/+") && covers(&["a/#"], "a/b/#") && covers(&["a/+", "a/+/#"], "a/#"));
        assert!(!covers(&["a/+"], "a/#") && !covers(&["a/b"], "a/+") && !covers(&["a/#"], "#"));
        assert!(!covers(&["a/#"], "a") && !covers(&["a/#"], "+/b") && !covers(&[], "a"));
        assert!(!covers(&["+/#"], "#") && covers(&["+", "+/#"], "#") && covers(&["#"], "#/ignored"));
    }

    #[test]
    fn what_would_be_ignored_is_seen() {
        assert!(TOPICS.has_ignored_parts("a/#/b") && TOPICS.has_ignored_parts("#/"));
        assert!(!TOPICS.has_ignored_parts("a/#") && !TOPICS.has_ignored_parts("a#/b"));
        assert!(NAMES.has_ignored_parts("*.a") && !NAMES.has_ignored_parts("a.*"));
    }
}
