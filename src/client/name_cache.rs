//! Names that have come before: most frames name the same few senders and topics.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use busway_net::wire::{Violation, is_same};
use foldhash::fast::RandomState;

use crate::frame_names::FrameNames;

/// The names of a connection's frames.
#[derive(Debug, Default)]
pub(super) struct NameCache {
    /// What came last, and is most likely to come again.
    last: Option<Arc<FrameNames>>,
    hasher: RandomState,
    /// By their hash: of two with the same one only the later is kept.
    known: HashMap<u64, Arc<FrameNames>, RandomState>,
}

/// Pairs of sender and topic that are kept at most.
const MAX_NAMES: usize = 1024;

impl NameCache {
    /// The names that came last, if they are the ones.
    #[cfg(feature = "shm")]
    #[inline]
    pub(super) fn last_if(&self, is_same: impl FnOnce(&FrameNames) -> bool) -> Option<Arc<FrameNames>> {
        self.last.as_ref().filter(|last| is_same(last)).map(Arc::clone)
    }

    /// The names of a frame.
    ///
    /// # Errors
    /// When they are no text.
    #[inline]
    pub(super) fn get(&mut self, sender: &[u8], topic: Option<&[u8]>) -> Result<Arc<FrameNames>, Violation> {
        match &self.last {
            Some(last) if is(last, sender, topic) => Ok(Arc::clone(last)),
            _ => self.find(sender, topic),
        }
    }

    fn find(&mut self, sender: &[u8], topic: Option<&[u8]>) -> Result<Arc<FrameNames>, Violation> {
        let hash = self.hasher.hash_one((sender, topic));
        let names = match self.known.get(&hash) {
            Some(names) if is(names, sender, topic) => Arc::clone(names),
            _ => {
                let names = Arc::new(FrameNames { sender: text(sender)?, topic: topic.map(text).transpose()? });
                if self.known.len() >= MAX_NAMES {
                    self.known.clear();
                }
                self.known.insert(hash, Arc::clone(&names));
                names
            }
        };
        self.last = Some(Arc::clone(&names));
        Ok(names)
    }
}

#[inline]
fn is(names: &FrameNames, sender: &[u8], topic: Option<&[u8]>) -> bool {
    is_same(names.sender.as_bytes(), sender)
        && match (&names.topic, topic) {
            (Some(its), Some(topic)) => is_same(its.as_bytes(), topic),
            (its, topic) => its.is_none() && topic.is_none(),
        }
}

fn text(bytes: &[u8]) -> Result<Arc<str>, Violation> {
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| Violation::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_gets_its_own_names_in_whatever_order_they_come() {
        let mut cache = NameCache::default();
        let (senders, topics) = (["a", "b"], [None, Some("t"), Some("u"), Some("")]);
        // Every pair after every other, and each several times in a row.
        for (sender, topic) in senders.iter().flat_map(|sender| topics.map(|topic| (*sender, topic))) {
            for (other, its) in senders.iter().flat_map(|sender| topics.map(|topic| (*sender, topic))) {
                for (sender, topic) in [(sender, topic); 3].into_iter().chain([(other, its); 3]) {
                    let names = cache.get(sender.as_bytes(), topic.map(str::as_bytes)).unwrap();
                    assert_eq!((&*names.sender, names.topic.as_deref()), (sender, topic));
                }
            }
        }
    }

    #[test]
    fn frames_of_the_same_names_share_them_and_names_are_text() {
        let mut cache = NameCache::default();
        let topics = [Some(b"topic".as_slice()), None, Some(b"topic".as_slice()), None];
        let names: Vec<_> = topics.iter().map(|topic| cache.get(b"sender", *topic).unwrap()).collect();
        assert!(Arc::ptr_eq(&names[0], &names[2]) && Arc::ptr_eq(&names[1], &names[3]));
        assert_eq!(cache.get(b"sender", Some(&[0xFF])).map(|_| ()), Err(Violation::NotUtf8));
        assert_eq!(cache.get(&[0xFF], None).map(|_| ()), Err(Violation::NotUtf8));
        for number in 0..2 * MAX_NAMES {
            cache.get(format!("s{number}").as_bytes(), Some(format!("t{number}").as_bytes())).unwrap();
        }
        assert!(cache.known.len() <= MAX_NAMES);
    }
}
