//! Who may connect under which name, and do what.
//!
//! The rules are a list of primary names and masks. For a client the entry of its exact name counts; without one, of the
//! masks that match it the most specific: read from the left, a literal part goes before a `?`, and a `?` before a `*`.
//! A secondary has the rights of its primary. Clients in the broker's own process are part of the program and are not
//! restricted.

mod answers;
mod client;
mod enforcement;
mod network;
mod pattern;
mod permission;
mod text;

use std::collections::HashMap;

use busway_net::wire::{Limits, NameFault, SECONDARY_SEPARATOR};
use foldhash::fast::RandomState;

pub(crate) use answers::Answers;
pub use client::ClientAccess;
pub(crate) use enforcement::Way;
pub use network::{Network, NetworkFault};
pub use permission::{PatternFault, Permission};

use super::masks;
use super::peer::{Peer, Transport};
use permission::check_pattern;

/// Access rules of a broker: who is not listed may not connect.
///
/// ```
/// use busway::broker::{AccessRules, ClientAccess, Permission};
///
/// # fn rules() -> Result<AccessRules, Box<dyn std::error::Error>> {
/// let camera = ClientAccess::default().users([1000]).publish(Permission::only(["camera/#"]));
/// let viewer = ClientAccess::default().hosts(["10.0.0.0/8".parse()?]).subscribe(Permission::only(["camera/+/video"]));
/// let rules = AccessRules::default().client("camera.*", camera)?.client("viewer", viewer)?;
/// # Ok(rules)
/// # }
/// # rules().unwrap();
/// ```
///
/// They are read by serde, too: a map of names and masks, each with a map of `hosts`, `users`, `groups`, `message`,
/// `publish`, `subscribe` and `broadcast`, which are lists, `"any"` or `"none"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    exact: HashMap<Box<str>, ClientAccess, RandomState>,
    /// The most specific first.
    masks: Vec<(Box<str>, ClientAccess)>,
}

/// Why an entry cannot stand in access rules.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessFault {
    /// No client can have this name.
    #[error("no client can be named {name:?}: {fault}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        fault: NameFault,
    },
    /// Rights are given to primaries.
    #[error("{name:?} is a secondary client, which has the rights of its primary: name that one")]
    Secondary {
        /// The name.
        name: String,
    },
    /// The name is listed already.
    #[error("{name:?} is listed twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A filter or mask is wrong.
    #[error(transparent)]
    Pattern(#[from] PatternFault),
}

busway_net::debug_as_display!(AccessFault);

impl AccessRules {
    /// Lists a client by its primary name, or all whose names match a mask.
    ///
    /// # Errors
    /// When the name, or a filter or mask in what it may do, could not be meant.
    pub fn client(mut self, name: impl Into<Box<str>>, access: ClientAccess) -> Result<Self, AccessFault> {
        let name = name.into();
        check_name(&name)?;
        access.check()?;
        if masks::is_exact(&name) {
            if self.exact.contains_key(&name) {
                return Err(AccessFault::Twice { name: name.into() });
            }
            self.exact.insert(name, access);
        } else {
            match self.masks.binary_search_by(|(mask, _)| specificity(mask).cmp(specificity(&name))) {
                Ok(_) => return Err(AccessFault::Twice { name: name.into() }),
                Err(place) => self.masks.insert(place, (name, access)),
            }
        }
        Ok(self)
    }

    /// Whether nobody is listed: then nobody may connect.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.masks.is_empty()
    }

    /// What counts for a client, by its primary name.
    fn of(&self, primary: &str) -> Option<&ClientAccess> {
        self.exact.get(primary).or_else(|| {
            let mut masks = self.masks.iter();
            masks.find(|(mask, _)| masks::matches(mask, primary)).map(|(_, access)| access)
        })
    }
}

/// What the rules in force say of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rights<'a> {
    /// There are no rules, or none for it.
    Free,
    /// These.
    Given(&'a ClientAccess),
    /// It is not listed.
    Nothing,
}

impl<'a> Rights<'a> {
    /// Those of a peer.
    pub(crate) fn of(rules: Option<&'a AccessRules>, peer: &Peer) -> Self {
        match rules {
            Some(rules) if peer.transport != Transport::Internal => {
                rules.of(peer.name.primary()).map_or(Self::Nothing, Self::Given)
            }
            _ => Self::Free,
        }
    }

    /// Whether the peer may be connected.
    pub(crate) fn allow_connection(self, peer: &Peer) -> bool {
        self.allow(|access| access.allows_connection(peer.transport))
    }

    /// Whether it has the right to send messages to a name.
    fn allow_message(self, target: &str) -> bool {
        self.allow(|access| access.message.allows_name(target))
    }

    /// Whether the peer may subscribe.
    pub(crate) fn allow_subscription(self, filter: &str) -> bool {
        self.allow(|access| access.subscribe.allows_filter(filter))
    }

    /// Whether it has a right.
    fn allow(self, is_allowed: impl FnOnce(&ClientAccess) -> bool) -> bool {
        match self {
            Self::Free => true,
            Self::Given(access) => is_allowed(access),
            Self::Nothing => false,
        }
    }
}

fn check_name(name: &str) -> Result<(), AccessFault> {
    check_pattern(name, &pattern::NAMES, b'.')?;
    Limits::default().check_name(name).map_err(|fault| AccessFault::Name { name: name.to_owned(), fault })?;
    if name.contains(SECONDARY_SEPARATOR) {
        return Err(AccessFault::Secondary { name: name.to_owned() });
    }
    Ok(())
}

/// Sorts masks: of two that match the same name, the more specific comes first.
fn specificity(mask: &str) -> impl Iterator<Item = (u8, &str)> {
    mask.split('.').map(|part| match part {
        "?" => (1, part),
        "*" => (2, part),
        literal => (0, literal),
    })
}

fn primary_of(name: &str) -> &str {
    name.split(SECONDARY_SEPARATOR).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(names: &[&str]) -> AccessRules {
        let add = |rules: AccessRules, name: &&str| {
            rules.client(*name, ClientAccess::default().publish(Permission::only([name]))).unwrap()
        };
        names.iter().fold(AccessRules::default(), add)
    }

    #[test]
    fn an_exact_name_goes_before_masks_and_a_specific_mask_before_others() {
        let rules = rules(&["*", "?.b", "a.*", "a.?", "a.b", "a.?.c", "?"]);
        let entry = |name: &str| {
            let access = rules.of(name).expect("the last mask matches everybody");
            ["a.b", "a.?", "a.?.c", "a.*", "?", "?.b", "*"].into_iter().find(|mask| access.publish.allows_topic(mask))
        };
        for (name, expected) in [
            ("a.b", "a.b"),
            ("a.x", "a.?"),
            ("a.x.c", "a.?.c"),
            ("a.x.d", "a.*"),
            ("a", "?"),
            ("x.b", "?.b"),
            ("x.c", "*"),
        ] {
            assert_eq!(entry(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_mask_allows_the_secondaries_of_whom_it_matches() {
        let access =
            ClientAccess::default().message(Permission::only(["a", "b.?"])).broadcast(Permission::only(["a", "b.*"]));
        for target in ["a", "a%%1", "b.x", "b.x%%1"] {
            assert!(access.message.allows_name(target) && access.broadcast.allows_mask(target), "{target}");
        }
        for target in ["b", "a.x", ".broker", "b.x.y"] {
            assert!(!access.message.allows_name(target), "{target}");
        }
        for mask in ["*", "?", "?.x", "a.*", "a.?"] {
            assert!(!access.broadcast.allows_mask(mask), "{mask}");
        }
    }

    #[test]
    fn entries_that_could_not_be_meant_are_refused() {
        let add = |name: &str| AccessRules::default().client(name, ClientAccess::default());
        for name in ["", ".broker", "a\0b", "a%%1", "a.*.b"] {
            assert!(add(name).is_err(), "{name:?}");
        }
        assert!(add("a").unwrap().client("a", ClientAccess::default()).is_err());
        assert!(add("a.?").unwrap().client("a.?", ClientAccess::default()).is_err());
        let wrong = [
            ClientAccess::default().publish(Permission::only(["a/#/b"])),
            ClientAccess::default().subscribe(Permission::only(["a\0b"])),
            ClientAccess::default().message(Permission::only(["*.b"])),
            ClientAccess::default().broadcast(Permission::only(["a.*.b"])),
        ];
        for access in wrong {
            assert!(AccessRules::default().client("a", access.clone()).is_err(), "{access:?}");
        }
    }
}
