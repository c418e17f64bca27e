//! Lies in every field of a record: each ends the connection of the liar, with the reason logged.

use busway_shm::Descriptor;
use busway_shm::layout::{flag, operation};

use crate::cursors::BROKEN;
use crate::lane_peer::{Arena, LanePeer, message, publication};
use crate::place::{Holdings, broker, expect_return_to, wait_until_gone};
use crate::support::Delivery;
use crate::witness::Witness;

/// A message in place: submission `slot` in a generation.
pub(crate) fn submit(peer: &mut LanePeer, arena: &Arena, slot: u32, generation: u32, target: &str) {
    let descriptor = in_place(arena, slot, generation);
    peer.push(descriptor, [target.as_bytes(), b"", b""], |_| {});
}

fn in_place(arena: &Arena, slot: u32, generation: u32) -> Descriptor {
    Descriptor {
        flags: flag::IN_PLACE,
        segment: arena.number.into(),
        offset: 64.into(),
        payload: 2048.into(),
        slot: slot.into(),
        generation: generation.into(),
        ..message()
    }
}

fn fragment(payload: &[u8], total: u64, more: bool) -> (Descriptor, [&[u8]; 3]) {
    let more = if more { flag::MORE } else { 0 };
    let descriptor =
        Descriptor { flags: flag::FRAGMENT | more, stream: 1.into(), offset: total.into(), ..publication() };
    (descriptor, [b"lies", b"", payload])
}

type Lie = fn(&mut LanePeer);

/// A record with one thing wrong.
fn spoiled(peer: &mut LanePeer, spoil: fn(&mut Descriptor)) {
    peer.push(message(), [b"nobody", b"", b"payload"], spoil);
}

fn fragments(peer: &mut LanePeer, pieces: &[(&[u8], u64, bool)]) {
    for (payload, total, more) in pieces {
        let (descriptor, parts) = fragment(payload, *total, *more);
        peer.push(descriptor, parts, |_| {});
    }
}

fn with_arena(peer: &mut LanePeer, spoil: fn(&mut Descriptor)) {
    let arena = peer.arena(4 << 20);
    peer.push(in_place(&arena, 0, 1), [b"nobody", b"", b""], spoil);
}

fn of_the_lane(peer: &mut LanePeer, operation: u8, spoil: fn(&mut Descriptor)) {
    peer.push(Descriptor { operation, ..Descriptor::default() }, [b"", b"", b""], spoil);
}

const LIES: &[(&str, Lie)] = &[
    ("length.zero", |peer| spoiled(peer, |record| record.length = 0.into())),
    ("length.one", |peer| spoiled(peer, |record| record.length = 1.into())),
    ("length.unaligned", |peer| spoiled(peer, |record| record.length = 100.into())),
    ("length.beyond.the.tail", |peer| spoiled(peer, |record| record.length = (64 << 10).into())),
    ("length.over.all", |peer| spoiled(peer, |record| record.length = u32::MAX.into())),
    ("length.too.short", |peer| spoiled(peer, |record| record.length = 64.into())),
    ("sequence.of.another", |peer| spoiled(peer, |record| record.sequence = 7_777.into())),
    ("reserved", |peer| spoiled(peer, |record| record.reserved = 1)),
    ("reserved.end", |peer| spoiled(peer, |record| record.reserved_end[15] = 1)),
    ("flag.unknown", |peer| spoiled(peer, |record| record.flags = 0x80)),
    ("flag.realtime", |peer| spoiled(peer, |record| record.flags = flag::REALTIME)),
    ("flag.more.alone", |peer| spoiled(peer, |record| record.flags = flag::MORE)),
    ("flag.fragment.in.place", |peer| spoiled(peer, |record| record.flags = flag::FRAGMENT | flag::IN_PLACE)),
    ("qos.unknown", |peer| spoiled(peer, |record| record.code = 4)),
    ("operation.unknown", |peer| spoiled(peer, |record| record.operation = 0x55)),
    ("operation.with.qos", |peer| spoiled(peer, |record| record.operation = 0x12 | 0x40)),
    ("operation.of.the.broker", |peer| spoiled(peer, |record| record.operation = operation::ARENA_READY)),
    ("operation.acknowledgement", |peer| spoiled(peer, |record| record.operation = 0xFE)),
    ("pad.that.fills.nothing", |peer| spoiled(peer, |record| record.operation = operation::PAD)),
    ("name.too.long", |peer| spoiled(peer, |record| record.name = u16::MAX.into())),
    ("second.too.long", |peer| spoiled(peer, |record| record.second = 0xFFFE.into())),
    ("payload.too.long", |peer| spoiled(peer, |record| record.payload = u32::MAX.into())),
    ("payload.a.little.too.long", |peer| spoiled(peer, |record| record.payload = 4096.into())),
    ("name.with.nul", |peer| peer.push(message(), [b"a\0b", b"", b"x"], |_| {})),
    ("name.not.utf8", |peer| peer.push(message(), [b"\xFF\xFE", b"", b"x"], |_| {})),
    ("message.with.receiver", |peer| peer.push(message(), [b"a", b"b", b"x"], |_| {})),
    ("subscribe.with.name", |peer| {
        peer.push(Descriptor { operation: 0x02, ..message() }, [b"a", b"", b"topic"], |_| {});
    }),
    ("subscribe.not.utf8", |peer| {
        peer.push(Descriptor { operation: 0x02, ..message() }, [b"", b"", b"\xFF\xFE"], |_| {});
    }),
    ("fragment.of.nothing", |peer| fragments(peer, &[(b"", 100, true)])),
    ("fragment.over.the.limit", |peer| fragments(peer, &[(b"x", (256 << 20) + 1, true)])),
    ("fragment.over.all.numbers", |peer| fragments(peer, &[(b"x", u64::MAX, true)])),
    ("fragment.changes.its.mind", |peer| fragments(peer, &[(b"x", 100, true), (b"x", 101, true)])),
    ("fragment.over.its.total", |peer| fragments(peer, &[(b"12345", 6, true), (b"67", 6, false)])),
    ("fragment.last.too.early", |peer| fragments(peer, &[(b"x", 100, true), (b"x", 100, false)])),
    ("fragment.never.last", |peer| fragments(peer, &[(b"12", 4, true), (b"34", 4, true)])),
    ("fragment.overtaken", |peer| {
        fragments(peer, &[(b"x", 100, true)]);
        peer.push(message(), [b"nobody", b"", b"faster"], |_| {});
    }),
    ("fragment.interleaved", |peer| {
        fragments(peer, &[(b"x", 100, true)]);
        let (descriptor, parts) = fragment(b"y", 100, true);
        peer.push(Descriptor { stream: 2.into(), ..descriptor }, parts, |_| {});
    }),
    ("segment.that.is.not", |peer| with_arena(peer, |record| record.segment = 999_999.into())),
    ("offset.unaligned", |peer| with_arena(peer, |record| record.offset = 65.into())),
    ("offset.beyond", |peer| with_arena(peer, |record| record.offset = (4 << 20).into())),
    ("offset.over.all.numbers", |peer| with_arena(peer, |record| record.offset = (u64::MAX - 63).into())),
    ("range.beyond", |peer| with_arena(peer, |record| record.payload = (4 << 20).into())),
    ("slot.beyond", |peer| with_arena(peer, |record| record.slot = (1 << 16).into())),
    ("slot.over.all", |peer| with_arena(peer, |record| record.slot = u32::MAX.into())),
    ("generation.skipped", |peer| with_arena(peer, |record| record.generation = 2.into())),
    ("generation.zero", |peer| with_arena(peer, |record| record.generation = 0.into())),
    ("answer.not.asked", |peer| of_the_lane(peer, operation::SEGMENT_OK, |record| record.segment = 1.into())),
    ("failure.not.asked", |peer| of_the_lane(peer, operation::SEGMENT_FAILED, |_| {})),
    ("arena.of.nothing", |peer| of_the_lane(peer, operation::ARENA_WANTED, |_| {})),
    ("arena.unaligned", |peer| of_the_lane(peer, operation::ARENA_WANTED, |record| record.offset = 4097.into())),
    ("arena.twice", |peer| {
        peer.want_arena(4 << 20);
        peer.want_arena(4 << 20);
    }),
    ("arena.dropped.that.is.not", |peer| of_the_lane(peer, operation::ARENA_DROPPED, |_| {})),
    ("arena.dropped.twice", |peer| {
        let arena = peer.arena(4 << 20);
        for _ in 0..2 {
            let dropped = Descriptor { operation: operation::ARENA_DROPPED, segment: arena.number.into(), ..message() };
            peer.push(dropped, [b"", b"", b""], |_| {});
        }
    }),
    ("arena.used.when.dropped", |peer| {
        let arena = peer.arena(4 << 20);
        let dropped = Descriptor { operation: operation::ARENA_DROPPED, segment: arena.number.into(), ..message() };
        peer.push(dropped, [b"", b"", b""], |_| {});
        submit(peer, &arena, 0, 1, "nobody");
    }),
];

#[test]
fn a_lie_in_any_field_ends_the_connection_of_the_liar_alone() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    for (name, lie) in LIES {
        let mut peer = LanePeer::connect(&broker, name);
        peer.expect_served();
        lie(&mut peer);
        peer.applicant.expect_closed();
        // A name or list that is not text is the protocol's affair, on sockets too.
        let reason = if name.ends_with("not.utf8") { "protocol violation" } else { BROKEN };
        broker.expect_logged(&[name, reason]);
    }
    expect_return_to(&broker, before);
    witness.finish();
}

type Spoil = fn(&mut Descriptor);

/// What may be wrong with a record that would otherwise go together with those before it.
const LIES_IN_A_RUN: &[(&str, Spoil)] = &[
    ("run.length.zero", |record| record.length = 0.into()),
    ("run.length.too.short", |record| record.length = 64.into()),
    ("run.length.beyond.the.tail", |record| record.length = (32 << 10).into()),
    ("run.sequence", |record| record.sequence = 7_777.into()),
    ("run.reserved", |record| record.reserved = 1),
    ("run.reserved.end", |record| record.reserved_end[0] = 1),
    ("run.flag.unknown", |record| record.flags = 0x40),
    ("run.flag.realtime", |record| record.flags = flag::REALTIME),
    ("run.qos.unknown", |record| record.code = 4),
    ("run.operation.unknown", |record| record.operation = 0x55),
    ("run.name.too.long", |record| record.name = u16::MAX.into()),
    ("run.second.too.long", |record| record.second = u16::MAX.into()),
    ("run.second.of.a.publication", |record| record.second = 1.into()),
    ("run.payload.too.long", |record| record.payload = u32::MAX.into()),
    ("run.payload.a.little.too.long", |record| record.payload = 300.into()),
    ("run.payload.over.the.limit", |_| {}),
];

#[test]
fn a_lie_behind_records_that_go_together_ends_the_liar_and_they_arrive() {
    const HONEST: u8 = 70;
    let broker = broker(&["--max-payload", "100"]);
    let before = Holdings::of(broker.id());
    for (name, spoil) in LIES_IN_A_RUN {
        let mut hearer = broker.subscriber("hearer", &["run"]);
        let mut peer = LanePeer::connect(&broker, name);
        for number in 0..HONEST {
            peer.write(publication(), [b"run", b"", &[number; 64]], |_| {});
        }
        let length = if name.ends_with("over.the.limit") { 101 } else { 64 };
        peer.push(publication(), [b"run", b"", &vec![0; length]], spoil);
        peer.applicant.expect_closed();
        broker.expect_logged(&[name, BROKEN]);
        for number in 0..HONEST {
            hearer.expect(&Delivery::publication("run", [number; 64]).from(name));
        }
        hearer.expect_nothing();
        drop(hearer);
        broker.wait_until_gone("hearer");
    }
    expect_return_to(&broker, before);
}

/// Publications of these payloads in one record.
fn together<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for payload in payloads {
        body.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        body.extend_from_slice(payload);
        body.resize(body.len().next_multiple_of(8), 0xEE);
    }
    body
}

fn run() -> Descriptor {
    Descriptor { flags: flag::SHORT | flag::RUN, ..publication() }
}

type Payloads = fn() -> Vec<u8>;

/// What may be wrong with a record that holds several frames.
const LIES_OF_A_RUN: &[(&str, Payloads, Spoil)] = &[
    ("together.none", Vec::new, |_| {}),
    ("together.not.words", || together([b"abc".as_slice()]), |record| record.payload = 15.into()),
    ("together.cut.short", || together([[1; 64].as_slice()]), |record| record.payload = 64.into()),
    ("together.length.beyond", || [&17_u64.to_le_bytes()[..], &[1; 16]].concat(), |_| {}),
    ("together.length.huge", || [&u64::MAX.to_le_bytes()[..], &[1; 16]].concat(), |_| {}),
    ("together.second.beyond", || [together([b"fine".as_slice()]), 1_u64.to_le_bytes().to_vec()].concat(), |_| {}),
    ("together.too.much", || together([[1; 88].as_slice(); 43]), |_| {}),
    ("together.over.the.limit", || together([[1; 101].as_slice()]), |_| {}),
    ("together.confirmed", || together([b"abc".as_slice()]), |record| record.code = 1),
    ("together.urgent", || together([b"abc".as_slice()]), |record| record.flags |= flag::REALTIME),
    ("together.in.place", || together([b"abc".as_slice()]), |record| record.flags |= flag::IN_PLACE),
    ("together.in.pieces", || together([b"abc".as_slice()]), |record| record.flags |= flag::FRAGMENT),
    ("together.not.short", || together([[1; 64].as_slice()]), |record| record.flags = flag::RUN),
    ("together.second.of.a.publication", || together([b"abc".as_slice()]), |record| record.second = 1.into()),
];

#[test]
fn a_lie_in_a_record_of_several_frames_ends_the_liar_and_what_came_before_it_arrives() {
    const HONEST: u8 = 70;
    let broker = broker(&["--max-payload", "100"]);
    let before = Holdings::of(broker.id());
    // Behind nothing, behind a frame of its own, and behind frames that go together with it.
    for honest in [0, 1, HONEST] {
        for (name, body, spoil) in LIES_OF_A_RUN {
            let mut hearer = broker.subscriber("hearer", &["run"]);
            let mut peer = LanePeer::connect(&broker, name);
            if honest > 0 {
                peer.write(publication(), [b"run", b"", &[0; 64]], |_| {});
            }
            let payloads: Vec<[u8; 64]> = (1..honest).map(|number| [number; 64]).collect();
            for some in payloads.chunks(30) {
                peer.write(run(), [b"run", b"", &together(some.iter().map(<[u8; 64]>::as_slice))], |_| {});
            }
            peer.push(run(), [b"run", b"", &body()], spoil);
            peer.applicant.expect_closed();
            broker.expect_logged(&[name, BROKEN]);
            for number in 0..honest {
                hearer.expect(&Delivery::publication("run", [number; 64]).from(name));
            }
            hearer.expect_nothing();
            drop(hearer);
            broker.wait_until_gone("hearer");
        }
    }
    expect_return_to(&broker, before);
}

#[test]
fn frames_in_one_record_are_frames_of_their_own() {
    let broker = broker(&[]);
    let mut hearer = broker.subscriber("hearer", &["run/#"]);
    let mut peer = LanePeer::connect(&broker, "together");
    // Of all lengths, among them none at all; alone, one behind the other, and with other topics between them.
    let payloads: Vec<Vec<u8>> = (0..=255).map(|number: u8| vec![number; usize::from(number) % 90]).collect();
    for (number, some) in payloads.chunks(7).enumerate() {
        let topic = format!("run/{}", number / 3 % 2);
        let body = together(some.iter().map(Vec::as_slice));
        peer.write(run(), [topic.as_bytes(), b"", &body], |_| {});
    }
    peer.publish();
    for (number, some) in payloads.chunks(7).enumerate() {
        let topic = format!("run/{}", number / 3 % 2);
        for payload in some {
            hearer.expect(&Delivery::publication(&topic, payload.clone()).from("together"));
        }
    }
    // More than a turn, and than a read of the broker, in records that are as short as can be.
    let most = together([[].as_slice(); 400]);
    for _ in 0..20 {
        peer.write(run(), [b"run/2", b"", &most], |_| {});
    }
    peer.publish();
    for _ in 0..20 * 400 {
        hearer.expect(&Delivery::publication("run/2", []).from("together"));
    }
    hearer.expect_nothing();
    assert!(peer.is_read());
}

/// A ring holds far more of them than are read in one turn.
#[test]
fn what_a_client_leaves_behind_is_delivered_however_many_frames_it_is() {
    const RECORDS: usize = 60;
    const TOGETHER: usize = 500;
    let broker = broker(&["--queue-size", "100000"]);
    let mut hearer = broker.subscriber("hearer", &["run"]);
    let mut peer = LanePeer::connect(&broker, "leaver");
    let body = together([[].as_slice(); TOGETHER]);
    for _ in 0..RECORDS {
        peer.write(run(), [b"run", b"", &body], |_| {});
    }
    // The broker sleeps until the client is gone.
    peer.show();
    drop(peer);
    for _ in 0..RECORDS * TOGETHER {
        hearer.expect(&Delivery::publication("run", []).from("leaver"));
    }
    hearer.expect_nothing();
}

#[test]
fn a_slot_that_is_out_cannot_be_submitted_again() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut liar = LanePeer::connect(&broker, "twice.the.same");
    let mut holder = LanePeer::connect(&broker, "holder");
    let arena = liar.arena(4 << 20);
    // The first goes as a copy, and introduces the segment.
    submit(&mut liar, &arena, 0, 1, "holder");
    let introduction = holder.applicant.segment();
    holder.answer(operation::SEGMENT_OK, &introduction);
    holder.await_record(0x12);
    holder.expect_served();
    submit(&mut liar, &arena, 1, 1, "holder");
    let held = holder.await_record(0x12);
    assert_eq!(held.flags & flag::IN_PLACE, flag::IN_PLACE, "the second goes in place, and is held");
    submit(&mut liar, &arena, 1, 2, "holder");
    liar.applicant.expect_closed();
    broker.expect_logged(&["twice.the.same", BROKEN]);
    holder.expect_served();
    witness.finish();
}

#[test]
fn a_lease_that_is_given_back_twice_or_in_another_generation_is_a_lie() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    for (name, returns) in [("returns.twice", &[0, 0][..]), ("returns.another.generation", &[1])] {
        let mut sender = LanePeer::connect(&broker, "sender");
        let mut liar = LanePeer::connect(&broker, name);
        let arena = sender.arena(4 << 20);
        submit(&mut sender, &arena, 0, 1, name);
        let introduction = liar.applicant.segment();
        liar.answer(operation::SEGMENT_OK, &introduction);
        liar.await_record(0x12);
        liar.expect_served();
        submit(&mut sender, &arena, 1, 1, name);
        let held = liar.await_record(0x12);
        for skew in returns {
            liar.give_back(held.slot.get(), held.generation.get() + skew);
        }
        // Looked at with the next payload in place.
        submit(&mut sender, &arena, 2, 1, name);
        liar.applicant.expect_closed();
        broker.expect_logged(&[name, BROKEN]);
        drop(sender);
        wait_until_gone(&broker, "sender");
    }
    witness.finish();
}
