//! Who may be answered by clients that have no right to send to them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::broker::peer::Peer;

/// Messages of one client to another that may be answered at once; as many calls as a client makes at once.
const MAX_ANSWERS: u32 = 1024;
/// Clients that may owe one client answers.
const MAX_RECEIVERS: usize = 1024;

/// Answers that one client may get: for each message that it has sent to a client which has no right to send to it, one
/// message back. They end with either connection, and are bounded in number.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    receivers: Mutex<HashMap<u64, (Weak<Peer>, u32), RandomState>>,
}

impl Answers {
    /// This receiver got a message and may answer it.
    pub(crate) fn expect(&self, receiver: &Arc<Peer>) {
        let mut receivers = self.receivers.lock();
        if receivers.len() >= MAX_RECEIVERS && !receivers.contains_key(&receiver.id) {
            receivers.retain(|_, (receiver, _)| receiver.upgrade().is_some_and(|receiver| !receiver.is_ended()));
            if receivers.len() >= MAX_RECEIVERS {
                return;
            }
        }
        let (_, count) = receivers.entry(receiver.id).or_insert_with(|| (Arc::downgrade(receiver), 0));
        *count = (*count + 1).min(MAX_ANSWERS);
    }

    /// Uses up one answer of a receiver; says whether there was one.
    pub(crate) fn take(&self, receiver: &Peer) -> bool {
        let mut receivers = self.receivers.lock();
        let Some((_, count)) = receivers.get_mut(&receiver.id) else { return false };
        *count -= 1;
        if *count == 0 {
            receivers.remove(&receiver.id);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::control::ControlSink;
    use crate::broker::peer::Transport;
    use crate::names::ClientName;

    fn peer(id: u64) -> Arc<Peer> {
        Peer::new(id, ClientName::broker(), (Transport::Internal, None), Box::new(ControlSink))
    }

    #[test]
    fn each_message_may_be_answered_once() {
        let (answers, receiver, other) = (Answers::default(), peer(1), peer(2));
        assert!(!answers.take(&receiver));
        answers.expect(&receiver);
        answers.expect(&receiver);
        assert!(!answers.take(&other));
        assert!(answers.take(&receiver) && answers.take(&receiver) && !answers.take(&receiver));
    }

    #[test]
    fn they_are_bounded() {
        let (answers, receiver) = (Answers::default(), peer(0));
        for _ in 0..MAX_ANSWERS + 10 {
            answers.expect(&receiver);
        }
        assert_eq!((0..MAX_ANSWERS + 10).filter(|_| answers.take(&receiver)).count(), MAX_ANSWERS as usize);
        let receivers: Vec<_> = (1..=MAX_RECEIVERS as u64 + 1).map(peer).collect();
        receivers.iter().for_each(|receiver| answers.expect(receiver));
        let (last, others) = receivers.split_last().expect("some");
        assert!(!answers.take(last) && answers.take(&others[0]));
        // Who has gone makes room.
        answers.expect(&others[0]);
        others[1].end();
        answers.expect(last);
        assert!(answers.take(last) && !answers.take(&others[1]));
    }
}
