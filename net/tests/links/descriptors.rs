//! Descriptors that ride on frames.

use std::fs::File;
use std::io::{IoSlice, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use busway_net::Pool;
use busway_net::link::{Body, Chunk, FrameReader, Outbox, OutboxLimits, Socket};
use busway_net::wire::{CLIENT_PING, ClientFrames};
use rustix::fs::MemfdFlags;

use super::support::{FakeObject, connected, offer, read_exactly, read_to_end, watched};

/// A descriptor that can be told from others.
fn marked(mark: &str) -> OwnedFd {
    let mut file = File::from(rustix::fs::memfd_create("mark", MemfdFlags::CLOEXEC).expect("a memory file"));
    file.write_all(mark.as_bytes()).expect("it takes the mark");
    file.into()
}

fn mark_of(descriptor: OwnedFd) -> String {
    let mut file = File::from(descriptor);
    file.rewind().expect("a memory file can be rewound");
    let mut mark = String::new();
    file.read_to_string(&mut mark).expect("the mark is text");
    mark
}

/// Reads until `count` bytes are there, at most `bite` at once; each descriptor with the end of the read that brought
/// it.
async fn read_with_descriptors(socket: &Socket, count: usize, bite: usize) -> (Vec<u8>, Vec<(usize, String)>) {
    let mut bytes = Vec::with_capacity(count);
    let mut arrived = Vec::new();
    while bytes.len() < count {
        let mut readiness = socket.readable().await.expect("the runtime goes on");
        while bytes.len() < count {
            let mut descriptors = Vec::new();
            let mut room = Vec::with_capacity(bite.min(count - bytes.len()));
            let chunk = readiness.read_with(&mut room, &mut [0; 4096], &mut descriptors).expect("the connection holds");
            bytes.append(&mut room);
            arrived.extend(descriptors.into_iter().map(|descriptor| (bytes.len(), mark_of(descriptor))));
            match chunk {
                Chunk::Full(_) => {}
                Chunk::Last(_) | Chunk::Empty => break,
                Chunk::End => panic!("the end after {} bytes", bytes.len()),
            }
        }
    }
    (bytes, arrived)
}

fn marks(arrived: &[(usize, String)]) -> Vec<&str> {
    arrived.iter().map(|(_, mark)| mark.as_str()).collect()
}

/// Frames with one descriptor and with three; positions of the bytes that they ride on.
fn offer_with_descriptors(outbox: &Outbox) -> (&'static [u8], [usize; 4]) {
    offer(outbox, b"plain ");
    let riders = vec![marked("one")];
    outbox
        .offer(1, |batch| {
            batch.push_body(Body::Descriptors(riders));
            batch.inline().extend_from_slice(b"with one ");
        })
        .expect("there is room");
    offer(outbox, b"plain again ");
    let riders = vec![marked("two"), marked("three"), marked("four")];
    outbox
        .offer(1, |batch| {
            batch.inline().extend_from_slice(b"a head first, ");
            batch.push_body(Body::Descriptors(riders));
            batch.push_body(Body::Bytes("then three and a body".into()));
        })
        .expect("there is room");
    (b"plain with one plain again a head first, then three and a body", [6, 41, 41, 41])
}

#[tokio::test]
async fn descriptors_arrive_with_the_byte_behind_them() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let (text, positions) = offer_with_descriptors(&outbox);
    outbox.flush();
    let (bytes, arrived) = watched("every byte", read_with_descriptors(&peer, text.len(), 1)).await;
    assert_eq!(bytes, text);
    let expected: Vec<_> =
        positions.iter().map(|at| at + 1).zip(["one", "two", "three", "four"].map(str::to_owned)).collect();
    assert_eq!(arrived, expected);
}

#[tokio::test]
async fn a_read_that_brings_descriptors_ends_before_the_next_ones() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let (text, positions) = offer_with_descriptors(&outbox);
    outbox.flush();
    let (bytes, arrived) = watched("every byte", read_with_descriptors(&peer, text.len(), 1000)).await;
    assert_eq!(bytes, text);
    assert_eq!(marks(&arrived), ["one", "two", "three", "four"]);
    assert!((positions[0] + 1..=positions[1]).contains(&arrived[0].0));
    assert!(arrived[1..].iter().all(|(end, _)| *end > positions[1]));
}

#[tokio::test]
async fn descriptors_wait_their_turn_behind_a_blocked_body() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let large = vec![7; 6 << 20];
    let body = Body::Bytes(large.clone().into());
    outbox.offer(1, |batch| batch.push_body(body)).expect("there is room");
    outbox.flush();
    for number in 0..5 {
        let riders = vec![marked(&number.to_string())];
        outbox
            .offer(1, |batch| {
                batch.push_body(Body::Descriptors(riders));
                batch.inline().extend_from_slice(&[number; 1000]);
            })
            .expect("there is room");
    }
    outbox.flush();
    let (bytes, arrived) = watched("every byte", read_with_descriptors(&peer, large.len() + 5000, 1000)).await;
    assert!(bytes[..large.len()] == large);
    assert!((0..5_u8).all(|number| bytes[large.len() + usize::from(number) * 1000..][..1000] == [number; 1000]));
    assert_eq!(marks(&arrived), ["0", "1", "2", "3", "4"]);
    for (number, (end, _)) in arrived.iter().enumerate() {
        let start = large.len() + number * 1000;
        assert!((start + 1..=start + 1000).contains(end), "descriptor {number} came with byte {end}");
    }
}

#[tokio::test]
async fn a_connection_that_did_not_ask_gets_none_and_its_stream_is_intact() {
    let (outbox, peer) = connected(OutboxLimits::default());
    // A pipe's end tells when its other end is closed everywhere.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    offer(&outbox, b"before ");
    outbox
        .offer(1, |batch| {
            batch.push_body(Body::Descriptors(vec![writer.into()]));
            batch.inline().extend_from_slice(b"with ");
        })
        .expect("there is room");
    offer(&outbox, b"after");
    outbox.flush();
    assert_eq!(watched("every byte", read_exactly(&peer, 17)).await, b"before with after");
    let closed = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
    assert_eq!(watched("the kernel closes it", closed).await.expect("no panic").expect("a pipe can be read"), 0);
}

#[tokio::test]
async fn what_was_closed_before_it_was_sent_is_closed() {
    let (outbox, _peer) = connected(OutboxLimits::default());
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    outbox
        .offer(1, |batch| {
            batch.push_body(Body::Descriptors(vec![writer.into()]));
            batch.inline().push(0);
        })
        .expect("there is room");
    outbox.close();
    let closed = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
    assert_eq!(watched("its end", closed).await.expect("no panic").expect("a pipe can be read"), 0);
}

#[tokio::test]
async fn eight_descriptors_fit_and_nine_end_the_connection() {
    for (count, fits) in [(8, true), (9, false)] {
        let (outbox, peer) = connected(OutboxLimits::default());
        let riders: Vec<_> = (0..count).map(|number| marked(&number.to_string())).collect();
        outbox
            .offer(1, |batch| {
                batch.push_body(Body::Descriptors(riders));
                batch.inline().push(b'x');
            })
            .expect("there is room");
        outbox.flush();
        if fits {
            let (_, arrived) = watched("the byte", read_with_descriptors(&peer, 1, 1)).await;
            assert_eq!(marks(&arrived), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        } else {
            assert_eq!(watched("the end", read_to_end(&peer, 0)).await, b"");
        }
    }
}

#[tokio::test]
async fn descriptors_without_a_byte_of_their_own_end_the_connection_and_not_in_a_spin() {
    for with_object in [true, false] {
        let (outbox, peer) = connected(OutboxLimits::default());
        outbox
            .offer(1, |batch| {
                batch.inline().extend_from_slice(b"head");
                batch.push_body(Body::Descriptors(vec![marked("a")]));
                if with_object {
                    batch.push_body(Body::Object(Arc::new(FakeObject::new(b"object".to_vec()))));
                } else {
                    batch.push_body(Body::Descriptors(vec![marked("b")]));
                    batch.inline().extend_from_slice(b"tail");
                }
            })
            .expect("there is room");
        // A spin would hold whoever flushes.
        let flushed = tokio::task::spawn_blocking(move || outbox.flush());
        watched("the flush", flushed).await.expect("no panic");
        assert_eq!(watched("the end", read_to_end(&peer, 4)).await, b"head");
    }
}

#[tokio::test]
async fn a_frame_reader_keeps_descriptors_only_once_it_accepts_them() {
    let (one, other) = Socket::pair().expect("a pair of sockets");
    let mut reader = FrameReader::new(ClientFrames::default(), Pool::default());
    let send = |mark: &str| {
        let rider = marked(mark);
        let sent = one.try_write_with(&[IoSlice::new(&CLIENT_PING)], &[rider.as_fd()]);
        assert_eq!(sent.expect("there is room"), CLIENT_PING.len());
    };
    for (accepts, mark) in [(false, "stranger"), (true, "friend")] {
        if accepts {
            reader.accept_descriptors();
        }
        send(mark);
        let mut readiness = watched("a ping", other.readable()).await.expect("the runtime goes on");
        assert!(matches!(reader.read(&mut readiness).expect("a read"), Chunk::Full(9) | Chunk::Last(9)));
        assert!(reader.next_frame().expect("a ping").is_some());
        let marks: Vec<_> = reader.take_descriptors().into_iter().map(mark_of).collect();
        assert_eq!(marks, if accepts { vec!["friend"] } else { vec![] });
    }
}

#[tokio::test]
async fn a_peer_cannot_pile_descriptors_up_in_a_frame_reader() {
    let (one, other) = Socket::pair().expect("a pair of sockets");
    let mut reader = FrameReader::new(ClientFrames::default(), Pool::default());
    reader.accept_descriptors();
    let rider = marked("again and again");
    let mut read = 0;
    let outcome = loop {
        let riders = [rider.as_fd(); 8];
        one.try_write_with(&[IoSlice::new(&CLIENT_PING)], &riders).expect("there is room");
        let mut readiness = watched("a ping", other.readable()).await.expect("the runtime goes on");
        match reader.read(&mut readiness) {
            Ok(_) => read += 1,
            Err(error) => break error,
        }
        while reader.next_frame().expect("a ping").is_some() {}
        assert!(read < 100, "8 descriptors with each ping, and nobody takes them");
    };
    assert_eq!(outcome.kind(), std::io::ErrorKind::InvalidData);
}
