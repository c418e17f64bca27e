//! What becomes of an operation.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use busway_net::wire::ResultCode;
use tokio::sync::oneshot;

use super::error::SendError;
use super::pending::Placed;

/// Whether an operation was accepted. Errors are boxed, so that all of it fits into registers: in memory it would be
/// waited for at each step of its way.
pub(super) type Accepted = Result<Confirmation, Box<SendError>>;

const _: () = assert!(size_of::<Poll<Accepted>>() <= 2 * size_of::<usize>());

/// What the broker makes of an accepted operation; await it, or drop it to ignore it. For an operation that was not to be
/// confirmed there is nothing to wait for.
///
/// # Errors
/// Awaiting it fails with [`SendError::Refused`] when the broker did not do it, with [`SendError::Timeout`] when the broker
/// has not answered within [`Builder::timeout`](super::Builder::timeout), and with [`SendError::Disconnected`] when the
/// connection ended before the answer came. After the last two, nobody knows whether it was done.
#[derive(Debug)]
pub struct Confirmation {
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Done,
    /// In this process, which knows it at once.
    #[cfg(feature = "broker")]
    Failed(Box<SendError>),
    Coming(oneshot::Receiver<Placed>),
    /// In this process, once a receiver has had room or not.
    #[cfg(feature = "broker")]
    Late(oneshot::Receiver<ResultCode>),
}

impl Confirmation {
    /// The answer is known.
    #[cfg(feature = "broker")]
    pub(super) fn known(answer: Result<(), SendError>) -> Self {
        Self { answer: answer.map_or_else(|error| Answer::Failed(Box::new(error)), |()| Answer::Done) }
    }

    /// Whether there is nothing to wait for, and nothing went wrong.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        matches!(self.answer, Answer::Done)
    }

    /// There is nothing to wait for.
    #[inline]
    pub(super) const fn done() -> Self {
        Self { answer: Answer::Done }
    }

    /// The answer comes through a channel.
    pub(super) fn coming(answer: oneshot::Receiver<Placed>) -> Self {
        Self { answer: Answer::Coming(answer) }
    }

    /// The answer comes when a wait is over.
    #[cfg(feature = "broker")]
    pub(super) fn late(answer: oneshot::Receiver<ResultCode>) -> Self {
        Self { answer: Answer::Late(answer) }
    }

    /// As awaiting it; says how many frames had arrived before it, if it had to come.
    #[cfg(feature = "rpc")]
    pub(crate) async fn placed(self) -> Result<Option<u64>, SendError> {
        match self.answer {
            Answer::Done => Ok(None),
            #[cfg(feature = "broker")]
            Answer::Failed(error) => Err(*error),
            Answer::Coming(receiver) => {
                let Placed { code, position } = receiver.await.map_err(|_| SendError::Disconnected)?;
                answer_of(code).map(|()| Some(position))
            }
            #[cfg(feature = "broker")]
            Answer::Late(receiver) => answer_of(receiver.await.map_err(|_| SendError::Disconnected)?).map(|()| None),
        }
    }
}

/// The answer as the caller sees it.
pub(super) fn answer_of(code: ResultCode) -> Result<(), SendError> {
    match code {
        ResultCode::OK => Ok(()),
        ResultCode::TIMEOUT => Err(SendError::Timeout),
        code => Err(SendError::Refused(code)),
    }
}

impl Future for Confirmation {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.answer {
            Answer::Done => Poll::Ready(Ok(())),
            #[cfg(feature = "broker")]
            Answer::Failed(error) => Poll::Ready(Err(SendError::clone(error))),
            Answer::Coming(receiver) => {
                let placed = ready!(Pin::new(receiver).poll(context));
                Poll::Ready(placed.map_or(Err(SendError::Disconnected), |placed| answer_of(placed.code)))
            }
            #[cfg(feature = "broker")]
            Answer::Late(receiver) => {
                let code = ready!(Pin::new(receiver).poll(context));
                Poll::Ready(code.map_or(Err(SendError::Disconnected), answer_of))
            }
        }
    }
}
