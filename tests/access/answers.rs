//! Who is called may answer.

use busway::rpc::{CallError, Methods, Rpc};
use busway::{Client, QoS};

use crate::DENIED;
use crate::ruled::Ruled;
use crate::support::{Delivery, Request};

const RULES: &str = r#"
[access.caller]
message = ["service"]

[access.service]
message = ["service"]

[access.other]
"#;

#[test]
fn each_message_may_be_answered_once_without_a_right() {
    let ruled = Ruled::start(RULES);
    let (mut caller, mut service, mut other) = (ruled.peer("caller"), ruled.peer("service"), ruled.peer("other"));
    assert_eq!(service.confirm(Request::message("caller", "unasked")), DENIED);
    for question in ["one", "two"] {
        caller.perform(Request::message("service", question));
        service.expect(&Delivery::message(question).from("caller"));
    }
    // Whoever was not asked may not answer.
    assert_eq!(other.confirm(Request::message("caller", "I know")), DENIED);
    for answer in ["one", "two"] {
        service.perform(Request::message("caller", answer));
        caller.expect(&Delivery::message(answer).from("service"));
    }
    assert_eq!(service.confirm(Request::message("caller", "and another thing")), DENIED);
    // The right is to one message, not to others.
    caller.perform(Request::message("service", "three"));
    service.expect(&Delivery::message("three").from("caller"));
    assert_eq!(service.confirm(Request::broadcast("caller", "x")), DENIED);
    assert_eq!(service.confirm(Request::message("other", "x")), DENIED);
}

#[test]
fn a_question_that_was_denied_may_not_be_answered() {
    let ruled = Ruled::start(RULES);
    let (_caller, mut service, mut other) = (ruled.peer("caller"), ruled.peer("service"), ruled.peer("other"));
    assert_eq!(other.confirm(Request::message("service", "x")), DENIED);
    assert_eq!(service.confirm(Request::message("other", "x")), DENIED);
    service.expect_nothing();
}

#[test]
fn an_answer_permits_no_answer() {
    let ruled = Ruled::start(RULES);
    let (mut caller, mut service) = (ruled.peer("caller"), ruled.peer("service"));
    caller.perform(Request::message("service", "question"));
    service.expect(&Delivery::message("question").from("caller"));
    // Meanwhile the right is taken away: the question may be answered still, and that is all.
    ruled.reload("[access.caller]\n[access.service]\nmessage = [\"service\"]\n");
    service.perform(Request::message("caller", "answer"));
    caller.expect(&Delivery::message("answer").from("service"));
    assert_eq!(caller.confirm(Request::message("service", "thank you")), DENIED);
}

#[test]
fn an_answer_goes_to_the_connection_that_has_asked() {
    let ruled = Ruled::start(RULES);
    let (mut caller, mut service) = (ruled.peer("caller"), ruled.peer("service"));
    caller.perform(Request::message("service", "question"));
    service.expect(&Delivery::message("question").from("caller"));
    drop(caller);
    let mut successor = ruled.broker.successor("caller");
    assert_eq!(service.confirm(Request::message("caller", "answer")), DENIED);
    successor.perform(Request::message("service", "question"));
}

/// Over the lane, over a socket and from inside a secondary.
#[tokio::test]
async fn a_service_answers_the_calls_of_those_to_whom_it_may_not_send() {
    let ruled = Ruled::start(RULES);
    let methods = Methods::new().typed_method("double", async |number: i64, _| Ok(number * 2));
    let service = Rpc::new(ruled.lane("service").await, methods);
    let socket = Client::builder(ruled.broker.socket(), "caller%%1").shm(false);
    let callers = [Rpc::new(ruled.lane("caller").await, ()), Rpc::new(socket.connect().await.unwrap(), ())];
    for number in 0..20 {
        for caller in &callers {
            let double: i64 = caller.call_typed("service", "double", &number).await.expect("it is answered");
            assert_eq!(double, number * 2);
        }
    }
    let denied = service.client().send("caller", "unasked").qos(QoS::Processed).await;
    assert_eq!(denied.unwrap_err().code().0, DENIED);
    let stranger = Rpc::new(ruled.lane("other").await, ());
    let refused: Result<i64, CallError> = stranger.call_typed("service", "double", &1).await;
    assert!(refused.unwrap_err().to_string().contains("access denied"));
}
