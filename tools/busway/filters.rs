//! Topic filters that look like mistakes. Brokers take them, as they always have.

/// What such a filter means; nothing for one that is as it should be.
pub(crate) fn odd_meaning(filter: &str) -> Option<String> {
    let levels: Vec<&str> = filter.split('/').collect();
    let end = levels.iter().position(|level| *level == "#").unwrap_or(levels.len());
    let mut meanings = Vec::new();
    if end + 1 < levels.len() {
        meanings.push(format!("# stands for all that follows, so this is '{}'", levels[..=end].join("/")));
    }
    let is_odd = |level: &&&str| level.len() > 1 && level.contains(['+', '#']);
    if let Some(level) = levels[..end].iter().find(is_odd) {
        meanings.push(format!("+ and # stand for whole levels, so only topics with a level named '{level}' match"));
    }
    (!meanings.is_empty()).then(|| meanings.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_it_should_be_has_no_odd_meaning() {
        for filter in ["a", "a/b", "#", "+", "a/#", "+/a/+/#", "", "a//b", "/"] {
            assert_eq!(odd_meaning(filter), None, "{filter}");
        }
    }

    #[test]
    fn what_looks_like_a_mistake_has_one() {
        for (filter, words) in [
            ("a/#/b", &["this is 'a/#'"][..]),
            ("#/b+", &["this is '#'"]),
            ("a+/b", &["level named 'a+'"]),
            ("a/b#", &["level named 'b#'"]),
            ("++/#/c", &["this is '++/#'", "level named '++'"]),
        ] {
            let meaning = odd_meaning(filter).unwrap_or_default();
            assert!(words.iter().all(|word| meaning.contains(word)), "{filter}: {meaning}");
        }
    }
}
