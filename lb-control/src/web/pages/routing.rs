//! The routing table as pages show it: what its columns are called, and what of a real server stands in them.

use std::net::SocketAddr;

use maud::{Markup, html};

use super::{
    super::{live::Snapshot, part::Canvas, role::Role, words},
    server,
};
use crate::{
    model::ServiceId,
    status::{ServerStatus, ServiceStatus},
    watch::rates::Key,
};

/// What services and real servers have numbers of.
const NUMBERS: [&str; 6] = ["Weight", "Active", "Inactive", "New/s", "In", "Out"];

/// A cell of a line: its class, and what is in it.
pub(super) type Cell = (&'static str, Markup);

/// The head of a table. Behind what all such tables tell stand further columns, each with its class.
pub(super) fn head(canvas: &Canvas, first: &str, further: &[(&str, &str)]) -> Markup {
    html! {
        thead { tr {
            th scope="col" { (first) }
            th scope="col" { "State" }
            @for name in NUMBERS { th scope="col" class="number" { (name) } }
            @for (class, name) in further { th scope="col" class=[(!class.is_empty()).then_some(class)] { (name) } }
            @if canvas.may(Role::Operator) { th scope="col" { span class="hidden" { "Actions" } } }
        } }
    }
}

/// What of a real server stands in the columns that all such tables have.
pub(super) fn cells(now: &Snapshot, service: &ServiceStatus, server: &ServerStatus) -> Vec<Cell> {
    let key = (service.service, Some(socket(server)));
    let [new, bytes_in, bytes_out] = rates(now, &key);
    vec![
        ("", server::state(server)),
        ("number", server::weight(server)),
        count(server.active.into()),
        count(server.inactive.into()),
        new,
        bytes_in,
        bytes_out,
    ]
}

/// A number of something.
pub(super) fn count(count: u64) -> Cell {
    ("number", html! { (words::count(count)) })
}

/// What comes in a second: connections, and bytes in and out.
pub(super) fn rates(now: &Snapshot, key: &Key) -> [Cell; 3] {
    let rates = now.rates.of(key);
    [
        (
            "number",
            html! { (words::rate(rates.map(|rates| rates.connections))) },
        ),
        (
            "number",
            html! { (words::byte_rate(rates.map(|rates| rates.bytes_in))) },
        ),
        (
            "number",
            html! { (words::byte_rate(rates.map(|rates| rates.bytes_out))) },
        ),
    ]
}

/// Where a real server is.
pub(super) fn socket(server: &ServerStatus) -> SocketAddr {
    SocketAddr::new(server.address, server.port)
}

/// An id for a line, of digits, letters and `-` only.
pub(super) fn row_id(service: ServiceId, server: Option<SocketAddr>) -> String {
    let text = match server {
        None => service.to_string(),
        Some(server) => format!("{service}--{server}"),
    };
    let clean = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        _ => '-',
    };
    format!("s-{}", text.chars().map(clean).collect::<String>())
}
