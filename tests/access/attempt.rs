//! One thing that a client tries, by whatever way it is connected.

use busway::client::SendError;
use busway::{Client, QoS};

use crate::support::{Request, code};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt {
    Message(&'static str),
    Publish(&'static str),
    /// A topic and a receiver.
    PublishFor(&'static str, &'static str),
    Subscribe(&'static str),
    Unsubscribe(&'static str),
    Exclude(&'static str),
    Unexclude(&'static str),
    Broadcast(&'static str),
}

impl Attempt {
    /// As bytes on a socket.
    pub(crate) fn request(self) -> Request {
        match self {
            Self::Message(target) => Request::message(target, "x"),
            Self::Publish(topic) => Request::publish(topic, "x"),
            Self::PublishFor(topic, receiver) => Request::publish(topic, "x").only_for(receiver),
            Self::Subscribe(filter) => Request::subscribe(&[filter]),
            Self::Unsubscribe(filter) => Request::unsubscribe(&[filter]),
            Self::Exclude(filter) => Request::exclude(&[filter]),
            Self::Unexclude(filter) => Request::unexclude(&[filter]),
            Self::Broadcast(mask) => Request::broadcast(mask, "x"),
        }
    }

    /// By a client of the library; its code.
    pub(crate) async fn by(self, client: &Client) -> u8 {
        let qos = QoS::Processed;
        let outcome: Result<(), SendError> = match self {
            Self::Message(target) => client.send(target, "x").qos(qos).await,
            Self::Publish(topic) => client.publish(topic, "x").qos(qos).await,
            Self::PublishFor(topic, receiver) => client.publish_for(topic, receiver, "x").qos(qos).await,
            Self::Subscribe(filter) => client.subscribe(filter).await,
            Self::Unsubscribe(filter) => client.unsubscribe(filter).await,
            Self::Exclude(filter) => client.exclude(filter).await,
            Self::Unexclude(filter) => client.unexclude(filter).await,
            Self::Broadcast(mask) => client.broadcast(mask, "x").qos(qos).await,
        };
        outcome.map_or_else(|error| error.code().0, |()| code::OK)
    }
}
