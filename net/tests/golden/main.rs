//! The wire, byte by byte: what stands in these tests is what deployed BUS/RT programs send and expect.

#[path = "../support/mod.rs"]
mod support;

mod broker_frames;
mod client_frames;
mod handshake;
mod large;
mod memory;
mod rpc;

use std::fmt::Debug;

use busway_net::Pool;
use busway_net::wire::{Grammar, Violation};

use support::decode::{Decoded, Frame, decode};

/// Holds a stream to its frames: all at once, byte by byte, and cut in two at every place.
fn decodes_in_any_split<G>(grammar: G, stream: &[u8], frames: Vec<Frame<G::Meta>>)
where
    G: Grammar + Copy,
    G::Meta: PartialEq + Debug,
{
    in_any_split(grammar, stream, &Decoded::all(frames));
}

/// Holds a stream to the frames before a violation, in the same splits.
fn breaks_in_any_split<G>(grammar: G, stream: &[u8], frames: Vec<Frame<G::Meta>>, violation: Violation)
where
    G: Grammar + Copy,
    G::Meta: PartialEq + Debug,
{
    in_any_split(grammar, stream, &Decoded { frames, end: Err(violation) });
}

fn in_any_split<G>(grammar: G, stream: &[u8], expected: &Decoded<G::Meta>)
where
    G: Grammar + Copy,
    G::Meta: PartialEq + Debug,
{
    let pool = &mut Pool::default();
    assert_eq!(&decode(grammar, [stream], pool), expected, "all at once");
    assert_eq!(&decode(grammar, stream.chunks(1), pool), expected, "byte by byte");
    for at in 0..=stream.len() {
        let (one, other) = stream.split_at(at);
        assert_eq!(&decode(grammar, [one, other], pool), expected, "cut at {at}");
    }
}
