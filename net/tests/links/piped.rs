//! Payloads that stay in the kernel: they arrive whole, and nothing of one is left for another.

use std::io::{IoSlice, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use busway_net::Pool;
use busway_net::link::{Body, BodyObject, Chunk, FrameReader, Outbox, OutboxLimits, PipeShelf, Piped, Pipes, Socket};
use busway_net::wire::{ClientFrames, Operation, QoS, ReceivedPayload, encode_client_head};

use super::support::{Random, connected, read_exactly, reconnected, watched};

const MIB: usize = 1 << 20;

/// No two parts of it are the same.
fn payload(length: usize, seed: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (word, place) in (seed..).zip(bytes.chunks_mut(size_of::<usize>())) {
        place.copy_from_slice(&word.to_le_bytes()[..place.len()]);
    }
    bytes
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_client_head(&mut frame, 1, (Operation::Message, QoS::No), (b"target", None), payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// One connection of a broker: large payloads go into pipes.
struct Relay {
    socket: Socket,
    reader: FrameReader<ClientFrames>,
    pipes: Option<Pipes>,
    shelf: PipeShelf,
    pool: Pool,
}

/// A payload as it came.
enum Came {
    Piped(Arc<Piped>),
    Memory(Vec<u8>),
}

impl Came {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Piped(piped) => piped.copy().to_vec(),
            Self::Memory(bytes) => bytes.clone(),
        }
    }

    fn piped(self) -> Arc<Piped> {
        match self {
            Self::Piped(piped) => piped,
            Self::Memory(bytes) => panic!("{} bytes came in memory", bytes.len()),
        }
    }
}

impl Relay {
    /// A relay, and the sender's end. What is written to that blocks until it is read.
    fn new(shelf: &PipeShelf) -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let (socket, pool) = (Socket::new(ours.into()).expect("a socket"), Pool::default());
        let reader = FrameReader::new(ClientFrames::default(), pool.clone());
        (Self { socket, reader, pipes: None, shelf: shelf.clone(), pool }, theirs)
    }

    /// The next payload; `None` at the end.
    async fn next(&mut self) -> Option<Came> {
        loop {
            if let Some(frame) = self.reader.next_frame().expect("the protocol") {
                return Some(match frame.payload {
                    ReceivedPayload::Front(front, _) => {
                        let pipes = self.pipes.take().expect("what was passed over is in pipes");
                        Came::Piped(Arc::new(Piped::new(front, pipes, &self.pool)))
                    }
                    other => Came::Memory(other.as_slice().to_vec()),
                });
            }
            let mut readiness = self.socket.readable().await.expect("the runtime goes on");
            if self.reader.missing() > 0 && self.reader.take_announced().is_some() {
                self.pipes = self.shelf.promise(self.reader.missing(), 0);
            }
            let chunk = match &mut self.pipes {
                Some(pipes) if self.reader.missing() > 0 => self.reader.read_into_pipes(&mut readiness, pipes),
                _ => Some(self.reader.read(&mut readiness).expect("the connection holds")),
            };
            match chunk {
                Some(Chunk::End) => return None,
                Some(_) => {}
                None => self.pipes = None,
            }
        }
    }
}

/// Writes by a thread of its own, which ends with the bytes; the connection stays until the end is joined.
fn write(mut sender: UnixStream, bytes: Vec<u8>) -> std::thread::JoinHandle<UnixStream> {
    std::thread::spawn(move || {
        sender.write_all(&bytes).expect("the relay reads");
        sender
    })
}

fn offer(outbox: &Arc<Outbox>, payload: &Arc<Piped>) {
    let body = Arc::clone(payload) as Arc<dyn BodyObject>;
    outbox
        .offer(1, |batch| {
            batch.inline().extend_from_slice(b"head");
            batch.push_body(Body::Object(body));
        })
        .expect("there is room");
    outbox.flush();
}

#[tokio::test]
async fn payloads_go_through_pipes_whole_and_in_order() {
    let shelf = PipeShelf::new();
    let (mut relay, sender) = Relay::new(&shelf);
    let (outbox, peer) = connected(OutboxLimits::default());
    let lengths = [MIB, 4 * MIB + 1, 700 << 10, 16 * MIB, 3 * MIB - 7];
    let stream = lengths.iter().enumerate().flat_map(|(at, length)| frame(&payload(*length, at << 32))).collect();
    let writing = write(sender, stream);
    for (at, length) in lengths.into_iter().enumerate() {
        let came = watched("a payload", relay.next()).await.expect("a payload").piped();
        assert_eq!(came.len(), length);
        offer(&outbox, &came);
        drop(came);
        let read = watched("the payload", read_exactly(&peer, 4 + length)).await;
        assert!(read == [b"head", &payload(length, at << 32)[..]].concat(), "payload {at}");
    }
    assert_eq!(outbox.level().bytes, 0);
    drop(writing.join().expect("all is written"));
    assert!(watched("the end", relay.next()).await.is_none());
}

#[tokio::test]
async fn a_payload_may_be_looked_at_instead() {
    let (mut relay, sender) = Relay::new(&PipeShelf::new());
    let expected = payload(5 * MIB, 7);
    let writing = write(sender, frame(&expected));
    let came = watched("the payload", relay.next()).await.expect("a payload").piped();
    assert!(came.copied().is_none());
    assert!(*came.copy() == expected);
    assert!(came.copied().is_some_and(|copy| *copy == expected), "it is copied once");
    writing.join().expect("all is written");
}

#[tokio::test]
async fn what_comes_in_pieces_too_small_for_pipes_goes_on_in_memory() {
    let (mut relay, mut sender) = Relay::new(&PipeShelf::new());
    let expected = payload(MIB, 3);
    let bytes = frame(&expected);
    let writing = std::thread::spawn(move || {
        for piece in bytes.chunks(61) {
            sender.write_all(piece).expect("the relay reads");
        }
        sender.write_all(&frame(b"behind")).expect("the relay reads");
        sender
    });
    let came = watched("the payload", relay.next()).await.expect("a payload");
    assert!(matches!(came, Came::Memory(_)), "a pipe has 256 places");
    assert!(came.bytes() == expected);
    let behind = watched("the next payload", relay.next()).await.expect("a payload");
    assert_eq!(behind.bytes(), b"behind");
    writing.join().expect("all is written");
}

#[tokio::test]
async fn the_end_is_seen_also_behind_a_full_pipe() {
    // A pipe has 256 places, one for each piece.
    for (pieces, is_closed) in [(255, true), (256, true), (256, false), (257, true)] {
        let shelf = PipeShelf::new();
        let (mut relay, mut sender) = Relay::new(&shelf);
        sender.write_all(&frame(&payload(MIB, 1))[..40_000]).expect("there is room");
        while relay.reader.missing() == 0 {
            let mut readiness = watched("the head", relay.socket.readable()).await.expect("the runtime goes on");
            relay.reader.read(&mut readiness).expect("the connection holds");
            assert!(relay.reader.next_frame().expect("the protocol").is_none(), "most of it is missing");
        }
        let mut pipes = shelf.promise(MIB, 0).expect("nobody else has any");
        let mut step = async || {
            let mut readiness = watched("something", relay.socket.readable()).await.expect("the runtime goes on");
            relay.reader.read_into_pipes(&mut readiness, &mut pipes).expect("there is room")
        };
        for _ in 0..pieces {
            sender.write_all(b"!").expect("there is room");
            while step().await == Chunk::Empty {}
        }
        if is_closed {
            drop(sender);
        } else {
            sender.shutdown(std::net::Shutdown::Both).expect("it is connected");
        }
        // An empty read may be left from before.
        let end = [step().await, step().await];
        assert!(end.contains(&Chunk::End), "{end:?} after {pieces} pieces");
    }
}

#[tokio::test]
async fn a_payload_takes_half_of_the_pipes_at_most() {
    let shelf = PipeShelf::new();
    let expected = payload(24 * MIB, 1);
    let bytes = frame(&expected);
    let (mut relay, mut sender) = Relay::new(&shelf);
    let writing = std::thread::spawn(move || {
        for piece in bytes.chunks(2_500) {
            sender.write_all(piece).expect("the relay reads");
        }
        sender
    });
    let came = watched("the payload", relay.next()).await.expect("a payload");
    assert!(came.bytes() == expected);
    assert!(shelf.at_hand() <= 16, "{} pipes were in use", shelf.at_hand());
    writing.join().expect("all is written");
}

#[tokio::test]
async fn pieces_of_any_length_make_the_same_payloads() {
    let mut random = Random(0x5eed_0d1f);
    let shelf = PipeShelf::new();
    for round in 0..12 {
        let (mut relay, mut sender) = Relay::new(&shelf);
        let (outbox, peer) = connected(OutboxLimits::default());
        let lengths: Vec<usize> = (0..4).map(|_| 40_000 + random.below(3 * MIB)).collect();
        let expected: Vec<Vec<u8>> = lengths.iter().map(|length| payload(*length, random.below(1 << 40))).collect();
        let bytes: Vec<u8> = expected.iter().flat_map(|payload| frame(payload)).collect();
        let longest = [900, 5_000, 100_000, 1_000_000][round % 4];
        let writing = std::thread::spawn(move || {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((1 + random.below(longest)).min(rest.len()));
                sender.write_all(piece).expect("the relay reads");
                rest = behind;
            }
            (sender, random)
        });
        for expected in &expected {
            let came = watched("a payload", relay.next()).await.expect("a payload");
            match came {
                Came::Memory(bytes) => assert!(bytes == *expected, "round {round}"),
                Came::Piped(piped) => {
                    offer(&outbox, &piped);
                    let read = watched("the payload", read_exactly(&peer, 4 + expected.len())).await;
                    assert!(read[4..] == *expected, "round {round}");
                }
            }
        }
        random = writing.join().expect("all is written").1;
    }
}

#[tokio::test]
async fn what_is_left_of_a_payload_is_in_no_other() {
    let shelf = PipeShelf::new();
    let (mut relay, mut sender) = Relay::new(&shelf);
    let (outbox, mut peer) = connected(OutboxLimits::default());
    // Not read, half read, half written by a sender that ends, and one that is dropped unseen.
    for taken in [0, 2 * MIB] {
        let writing = write(sender, frame(&payload(8 * MIB, 11)));
        let came = watched("a payload", relay.next()).await.expect("a payload").piped();
        sender = writing.join().expect("all is written");
        offer(&outbox, &came);
        drop(came);
        watched("a part", read_exactly(&peer, taken)).await;
        outbox.close();
        peer = reconnected(&outbox, false);
    }
    let writing = write(sender, frame(&payload(8 * MIB, 12)));
    drop(watched("a payload", relay.next()).await.expect("a payload").piped());
    sender = writing.join().expect("all is written");
    let writing = write(sender, frame(&payload(8 * MIB, 13))[..5 * MIB].to_vec());
    let writer = std::thread::spawn(move || drop(writing.join().expect("all is written")));
    assert!(watched("the end", relay.next()).await.is_none(), "the sender has left amid a payload");
    writer.join().expect("no panic");
    drop(relay);

    let (mut relay, sender) = Relay::new(&shelf);
    let peer = reconnected(&outbox, false);
    let expected = payload(16 * MIB, 14);
    let writing = write(sender, frame(&expected));
    let came = watched("a payload", relay.next()).await.expect("a payload").piped();
    offer(&outbox, &came);
    assert!(watched("the payload", read_exactly(&peer, 4 + 16 * MIB)).await[4..] == expected);
    writing.join().expect("all is written");
}

#[tokio::test]
async fn a_receiver_that_leaves_amid_a_payload_is_noticed_and_kills_nobody() {
    let (mut relay, sender) = Relay::new(&PipeShelf::new());
    let (outbox, peer) = connected(OutboxLimits::default());
    let writing = write(sender, frame(&payload(8 * MIB, 1)));
    let came = watched("a payload", relay.next()).await.expect("a payload").piped();
    offer(&outbox, &came);
    watched("a part", read_exactly(&peer, MIB)).await;
    peer.shut_down();
    drop(peer);
    let ended = std::future::poll_fn(|context| outbox.poll_written(context));
    assert!(!watched("the end of the connection", ended).await, "not all was written");
    writing.join().expect("all is written");
}

#[tokio::test]
async fn pipes_are_as_many_as_were_promised_and_are_given_back() {
    let shelf = PipeShelf::new();
    assert!(shelf.has_room_for(16 * MIB));
    assert!(!shelf.has_room_for(64 * MIB), "others need some as well");
    let mut promises = Vec::new();
    while let Some(pipes) = shelf.promise(16 * MIB, 0) {
        promises.push(pipes);
        assert!(promises.len() <= 32, "there is an end");
    }
    assert!(promises.len() > 1);
    promises.pop();
    let left = 32 - 9 * promises.len();
    assert!(shelf.promise(16 * MIB, left - 8).is_none(), "so many would not be left");
    promises.extend(shelf.promise(16 * MIB, left - 9));
    // Who is promised none does without.
    let (mut relay, sender) = Relay::new(&shelf);
    let writing = write(sender, frame(&payload(16 * MIB, 1)));
    let came = watched("a payload", relay.next()).await.expect("a payload");
    assert!(matches!(came, Came::Memory(_)));
    let sender = writing.join().expect("all is written");
    drop(promises);
    for seed in 0..6 {
        let writing = write(sender.try_clone().expect("a duplicate"), frame(&payload(16 * MIB, seed)));
        let came = watched("a payload", relay.next()).await.expect("a payload").piped();
        assert!(*came.copy() == payload(16 * MIB, seed));
        writing.join().expect("all is written");
    }
}

#[tokio::test]
async fn an_idle_shelf_keeps_no_pipe() {
    let shelf = PipeShelf::new();
    let (mut relay, sender) = Relay::new(&shelf);
    let writing = write(sender, frame(&payload(16 * MIB, 1)));
    let came = watched("a payload", relay.next()).await.expect("a payload").piped();
    assert_eq!(shelf.at_hand(), 0);
    came.copy();
    let kept = shelf.at_hand();
    assert!(kept > 1, "they are used again");
    shelf.tidy();
    assert_eq!(shelf.at_hand(), kept, "some were taken since the look before");
    shelf.tidy();
    assert_eq!(shelf.at_hand(), 0);
    writing.join().expect("all is written");
}

#[test]
fn a_socket_is_written_by_one_call_with_what_comes_before_the_payload() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (mut relay, sender) = Relay::new(&PipeShelf::new());
        let writing = write(sender, frame(&payload(MIB, 1)));
        let came = watched("a payload", relay.next()).await.expect("a payload").piped();
        let (one, other) = Socket::pair().expect("a pair of sockets");
        let heads = [IoSlice::new(b"head"), IoSlice::new(b"more")];
        let sent = came.write_to(std::os::fd::AsFd::as_fd(&one), &heads, 0..128 << 10).expect("there is room");
        assert_eq!(sent, 8 + (128 << 10), "the beginning from memory and the rest from pipes");
        let read = watched("the bytes", read_exactly(&other, sent)).await;
        assert!(read == [b"headmore", &payload(128 << 10, 1)[..]].concat());
        writing.join().expect("all is written");
    });
}
