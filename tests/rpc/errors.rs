//! Every error of the protocol, there and back.

use std::time::Duration;

use busway::client::SendError;
use busway::rpc::{CallError, ErrorCode, Methods, Request, RpcError};
use busway::{Payload, ResultCode};
use serde::Deserialize;

use crate::bus::Place;
use crate::promises::promises;
use crate::service::{FOR_EVER, answered, caller, echo, service, text};

promises! {
    everywhere {
        every_code_reaches_the_caller
        error_data_may_be_anything
        errors_of_the_library_have_their_codes
        a_method_that_is_not_there_is_an_error
        a_service_without_handlers_has_no_methods
        parameters_that_do_not_fit_are_an_error
        parameters_that_cannot_be_packed_are_not_sent
        an_error_of_another_service_may_be_handed_on
    }
    over_sockets {
        an_answer_over_the_limit_is_an_internal_error
    }
}

/// The named codes, those of the bus, and some of a service's own.
fn codes() -> impl Iterator<Item = i16> {
    let transport = (0x71..=0x79).map(|code| -32000 - code);
    [-32700, -32600, -32601, -32602, -32603, -32001, 0, 1, -1, -777, i16::MIN, i16::MAX].into_iter().chain(transport)
}

async fn every_code_reaches_the_caller(place: Place) {
    let bus = place.open().await;
    let methods = Methods::new().typed_method("fail", async |code: i16, _| {
        Err::<(), _>(RpcError::new(ErrorCode(code), format!("because of {code}")))
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    for code in codes() {
        let error = rpc.call_typed::<()>("service", "fail", &code).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode(code));
        assert_eq!(answered(Err::<(), _>(error)), (ErrorCode(code), format!("because of {code}")));
    }
}

async fn error_data_may_be_anything(place: Place) {
    let bus = place.open().await;
    let fail = async |request: Request| Err::<Payload, _>(RpcError::new(ErrorCode(-7), request.params()));
    let _service = service(&bus, "service", Methods::new().method("fail", fail)).await;
    let rpc = caller(&bus, "caller").await;
    for data in [&b""[..], b"\0", b"\xFF\xFE", &[7; 100_000]] {
        match rpc.call("service", "fail", data).await {
            Err(CallError::Answered(error)) => assert!(error.data().as_slice() == data),
            other => panic!("{other:?}"),
        }
    }
}

async fn errors_of_the_library_have_their_codes(place: Place) {
    let bus = place.open().await;
    let methods = Methods::new()
        .method("parse", async |_| Err::<Payload, _>(RpcError::parse("no")))
        .method("invalid request", async |_| Err::<Payload, _>(RpcError::invalid_request("no")))
        .method("method", async |_| Err::<Payload, _>(RpcError::method_not_found()))
        .method("parameters", async |_| Err::<Payload, _>(RpcError::invalid_parameters("no")))
        .method("internal", async |_| Err::<Payload, _>(RpcError::internal("no")))
        .method("not found", async |_| Err::<Payload, _>(RpcError::not_found("no")))
        .method("busy", async |_| Err::<Payload, _>(SendError::Refused(ResultCode::BUSY).into()))
        .method("disconnected", async |_| Err::<Payload, _>(SendError::Disconnected.into()));
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    for (method, code) in [
        ("parse", -32700),
        ("invalid request", -32600),
        ("method", -32601),
        ("parameters", -32602),
        ("internal", -32603),
        ("not found", -32001),
        ("busy", -32118),
        ("disconnected", -32115),
    ] {
        assert_eq!(rpc.call("service", method, "").await.unwrap_err().code(), ErrorCode(code), "{method}");
    }
}

async fn a_method_that_is_not_there_is_an_error(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let rpc = caller(&bus, "caller").await;
    for method in ["", "Echo", "echo ", "none"] {
        assert_eq!(answered(rpc.call("service", method, "").await).0, ErrorCode::METHOD_NOT_FOUND, "{method:?}");
    }
}

async fn a_service_without_handlers_has_no_methods(place: Place) {
    let bus = place.open().await;
    let _nobody = busway::rpc::Rpc::new(bus.client("service").await, ());
    let rpc = caller(&bus, "caller").await;
    assert_eq!(answered(rpc.call("service", "echo", "").await).0, ErrorCode::METHOD_NOT_FOUND);
    rpc.notify("service", "ignored").await.unwrap();
}

#[derive(Debug, Deserialize)]
struct Level {
    #[allow(dead_code, reason = "it is there to be missing")]
    value: u8,
}

async fn parameters_that_do_not_fit_are_an_error(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", Methods::new().typed_method("set", async |_: Level, _| Ok(()))).await;
    let rpc = caller(&bus, "caller").await;
    for (params, code) in [
        (&b""[..], ErrorCode::INVALID_PARAMETERS),
        (b"\x80", ErrorCode::INVALID_PARAMETERS),
        (b"\x81\xA5value\xA1x", ErrorCode::INVALID_PARAMETERS),
        (b"\x81\xA5value\xCD\x01\x00", ErrorCode::INVALID_PARAMETERS),
        (b"value=7", ErrorCode::PARSE),
        (b"\x81\xA5val", ErrorCode::PARSE),
        (b"\xDF\xFF\xFF\xFF\xFF", ErrorCode::PARSE),
        (&[0x91; 100_000], ErrorCode::PARSE),
    ] {
        assert_eq!(answered(rpc.call("service", "set", params).await).0, code, "{:?}", &params[..params.len().min(9)]);
    }
    rpc.call("service", "set", b"\x81\xA5value\x07").await.unwrap();
}

async fn parameters_that_cannot_be_packed_are_not_sent(place: Place) {
    struct Unpackable;
    impl serde::Serialize for Unpackable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it is no value"))
        }
    }
    let bus = place.open().await;
    let _service = service(&bus, "service", Methods::new().typed_method("get", async |(): (), _| Ok(Unpackable))).await;
    let rpc = caller(&bus, "caller").await;
    let outcome = rpc.call_typed::<()>("service", "get", &Unpackable).await;
    assert!(matches!(outcome, Err(CallError::Pack(_))), "{outcome:?}");
    let (code, text) = answered(rpc.call("service", "get", "").await);
    assert!(code == ErrorCode::INTERNAL && text.contains("it is no value"), "{code} {text}");
}

async fn an_error_of_another_service_may_be_handed_on(place: Place) {
    let bus = place.open().await;
    let relay = Methods::new().method("relay", async |request: Request| {
        let target = text(&request.params());
        let deadline = if target == "silent" { Duration::from_millis(50) } else { FOR_EVER };
        Ok(request.rpc().call(&target, "fail", "").deadline(deadline).await?)
    });
    let _relay = service(&bus, "relay", relay).await;
    let fail = Methods::new().method("fail", async |_| Err::<Payload, _>(RpcError::new(ErrorCode(-99), "first hand")));
    let _failing = service(&bus, "failing", fail).await;
    let _silent = bus.client("silent").await;
    let rpc = caller(&bus, "caller").await;
    assert_eq!(answered(rpc.call("relay", "relay", "failing").await), (ErrorCode(-99), "first hand".to_owned()));
    assert_eq!(answered(rpc.call("relay", "relay", "nobody").await).0, ErrorCode(-32113));
    assert_eq!(answered(rpc.call("relay", "relay", "silent").await).0, ErrorCode(-32120));
}

async fn an_answer_over_the_limit_is_an_internal_error(place: Place) {
    let bus = place.open().await;
    let limited = bus.builder("service").max_payload(1_000).connect().await.unwrap();
    let methods = echo().method("much", async |_| Ok(vec![0; 1_000]));
    let _service = busway::rpc::Rpc::new(limited, methods);
    let rpc = caller(&bus, "caller").await;
    let (code, text) = answered(rpc.call("service", "much", "").await);
    assert!(code == ErrorCode::INTERNAL && text.contains("1000 bytes"), "{code} {text}");
    rpc.call("service", "echo", "").await.unwrap();
}
