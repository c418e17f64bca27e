//! The FIFO channel: what shell scripts write, one command a line.
//!
//! | line | meaning |
//! |---|---|
//! | `TARGET TEXT` | a message; a broadcast when TARGET has a `*` or `?` |
//! | `=TOPIC TEXT` | a publication |
//! | `TARGET .TEXT` | a notification |
//! | `TARGET :METHOD KEY=VALUE...` | a call without reply |
//!
//! TEXT is the whole rest of the line, as it stands. There is no quoting; a VALUE ends at the next space.

mod lines;
mod value;

use std::collections::BTreeMap;

use super::{Limits, PathFault};

pub use lines::{Line, Lines};
pub use value::Value;

/// A command taken apart; everything borrows from its line.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// To one client.
    Message {
        /// Its name.
        target: &'a str,
        /// The payload.
        text: &'a str,
    },
    /// To all whose names match.
    Broadcast {
        /// The mask.
        mask: &'a str,
        /// The payload.
        text: &'a str,
    },
    /// To all who have subscribed.
    Publish {
        /// The topic.
        topic: &'a str,
        /// The payload.
        text: &'a str,
    },
    /// Something to know for one client's RPC layer.
    Notify {
        /// The client.
        target: &'a str,
        /// What there is to know.
        text: &'a str,
    },
    /// A call that nobody answers.
    Call {
        /// Whom.
        target: &'a str,
        /// What.
        method: &'a str,
        /// With what; of parameters with the same name the last counts.
        params: BTreeMap<&'a str, Value<'a>>,
    },
}

/// Why a line is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// Over the limit of a line.
    #[error("longer than {limit} bytes; the whole line is dropped")]
    TooLong {
        /// What is allowed.
        limit: usize,
    },
    /// Bytes that are no text.
    #[error("not UTF-8 (from byte {at} on); send binary payloads through a client, such as busway send")]
    NotUtf8 {
        /// The first of them.
        at: usize,
    },
    /// One word alone.
    #[error("nothing to send to {0:?}: put a space and a text, .TEXT or :METHOD after it")]
    NoText(String),
    /// A colon alone.
    #[error("no method after the ':' for {0:?}: write TARGET :METHOD KEY=VALUE...")]
    NoMethod(String),
    /// A method that would end early on the wire.
    #[error("the method {0:?} has a NUL byte in it")]
    NulInMethod(String),
    /// A notification or call for more than one client.
    #[error("{0:?} is a mask; a notification or call goes to one client, by its full name")]
    NotOneClient(String),
    /// A mask that no name matches which anybody has in mind.
    #[error("{0:?}: * and ? stand for whole parts of a name, as in group.*")]
    PartOfPart(String),
    /// JSON, which has no place in a line without quoting.
    #[error("the parameter {0:?} is KEY:=JSON, which a FIFO does not take; use busway rpc call, or KEY=VALUE")]
    Json(String),
    /// A parameter without a value.
    #[error("the parameter {0:?} is not KEY=VALUE; values have no spaces in them")]
    NotAPair(String),
    /// A topic, mask or target that is none.
    #[error("it cannot be sent to {address:?}: {source}")]
    Address {
        /// The topic, mask or target.
        address: String,
        /// What is wrong with it.
        source: PathFault,
    },
    /// Over [`Limits::max_payload`].
    #[error("a text of {length} bytes is over the limit of {limit}")]
    PayloadTooLong {
        /// Bytes of the text.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// Takes a line apart, without its end; a blank one is no command.
///
/// # Errors
/// What is wrong with it.
pub fn parse<'a>(line: &'a [u8], limits: &Limits) -> Result<Option<Command<'a>>, LineFault> {
    let line = std::str::from_utf8(line).map_err(|error| LineFault::NotUtf8 { at: error.valid_up_to() })?;
    let line = line.trim_start_matches(BLANKS);
    if line.is_empty() {
        return Ok(None);
    }
    let (address, text) = line.split_once(' ').ok_or_else(|| LineFault::NoText(excerpt(line)))?;
    if text.len() > limits.max_payload {
        return Err(LineFault::PayloadTooLong { length: text.len(), limit: limits.max_payload });
    }
    let check = |address: &str, separator| {
        let checked = limits.check_path(address.as_bytes(), separator);
        checked.map_err(|source| LineFault::Address { address: excerpt(address), source })
    };
    if let Some(topic) = address.strip_prefix('=') {
        check(topic, b'/')?;
        return Ok(Some(Command::Publish { topic, text }));
    }
    check(address, b'.')?;
    let is_mask = address.contains(['*', '?']);
    match text.as_bytes().first() {
        Some(b'.' | b':') if is_mask => Err(LineFault::NotOneClient(excerpt(address))),
        Some(b'.') => Ok(Some(Command::Notify { target: address, text: &text[1..] })),
        Some(b':') => call(address, &text[1..]).map(Some),
        _ if address.split('.').any(|part| part.len() > 1 && part.contains(['*', '?'])) => {
            Err(LineFault::PartOfPart(excerpt(address)))
        }
        _ if is_mask => Ok(Some(Command::Broadcast { mask: address, text })),
        _ => Ok(Some(Command::Message { target: address, text })),
    }
}

fn call<'a>(target: &'a str, text: &'a str) -> Result<Command<'a>, LineFault> {
    let (method, words) = text.split_once(' ').unwrap_or((text, ""));
    if method.is_empty() {
        return Err(LineFault::NoMethod(excerpt(target)));
    }
    if method.contains('\0') {
        return Err(LineFault::NulInMethod(excerpt(method)));
    }
    let mut params = BTreeMap::new();
    for word in words.split(BLANKS).filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=').ok_or_else(|| LineFault::NotAPair(excerpt(word)))?;
        if key.ends_with(':') {
            return Err(LineFault::Json(excerpt(word)));
        }
        params.insert(key, Value::of(value));
    }
    Ok(Command::Call { target, method, params })
}

const BLANKS: [char; 2] = [' ', '\t'];
/// As much of a wrong word as helps to find it.
const EXCERPT: usize = 40;

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Command<'_>>, LineFault> {
        parse(line.as_bytes(), &Limits::default())
    }

    #[test]
    fn the_first_letters_tell_what_a_line_is() {
        for (line, command) in [
            ("anna hello", Command::Message { target: "anna", text: "hello" }),
            ("  anna hello", Command::Message { target: "anna", text: "hello" }),
            ("anna ", Command::Message { target: "anna", text: "" }),
            ("anna two words ", Command::Message { target: "anna", text: "two words " }),
            ("anna  :no call", Command::Message { target: "anna", text: " :no call" }),
            ("g.* hello all", Command::Broadcast { mask: "g.*", text: "hello all" }),
            ("=light/level 8 7", Command::Publish { topic: "light/level", text: "8 7" }),
            ("=light .on", Command::Publish { topic: "light", text: ".on" }),
            ("anna .wake up", Command::Notify { target: "anna", text: "wake up" }),
            ("anna :go", Command::Call { target: "anna", method: "go", params: BTreeMap::new() }),
        ] {
            assert_eq!(parsed(line), Ok(Some(command)), "{line:?}");
        }
        for blank in ["", " ", "\t  "] {
            assert_eq!(parsed(blank), Ok(None));
        }
    }

    #[test]
    fn parameters_are_pairs_and_the_last_of_a_name_counts() {
        let Ok(Some(Command::Call { params, .. })) = parsed("a :m x=1  y=true\tz=a=b x=2.5 w=") else {
            panic!("it is a call");
        };
        let expected =
            [("w", Value::Text("")), ("x", Value::Float(2.5)), ("y", Value::Truth(true)), ("z", Value::Text("a=b"))];
        assert_eq!(params, BTreeMap::from(expected));
        assert_eq!(parsed("a :m x:=[1]"), Err(LineFault::Json("x:=[1]".into())));
        assert_eq!(parsed("a :m x=1 y"), Err(LineFault::NotAPair("y".into())));
        assert_eq!(parsed("a :"), Err(LineFault::NoMethod("a".into())));
        assert_eq!(parsed("a : x=1"), Err(LineFault::NoMethod("a".into())));
        assert_eq!(parsed("a :m\0n"), Err(LineFault::NulInMethod("m\0n".into())));
    }

    #[test]
    fn what_cannot_be_sent_is_told_with_the_reason() {
        assert_eq!(parsed("anna"), Err(LineFault::NoText("anna".into())));
        assert_eq!(parsed("=light"), Err(LineFault::NoText("=light".into())));
        for line in ["g.? .wake up", "g.* :go"] {
            assert!(matches!(parsed(line), Err(LineFault::NotOneClient(_))), "{line}");
        }
        for mask in ["plan*", "a.**", "a?.b", "*.x?"] {
            assert_eq!(parsed(&format!("{mask} hi")), Err(LineFault::PartOfPart(mask.into())));
        }
        assert_eq!(parse(b"anna \xff", &Limits::default()), Err(LineFault::NotUtf8 { at: 5 }));
        assert!(matches!(parsed("a\0b text"), Err(LineFault::Address { source: PathFault::Nul, .. })));
        let long = format!("{} text", "x".repeat(1025));
        let Err(fault) = parsed(&long) else { panic!("over the limit") };
        assert!(fault.to_string().len() < 200, "a long name does not fill the log: {fault}");
        let limits = Limits { max_payload: 3, ..Limits::default() };
        assert_eq!(parse(b"a four", &limits), Err(LineFault::PayloadTooLong { length: 4, limit: 3 }));
    }
}
