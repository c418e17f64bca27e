//! How a client of a UNIX socket comes to its lane.

#[cfg(feature = "shm")]
pub(super) use with_lane::{Negotiation, Switched};
#[cfg(not(feature = "shm"))]
pub(super) use without_lane::Negotiation;

#[cfg(feature = "shm")]
mod with_lane {
    use std::sync::Arc;

    use busway_net::link::{Origin, Outbox, PeerIdentity, Socket, Watch};
    use busway_net::wire::{BrokerTag, ClientHeader, ClientTag};

    use crate::broker::Shared;
    use crate::broker::connection::Reader;
    use crate::lane::{
        DownLane, Entrusted, Intake, LaneOff, LocalSink, Offer, PatientSink, Sink, SocketSink, Spent, Taking,
    };

    /// How far the negotiation of a lane has come.
    pub(in crate::broker) struct Negotiation {
        sink: Option<Arc<LocalSink>>,
        identity: Option<PeerIdentity>,
        receiver: u64,
        socket: Option<Arc<Socket>>,
        offer: Option<Offer>,
        /// Counts until the connection ends, whatever became of the offer: its descriptors may never be read.
        _spent: Option<Arc<Spent>>,
        /// A client may ask once.
        has_asked: bool,
        taking: Option<Taking>,
        is_switched: bool,
    }

    /// A lane that is in use from now on.
    pub(in crate::broker) type Switched = (Arc<DownLane>, Intake, Entrusted<Watch>);

    fn refuse(reason: LaneOff, outbox: &Arc<Outbox>) {
        outbox.offer_control(|batch| {
            batch.inline().extend_from_slice(&BrokerTag::Refusal(reason as u8).encode());
        });
        outbox.flush();
    }

    impl Negotiation {
        /// The sink of a client, and what it may become.
        pub(in crate::broker) fn new(
            shared: &Shared,
            (origin, socket): (Origin, &Arc<Socket>),
            outbox: &Arc<Outbox>,
            receiver: u64,
        ) -> (Box<dyn Sink>, Self) {
            let (outbox, host) = (Arc::clone(outbox), Arc::clone(&shared.lane_host));
            let limits = shared.outbox_limits;
            let (sink, identity, socket): (Box<dyn Sink>, _, _) = match origin {
                Origin::Tcp(_) => {
                    (Box::new(PatientSink::new(SocketSink { outbox, receiver }, receiver, limits)), None, None)
                }
                Origin::Unix(identity) => {
                    let sink = Arc::new(LocalSink::new(outbox, host, receiver));
                    let patient = PatientSink::new(Arc::clone(&sink), receiver, limits);
                    (Box::new(patient), Some((sink, identity)), Some(Arc::clone(socket)))
                }
            };
            let (sink_of_lane, identity) = identity.unzip();
            let negotiation = Self {
                sink: sink_of_lane,
                identity: identity.flatten(),
                receiver,
                socket,
                offer: None,
                _spent: None,
                has_asked: false,
                taking: None,
                is_switched: false,
            };
            (sink, negotiation)
        }

        /// What the client says in a ping.
        pub(in crate::broker) fn hear(
            &mut self,
            raw: [u8; ClientHeader::SIZE],
            shared: &Shared,
            outbox: &Arc<Outbox>,
            reader: &mut Reader,
        ) {
            let (Some(tag), Some(sink), Some(socket)) = (ClientTag::parse(&raw), &self.sink, &self.socket) else {
                return;
            };
            let outcome = match tag {
                ClientTag::Request { .. } if self.has_asked => return,
                ClientTag::Request { version, .. } => {
                    self.has_asked = true;
                    let with = (version, outbox, &shared.router.limits);
                    shared.lane_host.offer(socket, self.identity, with).map(|offer| {
                        // Its answer has to come from the process that connected.
                        reader.attest_senders();
                        self._spent = Some(offer.spent());
                        self.offer = Some(offer);
                        sink.set_off(LaneOff::Negotiating);
                    })
                }
                ClientTag::Failed => match self.offer.take() {
                    None => return,
                    Some(_) => Err(LaneOff::ClientFailed),
                },
                ClientTag::Ready => {
                    let Some(offer) = self.offer.take() else { return };
                    offer.take(&shared.lane_host, reader.last_sender()).map(|taking| {
                        self.taking = Some(taking);
                        self.is_switched = true;
                        reader.accept_bytes_alone();
                    })
                }
            };
            if let Err(reason) = outcome {
                sink.set_off(reason);
                reader.accept_bytes_alone();
                refuse(reason, outbox);
            }
        }

        /// Whether the client has just switched to its lane.
        pub(in crate::broker) fn is_switching(&self) -> bool {
            self.taking.is_some()
        }

        /// The lane, when the client has just switched to it. The timeout is what it takes at most.
        pub(in crate::broker) async fn switched(&mut self, shared: &Shared, outbox: &Arc<Outbox>) -> Option<Switched> {
            let (taking, sink) = (self.taking.take()?, self.sink.as_ref()?);
            let with = (outbox, shared.router.limits, shared.outbox_limits, self.receiver);
            match taking.finish(&shared.lane_host, shared.timeout, with).await {
                Ok(accepted) => sink.switch(accepted),
                Err(reason) => {
                    self.is_switched = false;
                    sink.set_off(reason);
                    refuse(reason, outbox);
                    None
                }
            }
        }

        /// Whether the client's frames come by the lane.
        pub(in crate::broker) fn is_switched(&self) -> bool {
            self.is_switched
        }
    }
}

#[cfg(not(feature = "shm"))]
mod without_lane {
    use std::sync::Arc;

    use busway_net::link::{Origin, Outbox, Socket};
    use busway_net::wire::ClientHeader;

    use crate::broker::Shared;
    use crate::broker::connection::Reader;
    use crate::lane::{PatientSink, Sink, SocketSink};

    /// Nothing: this build has no lane.
    pub(in crate::broker) struct Negotiation;

    impl Negotiation {
        /// The sink of a client.
        pub(in crate::broker) fn new(
            shared: &Shared,
            _from: (Origin, &Arc<Socket>),
            outbox: &Arc<Outbox>,
            receiver: u64,
        ) -> (Box<dyn Sink>, Self) {
            let sink = SocketSink { outbox: Arc::clone(outbox), receiver };
            (Box::new(PatientSink::new(sink, receiver, shared.outbox_limits)), Self)
        }

        /// A ping is a ping.
        #[expect(clippy::unused_self, reason = "the same as with a lane")]
        pub(in crate::broker) fn hear(
            &mut self,
            _raw: [u8; ClientHeader::SIZE],
            _shared: &Shared,
            _outbox: &Arc<Outbox>,
            _reader: &mut Reader,
        ) {
        }
    }
}
