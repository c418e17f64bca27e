//! Names that have come before: most frames name the same few senders and topics.

use std::collections::HashMap;
use std::sync::Arc;

use busway_net::wire::Violation;
use foldhash::fast::RandomState;

use crate::frame_names::{FrameNames, NamePair};

/// The names of a connection's frames.
#[derive(Debug, Default)]
pub(super) struct NameCache {
    senders: Names,
    topics: Names,
    /// Names that have come in two frames one after the other, and are most likely to come again.
    last: Option<Arc<NamePair>>,
}

#[derive(Debug, Default)]
struct Names {
    /// What came last.
    last: Option<Arc<str>>,
    known: HashMap<Box<[u8]>, Arc<str>, RandomState>,
}

/// Senders, and topics, that are kept at most.
const MAX_NAMES: usize = 1024;

impl NameCache {
    /// The names of a frame.
    ///
    /// # Errors
    /// When they are no text.
    #[inline]
    pub(super) fn get(&mut self, sender: &[u8], topic: Option<&[u8]>) -> Result<FrameNames, Violation> {
        if let Some(last) = &self.last
            && last.sender.as_bytes() == sender
            && last.topic.as_ref().map(|topic| topic.as_bytes()) == topic
        {
            return Ok(FrameNames::Together(Arc::clone(last)));
        }
        self.find(sender, topic)
    }

    fn find(&mut self, sender: &[u8], topic: Option<&[u8]>) -> Result<FrameNames, Violation> {
        let is_again = self.senders.is_last(sender) && topic.is_none_or(|topic| self.topics.is_last(topic));
        let sender = self.senders.get(sender)?;
        let topic = topic.map(|topic| self.topics.get(topic)).transpose()?;
        if !is_again {
            return Ok(FrameNames::Apart { sender, topic });
        }
        let pair = Arc::new(NamePair { sender, topic });
        self.last = Some(Arc::clone(&pair));
        Ok(FrameNames::Together(pair))
    }
}

impl Names {
    fn is_last(&self, bytes: &[u8]) -> bool {
        self.last.as_ref().is_some_and(|last| last.as_bytes() == bytes)
    }

    fn get(&mut self, bytes: &[u8]) -> Result<Arc<str>, Violation> {
        if let Some(last) = &self.last
            && last.as_bytes() == bytes
        {
            return Ok(Arc::clone(last));
        }
        let name = match self.known.get(bytes) {
            Some(name) => Arc::clone(name),
            None => {
                let name: Arc<str> = std::str::from_utf8(bytes).map_err(|_| Violation::NotUtf8)?.into();
                if self.known.len() >= MAX_NAMES {
                    self.known.clear();
                }
                self.known.insert(bytes.into(), Arc::clone(&name));
                name
            }
        };
        self.last = Some(Arc::clone(&name));
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &FrameNames) -> (&str, Option<&str>) {
        (names.sender(), names.topic().map(|topic| &**topic))
    }

    #[test]
    fn each_frame_gets_its_own_names_in_whatever_order_they_come() {
        let mut cache = NameCache::default();
        let (senders, topics) = (["a", "b"], [None, Some("t"), Some("u"), Some("")]);
        // Every pair after every other, and each several times in a row.
        for (sender, topic) in senders.iter().flat_map(|sender| topics.map(|topic| (*sender, topic))) {
            for (other, its) in senders.iter().flat_map(|sender| topics.map(|topic| (*sender, topic))) {
                for (sender, topic) in [(sender, topic); 3].into_iter().chain([(other, its); 3]) {
                    let names = cache.get(sender.as_bytes(), topic.map(str::as_bytes)).unwrap();
                    assert_eq!(texts(&names), (sender, topic));
                }
            }
        }
    }

    #[test]
    fn a_stream_of_the_same_names_shares_one_pair_and_names_are_text() {
        let mut cache = NameCache::default();
        let kinds: Vec<bool> =
            (0..4).map(|_| matches!(cache.get(b"sender", Some(b"topic")).unwrap(), FrameNames::Together(_))).collect();
        assert_eq!(kinds, [false, true, true, true]);
        assert_eq!(cache.get(b"sender", Some(&[0xFF])).map(|_| ()), Err(Violation::NotUtf8));
        for number in 0..2 * MAX_NAMES {
            cache.get(format!("s{number}").as_bytes(), Some(format!("t{number}").as_bytes())).unwrap();
        }
        assert!(cache.senders.known.len() <= MAX_NAMES && cache.topics.known.len() <= MAX_NAMES);
    }
}
