//! Connections on their way to whoever asked for them: read by a thread of its own, piece by piece, no faster
//! than they are taken.

use std::{io, ops::ControlFlow, sync::Arc};

use axum::{
    body::Body,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use hyper::body::Bytes;
use serde::Serialize;
use tokio::{
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
};
use tracing::warn;

use super::connection::{Count, Owners, Wanted};
use crate::dataplane::connections::FlowTables;

/// A piece has so many bytes, and a line more at most.
const PIECE: usize = 32 << 10;

/// How many pieces may wait to be taken.
const WAITING: usize = 4;

/// No more than so many read at a time: each has a thread that waits for it.
static READERS: Semaphore = Semaphore::const_new(16);

type Piece = io::Result<Bytes>;

/// The answer, which is not complete yet; none if too many are under way. It ends when nobody takes it any
/// more; one that is broken off was not complete.
pub(super) fn begin(
    tables: Arc<dyn FlowTables>,
    wanted: Wanted,
    owners: Owners,
) -> Option<Response> {
    let permit = READERS.try_acquire().ok()?;
    let (pieces, taken) = mpsc::channel(WAITING);
    spawn_blocking(move || {
        let _permit = permit;
        if let Err(error) = read(&*tables, &wanted, &owners, &pieces) {
            warn!("connections could not be read: {error:#}");
            // Whoever asked may have gone away.
            let _ = pieces.blocking_send(Err(io::Error::other(error)));
        }
    });
    let pieces = stream::unfold(taken, |mut taken| async {
        let piece: Piece = taken.recv().await?;
        Some((piece, taken))
    });
    let lines = [(CONTENT_TYPE, "application/x-ndjson")];
    Some((lines, Body::from_stream(pieces)).into_response())
}

fn read(
    tables: &dyn FlowTables,
    wanted: &Wanted,
    owners: &Owners,
    pieces: &mpsc::Sender<Piece>,
) -> anyhow::Result<()> {
    let limit = wanted.limit.unwrap_or(u64::MAX);
    let (mut found, mut piece) = (0, Vec::with_capacity(PIECE));
    let mut failed = None;
    let mut each = |entry| {
        if found == limit || pieces.is_closed() {
            return ControlFlow::Break(());
        }
        let Some(connection) = wanted.pick(&entry, owners) else {
            return ControlFlow::Continue(());
        };
        found += 1;
        if wanted.count {
            return ControlFlow::Continue(());
        }
        if let Err(error) = add_line(&mut piece, &connection) {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        if piece.len() < PIECE {
            return ControlFlow::Continue(());
        }
        let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE));
        match pieces.blocking_send(Ok(full.into())) {
            Ok(()) => ControlFlow::Continue(()),
            // Nobody takes it any more.
            Err(_) => ControlFlow::Break(()),
        }
    };
    tables.walk(&mut each)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if wanted.count {
        add_line(&mut piece, &Count { connections: found })?;
    }
    if !piece.is_empty() {
        // Whoever asked may have gone away.
        let _ = pieces.blocking_send(Ok(piece.into()));
    }
    Ok(())
}

fn add_line<T: Serialize>(piece: &mut Vec<u8>, line: &T) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *piece, line)?;
    piece.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use http_body_util::BodyExt as _;
    use lb_common::{state::State, wire::protocol};

    use super::*;
    use crate::{control::connection::Connection, dataplane::connections::Entry};

    /// So many flows, and how many of them were read.
    struct Many {
        flows: u64,
        read: AtomicU64,
        is_broken: bool,
    }

    impl FlowTables for Many {
        fn walk(&self, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()> {
            for number in 0..self.flows {
                self.read.fetch_add(1, Ordering::Relaxed);
                let port = (number % 60_000) as u16;
                let entry = Entry {
                    protocol: protocol::TCP,
                    client: ([198, 51, 100, 7], port).into(),
                    address: ([192, 0, 2, 10], 80).into(),
                    state: State::ESTABLISHED,
                    expires: 900,
                    server: 1,
                };
                if each(entry).is_break() {
                    break;
                }
            }
            match self.is_broken {
                true => Err(anyhow::anyhow!("broken")),
                false => Ok(()),
            }
        }
    }

    fn many(flows: u64, is_broken: bool) -> Arc<Many> {
        Arc::new(Many {
            flows,
            read: AtomicU64::new(0),
            is_broken,
        })
    }

    fn owners() -> Owners {
        let service = "TCP 192.0.2.10:80".parse().unwrap();
        Owners::from([(1, (service, ([10, 0, 0, 1], 80).into()))])
    }

    async fn lines(tables: &Arc<Many>, wanted: Wanted) -> Result<Vec<String>, axum::Error> {
        let tables: Arc<dyn FlowTables> = Arc::<Many>::clone(tables);
        let response = begin(tables, wanted, owners()).unwrap();
        let bytes = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Ok(text.lines().map(str::to_owned).collect())
    }

    #[tokio::test]
    async fn each_flow_is_a_line() {
        let limited = |limit| Wanted {
            limit: Some(limit),
            ..Wanted::default()
        };
        for (wanted, expected) in [
            (Wanted::default(), 5_000),
            (limited(0), 0),
            (limited(7), 7),
            (limited(6_000), 5_000),
        ] {
            let lines = lines(&many(5_000, false), wanted.clone()).await.unwrap();
            assert_eq!(lines.len(), expected, "{wanted:?}");
            for line in lines {
                let connection: Connection = serde_json::from_str(&line).unwrap();
                assert_eq!(connection.server, ([10, 0, 0, 1], 80).into());
            }
        }
        let count = Wanted {
            count: true,
            ..Wanted::default()
        };
        let lines = lines(&many(5_000, false), count).await.unwrap();
        assert_eq!(lines, [r#"{"connections":5000}"#]);
    }

    #[tokio::test]
    async fn an_answer_that_fails_is_not_taken_for_complete() {
        assert!(lines(&many(10, true), Wanted::default()).await.is_err());
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_taken() {
        let tables = many(u64::MAX, false);
        let shared: Arc<dyn FlowTables> = Arc::<Many>::clone(&tables);
        let response = begin(shared, Wanted::default(), owners()).unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        drop(body);
        // The walk, which would never end, has ended: nobody else has the tables.
        while Arc::strong_count(&tables) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(tables.read.load(Ordering::Relaxed) < 10_000);
    }
}
