//! What everything means.

use axum::{response::Response, routing::get};
use maud::{Markup, html};

use super::{
    super::{frame::Area, role::Role, router::Page, visit::Visit, words},
    server,
};
use crate::{control::order::Verb, status::ServerState};

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/help", get(show))]
}

async fn show(visit: Visit) -> Response {
    let body = html! {
        nav class="card" aria-label="On this page" {
            p { a href="#areas" { "Areas" } " · " a href="#states" { "States" } " · " a href="#orders" { "Orders" }
                " · " a href="#columns" { "Columns" } " · " a href="#pair" { "The pair" } " · " a href="#roles" { "Roles" }
                " · " a href="#keys" { "Keys" } }
        }
        (areas())
        (states())
        (orders())
        (columns())
        (pair())
        (roles())
        (keys())
    };
    visit.page(Area::Help, "Help", &body)
}

fn terms(id: &str, title: &str, terms: &[(Markup, &str)]) -> Markup {
    html! {
        section class="card" aria-labelledby=(id) {
            h2 id=(id) { (title) }
            dl class="facts" {
                @for (term, text) in terms { dt { (term) } dd { (text) } }
            }
        }
    }
}

fn plain(term: &str) -> Markup {
    html! { (term) }
}

fn areas() -> Markup {
    let link = |area: Area| html! { a href=(area.path()) { (area.name()) } };
    terms(
        "areas",
        "Areas",
        &[
            (
                link(Area::Control),
                "How things are now: the part of this node and its partner, the last hour, the routing table with \
                 every real server, and what happened. It keeps itself up to date.",
            ),
            (
                link(Area::Global),
                "Addresses of the primary, the forwarding method, timeouts: what lvs.cf says once.",
            ),
            (
                link(Area::Redundancy),
                "The backup, heartbeats, and whether the partner is told of connections.",
            ),
            (
                link(Area::Virtual),
                "Virtual services, their real servers, and how these are checked.",
            ),
            (
                link(Area::Config),
                "The text of lvs.cf with its errors in place, its earlier versions, what is different, and Apply.",
            ),
            (
                link(Area::Drops),
                "Packets that were not steered, by reason, and what comes in by each interface. “Explain a packet” tells \
                 what would become of one, step by step, without sending it.",
            ),
            (
                link(Area::Events),
                "What the daemon did: servers that came and went and why, orders, reloads, failovers.",
            ),
            (
                link(Area::Audit),
                "Who logged in and who changed what by this tool. For admins.",
            ),
        ],
    )
}

fn states() -> Markup {
    let states = [
        (
            ServerState::Up,
            "Its checks are good, or an operator says up: it gets connections.",
        ),
        (
            ServerState::Down,
            "A check failed, it cannot be reached, or an operator says down. Why stands below it.",
        ),
        (
            ServerState::Quiesced,
            "A check failed, but quiesce_server lets it finish what it has.",
        ),
        (
            ServerState::Draining,
            "It gets nothing new and leaves when it has finished, at the latest after the time that is shown.",
        ),
        (
            ServerState::Drained,
            "It has finished and left; Auto or Up brings it back.",
        ),
        (
            ServerState::Unknown,
            "It was not checked yet, or the way to it is not known yet.",
        ),
    ];
    terms(
        "states",
        "States of real servers",
        &states.map(|(state, text)| (words::state(state), text)),
    )
}

fn orders() -> Markup {
    let orders = [
        (Verb::Drain, "Drain"),
        (Verb::Up, "Up"),
        (Verb::Down, "Down"),
        (Verb::Auto, "Auto"),
    ];
    html! {
        (terms("orders", "Orders for real servers", &orders.map(|(verb, name)| (plain(name), server::meaning(verb)))))
        p class="soft" { "An order holds until Auto, over reloads and restarts of the daemon. It changes nothing in lvs.cf." }
    }
}

fn columns() -> Markup {
    terms(
        "columns",
        "Columns of the routing table",
        &[
            (
                plain("Weight"),
                "The share of connections. “2 of 5”: it has 2 now, since it starts slowly or by its load; lvs.cf says 5.",
            ),
            (plain("Active"), "Established TCP connections."),
            (
                plain("Inactive"),
                "All others: half-open and closing ones, and UDP flows.",
            ),
            (plain("New/s"), "Connections that began in the last second."),
            (
                plain("In, Out"),
                "Bytes from clients and to clients in the last second. Nothing goes out this way where real servers \
                 answer by themselves (direct routing, tunnel).",
            ),
            (plain("Checks"), "How often its nanny looked."),
        ],
    )
}

fn pair() -> Markup {
    terms(
        "pair",
        "The pair",
        &[
            (
                plain("active"),
                "This node holds the virtual addresses and steers.",
            ),
            (plain("standby"), "It could take over at once."),
            (
                plain("Lease"),
                "For how long the data plane may go on steering if the daemon falls silent. The daemon renews it all \
                 the time, so a node that is frozen stops by itself.",
            ),
            (
                plain("Connection sync"),
                "“in sync”: the partner knows every established connection, and a failover ends none.",
            ),
            (
                plain("Fail over"),
                "The partner becomes active, if it is heard and able to. This node goes on standby.",
            ),
        ],
    )
}

fn roles() -> Markup {
    terms(
        "roles",
        "Roles",
        &[
            (
                plain(Role::Viewer.word()),
                "Looks at everything but the audit log.",
            ),
            (
                plain(Role::Operator.word()),
                "Drains real servers and brings them back, and tests checks.",
            ),
            (
                plain(Role::Admin.word()),
                "Changes the configuration, fails over, reads the audit log.",
            ),
        ],
    )
}

fn keys() -> Markup {
    html! {
        section class="card" aria-labelledby="keys" {
            h2 id="keys" { "Keys" }
            p { kbd { "/" } " goes to the search of a page. Users and passwords are made on this node by "
                code { "lb web passwd" } "." }
        }
    }
}
