//! Cursors: results read record by record.

use std::task::Poll;
use std::time::Duration;

use busway::rpc::{Cursor, CursorHandle, Cursors, ErrorCode, Methods, Records, Request, Rpc, RpcError};
use busway::{Payload, QoS};
use serde::{Deserialize, Serialize};

use crate::bus::{Bus, Place};
use crate::expectations::{next, poll_once, until};
use crate::promises::promises;
use crate::service::{answered, caller, service};

promises! {
    everywhere {
        records_are_read_one_by_one
        records_are_read_in_bulk
        an_empty_result_ends_at_once
        records_may_be_anything_that_is_packed
        several_cursors_are_read_at_once
        a_cursor_that_is_not_there_is_an_error
        an_error_of_the_source_ends_the_stream
        a_cursor_that_nobody_reads_is_forgotten
        the_bytes_are_those_of_the_convention
        a_read_that_is_given_up_loses_no_record
        a_service_may_have_methods_of_other_names
        a_cursor_is_a_stream
    }
}

/// A service with a method `count`, which opens a cursor over that many numbers.
async fn counting(bus: &Bus) -> (Rpc, Cursors) {
    let cursors = Cursors::new(Duration::from_secs(3_600));
    let opened = cursors.clone();
    let methods = Methods::new().cursors(&cursors).typed_method("count", move |number: u32, _| {
        let handle = opened.open_packed(0..number);
        async move { handle }
    });
    (service(bus, "service", methods).await, cursors)
}

async fn open(rpc: &Rpc, number: u32) -> CursorHandle {
    rpc.call_typed("service", "count", &number).await.expect("a cursor is opened")
}

async fn read<T: serde::de::DeserializeOwned + Send + 'static>(mut cursor: Cursor<T>) -> Vec<T> {
    let mut records = Vec::new();
    while let Some(record) = cursor.next().await {
        records.push(record.expect("a record"));
    }
    assert!(cursor.next().await.is_none(), "the end is the end");
    records
}

async fn records_are_read_one_by_one(place: Place) {
    let bus = place.open().await;
    let (_service, cursors) = counting(&bus).await;
    let rpc = caller(&bus, "caller").await;
    let handle = open(&rpc, 50).await;
    assert_eq!(cursors.len(), 1);
    assert_eq!(read(rpc.cursor::<u32>("service", handle)).await, (0..50).collect::<Vec<_>>());
    assert!(cursors.is_empty());
}

async fn records_are_read_in_bulk(place: Place) {
    let bus = place.open().await;
    let (_service, cursors) = counting(&bus).await;
    let rpc = caller(&bus, "caller").await;
    for bulk in [1, 7, 50, 51, 60_000] {
        let handle = open(&rpc, 50).await;
        assert_eq!(read(rpc.cursor::<u32>("service", handle).bulk(bulk)).await, (0..50).collect::<Vec<_>>(), "{bulk}");
        assert!(cursors.is_empty(), "{bulk}");
    }
}

async fn an_empty_result_ends_at_once(place: Place) {
    let bus = place.open().await;
    let (_service, _cursors) = counting(&bus).await;
    let rpc = caller(&bus, "caller").await;
    assert_eq!(read(rpc.cursor::<u32>("service", open(&rpc, 0).await)).await, [0; 0]);
    assert_eq!(read(rpc.cursor::<u32>("service", open(&rpc, 0).await).bulk(10)).await, [0; 0]);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Customer {
    id: i64,
    name: Option<String>,
}

async fn records_may_be_anything_that_is_packed(place: Place) {
    let bus = place.open().await;
    let customers: Vec<Customer> =
        (0..20).map(|id| Customer { id, name: (id % 2 == 0).then(|| "x".repeat(1_000)) }).collect();
    let cursors = Cursors::new(Duration::from_secs(3_600));
    let (opened, records) = (cursors.clone(), customers.clone());
    let methods = Methods::new().cursors(&cursors).typed_method("list", move |(): (), _| {
        let handle = opened.open_packed(records.clone());
        async move { handle }
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    for bulk in [None, Some(6)] {
        let handle: CursorHandle = rpc.call_typed("service", "list", &()).await.unwrap();
        let cursor = rpc.cursor::<Customer>("service", handle);
        assert_eq!(read(if let Some(count) = bulk { cursor.bulk(count) } else { cursor }).await, customers);
    }
}

async fn several_cursors_are_read_at_once(place: Place) {
    let bus = place.open().await;
    let (_service, cursors) = counting(&bus).await;
    let rpc = caller(&bus, "caller").await;
    let handles = [open(&rpc, 100).await, open(&rpc, 200).await, open(&rpc, 300).await];
    assert_eq!(cursors.len(), 3);
    let [one, other, last] = handles.map(|handle| rpc.cursor::<u32>("service", handle));
    let (one, other, last) = tokio::join!(read(one), read(other.bulk(9)), read(last));
    assert_eq!((one.len(), other.len(), last.len()), (100, 200, 300));
}

async fn a_cursor_that_is_not_there_is_an_error(place: Place) {
    let bus = place.open().await;
    let (_service, cursors) = counting(&bus).await;
    let rpc = caller(&bus, "caller").await;
    let handle = open(&rpc, 10).await;
    cursors.close(&handle);
    for mut cursor in [rpc.cursor::<u32>("service", handle), rpc.cursor("service", handle).bulk(3)] {
        assert_eq!(answered(cursor.next().await.unwrap()).0, ErrorCode::NOT_FOUND);
        assert!(cursor.next().await.is_none());
    }
    for method in ["N", "NB"] {
        assert_eq!(answered(rpc.call("service", method, "no handle").await).0, ErrorCode::PARSE);
        assert_eq!(answered(rpc.call("service", method, "").await).0, ErrorCode::INVALID_PARAMETERS);
    }
}

struct Failing(u8);

impl Records for Failing {
    async fn next(&mut self) -> Result<Option<Payload>, RpcError> {
        self.0 += 1;
        if self.0 > 2 {
            return Err(RpcError::new(ErrorCode(-7), "no more"));
        }
        Ok(Some(vec![self.0].into()))
    }
}

async fn an_error_of_the_source_ends_the_stream(place: Place) {
    let bus = place.open().await;
    let cursors = Cursors::new(Duration::from_secs(3_600));
    let handle = cursors.open(Failing(0)).unwrap();
    let _service = service(&bus, "service", Methods::new().cursors(&cursors)).await;
    let rpc = caller(&bus, "caller").await;
    let mut cursor = rpc.cursor::<u8>("service", handle);
    assert_eq!([cursor.next().await.unwrap().unwrap(), cursor.next().await.unwrap().unwrap()], [1, 2]);
    assert_eq!(answered(cursor.next().await.unwrap()), (ErrorCode(-7), "no more".to_owned()));
    assert!(cursor.next().await.is_none());
}

async fn a_cursor_that_nobody_reads_is_forgotten(place: Place) {
    let bus = place.open().await;
    let cursors = Cursors::new(Duration::from_millis(100));
    let handle = cursors.open_packed([1, 2, 3]).unwrap();
    let _service = service(&bus, "service", Methods::new().cursors(&cursors)).await;
    let rpc = caller(&bus, "caller").await;
    until(|| cursors.is_empty()).await;
    let outcome = rpc.cursor::<u8>("service", handle).next().await.unwrap();
    assert_eq!(answered(outcome).0, ErrorCode::NOT_FOUND);
}

async fn the_bytes_are_those_of_the_convention(place: Place) {
    let bus = place.open().await;
    let (rpc, peer) = (caller(&bus, "caller").await, bus.client("peer").await);
    let uuid = *b"0123456789abcdef";
    let expect = async |params: &[u8], answer: &[u8]| {
        let payload = next(&peer).await.payload().to_vec();
        assert_eq!(&payload[5..], params);
        peer.send("caller", [&[0x11], &payload[1..5], answer].concat()).qos(QoS::Processed).await.unwrap();
    };
    let (records, ()) = tokio::join!(read(rpc.cursor::<u8>("peer", CursorHandle::new(uuid))), async {
        expect(b"N\0\x81\xA1u\xC4\x100123456789abcdef", &[1]).await;
        expect(b"N\0\x81\xA1u\xC4\x100123456789abcdef", &[]).await;
    });
    assert_eq!(records, [1]);
    let (records, ()) = tokio::join!(read(rpc.cursor::<u8>("peer", CursorHandle::new(uuid)).bulk(2)), async {
        expect(b"NB\0\x82\xA1u\xC4\x100123456789abcdef\xA1n\x02", &[0x92, 1, 2]).await;
        expect(b"NB\0\x82\xA1u\xC4\x100123456789abcdef\xA1n\x02", &[0x91, 3]).await;
    });
    assert_eq!(records, [1, 2, 3]);
}

async fn a_read_that_is_given_up_loses_no_record(place: Place) {
    let bus = place.open().await;
    let (_service, _cursors) = counting(&bus).await;
    let rpc = caller(&bus, "caller").await;
    let mut cursor = rpc.cursor::<u32>("service", open(&rpc, 20).await);
    for number in 0..20 {
        // Asked for, and hardly ever there at once: then it is not waited for, and asked for again.
        let first = poll_once(&mut Box::pin(cursor.next()));
        let record = match first {
            Poll::Ready(record) => record,
            Poll::Pending => cursor.next().await,
        };
        assert_eq!(record.unwrap().unwrap(), number);
    }
}

async fn a_service_may_have_methods_of_other_names(place: Place) {
    let bus = place.open().await;
    let cursors = Cursors::new(Duration::from_secs(3_600));
    let handle = cursors.open_packed(["a", "b", "c"]).unwrap();
    let methods = Methods::new().method("more", move |request: Request| {
        let cursors = cursors.clone();
        async move { cursors.next_bulk(&request.unpack()?).await }
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    let cursor = rpc.cursor::<String>("service", handle).bulk(2).method("more").deadline(Duration::from_secs(60));
    assert_eq!(read(cursor).await, ["a", "b", "c"]);
}

async fn a_cursor_is_a_stream(place: Place) {
    let bus = place.open().await;
    let (_service, _cursors) = counting(&bus).await;
    let rpc = caller(&bus, "caller").await;
    let mut cursor = std::pin::pin!(rpc.cursor::<u32>("service", open(&rpc, 5).await).bulk(2));
    let mut sum = 0;
    while let Some(number) =
        std::future::poll_fn(|context| futures_core::Stream::poll_next(cursor.as_mut(), context)).await
    {
        sum += number.unwrap();
    }
    assert_eq!(sum, 1 + 2 + 3 + 4);
}
