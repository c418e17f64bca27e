//! The broker's own client, `.broker`, and what it answers.

use std::thread;
use std::time::Duration;

use rmpv::Value;

use crate::support::{
    Call, CallError, Delivery, Request, Setup, Transport, fields, number, parameters, promises, text, unpack,
};

promises! {
    everywhere {
        test_answers_ok
        info_names_author_and_version
        stats_counts_frames_and_bytes
        stats_grow_with_traffic
        client_list_describes_each_client
        client_list_is_sorted_by_name
        client_list_takes_a_filter
        client_list_takes_an_empty_filter_map
        client_list_shows_primaries_alone_and_counts_their_instances
        client_list_forgets_who_has_left
        client_list_counts_the_traffic_of_a_client
        benchmark_test_echoes_its_parameters
        benchmark_test_echoes_a_mebibyte
        an_unknown_method_is_an_error_32601
        parameters_where_none_are_expected_are_an_error_32602
        a_filter_that_is_no_regular_expression_is_an_error
        parameters_that_are_no_messagepack_are_an_error
        a_call_with_id_zero_gets_no_reply
        a_reply_goes_to_the_full_name_of_the_caller
        a_realtime_call_gets_a_realtime_reply
        calls_may_overlap
        a_notification_is_ignored
        a_message_that_is_no_rpc_is_ignored
        a_broadcast_to_everybody_leaves_the_broker_answering
    }
    busway_only {
        "the reference compiles expressions of any length": client_list_refuses_a_filter_of_257_bytes
        "the reference compiles expressions of any length": client_list_refuses_a_short_filter_that_takes_long
    }
}

const METHOD_NOT_FOUND: i16 = -32601;
const INVALID_PARAMETERS: i16 = -32602;

fn test_answers_ok(setup: &Setup) {
    let broker = setup.start();
    let reply = broker.peer("anna").call(&Call::new(1, "test")).expect("the test passes");
    // The very bytes: scripts compare them.
    assert_eq!(reply, b"\x81\xA2ok\xC3");
}

fn info_names_author_and_version(setup: &Setup) {
    let broker = setup.start();
    let info = broker.peer("anna").ask("info");
    assert_eq!(fields(&info), ["author", "version"]);
    assert!(!text(&info, "author").is_empty());
    assert!(text(&info, "version").split('.').count() >= 3, "{info}");
}

fn stats_counts_frames_and_bytes(setup: &Setup) {
    let broker = setup.start();
    let stats = broker.peer("anna").ask("stats");
    for field in ["uptime", "r_frames", "r_bytes", "w_frames", "w_bytes"] {
        assert!(stats[field].is_u64(), "{field} of {stats} is a number");
    }
    assert!(number(&stats, "uptime") < 3_600, "the uptime is in seconds");
}

fn stats_grow_with_traffic(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let _receiver = broker.peer("bert");
    let before = peer.ask("stats");
    for _ in 0..10 {
        peer.perform(Request::message("bert", [0; 1_000]));
    }
    let after = peer.ask("stats");
    for (field, growth) in [("r_frames", 10), ("w_frames", 10), ("r_bytes", 10_000), ("w_bytes", 10_000)] {
        let grown = number(&after, field) - number(&before, field);
        assert!((growth..growth * 4).contains(&grown), "{field} grew by {grown}");
    }
}

fn client_list_describes_each_client(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let clients = peer.client_list(None);
    let anna = clients.iter().find(|client| text(client, "name") == "anna").expect("the caller is listed");
    for field in ["r_frames", "r_bytes", "w_frames", "w_bytes", "queue", "instances"] {
        assert!(anna[field].is_u64(), "{field} of {anna} is a number");
    }
    match setup.transport {
        Transport::Unix => {
            assert_eq!(text(anna, "kind"), "local_ipc");
            assert_eq!(text(anna, "port"), broker.socket().to_str().expect("the path is text"));
        }
        Transport::Tcp => {
            assert_eq!(text(anna, "kind"), "tcp");
            assert_eq!(text(anna, "port"), format!("127.0.0.1:{}", broker.port()));
            assert!(text(anna, "source").starts_with("127.0.0.1:"), "{anna}");
        }
    }
    let own = clients.iter().find(|client| text(client, "name") == ".broker").expect("the broker lists itself");
    assert_eq!(text(own, "kind"), "internal");
    assert!(own["source"].is_nil() && own["port"].is_nil(), "{own}");
}

fn client_list_is_sorted_by_name(setup: &Setup) {
    let broker = setup.start();
    let _peers = ["zoe", "Anna", "bert", "anna.b", "anna", "émile"].map(|name| broker.peer(name));
    let clients = broker.peer("m").client_list(None);
    assert_eq!(names(&clients), [".broker", "Anna", "anna", "anna.b", "bert", "m", "zoe", "émile"]);
}

fn client_list_takes_a_filter(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let _peers = ["group.a", "group.b", "other.group.a"].map(|name| broker.peer(name));
    assert_eq!(names(&peer.client_list(Some(r"^group\."))), ["group.a", "group.b"]);
    assert_eq!(names(&peer.client_list(Some("group"))), ["group.a", "group.b", "other.group.a"]);
    assert_eq!(names(&peer.client_list(Some("a$"))), ["anna", "group.a", "other.group.a"]);
    assert_eq!(names(&peer.client_list(Some("nobody"))), [""; 0]);
}

fn client_list_refuses_a_filter_of_257_bytes(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    assert_eq!(names(&peer.client_list(Some(&"(anna)?".repeat(256 / 7)))), [".broker", "anna"]);
    for length in [257, 100_000] {
        let filter = Value::from("a".repeat(length));
        let call = Call::new(1, "client.list").with(&parameters(&[("filter", filter)]));
        assert_eq!(peer.call(&call), Err(CallError { code: INVALID_PARAMETERS }), "{length}");
    }
}

fn client_list_refuses_a_short_filter_that_takes_long(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let names = peer.client_list(Some(r"^\w{1,8}$"));
    assert_eq!(names.len(), 1, "what clients use is taken: {names:?}");
    let _long: Vec<_> = (10..50).map(|number| broker.peer(&format!("{}{number}", "a".repeat(252)))).collect();
    let filter = Value::from("(?:(?:[a-z]?){80}){80}[0-9]{6}");
    let call = Call::new(1, "client.list").with(&parameters(&[("filter", filter)]));
    assert_eq!(peer.call(&call), Err(CallError { code: INVALID_PARAMETERS }));
}

fn client_list_takes_an_empty_filter_map(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for entries in [&[][..], &[("filter", Value::Nil)]] {
        let call = Call::new(1, "client.list").with(&parameters(entries));
        let list = unpack(&peer.call(&call).expect("the broker lists its clients"));
        assert_eq!(names(list["clients"].as_array().expect("an array")), [".broker", "anna"]);
    }
}

fn client_list_shows_primaries_alone_and_counts_their_instances(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("bert");
    let _primary = broker.peer("anna");
    let _stays = broker.peer("anna%%1");
    let leaves = broker.peer("anna%%2");
    let mut instances = || {
        let clients = peer.client_list(Some("anna"));
        assert_eq!(names(&clients), ["anna"]);
        number(&clients[0], "instances")
    };
    assert_eq!(instances(), 3);
    drop(leaves);
    broker.wait_until_gone("anna%%2");
    assert_eq!(instances(), 2);
}

fn client_list_forgets_who_has_left(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    drop(broker.peer("bert"));
    broker.wait_until_gone("bert");
    assert_eq!(names(&peer.client_list(Some("anna|bert"))), ["anna"]);
}

fn client_list_counts_the_traffic_of_a_client(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("sender");
    let _receiver = broker.peer("receiver");
    for _ in 0..10 {
        sender.perform(Request::message("receiver", [0; 1_000]));
    }
    let clients = sender.client_list(Some("er$"));
    let find = |name| clients.iter().find(|client| text(client, "name") == name).expect("it is listed");
    assert!(number(find("sender"), "r_frames") >= 10);
    assert!(number(find("sender"), "r_bytes") >= 10_000);
    assert!(number(find("receiver"), "w_frames") >= 10);
    assert!(number(find("receiver"), "w_bytes") >= 10_000);
    assert!(number(find("receiver"), "r_bytes") < 10_000);
}

fn benchmark_test_echoes_its_parameters(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for payload in [&b""[..], b"hello", b"\x00\xFF\x00", &[0; 4_096]] {
        assert_eq!(peer.call(&Call::new(9, "benchmark.test").with(payload)).as_deref(), Ok(payload));
    }
}

fn benchmark_test_echoes_a_mebibyte(setup: &Setup) {
    let broker = setup.start();
    let payload: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let reply = broker.peer("anna").call(&Call::new(9, "benchmark.test").with(&payload));
    assert!(reply.as_ref() == Ok(&payload), "the echo differs");
}

fn an_unknown_method_is_an_error_32601(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for method in ["no.such.method", "", "TEST", "test "] {
        assert_eq!(peer.call(&Call::new(3, method)), Err(CallError { code: METHOD_NOT_FOUND }), "{method:?}");
    }
}

fn parameters_where_none_are_expected_are_an_error_32602(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for method in ["test", "info", "stats"] {
        let call = Call::new(3, method).with(&parameters(&[("surprise", 1.into())]));
        assert_eq!(peer.call(&call), Err(CallError { code: INVALID_PARAMETERS }), "{method}");
    }
}

fn a_filter_that_is_no_regular_expression_is_an_error(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let call = Call::new(3, "client.list").with(&parameters(&[("filter", "(".into())]));
    assert!(peer.call(&call).is_err());
    broker.expect_service();
}

fn parameters_that_are_no_messagepack_are_an_error(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for bytes in [&b"\xC1"[..], b"\x81\xA6filt", b"\xDF\xFF\xFF\xFF\xFF", b"filter=x"] {
        assert!(peer.call(&Call::new(3, "client.list").with(bytes)).is_err(), "{bytes:?}");
    }
    let wrong_type = parameters(&[("filter", 7.into())]);
    assert!(peer.call(&Call::new(3, "client.list").with(&wrong_type)).is_err());
}

fn a_call_with_id_zero_gets_no_reply(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for method in ["test", "no.such.method", "benchmark.test"] {
        peer.perform(Call::new(0, method).request());
    }
    // Replies may be made in any order: this one alone proves nothing about the others.
    assert!(peer.call(&Call::new(1, "test")).is_ok());
    thread::sleep(Duration::from_millis(150));
    peer.expect_nothing();
}

fn a_reply_goes_to_the_full_name_of_the_caller(setup: &Setup) {
    let broker = setup.start();
    let mut primary = broker.peer("anna");
    let mut secondary = broker.peer("anna%%1");
    assert!(secondary.call(&Call::new(1, "test")).is_ok());
    primary.expect_nothing();
}

fn a_realtime_call_gets_a_realtime_reply(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let call = Call::new(1, "test");
    peer.send(&call.request());
    assert!(!peer.receive_delivery().realtime);
    peer.send(&call.request().realtime());
    assert!(peer.receive_delivery().realtime);
}

fn calls_may_overlap(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let calls: Vec<Call> = (1..=100).map(|id| Call::new(id, "benchmark.test").with(&id.to_le_bytes())).collect();
    for call in &calls {
        peer.send(&call.request());
    }
    let mut open: Vec<u32> = (1..=100).collect();
    while !open.is_empty() {
        let payload = peer.receive_delivery().payload;
        assert_eq!((payload[0], &payload[1..5]), (0x11, &payload[5..9]), "a reply with the parameters of its call");
        let id = u32::from_le_bytes(payload[1..5].try_into().expect("four bytes"));
        let index = open.iter().position(|open| *open == id).expect("each call is answered once");
        open.swap_remove(index);
    }
}

fn a_notification_is_ignored(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    peer.perform(Request::message(".broker", b"\x00hello"));
    assert!(peer.call(&Call::new(1, "test")).is_ok());
}

fn a_message_that_is_no_rpc_is_ignored(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for payload in [
        &b""[..],
        b"\x01",
        b"\x01\x01\x00\x00\x00",
        b"\x01\x01\x00\x00\x00test",
        b"\x77",
        b"\xFF\xFF",
        b"\x11",
        b"\x12\x01",
    ] {
        peer.perform(Request::message(".broker", payload));
    }
    // A reply and an error reply to calls that the broker never made.
    peer.perform(Request::message(".broker", b"\x11\x01\x00\x00\x00"));
    peer.perform(Request::message(".broker", b"\x12\x01\x00\x00\x00\x00\x80"));
    assert!(peer.call(&Call::new(1, "test")).is_ok());
    peer.expect_nothing();
}

fn a_broadcast_to_everybody_leaves_the_broker_answering(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    peer.perform(Request::broadcast(".broker", "hello"));
    peer.send(&Request::broadcast("*", "hello"));
    peer.expect(&Delivery::broadcast("hello").from("anna"));
    assert!(peer.call(&Call::new(1, "test")).is_ok());
}

fn names(clients: &[Value]) -> Vec<&str> {
    clients.iter().map(|client| text(client, "name")).collect()
}
