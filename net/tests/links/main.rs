//! Sockets under all that can happen to them: slow readers, full outboxes, threads, ends, rivals for a path.

mod bodies;
mod descriptors;
mod finish;
mod lent;
mod listener;
mod order;
mod outbox;
mod piped;
mod reading;
mod reconnect;
mod support;
mod turns;
