//! What the broker says to a client: a confirmation, or a frame that somebody sent.

use std::fmt;

/// How a frame came to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Publication,
    Message,
    Broadcast,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::Publication,
            0x12 => Self::Message,
            0x13 => Self::Broadcast,
            other => panic!("the broker sent a frame of unknown kind {other:#04x}"),
        }
    }
}

/// Anything but a ping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    Confirmation { op_id: u32, code: u8 },
    Delivery(Delivery),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) kind: Kind,
    pub(crate) realtime: bool,
    pub(crate) sender: String,
    /// Empty for messages and broadcasts, which have none.
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

impl Delivery {
    pub(crate) fn message(payload: impl AsRef<[u8]>) -> Self {
        Self::new(Kind::Message, payload.as_ref())
    }

    pub(crate) fn broadcast(payload: impl AsRef<[u8]>) -> Self {
        Self::new(Kind::Broadcast, payload.as_ref())
    }

    pub(crate) fn publication(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self { topic: topic.to_owned(), ..Self::new(Kind::Publication, payload.as_ref()) }
    }

    pub(crate) fn from(mut self, sender: &str) -> Self {
        sender.clone_into(&mut self.sender);
        self
    }

    pub(crate) fn realtime(mut self) -> Self {
        self.realtime = true;
        self
    }

    /// Takes a body apart at its first NULs, as every client does.
    pub(crate) fn parse(kind: Kind, realtime: bool, body: &[u8]) -> Self {
        let (sender, rest) = split_at_nul(body);
        let (topic, payload) = match kind {
            Kind::Publication => split_at_nul(rest),
            Kind::Message | Kind::Broadcast => (String::new(), rest),
        };
        Self { kind, realtime, sender, topic, payload: payload.to_vec() }
    }

    fn new(kind: Kind, payload: &[u8]) -> Self {
        Self { kind, realtime: false, sender: String::new(), topic: String::new(), payload: payload.to_vec() }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A payload of megabytes would bury the difference that the reader looks for.
        let start = String::from_utf8_lossy(&self.payload[..self.payload.len().min(80)]);
        write!(formatter, "{:?}", self.kind)?;
        if self.realtime {
            write!(formatter, " (real-time)")?;
        }
        write!(formatter, " from {:?} topic {:?} payload {start:?}", self.sender, self.topic)?;
        write!(formatter, " ({} bytes)", self.payload.len())
    }
}

fn split_at_nul(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).expect("a delivery has a NUL after each name");
    let name = String::from_utf8(bytes[..end].to_vec()).expect("names in deliveries are UTF-8");
    (name, &bytes[end + 1..])
}
