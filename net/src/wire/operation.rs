//! What a client may ask for, what a broker may deliver, and how surely.

/// An operation of a client frame (bits 0 to 5 of its flags).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// Operation 0 with QoS bits set: it has a body, which is ignored.
    Nop = 0x00,
    /// `TOPIC 00 PAYLOAD`: to every subscriber.
    Publish = 0x01,
    /// `TOPIC [00 TOPIC]...`.
    Subscribe = 0x02,
    /// `TOPIC [00 TOPIC]...`.
    Unsubscribe = 0x03,
    /// `TOPIC [00 TOPIC]...`: take matching topics away from this client.
    Exclude = 0x04,
    /// `TOPIC [00 TOPIC]...`: give them back.
    Unexclude = 0x05,
    /// `TOPIC 00 RECEIVER 00 PAYLOAD`: as publish, to one primary client and its secondaries alone.
    PublishFor = 0x06,
    /// `TARGET 00 PAYLOAD`: to the one client of that name.
    Message = 0x12,
    /// `MASK 00 PAYLOAD`: to every client whose name matches.
    Broadcast = 0x13,
}

impl Operation {
    /// Every operation, for tables and tests.
    pub const ALL: [Self; 9] = [
        Self::Nop,
        Self::Publish,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Exclude,
        Self::Unexclude,
        Self::PublishFor,
        Self::Message,
        Self::Broadcast,
    ];

    /// The operation in a flags byte, or `None` when it is unknown.
    pub fn from_flags(flags: u8) -> Option<Self> {
        match flags & 0b0011_1111 {
            0x00 => Some(Self::Nop),
            0x01 => Some(Self::Publish),
            0x02 => Some(Self::Subscribe),
            0x03 => Some(Self::Unsubscribe),
            0x04 => Some(Self::Exclude),
            0x05 => Some(Self::Unexclude),
            0x06 => Some(Self::PublishFor),
            0x12 => Some(Self::Message),
            0x13 => Some(Self::Broadcast),
            _ => None,
        }
    }

    /// The flags byte of this operation at a QoS.
    pub fn flags(self, qos: QoS) -> u8 {
        self as u8 | (qos as u8) << 6
    }

    /// Whether the body is a list of topics, without a payload.
    pub fn takes_topics(self) -> bool {
        matches!(self, Self::Subscribe | Self::Unsubscribe | Self::Exclude | Self::Unexclude)
    }
}

/// What a broker delivers: kinds of frames that carry a sender and a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A publication, with a topic.
    Publication = 0x01,
    /// A message to one client.
    Message = 0x12,
    /// A message to all clients whose names match a mask.
    Broadcast = 0x13,
}

impl FrameKind {
    /// Kind byte of the broker's ping.
    pub const NOP: u8 = 0x00;
    /// Kind byte of an acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 0xFE;

    /// The kind that a byte stands for, or `None`.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Publication),
            0x12 => Some(Self::Message),
            0x13 => Some(Self::Broadcast),
            _ => None,
        }
    }
}

/// Confirmation and urgency of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum QoS {
    /// Neither confirmed nor urgent.
    #[default]
    No = 0,
    /// The broker confirms that it has processed the frame.
    Processed = 1,
    /// Flushed at once on every hop.
    Realtime = 2,
    /// Both.
    RealtimeProcessed = 3,
}

impl QoS {
    /// The QoS in bits 6 and 7 of a flags byte.
    pub fn from_flags(flags: u8) -> Self {
        match flags >> 6 {
            0 => Self::No,
            1 => Self::Processed,
            2 => Self::Realtime,
            _ => Self::RealtimeProcessed,
        }
    }

    /// Whether the broker acknowledges.
    pub fn is_confirmed(self) -> bool {
        self as u8 & 1 != 0
    }

    /// Whether the frame is flushed at once.
    pub fn is_realtime(self) -> bool {
        self as u8 & 2 != 0
    }
}
