//! Client names.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use busway_net::wire::{Limits, NameFault, SECONDARY_SEPARATOR};

/// The name of a client: not empty, without NUL, without a leading dot.
///
/// `NAME%%N` is a secondary client of the primary `NAME`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName(Arc<str>);

impl ClientName {
    /// Parses a name.
    ///
    /// # Errors
    /// When no broker of these limits would take it.
    pub fn parse(name: &str, limits: &Limits) -> Result<Self, NameFault> {
        limits.check_name(name)?;
        Ok(Self(name.into()))
    }

    /// The broker's own name.
    #[cfg(feature = "broker")]
    pub(crate) fn broker() -> Self {
        Self(".broker".into())
    }

    /// The name without the suffix of a secondary.
    pub fn primary(&self) -> &str {
        self.0.split(SECONDARY_SEPARATOR).next().unwrap_or_default()
    }

    /// Whether this is a secondary client.
    pub fn is_secondary(&self) -> bool {
        self.0.contains(SECONDARY_SEPARATOR)
    }

    /// The text, shared.
    #[cfg(feature = "broker")]
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl Deref for ClientName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_is_what_stands_before_the_separator() {
        let name = |text| ClientName::parse(text, &Limits::default()).unwrap();
        assert_eq!(name("a.b").primary(), "a.b");
        assert!(!name("a.b").is_secondary());
        assert_eq!(name("a.b%%1%%2").primary(), "a.b");
        assert!(name("a%%1").is_secondary());
    }
}
