//! How a stream of large payloads begins: at full speed, before there is any memory for it.

use std::sync::Arc;

use busway::Client;
use tokio::sync::watch;

use crate::stalled::number_of;
use crate::support::{Bus, keep, next, pattern};

const LENGTH: usize = 64 << 20;
const FRAMES: u64 = 12;
const RECEIVERS: usize = 4;
/// The publisher is never more than this many payloads ahead of the slowest receiver: so many may always be held in
/// place, however large.
const AHEAD: u64 = 4;
/// A machine that has no time for anything may still make copies of so many.
const FEW: u64 = 2;

/// Reads everything, and tells how much it has read; says how much came in place. The first eight bytes are the number;
/// the others are those of the template, as far as it goes.
async fn read_all(client: Client, template: Arc<[u8]>, progress: watch::Sender<u64>) -> u64 {
    let mut in_place = 0;
    for number in 0..FRAMES {
        let frame = next(&client).await;
        assert_eq!((number_of(&frame), frame.payload().len()), (number, LENGTH), "{}", client.name());
        // Not `assert_eq`: nobody wants to read that.
        assert!(frame.payload()[8..].starts_with(&template), "{} got other bytes", client.name());
        in_place += u64::from(frame.payload().is_in_place());
        drop(frame);
        progress.send_replace(number + 1);
    }
    in_place
}

async fn begin_at_full_speed(bus: &Bus, template: Arc<[u8]>, mut publish: impl AsyncFnMut(&Client, u64)) {
    let mut readers = Vec::new();
    for number in 0..RECEIVERS {
        let client = bus.lane(&format!("receiver.{number}")).await;
        client.subscribe("large").await.unwrap();
        let (progress, seen) = watch::channel(0);
        readers.push((seen, tokio::spawn(read_all(client, Arc::clone(&template), progress))));
    }
    let publisher = bus.lane("publisher").await;
    'publishing: for number in 0..FRAMES {
        for (seen, _) in &mut readers {
            if seen.wait_for(|read| read + AHEAD > number).await.is_err() {
                break 'publishing;
            }
        }
        publish(&publisher, number).await;
    }
    for (_, reading) in readers {
        let in_place = reading.await.unwrap();
        assert!(in_place >= FRAMES - FEW, "{in_place} of {FRAMES} payloads came in place");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_payloads_at_full_speed_from_the_first_on_cut_nobody() {
    keep(async {
        let bus = Bus::start().await;
        let mut payload = pattern(LENGTH, 0);
        begin_at_full_speed(&bus, payload[8..].into(), async |publisher, number| {
            payload[..8].copy_from_slice(&number.to_le_bytes());
            publisher.publish("large", &payload[..]).await.unwrap();
        })
        .await;
    })
    .await;
}

/// The first loans are made while there is no arena; and as nothing is written into them, they come faster than any
/// copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_loans_at_full_speed_from_the_first_on_cut_nobody() {
    keep(async {
        let bus = Bus::start().await;
        begin_at_full_speed(&bus, [].into(), async |publisher, number| {
            let mut loan = publisher.loan(LENGTH);
            loan[..8].copy_from_slice(&number.to_le_bytes());
            publisher.publish("large", loan).await.unwrap();
        })
        .await;
    })
    .await;
}
