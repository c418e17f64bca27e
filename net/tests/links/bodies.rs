//! Bodies that are not copied.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_net::link::{Body, BodyObject, OutboxLimits};

use super::support::{FakeObject, connected, read_exactly, read_to_end, watched};

#[tokio::test]
async fn an_object_is_written_behind_its_head_and_before_what_follows() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let object = Arc::new(FakeObject::new(b"object".to_vec()));
    let body = Arc::clone(&object);
    outbox
        .offer(1, move |batch| {
            batch.inline().extend_from_slice(b"head ");
            batch.push_body(Body::Object(body));
            batch.inline().extend_from_slice(b" tail");
        })
        .expect("there is room");
    outbox.flush();
    assert_eq!(read_exactly(&peer, 16).await, b"head object tail");
    assert_eq!(object.calls.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&object), 1, "it is let go once it is written");
}

#[tokio::test]
async fn an_object_may_be_written_in_many_turns() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let bytes: Vec<u8> = (0..50_000_u32).map(|at| (at % 253).to_le_bytes()[0]).collect();
    let object = FakeObject { stride: 999, ..FakeObject::new(bytes.clone()) };
    outbox.offer(1, move |batch| batch.push_body(Body::Object(Arc::new(object)))).expect("there is room");
    outbox.flush();
    let read = watched("the whole object", read_exactly(&peer, bytes.len())).await;
    assert!(read == bytes);
}

#[tokio::test]
async fn empty_bodies_are_passed_over() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let empty_object = || Body::Object(Arc::new(FakeObject::new(Vec::new())));
    for letter in [b'a', b'b'] {
        outbox
            .offer(1, |batch| {
                batch.push_body(Body::Bytes(bytes::Bytes::new()));
                batch.push_body(empty_object());
                batch.inline().push(letter);
                batch.push_body(empty_object());
                batch.push_body(Body::Bytes(bytes::Bytes::new()));
            })
            .expect("there is room");
    }
    outbox.flush();
    assert_eq!(watched("both letters", read_exactly(&peer, 2)).await, b"ab");
    assert_eq!(outbox.level().bytes, 0);
}

#[tokio::test]
async fn more_bodies_than_one_call_takes_arrive_in_order() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let mut expected = Vec::new();
    for number in 0..1000_u32 {
        let number = number.to_le_bytes();
        expected.extend_from_slice(&number);
        let body = Body::Bytes(bytes::Bytes::copy_from_slice(&number[2..]));
        outbox
            .offer(1, |batch| {
                batch.inline().extend_from_slice(&number[..2]);
                batch.push_body(body);
            })
            .expect("there is room");
    }
    outbox.flush();
    assert_eq!(read_exactly(&peer, expected.len()).await, expected);
}

/// Claims to be longer than it is.
struct Liar;

impl BodyObject for Liar {
    fn len(&self) -> usize {
        10
    }

    fn write_to(&self, _: BorrowedFd<'_>, _: &[IoSlice<'_>], _: Range<usize>) -> io::Result<usize> {
        Ok(0)
    }
}

#[tokio::test]
async fn an_object_that_has_nothing_to_write_ends_the_connection_and_not_in_a_spin() {
    let (outbox, peer) = connected(OutboxLimits::default());
    outbox.offer(1, |batch| batch.push_body(Body::Object(Arc::new(Liar)))).expect("there is room");
    outbox.flush();
    assert_eq!(watched("the end", read_to_end(&peer, 0)).await, b"");
}

/// Is interrupted at every other call.
struct Interrupted(FakeObject);

impl BodyObject for Interrupted {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn write_to(&self, socket: BorrowedFd<'_>, heads: &[IoSlice<'_>], range: Range<usize>) -> io::Result<usize> {
        if self.0.calls.load(Ordering::Relaxed).is_multiple_of(2) {
            self.0.calls.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.0.write_to(socket, heads, range)
    }
}

#[tokio::test]
async fn an_interrupted_write_is_tried_again() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let object = FakeObject { stride: 7, ..FakeObject::new(b"not disturbed".to_vec()) };
    outbox.offer(1, |batch| batch.push_body(Body::Object(Arc::new(Interrupted(object))))).expect("there is room");
    outbox.flush();
    assert_eq!(watched("the object", read_exactly(&peer, 13)).await, b"not disturbed");
}
