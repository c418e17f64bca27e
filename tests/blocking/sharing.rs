//! One client, many threads.

use std::collections::{BTreeSet, HashMap};
use std::thread;

use busway::QoS;
use busway::client::Transport;

use crate::bus::Bus;
use crate::expectations::{EVERY_QOS, NOT_REGISTERED};
use crate::support::eventually;
use crate::threads::{client, next_text, subscriber, text, threads};

threads! {
    everywhere {
        threads_that_share_a_client_each_keep_their_order
        threads_that_share_a_client_get_their_own_confirmations
        clones_receive_and_each_frame_comes_once
        large_loans_arrive_as_they_were_written
    }
}

const THREADS: usize = 8;

fn threads_that_share_a_client_each_keep_their_order(bus: &mut Bus) {
    const EACH: usize = 200;
    let (sender, receiver) = (client(bus, "sender"), subscriber(bus, "receiver", &["order"]));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let sender = &sender;
            scope.spawn(move || {
                for number in 0..EACH {
                    let payload = format!("{thread} {number}");
                    let operation = match number % 2 {
                        0 => sender.send("receiver", payload),
                        _ => sender.publish("order", payload),
                    };
                    operation.qos(EVERY_QOS[(thread + number / 2) % 4]).wait().expect("it is accepted");
                }
            });
        }
        let mut next = HashMap::<usize, usize>::new();
        for _ in 0..THREADS * EACH {
            let words = next_text(&receiver);
            let (thread, number) = words.split_once(' ').expect("two numbers");
            let expected = next.entry(thread.parse().expect("a number")).or_default();
            assert_eq!(number, expected.to_string(), "thread {thread}");
            *expected += 1;
        }
    });
}

fn threads_that_share_a_client_get_their_own_confirmations(bus: &mut Bus) {
    let anna = client(bus, "anna");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let anna = &anna;
            scope.spawn(move || {
                for number in 0..100 {
                    let (target, expected) =
                        if (thread + number) % 2 == 0 { ("anna", Ok(())) } else { ("nobody", NOT_REGISTERED) };
                    assert_eq!(anna.send(target, "").qos(QoS::Processed).wait(), expected);
                }
            });
        }
    });
    let received = std::iter::from_fn(|| anna.try_recv()).count();
    assert_eq!(received, THREADS * 50, "whoever has its confirmation has the frame");
}

fn clones_receive_and_each_frame_comes_once(bus: &mut Bus) {
    const FRAMES: usize = 2_000;
    let (anna, bert) = (client(bus, "anna"), client(bus, "bert"));
    let listeners: Vec<_> = (0..THREADS)
        .map(|_| {
            let bert = bert.clone();
            thread::spawn(move || bert.iter().map(|frame| text(frame.payload())).collect::<Vec<_>>())
        })
        .collect();
    for number in 0..FRAMES {
        anna.send("bert", number.to_string()).wait().expect("it is accepted");
    }
    anna.send("nobody", "").qos(QoS::Processed).wait().expect_err("nobody is there");
    // Whoever has the answer to itself has everything that came before.
    bert.send("bert", FRAMES.to_string()).qos(QoS::Processed).wait().expect("it reaches itself");
    bert.close();
    let heard: Vec<_> = listeners.into_iter().flat_map(|listener| listener.join().expect("no panic")).collect();
    assert_eq!(heard.len(), FRAMES + 1);
    assert_eq!(heard.iter().collect::<BTreeSet<_>>().len(), FRAMES + 1);
}

/// 16 MiB. On the lane it takes a moment until every receiver has mapped them; then it reads them where they were written.
fn large_loans_arrive_as_they_were_written(bus: &mut Bus) {
    const LENGTH: usize = 16 << 20;
    let sender = client(bus, "sender");
    let receivers = [subscriber(bus, "receiver.1", &["large"]), subscriber(bus, "receiver.2", &["large"])];
    let mut round = 0_u8;
    eventually("reading in place", || {
        round += 1;
        let mut loan = if round == 2 { sender.loan_zeroed(LENGTH) } else { sender.loan(LENGTH) };
        assert!(round != 2 || loan.iter().all(|byte| *byte == 0));
        for (page, bytes) in loan.chunks_mut(4096).enumerate() {
            bytes[..4].copy_from_slice(&mark(page, round));
        }
        sender.publish("large", loan).qos(QoS::Processed).wait().expect("it is confirmed");
        let frames = receivers.each_ref().map(|receiver| receiver.recv().expect("it was published"));
        for frame in &frames {
            assert_eq!(frame.payload().len(), LENGTH);
            let is_there = |(page, bytes): (usize, &[u8])| bytes[..4] == mark(page, round);
            assert!(frame.payload().chunks(4096).enumerate().all(is_there), "round {round}");
        }
        let are_in_place = frames.iter().all(|frame| frame.payload().is_in_place());
        round >= 3 && (are_in_place || sender.transport() != Transport::Lane)
    });
}

/// What begins a page.
fn mark(page: usize, round: u8) -> [u8; 4] {
    u32::try_from(page).expect("a small number").wrapping_mul(u32::from(round)).to_le_bytes()
}
