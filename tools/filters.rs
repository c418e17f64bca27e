//! Topic filters that look like mistakes. Brokers take them, as they always have.

/// What such a filter means; nothing for one that is as it should be.
pub(crate) fn odd_meaning(filter: &str) -> Option<String> {
    if filter.is_empty() {
        return Some("it is empty, so only the empty topic matches; # stands for all topics".to_owned());
    }
    let levels: Vec<&str> = filter.split('/').collect();
    let end = levels.iter().position(|level| *level == "#").unwrap_or(levels.len());
    let mut meanings = Vec::new();
    if end + 1 < levels.len() {
        meanings.push(format!("# stands for all that follows, so this is '{}'", levels[..=end].join("/")));
    }
    let only = |level| format!("so only topics with a level named '{level}' match");
    let is_part = |level: &&&str| level.len() > 1 && level.contains(['+', '#']);
    if let Some(level) = levels[..end].iter().find(is_part) {
        meanings.push(format!("+ and # stand for whole levels, {}", only(level)));
    }
    // As masks of names are written.
    let is_of_mask = |level: &&&str| level.contains('*') || **level == "?";
    if let Some(level) = levels[..end].iter().find(is_of_mask) {
        let words = "in topics + stands for one level and # for all that follow, * and ? for themselves";
        meanings.push(format!("{words}, {}", only(level)));
    }
    (!meanings.is_empty()).then(|| meanings.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_it_should_be_has_no_odd_meaning() {
        for filter in ["a", "a/b", "#", "+", "a/#", "+/a/+/#", "a//b", "/", "what?"] {
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
            ("*", &["level named '*'"]),
            ("a/*", &["level named '*'", "# for all that follow"]),
            ("a/?/b", &["level named '?'"]),
            ("", &["it is empty"]),
        ] {
            let meaning = odd_meaning(filter).unwrap_or_default();
            assert!(words.iter().all(|word| meaning.contains(word)), "{filter}: {meaning}");
        }
    }
}
