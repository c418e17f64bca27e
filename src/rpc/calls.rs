//! Calls that have not been answered yet.

use std::collections::HashMap;
use std::sync::Arc;

use busway_net::wire::SECONDARY_SEPARATOR;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::CallError;
use crate::client::questions::FIRST_CALL_ID;
use crate::payload::Payload;

/// What became of a call.
pub(super) type Outcome = Result<Payload, CallError>;

/// All calls of one client that wait for an answer.
///
/// A peer that leaves is announced amid the frames that arrive. The announcement may be an old one: the peer left,
/// came again, and only then was called. So each call notes how many frames had arrived when it was sent, and when
/// the broker confirmed it: an announcement from before the first does not count, one from after the second does, and
/// one between them counts unless the peer is announced again before the second.
///
/// Frames that wait by a policy come after confirmations that were made later, announcements among them: one that was made
/// before the call was does not count either, where the broker's clock is the caller's.
#[derive(Debug, Default)]
pub(super) struct Calls {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: HashMap<u32, Waiting>,
    last_id: u32,
    /// The place of the frame that was handled last.
    position: u64,
    /// Confirmed calls whose peer has left, as it seems so far.
    doubtful: usize,
}

impl Default for State {
    /// Numbers begin anywhere: a late reply to the client that had this name before answers nothing here.
    fn default() -> Self {
        let mut last_id = [0; 4];
        // Without randomness they begin at 1.
        let _ = getrandom::fill(&mut last_id);
        Self { waiting: HashMap::new(), last_id: u32::from_ne_bytes(last_id), position: 0, doubtful: 0 }
    }
}

#[derive(Debug)]
struct Waiting {
    target: Box<str>,
    sent_at: u64,
    /// By the broker's clock, where the caller has it: nanoseconds since the epoch.
    called_at: Option<u64>,
    confirmed_at: Option<u64>,
    has_left: bool,
    answer: oneshot::Sender<Outcome>,
}

impl Waiting {
    fn is_doubtful(&self) -> bool {
        self.has_left && self.confirmed_at.is_some()
    }
}

/// A call that waits; dropped, it waits no longer.
#[derive(Debug)]
pub(super) struct PendingCall {
    calls: Arc<Calls>,
    pub(super) id: u32,
}

impl Calls {
    /// A call that is about to be sent to the client of that full name, after `sent_at` frames have arrived, and at this
    /// time by the broker's clock, if that is known.
    pub(super) fn begin(
        self: &Arc<Self>,
        target: &str,
        (sent_at, called_at): (u64, Option<u64>),
    ) -> (PendingCall, oneshot::Receiver<Outcome>) {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let id = state.free_id();
        let waiting =
            Waiting { target: target.into(), sent_at, called_at, confirmed_at: None, has_left: false, answer };
        state.waiting.insert(id, waiting);
        (PendingCall { calls: Arc::clone(self), id }, receiver)
    }

    /// Gives a reply to the call it is for; whether there is one, made to this very sender.
    pub(super) fn answer(&self, id: u32, sender: &str, outcome: Outcome) -> bool {
        let mut state = self.state.lock();
        if state.waiting.get(&id).is_none_or(|call| &*call.target != sender) {
            return false;
        }
        state.finish(id, outcome);
        true
    }

    /// A primary client, and its secondaries with it, has left, which the broker said at this time, if it told.
    pub(super) fn left(&self, name: &str, position: u64, time: Option<u64>) {
        // None is told by a zero, too.
        self.announced(name, (position, time.filter(|time| *time > 0)), true);
    }

    /// A primary client has come: it is the one that was called, unless that is announced to have left afterwards. Brokers
    /// announce a client after they have begun to deliver to it, so that this may come behind the confirmation of a call to
    /// it, too; whoever takes a name over without a word of who had it before (busrtd with force-register) leaves the calls
    /// to that one to their deadlines.
    pub(super) fn came(&self, name: &str, position: u64) {
        self.announced(name, (position, None), false);
    }

    fn announced(&self, name: &str, (position, time): (u64, Option<u64>), has_left: bool) {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        let mut doubtful = state.doubtful;
        for (id, call) in &mut state.waiting {
            let is_older =
                position <= call.sent_at || call.called_at.zip(time).is_some_and(|(called, said)| said < called);
            if is_older || primary(&call.target) != name {
                continue;
            }
            if call.confirmed_at.is_some_and(|confirmed_at| position > confirmed_at) {
                if has_left {
                    gone.push(*id);
                }
            } else {
                doubtful -= usize::from(call.is_doubtful());
                call.has_left = has_left;
                doubtful += usize::from(call.is_doubtful());
            }
        }
        state.doubtful = doubtful;
        for id in gone {
            state.finish(id, Err(CallError::Left));
        }
    }

    /// Everything up to this place has been handled.
    pub(super) fn reached(&self, position: u64) {
        let mut state = self.state.lock();
        // While one who reads follows another, places may come out of order.
        state.position = state.position.max(position);
        if state.doubtful > 0 {
            let is_settled = |call: &Waiting| call.has_left && call.confirmed_at.is_some_and(|at| at <= position);
            let gone: Vec<u32> = state.waiting.iter().filter(|(_, call)| is_settled(call)).map(|(id, _)| *id).collect();
            for id in gone {
                state.finish(id, Err(CallError::Left));
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

impl PendingCall {
    /// The broker has given the request to the peer, and said so after `confirmed_at` frames.
    pub(super) fn confirm(&self, confirmed_at: u64) {
        let mut state = self.calls.state.lock();
        let position = state.position;
        let Some(call) = state.waiting.get_mut(&self.id) else { return };
        call.confirmed_at = Some(confirmed_at);
        if call.has_left {
            state.doubtful += 1;
            if position >= confirmed_at {
                state.finish(self.id, Err(CallError::Left));
            }
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.calls.state.lock().forget(self.id);
    }
}

impl State {
    /// A number that no other call has; 0 would mean that no reply is wanted, and the last are the client's own.
    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if (1..FIRST_CALL_ID).contains(&self.last_id) && !self.waiting.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn finish(&mut self, id: u32, outcome: Outcome) {
        if let Some(call) = self.forget(id) {
            // A caller that has just given up does not listen.
            let _ = call.answer.send(outcome);
        }
    }

    fn forget(&mut self, id: u32) -> Option<Waiting> {
        let call = self.waiting.remove(&id)?;
        self.doubtful -= usize::from(call.is_doubtful());
        Some(call)
    }
}

fn primary(name: &str) -> &str {
    name.split(SECONDARY_SEPARATOR).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        calls: Arc<Calls>,
        call: PendingCall,
        answer: oneshot::Receiver<Outcome>,
    }

    /// A call to `anna` after five frames.
    fn called() -> Bench {
        let calls = Arc::new(Calls::default());
        calls.reached(5);
        let (call, answer) = calls.begin("anna", (5, Some(1_000)));
        Bench { calls, call, answer }
    }

    impl Bench {
        fn has_failed(&mut self) -> bool {
            match self.answer.try_recv() {
                Ok(Err(CallError::Left)) => true,
                Err(oneshot::error::TryRecvError::Empty) => false,
                other => panic!("{other:?}"),
            }
        }

        fn left(&self, position: u64) {
            self.calls.left("anna", position, None);
            self.calls.reached(position);
        }

        fn came(&self, position: u64) {
            self.calls.came("anna", position);
            self.calls.reached(position);
        }
    }

    #[test]
    fn a_reply_counts_once_and_from_the_peer_alone() {
        let mut bench = called();
        let id = bench.call.id;
        let ok = || Ok(Payload::from("yes"));
        assert!(!bench.calls.answer(id, "bert", ok()) && !bench.calls.answer(id, "anna%%1", ok()));
        assert!(!bench.calls.answer(id + 1, "anna", ok()));
        assert!(bench.calls.answer(id, "anna", ok()) && !bench.calls.answer(id, "anna", ok()));
        assert_eq!(bench.answer.try_recv().unwrap().unwrap().as_slice(), b"yes");
        assert_eq!(bench.calls.len(), 0);
    }

    #[test]
    fn a_peer_that_leaves_after_the_confirmation_has_left() {
        let mut bench = called();
        bench.call.confirm(7);
        bench.calls.left("anna.other", 8, None);
        assert!(!bench.has_failed());
        bench.left(9);
        assert!(bench.has_failed());
    }

    #[test]
    fn an_announcement_from_before_the_call_is_an_old_one() {
        let mut bench = called();
        bench.call.confirm(7);
        bench.left(5);
        bench.left(4);
        bench.calls.reached(100);
        assert!(!bench.has_failed());
    }

    #[test]
    fn an_announcement_that_comes_late_is_known_by_its_time() {
        let mut bench = called();
        bench.call.confirm(7);
        bench.calls.left("anna", 8, Some(999));
        bench.calls.reached(8);
        assert!(!bench.has_failed(), "it was made before the call");
        bench.calls.left("anna", 9, Some(1_000));
        assert!(bench.has_failed());
    }

    #[test]
    fn who_left_between_call_and_confirmation_has_left_unless_it_came_again() {
        for confirmed_first in [false, true] {
            for came_again in [false, true] {
                let mut bench = called();
                if confirmed_first {
                    bench.call.confirm(7);
                }
                bench.left(6);
                assert!(!bench.has_failed(), "the last word is not said");
                if came_again {
                    bench.came(7);
                } else {
                    bench.calls.reached(7);
                }
                if !confirmed_first {
                    assert!(!bench.has_failed());
                    bench.call.confirm(7);
                }
                assert_eq!(bench.has_failed(), !came_again, "{confirmed_first}");
            }
        }
    }

    #[test]
    fn who_comes_after_the_confirmation_may_be_who_was_called() {
        let mut bench = called();
        bench.came(6);
        bench.call.confirm(7);
        bench.came(8);
        bench.calls.reached(9);
        assert!(!bench.has_failed());
        bench.left(10);
        assert!(bench.has_failed());
    }

    #[test]
    fn secondaries_go_with_their_primary() {
        let calls = Arc::new(Calls::default());
        let (call, mut answer) = calls.begin("anna%%2", (0, None));
        call.confirm(0);
        calls.left("anna", 1, Some(0));
        assert!(matches!(answer.try_recv(), Ok(Err(CallError::Left))));
    }

    #[test]
    fn a_call_that_is_given_up_leaves_nothing_behind() {
        let bench = called();
        bench.call.confirm(7);
        bench.left(6);
        drop(bench.call);
        assert_eq!((bench.calls.len(), bench.calls.state.lock().doubtful), (0, 0));
    }

    #[test]
    fn numbers_in_use_and_those_that_mean_something_else_are_passed_over() {
        let calls = Arc::new(Calls::default());
        calls.state.lock().last_id = FIRST_CALL_ID - 2;
        assert_eq!(calls.begin("anna", (0, None)).0.id, FIRST_CALL_ID - 1);
        let (first, _answer) = calls.begin("anna", (0, None));
        assert_eq!(first.id, 1);
        calls.state.lock().last_id = u32::MAX;
        assert_eq!(calls.begin("anna", (0, None)).0.id, 2);
    }

    #[test]
    fn one_that_begins_anew_does_not_begin_with_the_numbers_of_the_one_before() {
        let begins = [(); 3].map(|()| Arc::new(Calls::default()).begin("anna", (0, None)).0.id);
        assert!(begins[0] != begins[1] || begins[1] != begins[2], "{begins:?}");
    }
}
