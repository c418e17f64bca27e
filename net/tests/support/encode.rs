//! Frames that were decoded, as their sender would encode them. `None` for what no encoder makes.

use busway_net::wire::{
    BrokerFrame, ClientFrame, FrameKind, Operation, encode_acknowledgement, encode_broker_head, encode_client_head,
    encode_topics_head,
};

use super::decode::Frame;

pub(crate) fn client_frame(frame: &Frame<ClientFrame>) -> Option<Vec<u8>> {
    let (op_id, operation, qos) = match frame.meta {
        ClientFrame::Ping { raw } => return Some(raw.to_vec()),
        ClientFrame::Operation { op_id, operation, qos } => (op_id, operation, qos),
        ClientFrame::Extra { .. } => return None,
    };
    let mut bytes = Vec::new();
    if operation.takes_topics() {
        let topics = std::str::from_utf8(&frame.payload).ok()?;
        encode_topics_head(&mut bytes, op_id, (operation, qos), topics.split('\0'));
    } else {
        let receiver = (operation == Operation::PublishFor).then_some(frame.second.as_slice());
        encode_client_head(&mut bytes, op_id, (operation, qos), (&frame.first, receiver), frame.payload.len());
        bytes.extend_from_slice(&frame.payload);
    }
    Some(bytes)
}

pub(crate) fn broker_frame(frame: &Frame<BrokerFrame>) -> Option<Vec<u8>> {
    let (kind, realtime) = match frame.meta {
        BrokerFrame::Ping { raw } => return Some(raw.to_vec()),
        BrokerFrame::Acknowledgement { op_id, code } => return Some(encode_acknowledgement(op_id, code).to_vec()),
        BrokerFrame::Delivery { kind, realtime } => (kind, realtime),
        BrokerFrame::Extra { .. } => return None,
    };
    let topic = (kind == FrameKind::Publication).then_some(frame.second.as_slice());
    let mut bytes = Vec::new();
    encode_broker_head(&mut bytes, (kind, realtime), (&frame.first, topic), frame.payload.len());
    bytes.extend_from_slice(&frame.payload);
    Some(bytes)
}
