//! Frames that differ in nothing but their payloads, routed together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_net::wire::{Operation, Payloads, QoS, Violation};

use super::access::Way;
use super::cache::Route;
use super::router::{Request, Router, Source, kind_of};
use super::touched::Touched;
use crate::lane::{FrameRun, Outgoing, Routed};

impl Router {
    /// Operation and address of the frames that are likely to come next, if these can be routed together.
    #[inline]
    pub(crate) fn repeated<'a>(&self, source: &'a Source) -> Option<(Operation, &'a Arc<[u8]>)> {
        let (operation, address, route) = source.cache.repeated(self.epoch.load(Ordering::Acquire))?;
        match route {
            Route::Receivers { peers, way: Way::Open, .. } if !peers.iter().any(|peer| peer.sink.has_policies()) => {
                Some((operation, address))
            }
            _ => None,
        }
    }

    /// Routes frames for which nobody waits and that differ in nothing but their payloads, all of them at most
    /// [`COPY_MAX`](crate::lane::COPY_MAX) bytes.
    ///
    /// # Errors
    /// As of [`route`](Router::route).
    pub(crate) fn route_run(
        &self,
        source: &mut Source,
        (operation, address): (Operation, &[u8]),
        payloads: Payloads<'_>,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        let epoch = self.epoch.load(Ordering::Acquire);
        if let Some((_, _, Route::Receivers { names, peers, .. })) = source.cache.repeated(epoch) {
            let content = Routed::Borrowed(&[]);
            let frame = Outgoing { kind: kind_of(operation), realtime: false, names, prefix: &[], content };
            let run = FrameRun::new(payloads);
            #[cfg(feature = "shm")]
            let run = run.with_common(source.common.as_ref(), peers.len());
            for peer in peers {
                let (taken, touch) = peer.sink.offer_run(touched.token(), &frame, &run);
                touched.heed(peer, touch);
                for payload in payloads.skip(taken).iter() {
                    let frame = Outgoing { content: Routed::Borrowed(payload), ..frame };
                    // None overtakes another, should the receiver have said only now that its senders are to wait.
                    if !touched.wait_behind(peer, &frame) {
                        // What becomes of it nobody waits for.
                        let _ = self.offer(peer, &frame, touched);
                    }
                }
            }
            return Ok(());
        }
        // The registry has changed since somebody looked.
        let request = Request { op_id: 0, operation, qos: QoS::No, address, receiver: &[] };
        payloads.iter().try_for_each(|payload| self.route(source, request, Routed::Borrowed(payload), touched))
    }
}
