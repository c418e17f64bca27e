//! To what a right extends.

use busway_net::wire::{Limits, PathFault};

use super::pattern::{Grammar, NAMES, TOPICS};

/// To what a right extends: everything, a list, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// Nothing.
    #[default]
    None,
    /// What these topic filters or name masks match.
    Only(Vec<Box<str>>),
    /// Everything.
    Any,
}

/// Why a filter or a mask cannot stand in an access rule.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternFault {
    /// No client could use it.
    #[error("{pattern:?} is no filter or mask: {fault}")]
    Path {
        /// The text.
        pattern: String,
        /// What is wrong.
        fault: PathFault,
    },
    /// Wildcards stand for whole parts of a name; within one they are letters, which nobody has in mind.
    #[error("{pattern:?}: '*' and '?' stand for whole parts of a name, as in \"group.*\"")]
    PartOfPart {
        /// The text.
        pattern: String,
    },
    /// The protocol ignores what follows `#` or `*`; in a rule that would allow more than it seems to.
    #[error("{pattern:?}: nothing may follow what stands for all the rest ('#' in topics, '*' in names)")]
    IgnoredParts {
        /// The text.
        pattern: String,
    },
}

busway_net::debug_as_display!(PatternFault);

impl Permission {
    /// What these topic filters or name masks match.
    pub fn only<I: IntoIterator<Item: AsRef<str>>>(patterns: I) -> Self {
        Self::Only(patterns.into_iter().map(|pattern| pattern.as_ref().into()).collect())
    }

    /// Whether a topic is allowed.
    pub(super) fn allows_topic(&self, topic: &str) -> bool {
        self.allows(|patterns| TOPICS.matches(patterns, topic))
    }

    /// Whether all topics that a filter can match are allowed.
    pub(super) fn allows_filter(&self, filter: &str) -> bool {
        self.allows(|patterns| TOPICS.covers(patterns, filter))
    }

    /// Whether a client is allowed. A mask allows the secondaries of the names that it matches, too.
    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.allows(|patterns| NAMES.matches(patterns, name) || NAMES.matches(patterns, super::primary_of(name)))
    }

    /// Whether all clients that a mask can match are allowed.
    pub(super) fn allows_mask(&self, mask: &str) -> bool {
        if super::masks::is_exact(mask) {
            return self.allows_name(mask);
        }
        self.allows(|patterns| NAMES.covers(patterns, mask))
    }

    fn allows(&self, is_allowed: impl FnOnce(&[Box<str>]) -> bool) -> bool {
        match self {
            Self::None => false,
            Self::Only(patterns) => is_allowed(patterns),
            Self::Any => true,
        }
    }

    pub(super) fn check_filters(&self) -> Result<(), PatternFault> {
        self.check(&TOPICS, b'/')
    }

    pub(super) fn check_masks(&self) -> Result<(), PatternFault> {
        self.check(&NAMES, b'.')
    }

    fn check(&self, grammar: &Grammar, separator: u8) -> Result<(), PatternFault> {
        let Self::Only(patterns) = self else { return Ok(()) };
        for pattern in patterns {
            check_pattern(pattern, grammar, separator)?;
        }
        Ok(())
    }
}

/// Whether a filter or mask means what it says.
pub(super) fn check_pattern(pattern: &str, grammar: &Grammar, separator: u8) -> Result<(), PatternFault> {
    if let Err(fault) = Limits::default().check_path(pattern.as_bytes(), separator) {
        return Err(PatternFault::Path { pattern: pattern.to_owned(), fault });
    }
    if grammar.has_wildcards_within(pattern) {
        return Err(PatternFault::PartOfPart { pattern: pattern.to_owned() });
    }
    if grammar.has_ignored_parts(pattern) {
        return Err(PatternFault::IgnoredParts { pattern: pattern.to_owned() });
    }
    Ok(())
}
