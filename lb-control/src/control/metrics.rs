//! What is measured, for Prometheus: collected when it is asked for, in the format of OpenMetrics or the older
//! text format.

mod exposition;
mod families;
mod ipvs;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::State as Shared,
    http::{
        HeaderMap,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use prometheus_client::{encoding::text, registry::Registry};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, mpsc},
    task::spawn_blocking,
};
use utoipa::{IntoParams, ToSchema};

use self::exposition::{Exposition, Format};
use super::{
    ask::ask,
    routes::{Failure, Problem, Said},
    server::Sources,
};
use crate::{
    event::Event,
    journal::{Kind, Tally},
    model::ServiceId,
    status::{StatusReport, measured::Measured},
};

/// Whoever asks so soon after another gets the same.
const FRESH: Duration = Duration::from_secs(1);

/// How many pieces of an answer wait to be taken.
const WAITING: usize = 2;

/// Everything that is measured, at about the same time.
#[derive(Debug)]
pub struct Measures {
    overall: StatusReport,
    services: Vec<Measured>,
    checks: HashMap<(ServiceId, SocketAddr), Checks>,
    tallies: BTreeMap<Kind, Tally>,
}

/// What a nanny counted.
#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    certificate_days: Option<i64>,
    done: u64,
    failed: u64,
}

/// What was measured last, and when.
pub type Last = Arc<Mutex<Option<(Instant, Arc<Measures>)>>>;

impl Measures {
    /// Measures, unless that was done just now. The reconciler is asked for a few services at a time, so it
    /// goes on with its work in between.
    pub(super) async fn take(sources: &Sources) -> Result<Arc<Self>, Failure> {
        let mut last = sources.measured.lock().await;
        if let Some((at, measures)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(measures));
        }
        let measures = Arc::new(Self::collect(sources).await?);
        *last = Some((Instant::now(), Arc::clone(&measures)));
        Ok(measures)
    }

    async fn collect(sources: &Sources) -> Result<Self, Failure> {
        let mut overall = ask(&sources.events, Event::Overall).await?;
        sources.complete(&mut overall);

        let (mut services, mut known) = (Vec::new(), HashSet::new());
        let mut from = 0;
        loop {
            let some = ask(&sources.events, |reply| Event::Measure(from, reply)).await?;
            if some.is_empty() {
                break;
            }
            from += some.len();
            // After a reload in between one may come again.
            services.extend(some.into_iter().filter(|one| known.insert(one.row.service)));
        }
        let nannies = sources.nannies.snapshot().await;
        let checks = nannies.into_iter().map(|nanny| {
            let checks = Checks {
                done: nanny.checks,
                certificate_days: nanny.certificate_days,
                failed: nanny.failures,
            };
            ((nanny.service, nanny.server), checks)
        });
        Ok(Self {
            overall,
            services,
            checks: checks.collect(),
            tallies: sources.journal.tallies(),
        })
    }
}

/// Which metrics are wanted besides our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Those that node_exporter reads from IPVS, by the same names.
    Ipvs,
}

/// What is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Other metrics beside our own.
    compat: Option<Compat>,
}

/// What is measured, for Prometheus. OpenMetrics if the header `Accept` has `application/openmetrics-text`, else
/// the text format 0.0.4.
#[utoipa::path(
    get,
    path = super::METRICS,
    tag = "metrics",
    params(Which),
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 503, description = "The daemon is about to end, or too many read already", body = Problem),
    ),
)]
pub(super) async fn metrics(
    Shared(sources): Shared<Sources>,
    Said(Which { compat }): Said<Which>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accepted.unwrap_or_default());
    let measures = Measures::take(&sources).await?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Arc::clone(&measures)));
    if compat == Some(Compat::Ipvs) {
        registry.register_collector(Box::new(ipvs::Compatible(measures)));
    }
    let (pieces, taken) = mpsc::channel(WAITING);
    // With many services it takes seconds, and waits for the client.
    spawn_blocking(move || {
        let mut exposition = Exposition::new(format, |piece| {
            pieces.blocking_send(Bytes::from(piece)).is_ok()
        });
        // It fails if the client has gone away.
        if text::encode(&mut exposition, &registry).is_ok() {
            let _ = exposition.finish();
        }
    });
    let body = stream::unfold(taken, |mut taken| async {
        let piece = taken.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), taken))
    });
    let head = [(CONTENT_TYPE, format.content_type())];
    Ok((head, Body::from_stream(body)).into_response())
}
