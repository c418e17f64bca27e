//! Which segments of others a client has mapped.

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use busway_net::link::{Body as SocketBody, Outbox};
use busway_shm::Violation;

use super::account::Segment;
use super::control_frame::{Questions, SegmentFrame};
use super::options::ShmTrust;

/// Segments that one client may have mapped for reading at once.
const MAX_INTRODUCED: usize = 1024;
/// After so many looks of who tidies up (eight in a timeout) nothing waits for an answer any longer.
const PATIENT_LOOKS: u32 = 2;

/// Segments that a client was, or is to be, asked to map.
pub(super) struct Introductions {
    known: HashMap<u32, Introduction>,
    /// Segments to be introduced, one after the other.
    wanted: VecDeque<Weak<Segment>>,
    open: Option<Open>,
    questions: Questions,
    user: u32,
    trust: ShmTrust,
    outbox: Arc<Outbox>,
}

struct Introduction {
    segment: Weak<Segment>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Sent,
    Mapped,
    Failed,
}

/// The question that the client has not answered.
struct Open {
    /// What the client has to say to show that it has read it.
    token: u64,
    looks: u32,
}

/// What a client has of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquaintance {
    Mapped,
    /// It was, or is to be, asked, and will soon answer.
    Coming,
    /// Nothing, and nobody knows for how long.
    None,
}

impl Introductions {
    /// None yet, for a client of this user.
    pub(super) fn new(user: u32, trust: ShmTrust, outbox: &Arc<Outbox>) -> Self {
        Self {
            known: HashMap::new(),
            wanted: VecDeque::new(),
            open: None,
            questions: Questions::default(),
            user,
            trust,
            outbox: Arc::clone(outbox),
        }
    }

    /// How the client stands to a segment. At the first time it is asked to map it, and `is_new` is set.
    pub(super) fn of(&mut self, segment: &Arc<Segment>, is_new: &mut bool) -> Acquaintance {
        let state = match self.known.get(&segment.number) {
            // Numbers come again after 2^32 segments, and the client knows one segment by each.
            Some(known) if !std::ptr::eq(known.segment.as_ptr(), Arc::as_ptr(segment)) => return Acquaintance::None,
            Some(known) => known.state,
            None if !self.trust.allows(segment.owner, self.user) || self.known.len() >= MAX_INTRODUCED => {
                return Acquaintance::None;
            }
            None => {
                *is_new = true;
                self.begin(segment)
            }
        };
        match state {
            State::Mapped => Acquaintance::Mapped,
            State::Waiting | State::Sent if !self.is_overdue() => Acquaintance::Coming,
            _ => Acquaintance::None,
        }
    }

    fn is_overdue(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.looks > PATIENT_LOOKS)
    }

    fn begin(&mut self, segment: &Arc<Segment>) -> State {
        let introduction = Introduction { segment: Arc::downgrade(segment), state: State::Waiting };
        self.known.insert(segment.number, introduction);
        // Waiting keeps nobody's memory: the client may never answer.
        self.wanted.push_back(Arc::downgrade(segment));
        self.introduce_next();
        self.known.get(&segment.number).map_or(State::Failed, |known| known.state)
    }

    /// One descriptor at a time: a client that never reads must not use up what may be in flight.
    fn introduce_next(&mut self) {
        while self.open.is_none() {
            let Some(segment) = self.wanted.pop_front() else { return };
            let Some(segment) = segment.upgrade() else { continue };
            let Ok(descriptor) = segment.descriptor.as_fd().try_clone_to_owned() else {
                // Out of descriptors: this pair gets copies.
                self.set(segment.number, State::Failed);
                continue;
            };
            self.set(segment.number, State::Sent);
            let token = self.questions.next();
            self.open = Some(Open { token, looks: 0 });
            let frame = SegmentFrame::introduction(segment.number, segment.length, segment.owner, token);
            self.outbox.offer_control(|batch| {
                batch.push_body(SocketBody::Descriptors(vec![descriptor]));
                frame.encode(batch.inline());
            });
            self.outbox.flush();
        }
    }

    fn set(&mut self, number: u32, state: State) {
        if let Some(introduction) = self.known.get_mut(&number) {
            introduction.state = state;
        }
    }

    /// The client has mapped a segment, or cannot.
    ///
    /// # Errors
    /// When it was not asked.
    pub(super) fn answered(&mut self, number: u32, token: u64, is_mapped: bool) -> Result<(), Violation> {
        // It may have gone meanwhile; the answer is to the one question that is open, by who has read it.
        if self.open.take().is_none_or(|open| open.token != token) {
            return Err(Violation::Descriptor);
        }
        if let Some(introduction) = self.known.get_mut(&number) {
            if introduction.state != State::Sent {
                return Err(Violation::Descriptor);
            }
            introduction.state = if is_mapped { State::Mapped } else { State::Failed };
        }
        self.introduce_next();
        Ok(())
    }

    /// Somebody tidies up: forgets segments whose sender has gone and of which nothing is held any more; says which the
    /// client had.
    pub(super) fn look(&mut self) -> Vec<u32> {
        if let Some(open) = &mut self.open {
            open.looks = open.looks.saturating_add(1);
        }
        let mut gone = Vec::new();
        self.known.retain(|number, introduction| {
            // One whose introduction is under way is looked at when it is answered.
            if introduction.segment.strong_count() > 0 || introduction.state == State::Sent {
                return true;
            }
            if introduction.state == State::Mapped {
                gone.push(*number);
            }
            false
        });
        // A client that never answers must not collect those that have gone.
        self.wanted.retain(|segment| segment.strong_count() > 0);
        gone
    }

    /// The connection has ended.
    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use busway_net::link::OutboxLimits;
    use busway_shm::layout::PAGE;

    use super::*;
    use crate::lane::budget::{Budget, Cost};

    const USER: u32 = 7;

    fn segment(number: u32) -> Arc<Segment> {
        Arc::new(Segment {
            number,
            length: PAGE,
            descriptor: std::fs::File::open("/dev/null").unwrap().into(),
            owner: USER,
            _spent: Budget::new(Cost::default()).spend(USER, Cost::default()).unwrap(),
            _counted: None,
        })
    }

    fn answer(introductions: &mut Introductions, number: u32) {
        let token = introductions.open.as_ref().unwrap().token;
        introductions.answered(number, token, true).unwrap();
    }

    fn introductions() -> Introductions {
        let limits = OutboxLimits { frames: 8, bytes: 1 << 10 };
        let outbox = Arc::new(Outbox::new(limits, tokio::runtime::Handle::current()));
        Introductions::new(USER, ShmTrust::SameUser, &outbox)
    }

    #[tokio::test]
    async fn a_client_that_never_answers_collects_nothing() {
        let mut introductions = introductions();
        for look in 0..5 {
            for number in 0..1_024 {
                introductions.of(&segment(look << 16 | number), &mut false);
            }
            introductions.look();
            assert!(introductions.wanted.is_empty() && introductions.known.len() <= 1, "only the question is left");
        }
        let living = segment(9);
        assert_eq!(introductions.of(&living, &mut false), Acquaintance::None, "the client is late");
        introductions.look();
        answer(&mut introductions, 0);
        assert_eq!(introductions.of(&living, &mut false), Acquaintance::Coming, "it was not forgotten");
    }

    #[tokio::test]
    async fn a_segment_with_the_number_of_another_is_copied_until_the_other_is_gone() {
        let mut introductions = introductions();
        let (first, second) = (segment(5), segment(5));
        let mut is_new = false;
        assert_eq!(introductions.of(&first, &mut is_new), Acquaintance::Coming);
        assert!(std::mem::take(&mut is_new));
        assert_eq!(introductions.of(&second, &mut is_new), Acquaintance::None);
        answer(&mut introductions, 5);
        assert_eq!(introductions.of(&first, &mut is_new), Acquaintance::Mapped);
        assert_eq!(introductions.of(&second, &mut is_new), Acquaintance::None);

        drop(first);
        assert_eq!(introductions.of(&second, &mut is_new), Acquaintance::None, "the client still has the first");
        assert!(!is_new);
        assert_eq!(introductions.look(), [5]);
        assert_eq!(introductions.of(&second, &mut is_new), Acquaintance::Coming);
        answer(&mut introductions, 5);
        assert_eq!(introductions.of(&second, &mut is_new), Acquaintance::Mapped);
    }
}
