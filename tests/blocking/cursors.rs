//! Cursors, as a service and as a reader.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use busway::QoS;
use busway::blocking::Client;
use busway::blocking::rpc::{Cursors, Methods, Request, Rpc};
use busway::rpc::{CallError, CursorHandle, ErrorCode, RpcError};

use crate::bus::Bus;
use crate::threads::{FOR_EVER, caller, client, threads};

threads! {
    everywhere {
        records_are_read_one_by_one_and_in_bulk
        an_iterator_that_fails_ends_the_reading
        a_cursor_that_nobody_has_opened_is_not_found
        what_a_cursor_reads_from_may_block_as_it_is_dropped
    }
}

/// A service with a cursor over numbers, one over whatever an iterator says, and methods of its own choice.
fn service(bus: &Bus) -> (Rpc, Cursors) {
    let cursors = Cursors::new(Duration::from_secs(3_600)).expect("there is a thread");
    let (numbers, failing, own) = (cursors.clone(), cursors.clone(), cursors.clone());
    let methods = Methods::new()
        .cursors(&cursors)
        .typed_method("numbers", move |count: u32, _| numbers.open_packed(0..count))
        .typed_method("failing", move |(): (), _| {
            failing.open([Ok(vec![1].into()), Err(RpcError::internal("out of fruit")), Ok(vec![2].into())])
        })
        .method("own", move |request: Request| own.next(&request.unpack()?));
    (Rpc::new(client(bus, "service"), methods), cursors)
}

fn open(rpc: &Rpc, count: u32) -> CursorHandle {
    rpc.call_typed("service", "numbers", &count).wait().expect("it is opened")
}

fn records_are_read_one_by_one_and_in_bulk(bus: &mut Bus) {
    let (_service, cursors) = service(bus);
    let rpc = caller(bus, "reader");
    for (count, bulk) in [(0, 3), (1, 3), (3, 3), (50, 7), (20, 1_000)] {
        let expected: Vec<u32> = (0..count).collect();
        let one_by_one: Result<Vec<u32>, _> = rpc.cursor("service", open(&rpc, count)).collect();
        assert_eq!(one_by_one.expect("no error"), expected);
        let in_bulk: Result<Vec<u32>, _> = rpc.cursor("service", open(&rpc, count)).bulk(bulk).collect();
        assert_eq!(in_bulk.expect("no error"), expected);
        let by_own_method: Result<Vec<u32>, _> = rpc.cursor("service", open(&rpc, count)).method("own").collect();
        assert_eq!(by_own_method.expect("no error"), expected);
    }
    assert!(cursors.is_empty(), "each was read to its end");
}

fn an_iterator_that_fails_ends_the_reading(bus: &mut Bus) {
    let (_service, _cursors) = service(bus);
    let rpc = caller(bus, "reader");
    let handle = rpc.call_typed("service", "failing", &()).wait().expect("it is opened");
    let mut records = rpc.cursor::<u8>("service", handle);
    assert_eq!(records.next().expect("a record").expect("no error"), 1);
    let failed = records.next().expect("an error").unwrap_err();
    assert_eq!(failed.code(), ErrorCode::INTERNAL);
    assert!(records.next().is_none() && records.next().is_none());
}

fn a_cursor_that_nobody_has_opened_is_not_found(bus: &mut Bus) {
    let (_service, cursors) = service(bus);
    let rpc = caller(bus, "reader");
    let closed = open(&rpc, 3);
    cursors.close(&closed);
    for handle in [closed, CursorHandle::new([7; 16])] {
        let outcome: Result<Vec<u32>, CallError> = rpc.cursor("service", handle).collect();
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::NOT_FOUND);
    }
}

/// Numbers that say goodbye over the bus, wait for the confirmation, and look at the cursors.
struct Farewell {
    numbers: std::ops::Range<u8>,
    client: Client,
    cursors: Cursors,
    told: Sender<(bool, usize)>,
}

impl Iterator for Farewell {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.numbers.next()
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let farewell = self.client.send(self.client.name(), "farewell").qos(QoS::Processed).wait();
        self.told.send((farewell.is_ok(), self.cursors.len())).expect("somebody looks");
    }
}

fn what_a_cursor_reads_from_may_block_as_it_is_dropped(bus: &mut Bus) {
    let anna = client(bus, "anna");
    let (told, is_told) = channel();
    let open = |cursors: &Cursors| {
        let (client, cursors, told) = (anna.clone(), cursors.clone(), told.clone());
        let numbers = Farewell { numbers: 0..1, client, cursors: cursors.clone(), told };
        cursors.open_packed(numbers).expect("there is room")
    };
    let cursors = Cursors::new(FOR_EVER).expect("there is a thread");
    cursors.close(&open(&cursors));
    assert_eq!(is_told.recv(), Ok((true, 0)), "closed");
    let handle = open(&cursors);
    while !cursors.next(&handle).expect("no error").is_empty() {}
    assert_eq!(is_told.recv(), Ok((true, 0)), "read to the end");
    let _ = open(&Cursors::new(Duration::from_millis(20)).expect("there is a thread"));
    assert_eq!(is_told.recv(), Ok((true, 0)), "forgotten");
}
