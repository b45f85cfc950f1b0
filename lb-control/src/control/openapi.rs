//! The description of the API: an OpenAPI document, made of the types and functions that answer.

use axum::Json;
use serde_json::Value;
use utoipa::OpenApi;

use super::{configuration, events, explain, log, metrics, probe, proc, routes};
use crate::{config, doctor, status};

/// What is described.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "lvs-xdp",
        description = "What `lb run` answers on its socket, by default /run/lb/lb.sock: HTTP and JSON. Whoever may \
                       write to the socket may do everything. Within /v1 fields and values are added, and none \
                       is taken away or means something else: a reader has to leave alone what it does not know.",
    ),
    tags(
        (name = "table", description = "The routing table: how it is, and changes besides lvs.cf"),
        (name = "configuration", description = "lvs.cf"),
        (name = "pair", description = "The partner"),
        (name = "events", description = "What happened"),
        (name = "metrics", description = "What is measured"),
        (name = "log", description = "The decision log: what becomes of single packets"),
        (name = "description", description = "This document"),
    ),
    paths(
        routes::status,
        routes::table,
        routes::connections,
        routes::order,
        routes::change,
        routes::reload,
        routes::compare,
        configuration::current,
        configuration::replace,
        configuration::check,
        configuration::kept,
        configuration::kept_one,
        probe::probe,
        explain::explain,
        routes::failover,
        events::page,
        events::follow,
        log::follow,
        log::on,
        log::off,
        metrics::metrics,
        proc::file,
        document,
    ),
    // What commands say that no path answers with.
    components(schemas(
        status::Drops,
        doctor::Report,
        config::check::Answer<'_>,
        metrics::Compat,
        proc::File,
    )),
)]
struct Described;

/// The document.
#[must_use]
pub fn openapi() -> Value {
    let mut document = serde_json::to_value(Described::openapi()).unwrap_or_default();
    // It is of the product, not of its author.
    if let Some(info) = document["info"].as_object_mut() {
        info.remove("contact");
    }
    // That a change has no other fields is not taken over from its type.
    let changes = document["components"]["schemas"]["Change"]["oneOf"].as_array_mut();
    for change in changes.into_iter().flatten() {
        change["additionalProperties"] = Value::Bool(false);
    }
    plain(&mut document);
    document
}

/// The document as text: `docs/openapi.json`.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", openapi())
}

/// Links between items of the program are no links here, and utoipa spells the formats of unsigned numbers in a
/// way of its own.
fn plain(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("u-int") => *text = text.replacen("u-", "u", 1),
        Value::String(text) if text.contains("[`") => {
            *text = text.replace("[`", "`").replace("`]", "`");
        }
        Value::Array(values) => values.iter_mut().for_each(plain),
        Value::Object(fields) => fields.values_mut().for_each(plain),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// This document.
#[utoipa::path(
    get,
    path = super::OPENAPI,
    tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(super) async fn document() -> Json<Value> {
    Json(openapi())
}
