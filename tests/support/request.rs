//! What a client says to the broker, one frame at a time.

/// The operations of the wire, by name.
pub(crate) mod operation {
    pub(crate) const PUBLISH: u8 = 0x01;
    pub(crate) const SUBSCRIBE: u8 = 0x02;
    pub(crate) const UNSUBSCRIBE: u8 = 0x03;
    pub(crate) const EXCLUDE: u8 = 0x04;
    pub(crate) const UNEXCLUDE: u8 = 0x05;
    pub(crate) const PUBLISH_FOR: u8 = 0x06;
    pub(crate) const MESSAGE: u8 = 0x12;
    pub(crate) const BROADCAST: u8 = 0x13;
}

/// QoS bit 0, where it lies in the flags.
const CONFIRM: u8 = 0x40;
/// QoS bit 1, where it lies in the flags.
const REALTIME: u8 = 0x80;

#[derive(Clone)]
pub(crate) struct Request {
    op_id: u32,
    flags: u8,
    body: Vec<u8>,
}

impl Request {
    /// Any frame at all, also one that no client should send.
    pub(crate) fn raw(operation: u8, body: &[u8]) -> Self {
        Self { op_id: 0, flags: operation, body: body.to_vec() }
    }

    pub(crate) fn message(target: &str, payload: impl AsRef<[u8]>) -> Self {
        Self::addressed(operation::MESSAGE, target, payload.as_ref())
    }

    pub(crate) fn broadcast(mask: &str, payload: impl AsRef<[u8]>) -> Self {
        Self::addressed(operation::BROADCAST, mask, payload.as_ref())
    }

    pub(crate) fn publish(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self::addressed(operation::PUBLISH, topic, payload.as_ref())
    }

    /// Turns a publication into one for a single receiver and its secondaries.
    pub(crate) fn only_for(mut self, receiver: &str) -> Self {
        assert_eq!(self.flags, operation::PUBLISH, "only a publication can be for one receiver");
        let topic = self.body.iter().position(|byte| *byte == 0).expect("a publication has a topic");
        let named = [receiver.as_bytes(), &[0]].concat();
        self.body.splice(topic + 1..topic + 1, named);
        self.flags = operation::PUBLISH_FOR;
        self
    }

    pub(crate) fn subscribe(topics: &[&str]) -> Self {
        Self::raw(operation::SUBSCRIBE, topics.join("\0").as_bytes())
    }

    pub(crate) fn unsubscribe(topics: &[&str]) -> Self {
        Self::raw(operation::UNSUBSCRIBE, topics.join("\0").as_bytes())
    }

    pub(crate) fn exclude(topics: &[&str]) -> Self {
        Self::raw(operation::EXCLUDE, topics.join("\0").as_bytes())
    }

    pub(crate) fn unexclude(topics: &[&str]) -> Self {
        Self::raw(operation::UNEXCLUDE, topics.join("\0").as_bytes())
    }

    /// Asks for a confirmation.
    pub(crate) fn confirmed(mut self) -> Self {
        self.flags |= CONFIRM;
        self
    }

    pub(crate) fn realtime(mut self) -> Self {
        self.flags |= REALTIME;
        self
    }

    pub(crate) fn op_id(mut self, op_id: u32) -> Self {
        self.op_id = op_id;
        self
    }

    /// The frame as it travels.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len()).expect("a body fits its length field");
        let mut bytes = Vec::with_capacity(9 + self.body.len());
        bytes.extend_from_slice(&self.op_id.to_le_bytes());
        bytes.push(self.flags);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn addressed(operation: u8, address: &str, payload: &[u8]) -> Self {
        Self::raw(operation, &[address.as_bytes(), &[0], payload].concat())
    }
}
