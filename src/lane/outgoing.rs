//! What the router hands to sinks.

use std::sync::Arc;

use busway_net::link::{BodyObject, Piped};
use busway_net::wire::FrameKind;

#[cfg(feature = "shm")]
use super::account::OnLane;
use crate::frame_names::FrameNames;
use crate::payload::{Content, Payload};

/// A frame on its way from the router to a sink.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) realtime: bool,
    pub(crate) names: &'a Arc<FrameNames>,
    /// Bytes of ours before the payload.
    pub(crate) prefix: &'a [u8],
    /// Borrowed up to [`COPY_MAX`], shared above.
    pub(crate) content: Routed<'a>,
}

/// A payload on its way through the router; whoever has it keeps it meanwhile.
#[derive(Clone, Copy)]
pub(crate) enum Routed<'a> {
    /// In a read buffer.
    Borrowed(&'a [u8]),
    /// Memory of this process.
    Owned(&'a Payload),
    /// In pipes, for one receiver: written by the kernel, or copied before anybody looks at it.
    Piped(&'a Arc<Piped>),
    /// In the arena of its sender, who could change it: never looked at, only copied or handed on.
    #[cfg(feature = "shm")]
    Lane(OnLane<'a>),
}

impl Routed<'_> {
    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Borrowed(bytes) => bytes.len(),
            Self::Owned(payload) => payload.len(),
            Self::Piped(piped) => piped.len(),
            #[cfg(feature = "shm")]
            Self::Lane(place) => place.payload().len(),
        }
    }

    /// In memory that nobody else can change; bytes of another process are copied.
    pub(crate) fn owned_bytes(&self) -> Payload {
        match self {
            Self::Borrowed(bytes) => (*bytes).into(),
            Self::Owned(payload) => (*payload).clone(),
            Self::Piped(piped) => piped.copy().clone().into(),
            #[cfg(feature = "shm")]
            Self::Lane(place) => {
                let mut bytes = Vec::with_capacity(place.payload().len());
                place.payload().copy_all(&mut bytes);
                bytes.into()
            }
        }
    }

    /// As content that can be looked at.
    pub(crate) fn content(&self) -> Content<'_> {
        match self {
            Self::Borrowed(bytes) => Content::Borrowed(bytes),
            Self::Owned(payload) => Content::Owned((*payload).clone()),
            _ => Content::Owned(self.owned_bytes()),
        }
    }

    /// The bytes behind a prefix.
    pub(crate) fn with_prefix(&self, prefix: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(prefix.len() + self.len());
        bytes.extend_from_slice(prefix);
        match self {
            Self::Borrowed(content) => bytes.extend_from_slice(content),
            Self::Owned(payload) => bytes.extend_from_slice(payload),
            Self::Piped(piped) => bytes.extend_from_slice(piped.copy()),
            #[cfg(feature = "shm")]
            Self::Lane(place) => place.payload().copy_all(&mut bytes),
        }
        bytes
    }
}

impl<'a> From<&'a Content<'_>> for Routed<'a> {
    fn from(content: &'a Content<'_>) -> Self {
        match content {
            Content::Borrowed(bytes) => Self::Borrowed(bytes),
            Content::Owned(payload) => Self::Owned(payload),
        }
    }
}
