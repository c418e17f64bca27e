//! What must hold for any bytes, in any split. Each function takes a fuzzer's input (see [`Plan`]) and panics when a
//! promise is broken.

use std::fmt::Debug;
use std::ops::ControlFlow;

use busway_net::Pool;
use busway_net::wire::{
    Assembler, BrokerFrames, BrokerHandshake, BrokerStep, ClientFrames, ClientHandshake, ClientStep, Grammar, HELLO,
    Limits, Refusal,
};

use super::decode::{Decoded, Frame, decode, feed, take_all};
use super::encode;
use super::memory::CountingMemory;
use super::plan::Plan;

/// Frames from a client, as a broker decodes them.
pub(crate) fn client_frames(input: &[u8]) {
    let plan = Plan::new(input);
    let grammar = ClientFrames { limits: plan.limits(), extra_operations: plan.extras() };
    let decoded = in_any_split(grammar, &plan);
    survives_encoding(grammar, &plan.limits(), decoded, encode::client_frame);
}

/// Frames from a broker, as a client decodes them.
pub(crate) fn broker_frames(input: &[u8]) {
    let plan = Plan::new(input);
    let grammar = BrokerFrames { limits: plan.limits(), extra_kinds: plan.extras() };
    let decoded = in_any_split(grammar, &plan);
    survives_encoding(grammar, &plan.limits(), decoded, encode::broker_frame);
}

/// A handshake and what follows it, seen from either side.
pub(crate) fn handshake(input: &[u8]) {
    let plan = Plan::new(input);
    let limits = plan.limits();
    let as_broker = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let grammar = ClientFrames { limits, extra_operations: plan.extras() };
        let mut handshake = BrokerHandshake::new(limits);
        converse(grammar, chunks, &plan, |pending| {
            let (used, step) = handshake.advance(pending);
            assert!(used <= pending.len());
            let next = match &step {
                BrokerStep::Incomplete => {
                    let most = HELLO.len().max(2 + limits.max_name);
                    assert!(pending.len() - used < most, "no more is kept than a name takes");
                    Next::Read
                }
                BrokerStep::Reply(_) => Next::GoOn,
                BrokerStep::Register(name) => {
                    assert_eq!(limits.check_name(name), Ok(()));
                    Next::Frames
                }
                BrokerStep::Refuse(refusal) => {
                    assert_eq!(refusal.code().is_none(), *refusal == Refusal::NameNotUtf8);
                    Next::End
                }
            };
            (used, next, format!("{step:?}"))
        })
    };
    assert_eq!(as_broker(&mut plan.chunks()), as_broker(&mut std::iter::once(plan.stream.as_slice())));

    let as_client = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let grammar = BrokerFrames { limits, extra_kinds: plan.extras() };
        let mut handshake = ClientHandshake::new();
        converse(grammar, chunks, &plan, |pending| {
            let (used, step) = handshake.advance(pending);
            assert!(used <= pending.len());
            let next = match step {
                ClientStep::Incomplete => {
                    assert!(pending.len() - used < HELLO.len(), "no more is kept than a greeting takes");
                    Next::Read
                }
                ClientStep::SendHello | ClientStep::SendName => Next::GoOn,
                ClientStep::Done => Next::Frames,
                ClientStep::NotBroker | ClientStep::Refused(_) => Next::End,
            };
            (used, next, format!("{step:?}"))
        })
    };
    assert_eq!(as_client(&mut plan.chunks()), as_client(&mut std::iter::once(plan.stream.as_slice())));
}

/// What a step of a handshake leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Read,
    GoOn,
    Frames,
    End,
}

/// A handshake out of an assembler's pending bytes, then frames; what was said, in order.
fn converse<G: Grammar>(
    grammar: G,
    chunks: &mut dyn Iterator<Item = &[u8]>,
    plan: &Plan,
    mut advance: impl FnMut(&[u8]) -> (usize, Next, String),
) -> (Vec<String>, Decoded<G::Meta>) {
    let mut memory = CountingMemory::new(plan.limits(), plan.overshoot());
    let mut assembler = Assembler::new(grammar);
    let mut steps = Vec::new();
    let mut next = Next::Read;
    let mut decoded = Decoded { frames: Vec::new(), end: Ok(false) };
    for chunk in chunks {
        let flow = feed(&mut assembler, chunk, &mut memory, |assembler, memory, count| {
            memory.fed += count;
            while next != Next::Frames {
                let (used, now, step) = advance(assembler.pending());
                assembler.consume(used);
                next = now;
                match now {
                    Next::Read => return ControlFlow::Continue(()),
                    Next::GoOn | Next::Frames => steps.push(step),
                    Next::End => {
                        steps.push(step);
                        return ControlFlow::Break(());
                    }
                }
            }
            decoded.end = take_all(assembler, memory, &mut decoded.frames).map(|()| assembler.is_amid());
            if decoded.end.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if flow.is_break() {
            break;
        }
        if plan.goes_idle() {
            assembler.release(&mut memory);
        }
    }
    assembler.release(&mut memory);
    assert!(assembler.is_amid() || memory.pieces == 0, "an idle connection holds no memory");
    (steps, decoded)
}

/// Decodes the stream in the plan's pieces and all at once.
fn in_any_split<G>(grammar: G, plan: &Plan) -> Decoded<G::Meta>
where
    G: Grammar + Copy,
    G::Meta: PartialEq + Debug,
{
    let in_pieces = decode_pieces(grammar, &mut plan.chunks(), plan);
    let at_once = decode_pieces(grammar, &mut std::iter::once(plan.stream.as_slice()), plan);
    assert_eq!(in_pieces, at_once, "the split makes no difference");
    for frame in &in_pieces.frames {
        assert!(frame.payload.len() <= plan.limits().max_payload);
    }
    in_pieces
}

fn decode_pieces<G: Grammar>(grammar: G, chunks: &mut dyn Iterator<Item = &[u8]>, plan: &Plan) -> Decoded<G::Meta> {
    converse(grammar, chunks, plan, |_| (0, Next::Frames, String::new())).1
}

/// Holds what was decoded against itself, encoded and decoded again. A name that was cut has no such way back.
fn survives_encoding<G: Grammar>(
    grammar: G,
    limits: &Limits,
    decoded: Decoded<G::Meta>,
    encode: impl Fn(&Frame<G::Meta>) -> Option<Vec<u8>>,
) where
    G::Meta: PartialEq + Debug,
{
    let longest = limits.max_path.max(limits.max_name);
    let is_whole = |frame: &Frame<G::Meta>| frame.first.len().max(frame.second.len()) <= longest;
    let encoded: Option<Vec<_>> =
        decoded.frames.iter().map(|frame| encode(frame).filter(|_| is_whole(frame))).collect();
    if let Some(frames) = encoded {
        assert_eq!(decode(grammar, [frames.concat().as_slice()], &mut Pool::new(0)), Decoded::all(decoded.frames));
    }
}
