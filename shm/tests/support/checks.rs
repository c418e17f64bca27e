//! What must hold whatever the other process shows. Each function takes a fuzzer's input (see [`Choices`]), which
//! decides what an honest peer does, what the tested end does, and which loads are lies; it panics when a promise is
//! broken.
//!
//! The promises: never a panic, never a look beyond what there is to see, bounded work per visit; as long as the peer
//! has not lied, everything comes out as it went in, and nothing is a violation.

use std::collections::VecDeque;

use busway_shm::layout::{EVENT, HEAD, RING, SLOT_TAIL, SPACE_EVENT, TAIL, WORD};
use busway_shm::{Consumer, Generations, HeapMemory, Producer, Record, ReturnReader, Returns, Slots, Violation};

use super::choices::Choices;
use super::liar::Liar;
use super::records::{LAYOUT, Whole};
use super::watched::Watched;

/// Steps after which a run ends; inputs are shorter.
const STEPS: u32 = 4096;

/// Either end of a ring, or the reader of returned slots.
pub(crate) fn lane_ring(input: &[u8]) {
    let choices = Choices::new(input);
    match choices.below(3) {
        0 => consumer(&choices),
        1 => producer(&choices),
        _ => return_reader(&choices),
    }
}

/// A consumer whose producer lies about its tail, its event and every byte of the ring.
fn consumer(choices: &Choices<'_>) {
    let (up, down) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let mut producer = Producer::new(up.clone(), down.clone(), LAYOUT);
    let words = vec![TAIL..TAIL + WORD, SPACE_EVENT..SPACE_EVENT + WORD];
    let liar = Liar::new(up, choices, words, RING..RING + LAYOUT.ring);
    let own = Watched::new(down, vec![HEAD, EVENT], 0..0);
    let mut consumer = Consumer::new(&own, &liar, LAYOUT);
    let mut sent = VecDeque::new();

    for number in 0..STEPS {
        liar.work();
        let outcome = match choices.below(8) {
            0 if choices.are_used_up() => break,
            0..=2 => {
                let record = Whole::chosen(number, choices);
                // What a consumer that was lied to gives back may be nonsense to the honest producer.
                match record.push(&mut producer) {
                    Ok(true) => sent.push_back(record),
                    Ok(false) => {}
                    Err(_) => assert!(liar.has_lied()),
                }
                Ok(())
            }
            3 if number % 2 == 0 => take(&mut consumer, &liar, &mut sent, Whole::copied).map(drop),
            3 => take(&mut consumer, &liar, &mut sent, Whole::copied_in_place).map(drop),
            4 => take(&mut consumer, &liar, &mut sent, Whole::copied_as_body).map(drop),
            5 => refuse(&mut consumer, &liar, &sent)
                .and_then(|()| take(&mut consumer, &liar, &mut sent, Whole::copied_as_run))
                .map(drop),
            6 => {
                let _ = consumer.release();
                assert_eq!(consumer.unreleased(), 0);
                Ok(())
            }
            _ => consumer.arm().map(drop),
        };
        assert!(liar.work().0 <= 1, "a cursor is loaded once");
        assert!(consumer.unreleased() <= LAYOUT.ring as u64, "no more is read at once than the ring holds");
        if let Err(violation) = outcome {
            assert!(liar.has_lied(), "an honest peer has done nothing wrong: {violation}");
            return;
        }
    }
    while let Ok(true) = take(&mut consumer, &liar, &mut sent, Whole::copied) {}
    assert!(liar.has_lied() || sent.is_empty(), "everything arrives");
}

/// Looks at the next record as at one that may belong to a run, and leaves it where it is.
fn refuse(
    consumer: &mut Consumer<&Watched, &Liar<'_>>,
    liar: &Liar<'_>,
    sent: &VecDeque<Whole>,
) -> Result<(), Violation> {
    let before = consumer.unreleased();
    let (name, mut has_name) = (sent.front().map(|whole| &*whole.name).unwrap_or_default(), None);
    let next = consumer.next_record_if(|consumer, record| {
        has_name = Some(consumer.has_name(record, name));
        false
    });
    let (loads, reads) = liar.work();
    assert!(loads <= 1 && reads <= 3, "a name is looked at once");
    assert_eq!(next?, None, "what is refused is not read");
    assert!(consumer.unreleased() - before < LAYOUT.ring as u64, "no more than a PAD is passed");
    let expected = sent.front().map(|whole| whole.second.is_empty());
    assert!(liar.has_lied() || has_name == expected, "a record has the name that it was given");
    Ok(())
}

/// Reads a record and holds what `copy` makes of it against the first that was sent. Says whether there was one.
fn take<'a, 'b>(
    consumer: &mut Consumer<&'a Watched, &'a Liar<'b>>,
    liar: &Liar<'_>,
    sent: &mut VecDeque<Whole>,
    copy: fn(&Consumer<&'a Watched, &'a Liar<'b>>, &Record) -> Whole,
) -> Result<bool, Violation> {
    let before = consumer.unreleased();
    let next = consumer.next_record();
    let (loads, reads) = liar.work();
    assert!(loads <= 1 && reads <= 2, "a descriptor is copied once, and there is one PAD at most");
    let Some(record) = next? else {
        assert!(liar.has_lied() || sent.is_empty(), "what was sent is there");
        return Ok(false);
    };
    let progress = consumer.unreleased() - before;
    let whole = copy(consumer, &record);
    let length = whole.least_length();
    assert!(length <= LAYOUT.max_record() && length as u64 <= progress, "a record ends where it says");
    assert!(liar.work().1 <= 3, "each part is copied once");
    let expected = sent.pop_front();
    assert!(liar.has_lied() || expected == Some(whole), "a record comes out as it went in");
    Ok(true)
}

/// A producer whose consumer lies about its head and its event.
fn producer(choices: &Choices<'_>) {
    let (up, down) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let mut consumer = Consumer::new(down.clone(), up.clone(), LAYOUT);
    let words = vec![HEAD..HEAD + WORD, EVENT..EVENT + WORD];
    let liar = Liar::new(down, choices, words, 0..0);
    let own = Watched::new(up, vec![TAIL, SPACE_EVENT], RING..RING + LAYOUT.ring);
    let mut producer = Producer::new(&own, &liar, LAYOUT);
    let mut sent = VecDeque::new();

    for number in 0..STEPS {
        liar.work();
        let outcome = match choices.below(8) {
            0 if choices.are_used_up() => break,
            0..=2 => {
                let record = Whole::chosen(number, choices);
                record.push(&mut producer).map(|is_sent| {
                    if is_sent {
                        sent.push_back(record);
                    }
                })
            }
            3 => {
                let tail = own.cursor(TAIL);
                let outcome = producer.reserve(LAYOUT.max_record()).map(drop);
                assert_eq!(own.cursor(TAIL), tail, "a reservation that is given up changes nothing");
                outcome
            }
            4 => producer.is_drained().map(drop),
            5 => producer.arm_space(LAYOUT.max_record()).map(|has_room| {
                liar.work();
                let is_there = matches!(producer.reserve(LAYOUT.max_record()), Ok(Some(_)));
                assert!(!has_room || is_there || liar.has_lied(), "the room that was announced is there");
            }),
            6 => {
                let _ = producer.must_ring();
                assert_eq!(producer.unsignaled(), 0);
                Ok(())
            }
            // The honest half of the consumer reads. It is not the one to be protected from a lying one.
            _ => {
                for _ in 0..choices.below(16) {
                    let Ok(Some(record)) = consumer.next_record() else { break };
                    let expected = sent.pop_front();
                    assert!(liar.has_lied() || expected == Some(Whole::copied(&consumer, &record)));
                }
                let _ = consumer.release();
                Ok(())
            }
        };
        assert!(liar.work().0 <= 1, "a cursor is loaded once");
        assert!(producer.unread() <= LAYOUT.ring as u64, "nothing is overwritten that was not read");
        if let Err(violation) = outcome {
            assert!(liar.has_lied(), "an honest peer has done nothing wrong: {violation}");
            return;
        }
    }
}

/// A reader of returned slots whose peer lies about how many there are, and which.
fn return_reader(choices: &Choices<'_>) {
    let memory = HeapMemory::new(LAYOUT.total());
    let count = u32::try_from(LAYOUT.slots).expect("a few");
    let (mut slots, mut generations) = (Slots::new(count), Generations::new(count));
    let returns = Returns::new(memory.clone(), LAYOUT);
    let entries = LAYOUT.slots_offset();
    let words = vec![SLOT_TAIL..SLOT_TAIL + WORD, entries..entries + LAYOUT.slots * WORD];
    let liar = Liar::new(memory, choices, words, 0..0);
    let mut reader = ReturnReader::new(&liar, LAYOUT);
    // With the peer; on their way back; and what they stand for, by slot and generation.
    let (mut held, mut returned, mut out) = (Vec::new(), VecDeque::new(), Vec::new());

    for number in 0..STEPS {
        match choices.below(8) {
            0 if choices.are_used_up() => break,
            0..=2 => match slots.put(number) {
                Ok(slot) => {
                    assert!(out.iter().all(|((other, _), _)| *other != slot.0), "a slot is handed out once");
                    out.push((slot, number));
                    match generations.begin(slot.0, slot.1) {
                        Ok(()) => held.push(slot),
                        Err(_) => assert!(liar.has_lied()),
                    }
                }
                Err(refused) => assert!(refused == number && out.len() == LAYOUT.slots && !slots.has_free()),
            },
            3..=4 if !held.is_empty() => {
                let (slot, generation) = held.swap_remove(choices.below(held.len()));
                generations.end(slot);
                returns.push(slot, generation);
                returned.push_back((slot, generation));
            }
            _ => {
                liar.work();
                let next = reader.next_returned();
                assert!(liar.work().0 <= 2, "the position and an entry are loaded once");
                let taken = next.and_then(|next| next.map(|slot| Ok((slot, slots.take(slot.0, slot.1)?))).transpose());
                match taken {
                    Ok(Some((slot, content))) => {
                        let at = out.iter().position(|known| *known == (slot, content));
                        out.swap_remove(at.expect("only what is out comes back, and once"));
                        let expected = returned.pop_front();
                        assert!(liar.has_lied() || expected == Some(slot), "slots come back in order");
                    }
                    Ok(None) => assert!(liar.has_lied() || returned.is_empty(), "what was returned is there"),
                    Err(violation) => {
                        assert!(liar.has_lied(), "an honest peer has done nothing wrong: {violation}");
                        return;
                    }
                }
            }
        }
        assert_eq!(slots.out(), out.len());
    }
    assert_eq!(slots.drain().len(), out.len());
}
