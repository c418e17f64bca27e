//! The configuration file.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use busway::broker::{AccessRules, ClientAccess};
use busway::{ShmTrust, SlowPolicy};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use crate::values;

/// The longest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// What a file says; every key has the name of its option.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    #[serde(default, deserialize_with = "endpoints")]
    pub(crate) bind: Option<Vec<String>>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) daemonize: Option<bool>,
    #[serde(default, deserialize_with = "workers")]
    pub(crate) workers: Option<u16>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) timeout: Option<Duration>,
    pub(crate) buf_size: Option<usize>,
    pub(crate) buf_ttl: Option<u64>,
    #[serde(default, deserialize_with = "positive")]
    pub(crate) queue_size: Option<usize>,
    #[serde(default, deserialize_with = "bytes")]
    pub(crate) queue_bytes: Option<usize>,
    #[serde(default, deserialize_with = "policy")]
    pub(crate) slow_receivers: Option<SlowPolicy>,
    pub(crate) slow_receivers_by_name: Option<Vec<NamedPolicy>>,
    #[serde(default, deserialize_with = "wait_seconds")]
    pub(crate) max_wait: Option<Duration>,
    #[serde(default, deserialize_with = "payload_bytes")]
    pub(crate) max_payload: Option<usize>,
    #[serde(default, deserialize_with = "positive")]
    pub(crate) max_clients: Option<usize>,
    #[serde(default, deserialize_with = "positive")]
    pub(crate) max_subscriptions: Option<usize>,
    #[serde(default, deserialize_with = "mode")]
    pub(crate) socket_mode: Option<u32>,
    pub(crate) shm: Option<bool>,
    #[serde(default, deserialize_with = "trust")]
    pub(crate) shm_trust: Option<ShmTrust>,
    #[serde(default, deserialize_with = "bytes")]
    pub(crate) shm_bytes: Option<usize>,
    #[serde(default, deserialize_with = "bytes")]
    pub(crate) shm_client_bytes: Option<usize>,
    #[serde(default, deserialize_with = "spin_micros")]
    pub(crate) spin: Option<u64>,
    pub(crate) force_register: Option<bool>,
    pub(crate) log_syslog: Option<bool>,
    pub(crate) verbose: Option<bool>,
    pub(crate) access: Option<AccessRules>,
}

/// What happens to frames for clients of some names when they are too slow.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedPolicy {
    /// A primary name, or a mask.
    #[serde(deserialize_with = "name_or_mask")]
    pub(crate) name: String,
    #[serde(deserialize_with = "required_policy")]
    pub(crate) policy: SlowPolicy,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) table: toml::Table,
}

/// Where a text is wrong, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// Line and column of the place, from 1.
    pub(crate) place: Option<(usize, usize)>,
    pub(crate) message: String,
}

impl Config {
    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigFault> {
        toml::from_str(text).map_err(|error| ConfigFault::of(text, &error))
    }
}

impl ConfigFile {
    /// Reads a file; the error names it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = text_of(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let fault = |fault: ConfigFault| format!("{}{fault}", path.display());
        let config = Config::parse(&text).map_err(fault)?;
        let table = toml::from_str(&text).map_err(|error| fault(ConfigFault::of(&text, &error)))?;
        Ok(Self { path: path.to_owned(), config, table })
    }

    /// The keys, access rules aside, for which two files say something else.
    pub(crate) fn differing_keys(&self, other: &Self) -> Vec<String> {
        let mut keys: Vec<&String> = self.table.keys().chain(other.table.keys()).collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| *key != "access" && self.table.get(*key) != other.table.get(*key));
        keys.into_iter().cloned().collect()
    }
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let length = std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64;
    if length > MAX_BYTES {
        return Err(std::io::Error::other("it is longer than 4 MiB, which no configuration file is"));
    }
    Ok(text)
}

impl ConfigFault {
    fn of(text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start));
        let place = before.map(|before| {
            let line = before.rsplit('\n').next().unwrap_or_default();
            (before.matches('\n').count() + 1, line.chars().count() + 1)
        });
        Self { place, message: error.message().trim().replace('\n', "; ") }
    }
}

/// As compilers write it, to follow the name of a file.
impl fmt::Display for ConfigFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// How a value is written.
struct Value<T> {
    parse: fn(&str) -> Result<T, String>,
    expected: &'static str,
    is_number: bool,
    is_text: bool,
}

impl<T> Visitor<'_> for Value<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        if !self.is_text {
            return Err(E::invalid_type(Unexpected::Str(text), &self));
        }
        (self.parse)(text).map(Some).map_err(|reason| E::custom(format_args!("{text:?}: {reason}")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        self.number(&number.to_string(), Unexpected::Signed(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        self.number(&number.to_string(), Unexpected::Unsigned(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        self.number(&number.to_string(), Unexpected::Float(number))
    }
}

impl<T> Value<T> {
    fn number<E: Error>(self, number: &str, unexpected: Unexpected<'_>) -> Result<Option<T>, E> {
        if !self.is_number {
            return Err(E::invalid_type(unexpected, &self));
        }
        (self.parse)(number).map(Some).map_err(|reason| E::custom(format_args!("{number}: {reason}")))
    }
}

fn workers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    number(deserializer, values::workers, "a number from 1 to 1024")
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    number(deserializer, values::seconds, "seconds, from 0.01 to 86400")
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    number(deserializer, values::positive, "a number of at least 1")
}

const BYTES: &str = "a number of bytes, or text with a suffix, as in \"64M\"";

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    deserializer.deserialize_any(Value { parse: values::bytes, expected: BYTES, is_number: true, is_text: true })
}

fn payload_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    deserializer.deserialize_any(Value {
        parse: values::payload_bytes,
        expected: BYTES,
        is_number: true,
        is_text: true,
    })
}

fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    // As a number it would be taken for octal by people and for decimal by TOML.
    text(deserializer, values::mode, "an octal mode in quotes, as in \"0660\"")
}

fn trust<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ShmTrust>, D::Error> {
    text(deserializer, str::parse, "\"same-user\", \"all\" or \"none\"")
}

const POLICIES: &str = "\"cut\", \"drop-newest\", \"drop-oldest\", \"latest\" or \"wait:SECONDS\"";

fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let endpoints = deserializer.deserialize_any(Endpoints)?;
    for endpoint in &endpoints {
        values::endpoint(endpoint).map_err(|fault| D::Error::custom(format_args!("{endpoint:?} {fault}")))?;
    }
    Ok(Some(endpoints))
}

/// A list, and no endpoint alone.
struct Endpoints;

impl<'de> Visitor<'de> for Endpoints {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of endpoints in brackets, as in [\"/run/bus.sock\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut endpoints = Vec::new();
        while let Some(endpoint) = list.next_element()? {
            endpoints.push(endpoint);
        }
        Ok(endpoints)
    }
}

fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SlowPolicy>, D::Error> {
    text(deserializer, parse_policy, POLICIES)
}

fn required_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SlowPolicy, D::Error> {
    policy(deserializer)?.ok_or_else(|| D::Error::missing_field("policy"))
}

/// As access rules take them.
fn name_or_mask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    AccessRules::default().client(name.as_str(), ClientAccess::default()).map_err(D::Error::custom)?;
    Ok(name)
}

fn parse_policy(text: &str) -> Result<SlowPolicy, String> {
    text.parse().map_err(|fault: busway::PolicyFault| fault.to_string())
}

fn wait_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    number(deserializer, values::wait_seconds, "seconds, from 0 to 3600")
}

fn spin_micros<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    number(deserializer, values::spin_micros, "microseconds, from 0 to 10000")
}

fn number<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Result<T, String>,
    expected: &'static str,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Value { parse, expected, is_number: true, is_text: false })
}

fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Result<T, String>,
    expected: &'static str,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Value { parse, expected, is_number: false, is_text: true })
}
