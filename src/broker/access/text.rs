//! Access rules as serde reads them, from a configuration file for example.

use std::fmt;
use std::marker::PhantomData;

use nix::unistd::{Gid, Group, User};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::network::Network;
use super::pattern::{Grammar, NAMES, TOPICS};
use super::permission::{Permission, check_pattern};
use super::{AccessRules, ClientAccess, check_name};

impl<'de> Deserialize<'de> for AccessRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = AccessRules;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of client names and masks")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<AccessRules, M::Error> {
                let mut rules = AccessRules::default();
                while let Some((Name(name), entry)) = map.next_entry::<Name, Entry>()? {
                    rules = rules.client(name, entry.access()).map_err(M::Error::custom)?;
                }
                Ok(rules)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the rights of a client")]
struct Entry {
    hosts: Option<List<Network>>,
    users: Option<List<UserId>>,
    groups: Option<List<GroupId>>,
    #[serde(default)]
    message: List<Mask>,
    #[serde(default)]
    publish: List<Filter>,
    #[serde(default)]
    subscribe: List<Filter>,
    #[serde(default)]
    broadcast: List<Mask>,
}

impl Entry {
    fn access(self) -> ClientAccess {
        let mut access = ClientAccess::default()
            .message(self.message.permission(|mask| mask.0))
            .publish(self.publish.permission(|filter| filter.0))
            .subscribe(self.subscribe.permission(|filter| filter.0))
            .broadcast(self.broadcast.permission(|mask| mask.0));
        match self.hosts {
            None => {}
            Some(List::Any) => access = access.any_host(),
            Some(List::Only(networks)) => access = access.hosts(networks),
        }
        match self.users {
            None => {}
            Some(List::Any) => access = access.any_user(),
            Some(List::Only(users)) => access = access.users(users.into_iter().map(|user| user.0)),
        }
        match self.groups {
            None => {}
            Some(List::Any) => access = access.any_user(),
            Some(List::Only(groups)) => {
                access = access.groups([]);
                for group in groups {
                    access = access.groups([group.id]).users(group.members);
                }
            }
        }
        access
    }
}

/// A list, or the words for everything and nothing.
enum List<T> {
    Any,
    Only(Vec<T>),
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl<T> List<T> {
    fn permission(self, text: impl Fn(T) -> Box<str>) -> Permission {
        match self {
            Self::Any => Permission::Any,
            Self::Only(items) if items.is_empty() => Permission::None,
            Self::Only(items) => Permission::Only(items.into_iter().map(text).collect()),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = List<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list in brackets, \"any\" or \"none\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
                match text {
                    "any" => Ok(List::Any),
                    "none" => Ok(List::default()),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<List<T>, S::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(List::Only(list))
            }
        }

        deserializer.deserialize_any(Items(PhantomData))
    }
}

/// What is read from one text or number.
trait Item: Sized {
    const EXPECTED: &'static str;

    fn of_text(text: &str) -> Result<Self, String>;

    fn of_number(_number: u32) -> Option<Self> {
        None
    }
}

fn item<'de, D: Deserializer<'de>, T: Item>(deserializer: D) -> Result<T, D::Error> {
    struct Value<T>(PhantomData<T>);

    impl<T: Item> Visitor<'_> for Value<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(T::EXPECTED)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::of_text(text).map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            let item = u32::try_from(number).ok().and_then(T::of_number);
            item.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            let item = u32::try_from(number).ok().and_then(T::of_number);
            item.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }

    deserializer.deserialize_any(Value(PhantomData))
}

/// The name of an entry.
struct Name(Box<str>);

impl Item for Name {
    const EXPECTED: &'static str = "the name of a client or a mask";

    fn of_text(text: &str) -> Result<Self, String> {
        check_name(text).map_err(|fault| fault.to_string())?;
        Ok(Self(text.into()))
    }
}

struct Mask(Box<str>);

impl Item for Mask {
    const EXPECTED: &'static str = "the name of a client or a mask";

    fn of_text(text: &str) -> Result<Self, String> {
        pattern(text, &NAMES, b'.').map(Self)
    }
}

struct Filter(Box<str>);

impl Item for Filter {
    const EXPECTED: &'static str = "a topic or a topic filter";

    fn of_text(text: &str) -> Result<Self, String> {
        pattern(text, &TOPICS, b'/').map(Self)
    }
}

fn pattern(text: &str, grammar: &Grammar, separator: u8) -> Result<Box<str>, String> {
    check_pattern(text, grammar, separator).map_err(|fault| fault.to_string())?;
    Ok(text.into())
}

impl Item for Network {
    const EXPECTED: &'static str = "an IP address or a network, as in \"10.0.0.0/8\"";

    fn of_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|fault: super::NetworkFault| fault.to_string())
    }
}

struct UserId(u32);

impl Item for UserId {
    const EXPECTED: &'static str = "the name of a user, or a number (uid)";

    fn of_text(text: &str) -> Result<Self, String> {
        match User::from_name(text) {
            Ok(Some(user)) => Ok(Self(user.uid.as_raw())),
            Ok(None) => Err(format!("this system has no user named {text:?}")),
            Err(error) => Err(format!("the user {text:?} cannot be looked up: {error}")),
        }
    }

    fn of_number(number: u32) -> Option<Self> {
        Some(Self(number))
    }
}

/// A group, and the users whom the group database lists as its members.
struct GroupId {
    id: u32,
    members: Vec<u32>,
}

impl GroupId {
    fn of(group: &Group) -> Self {
        let users = group.mem.iter().filter_map(|name| User::from_name(name).ok().flatten());
        Self { id: group.gid.as_raw(), members: users.map(|user| user.uid.as_raw()).collect() }
    }
}

impl Item for GroupId {
    const EXPECTED: &'static str = "the name of a group, or a number (gid)";

    fn of_text(text: &str) -> Result<Self, String> {
        match Group::from_name(text) {
            Ok(Some(group)) => Ok(Self::of(&group)),
            Ok(None) => Err(format!("this system has no group named {text:?}")),
            Err(error) => Err(format!("the group {text:?} cannot be looked up: {error}")),
        }
    }

    fn of_number(number: u32) -> Option<Self> {
        let group = Group::from_gid(Gid::from_raw(number)).ok().flatten();
        Some(group.map_or(Self { id: number, members: Vec::new() }, |group| Self::of(&group)))
    }
}

macro_rules! read_as_items {
    ($($kind:ty)*) => {
        $(impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                item(deserializer)
            }
        })*
    };
}

// Not a blanket implementation: the trait is serde's.
read_as_items!(Name Mask Filter Network UserId GroupId);
