//! Virtual Servers, and Failover: the lists of services. Add, delete, switch on and off.

use axum::{
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::{Asked, Field, Form, encoded},
        frame::Area,
        problem::Problem,
        role::Role,
        router::Page,
        session::Notice,
        sheet::{FAILOVER, NAME, Said, Sheet, VIRTUAL, Wrong, services, try_edits},
        visit::Visit,
        words,
    },
    desk::{Desk, stale},
    fields::{Sent, sent, summary},
};
use crate::config::{
    directives::GlobalKey,
    document::{Document, ServiceKind},
    edit::{Assignment, DirectivePath, Edit, Place, Which},
};

/// So many services stand on one page.
const PAGE: usize = 100;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![
        Page::new("/virtual", get(virtuals)),
        Page::new("/failover-services", get(failovers)),
        Page::new("/block/add", post(add)),
        Page::new("/block/switch", post(switch)),
        Page::new("/block/delete", get(ask).post(delete)),
    ]
}

/// Which part of the list somebody wants to see.
#[derive(Debug, Default, Deserialize)]
struct View {
    /// Words that have to be in the name or address.
    #[serde(default)]
    find: String,
    /// From 1 on.
    #[serde(default)]
    page: usize,
}

async fn virtuals(visit: Visit, Asked(view): Asked<View>) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    Ok(list(
        &visit,
        &desk,
        ServiceKind::Virtual,
        &view,
        None,
        &Wrong::default(),
    ))
}

async fn failovers(visit: Visit, Asked(view): Asked<View>) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    Ok(list(
        &visit,
        &desk,
        ServiceKind::Failover,
        &view,
        None,
        &Wrong::default(),
    ))
}

/// The list that blocks of a kind are on.
pub(super) const fn path(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Virtual => "/virtual",
        ServiceKind::Failover => "/failover-services",
    }
}

/// What its fields are called.
const fn sheet(kind: ServiceKind) -> &'static Sheet {
    match kind {
        ServiceKind::Virtual => &VIRTUAL,
        ServiceKind::Failover => &FAILOVER,
    }
}

const fn title(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Virtual => "Virtual Servers",
        ServiceKind::Failover => "Failover",
    }
}

/// Whether the `failover` blocks are live.
fn is_fos(document: &Document) -> bool {
    let mut services = document.globals.iter().rev();
    let service = services.find(|one| one.key() == GlobalKey::Service);
    service.is_some_and(|one| one.value().text == "fos")
}

/// A row of the list.
struct Row {
    place: Place,
    name: String,
    active: bool,
    address: String,
    device: String,
    netmask: String,
    port: String,
    protocol: String,
    servers: usize,
}

fn rows(document: &Document, kind: ServiceKind) -> Vec<Row> {
    let row = |(place, service): (Place, &crate::config::document::Service)| {
        let said = Said::of(service);
        let text = |name, default: &str| said.get(name).unwrap_or(default).to_owned();
        let (address, device) = match said.get("address").and_then(|one| one.split_once(' ')) {
            Some((address, device)) => (address.to_owned(), device.to_owned()),
            None => (text("address", ""), String::new()),
        };
        Row {
            name: service.name.text.clone(),
            active: said.is_active(),
            address,
            device,
            netmask: text("vip_nmask", ""),
            port: match said.get("fwmark") {
                Some(mark) if mark != "0" => format!("mark {mark}"),
                Some(_) | None => text("port", "80"),
            },
            protocol: text("protocol", "tcp"),
            servers: service.servers().count(),
            place,
        }
    };
    let all = services(document, kind).into_iter();
    all.map(row).collect()
}

fn list(
    visit: &Visit,
    desk: &Desk,
    kind: ServiceKind,
    view: &View,
    form: Option<&Sent>,
    wrong: &Wrong,
) -> Response {
    let document = desk.document();
    let rows = rows(&document, kind);
    let wanted = view.find.to_lowercase();
    let fits = |row: &&Row| {
        let text =
            format!("{} {} {} {}", row.name, row.address, row.device, row.port).to_lowercase();
        wanted.split_whitespace().all(|word| text.contains(word))
    };
    let found: Vec<_> = rows.iter().filter(fits).collect();
    let pages = found.len().div_ceil(PAGE).max(1);
    let page = view.page.clamp(1, pages);
    let shown = found.iter().skip((page - 1) * PAGE).take(PAGE);
    let may = visit.may(Role::Admin);
    let body = html! {
        (desk.bar(visit))
        (summary(sheet(kind), wrong))
        (live(&document, kind))
        @if rows.len() > PAGE || !view.find.is_empty() {
            form method="get" action=(path(kind)) class="inline" role="search" {
                div class="grow" { (Field::new("find", "Find").value(&view.find).text()) }
                button type="submit" { "Find" }
            }
        }
        @if rows.is_empty() {
            p class="empty" { "lvs.cf has no " (kind.word()) " services." }
        } @else if found.is_empty() {
            p class="empty" { "No service has this in its name or address." }
        } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Services" {
                table id="services" {
                    thead { tr {
                        th scope="col" { "Status" } th scope="col" { "Name" } th scope="col" { "VIP" }
                        th scope="col" { "Netmask" } th scope="col" { "Port" } th scope="col" { "Protocol" }
                        th scope="col" { "Interface" }
                        @if kind == ServiceKind::Virtual { th scope="col" class="number" { "Real servers" } }
                        th { span class="hidden" { "What to do" } }
                    } }
                    tbody { @for row in shown { (line(visit, desk, kind, row, may)) } }
                }
            }
            (turn(kind, view, page, pages))
        }
        @if may { (new(visit, desk, kind, form, wrong)) }
    };
    visit.page(Area::Virtual, title(kind), &body)
}

/// Says which blocks are live, and where the others are.
fn live(document: &Document, kind: ServiceKind) -> Markup {
    let is_fos = is_fos(document);
    let has_others = document.services.iter().any(|one| one.kind != kind);
    html! {
        @match (kind, is_fos) {
            (ServiceKind::Virtual, true) => p class="notice warn" {
                "These services are not live: the file says service = fos. "
                a href="/failover-services" { "Failover services" }
            },
            (ServiceKind::Failover, false) => p class="notice warn" {
                "These services are not live: the file does not say service = fos. "
                a href="/virtual" { "Virtual servers" }
            },
            (ServiceKind::Virtual, false) if has_others => p {
                a href="/failover-services" { "Failover services" } " are in the file too; they are not live."
            },
            (ServiceKind::Virtual, false) | (ServiceKind::Failover, true) => {},
        }
    }
}

/// What shows whether a block is switched on: a shape and a word.
pub(super) fn status(is_active: bool) -> Markup {
    match is_active {
        true => html! { span class="state good" { "▲ up" } },
        false => html! { span class="state" { "▽ down" } },
    }
}

fn line(visit: &Visit, desk: &Desk, kind: ServiceKind, row: &Row, may: bool) -> Markup {
    let edit = format!("/block?at={}", encoded(&row.place.to_string()));
    html! {
        tr {
            td { (status(row.active)) }
            th scope="row" { a href=(edit) { (if row.name.is_empty() { "(no name)" } else { &row.name }) } }
            td class="mono" { (row.address) }
            td class="mono" { (row.netmask) }
            td class="mono" { (row.port) }
            td { (row.protocol) }
            td class="mono" { (row.device) }
            @if kind == ServiceKind::Virtual { td class="number" { (row.servers) } }
            td class="actions" { @if may { (actions(visit, desk, &row.place, row.active, &row.name)) } }
        }
    }
}

/// Switch a block on or off, or ask whether it is to go.
pub(super) fn actions(
    visit: &Visit,
    desk: &Desk,
    place: &Place,
    is_active: bool,
    name: &str,
) -> Markup {
    let at = encoded(&place.to_string());
    html! {
        form method="post" action="/block/switch" {
            (desk.hidden(visit, Some(place)))
            button type="submit" class="small" name="active" value=(if is_active { "0" } else { "1" }) {
                (if is_active { "Deactivate" } else { "Activate" }) span class="hidden" { " " (name) }
            }
        }
        " "
        a class="button small" href={ "/block?at=" (at) } { "Edit" span class="hidden" { " " (name) } }
        " "
        a class="button small danger" href={ "/block/delete?at=" (at) } { "Delete" span class="hidden" { " " (name) } }
    }
}

fn turn(kind: ServiceKind, view: &View, page: usize, pages: usize) -> Markup {
    let to = |page: usize| format!("{}?page={page}&find={}", path(kind), encoded(&view.find));
    html! {
        @if pages > 1 {
            nav class="pages" aria-label="Pages" {
                @if page > 1 { a href=(to(page - 1)) { "Previous" } }
                span { "Page " (page) " of " (pages) }
                @if page < pages { a href=(to(page + 1)) { "Next" } }
            }
        }
    }
}

/// The form for a new service.
fn new(
    visit: &Visit,
    desk: &Desk,
    kind: ServiceKind,
    form: Option<&Sent>,
    wrong: &Wrong,
) -> Markup {
    let text = |name, default| form.and_then(|form| sent(form, name)).unwrap_or(default);
    let field = |name, label, default| {
        Field::new(name, label)
            .value(text(name, default))
            .error(wrong.of(name))
    };
    html! {
        details id="add" open[form.is_some()] {
            summary { "Add a service" }
            form method="post" action="/block/add" {
                (desk.hidden(visit, None))
                input type="hidden" name="kind" value=(kind.word());
                fieldset {
                    legend { "New " (kind.word()) " service" }
                    div class="grid" {
                        (field(NAME, "Name", "").required().text())
                        (field("address", "Virtual IP Address and Device", "").hint("As 192.0.2.10 eth0:1.").required().text())
                        (field("port", "Application port", "80").required().text())
                        @if kind == ServiceKind::Virtual {
                            (field("protocol", "Protocol", "tcp").choice(&[("tcp", "tcp"), ("udp", "udp"), ("sctp", "sctp")]))
                        }
                    }
                    p class="hint" { "It is down until it is activated, so that its real servers can be added first." }
                    p class="buttons" { button type="submit" class="main" { "Add" } }
                }
            }
        }
    }
}

/// What a new service says besides, as in Piranha, in its order; the check is for TCP.
const NEW: [(&str, &str); 5] = [
    ("active", "0"),
    ("send", "GET / HTTP/1.0\\r\\n\\r\\n"),
    ("expect", "HTTP"),
    ("timeout", "6"),
    ("reentry", "15"),
];

async fn add(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    let kind = match sent(&form, "kind") {
        Some("failover") => ServiceKind::Failover,
        Some(_) | None => ServiceKind::Virtual,
    };
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(sent(&form, "state").unwrap_or_default()) {
        return Ok(stale(&visit, path(kind)));
    }
    let name = sent(&form, NAME).unwrap_or_default().trim();
    let place = Place::Service(kind, Which::named(name));
    let mut wrong = Wrong::default();
    if name.is_empty() {
        wrong.at(NAME, "a service needs a name".to_owned());
    }
    let assign = |directive: &str, value: &str| Assignment {
        directive: directive.to_owned(),
        value: value.to_owned(),
    };
    let mut directives: Vec<_> = NEW
        .iter()
        .map(|(name, value)| assign(name, value))
        .collect();
    let is_tcp = sent(&form, "protocol").unwrap_or("tcp") == "tcp";
    directives.retain(|one| match one.directive.as_str() {
        "reentry" => kind == ServiceKind::Virtual,
        "send" | "expect" => is_tcp,
        _ => true,
    });
    let mut edits = Vec::new();
    for name in ["address", "port", "protocol"] {
        let Some(value) = sent(&form, name)
            .map(str::trim)
            .filter(|one| !one.is_empty())
        else {
            continue;
        };
        if kind == ServiceKind::Failover && name == "protocol" {
            continue;
        }
        let path = DirectivePath {
            place: place.clone(),
            directive: name.to_owned(),
        };
        let value = value.into();
        edits.push((name, Edit::Set { path, value }));
    }
    let block = Edit::AddBlock {
        path: place.clone(),
        directives,
    };
    let mut all = vec![(NAME, block)];
    // The fields come one by one, so that each is told what is wrong with it.
    all.extend(edits);
    let tried = match wrong.is_empty() {
        true => try_new(&mut desk, &place, &all),
        false => Err(wrong),
    };
    match tried {
        Ok(()) => {
            desk.keep(&visit);
            let at = encoded(&place.to_string());
            Ok(visit.go(&format!("/block?at={at}")))
        }
        Err(wrong) => Ok(list(
            &visit,
            &desk,
            kind,
            &View::default(),
            Some(&form),
            &wrong,
        )),
    }
}

/// Makes a new block with its fields, or nothing.
pub(super) fn try_new(
    desk: &mut Desk,
    place: &Place,
    edits: &[(&'static str, Edit)],
) -> Result<(), Wrong> {
    let before = desk.draft.clone();
    let Some((first, rest)) = edits.split_first() else {
        return Ok(());
    };
    let made = try_edits(&mut desk.draft, place, std::slice::from_ref(first))
        .and_then(|()| try_edits(&mut desk.draft, place, rest));
    if made.is_err() {
        desk.draft = before;
    }
    made
}

/// Which block.
#[derive(Debug, Deserialize)]
pub(super) struct At {
    pub(super) at: String,
}

impl At {
    /// The place, if it is one of a block.
    pub(super) fn place(&self) -> Result<Place, Problem> {
        match self.at.parse() {
            Ok(Place::Global) | Err(_) => Err(Problem::missing("there is no such block")),
            Ok(place @ (Place::Service(..) | Place::Server(..))) => Ok(place),
        }
    }
}

/// The page that a block is listed on.
pub(super) fn above(place: &Place) -> String {
    match place {
        Place::Global => "/config".to_owned(),
        Place::Service(kind, _) => path(*kind).to_owned(),
        Place::Server(kind, which, _) => {
            let service = Place::Service(*kind, which.clone());
            format!("/block/servers?at={}", encoded(&service.to_string()))
        }
    }
}

async fn switch(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    let at = sent(&form, "at").unwrap_or_default().to_owned();
    let place = At { at }.place()?;
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(sent(&form, "state").unwrap_or_default()) {
        return Ok(stale(&visit, &above(&place)));
    }
    let active = match sent(&form, "active") {
        Some("1") => "1",
        Some(_) | None => "0",
    };
    let path = DirectivePath {
        place: place.clone(),
        directive: "active".to_owned(),
    };
    let edit = Edit::Set {
        path,
        value: active.into(),
    };
    carry_out(&visit, &mut desk, &place, edit);
    Ok(visit.go(&above(&place)))
}

/// One edit without a form to show again: what is wrong is told on the next page.
fn carry_out(visit: &Visit, desk: &mut Desk, place: &Place, edit: Edit) {
    match desk.draft.edit(&[edit]) {
        Ok(()) => desk.keep(visit),
        Err(error) => {
            let text = format!("{place}: {error}");
            visit.tell(Notice::Failed(text));
        }
    }
}

async fn ask(visit: Visit, Asked(at): Asked<At>) -> Result<Response, Problem> {
    let place = at.place()?;
    let desk = Desk::open(&visit).await?;
    let document = desk.document();
    let (name, count) = match &place {
        Place::Server(..) => (document.server(&place).map(|one| &one.name.text), 0),
        Place::Global | Place::Service(..) => {
            let service = document.service(&place);
            let servers = service.map_or(0, |one| one.servers().count());
            (service.map(|one| &one.name.text), servers)
        }
    };
    let Some(name) = name else {
        return Err(Problem::missing(format!("there is no {place}")));
    };
    let body = html! {
        form method="post" action="/block/delete" class="card" {
            (desk.hidden(&visit, Some(&place)))
            p {
                "Delete " strong { (name) }
                @if count > 0 { " and its " (words::counted(count, "real server", "real servers")) }
                ", with the comment lines directly above?"
            }
            p class="hint" { "This changes your draft only, until it is applied." }
            p class="buttons" {
                @if visit.may(Role::Admin) { button type="submit" class="danger" { "Delete" } }
                a class="button" href=(above(&place)) { "Cancel" }
            }
        }
    };
    Ok(visit.page(Area::Virtual, &format!("Delete {name}"), &body))
}

async fn delete(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    let at = sent(&form, "at").unwrap_or_default().to_owned();
    let place = At { at }.place()?;
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(sent(&form, "state").unwrap_or_default()) {
        return Ok(stale(&visit, &above(&place)));
    }
    let path = place.clone();
    carry_out(&visit, &mut desk, &place, Edit::RemoveBlock { path });
    Ok(visit.go(&above(&place)))
}
