//! Whoever answers a command asks those who know: the reconciler, or the daemon as a whole.

use tokio::sync::{mpsc, oneshot};

use super::routes::{Failure, ending};

/// Asks, and waits for the answer. The question takes along where it is to be sent.
///
/// # Errors
/// If nobody answers any more, for the daemon is about to end.
pub(super) async fn ask<Q, A>(
    whom: &mpsc::Sender<Q>,
    question: impl FnOnce(oneshot::Sender<A>) -> Q,
) -> Result<A, Failure> {
    let (reply, answer) = oneshot::channel();
    whom.send(question(reply)).await.map_err(ending)?;
    answer.await.map_err(ending)
}
