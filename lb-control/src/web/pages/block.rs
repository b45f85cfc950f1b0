//! One service, its real servers, how they are checked; one real server.

use axum::{
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};

use super::{
    super::{
        form::{Asked, Field, Form, encoded},
        frame::Area,
        problem::Problem,
        role::Role,
        router::Page,
        session::Notice,
        sheet::{
            FAILOVER, NAME, SCRIPTS, SERVER, Said, Sheet, VIRTUAL, Wrong, edits, renamed, servers,
            try_edits,
        },
        visit::Visit,
        words,
    },
    desk::{Desk, stale},
    fields::{Sent, fields, sent, summary},
    services::{At, above, actions, path, status, try_new},
};
use crate::{
    config::{
        document::{Document, ServiceKind},
        edit::{Assignment, DirectivePath, Edit, Place, Which},
    },
    control::{
        client,
        probe::{Trial, Tried},
    },
};

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![
        Page::new("/block", get(show_block).post(accept_block)),
        Page::new("/block/scripts", get(show_scripts).post(accept_scripts)),
        Page::new("/block/servers", get(show_servers).post(add_server)),
        Page::new("/block/test", post(test)).written_by(Role::Operator),
    ]
}

/// Which page of a service somebody looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Block,
    Servers,
    Scripts,
}

impl Tab {
    const fn name(self) -> &'static str {
        match self {
            Self::Block => "Virtual server",
            Self::Servers => "Real server",
            Self::Scripts => "Monitoring scripts",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Block => "/block",
            Self::Servers => "/block/servers",
            Self::Scripts => "/block/scripts",
        }
    }
}

/// The service that a block belongs to.
fn service_of(place: &Place) -> Place {
    match place {
        Place::Server(kind, which, _) => Place::Service(*kind, which.clone()),
        Place::Global | Place::Service(..) => place.clone(),
    }
}

fn kind_of(place: &Place) -> ServiceKind {
    match place {
        Place::Service(kind, _) | Place::Server(kind, ..) => *kind,
        Place::Global => ServiceKind::Virtual,
    }
}

/// Where a page of a block is.
fn address(tab: Tab, place: &Place) -> String {
    format!("{}?at={}", tab.path(), encoded(&place.to_string()))
}

/// Which fields a page has.
fn sheet(tab: Tab, place: &Place) -> &'static Sheet {
    match (tab, place) {
        (Tab::Scripts, _) => &SCRIPTS,
        (Tab::Block | Tab::Servers, Place::Server(..)) => &SERVER,
        (Tab::Block | Tab::Servers, Place::Service(ServiceKind::Failover, _)) => &FAILOVER,
        (Tab::Block | Tab::Servers, Place::Global | Place::Service(ServiceKind::Virtual, _)) => {
            &VIRTUAL
        }
    }
}

/// What a block is called; nothing if there is none.
fn name_of<'d>(document: &'d Document, place: &Place) -> Option<&'d str> {
    let name = match place {
        Place::Server(..) => &document.server(place)?.name,
        Place::Global | Place::Service(..) => &document.service(place)?.name,
    };
    Some(&name.text)
}

fn missing(place: &Place) -> Problem {
    Problem::missing(format!(
        "there is no {place} in lvs.cf; it may have been deleted or renamed"
    ))
}

async fn show_block(visit: Visit, Asked(at): Asked<At>) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    show(
        &visit,
        &desk,
        Tab::Block,
        &at.place()?,
        None,
        &Wrong::default(),
    )
}

async fn show_scripts(visit: Visit, Asked(at): Asked<At>) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    let place = service_of(&at.place()?);
    show(&visit, &desk, Tab::Scripts, &place, None, &Wrong::default())
}

async fn accept_block(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    accept(visit, Tab::Block, form).await
}

async fn accept_scripts(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    accept(visit, Tab::Scripts, form).await
}

/// The head of all pages of a service: where one is, and where one can go.
fn head(document: &Document, here: Tab, place: &Place) -> Markup {
    let service = service_of(place);
    let kind = kind_of(place);
    let name = name_of(document, &service).unwrap_or_default();
    html! {
        p class="crumbs" {
            a href=(path(kind)) { (if kind == ServiceKind::Virtual { "Virtual Servers" } else { "Failover" }) }
            " › " a href=(address(Tab::Block, &service)) { (name) }
            @if let Place::Server(..) = place {
                " › " a href=(address(Tab::Servers, &service)) { "Real server" }
                " › " (name_of(document, place).unwrap_or_default())
            }
        }
        @if kind == ServiceKind::Virtual {
            (words::tabs(
                "Pages of this service",
                &address(here, &service),
                &[Tab::Block, Tab::Servers, Tab::Scripts].map(|tab| (address(tab, &service), tab.name())),
            ))
        }
    }
}

fn show(
    visit: &Visit,
    desk: &Desk,
    tab: Tab,
    place: &Place,
    form: Option<&Sent>,
    wrong: &Wrong,
) -> Result<Response, Problem> {
    let document = desk.document();
    let said = Said::at(&document, place).ok_or_else(|| missing(place))?;
    let name = name_of(&document, place).ok_or_else(|| missing(place))?;
    let may = visit.may(Role::Admin);
    let here = match place {
        Place::Server(..) => Tab::Servers,
        Place::Global | Place::Service(..) => tab,
    };
    let typed = form.and_then(|form| sent(form, NAME)).unwrap_or(name);
    let body = html! {
        (desk.bar(visit))
        (head(&document, here, place))
        (summary(sheet(tab, place), wrong))
        p { (status(said.is_active())) }
        form method="post" action=(tab.path()) class="sheet" id="edit" {
            (desk.hidden(visit, Some(place)))
            fieldset class="all" disabled[!may] {
                @if tab == Tab::Block {
                    div class="grid" { (Field::new(NAME, "Name").value(typed).error(wrong.of(NAME)).required().text()) }
                }
                (fields(sheet(tab, place), &said, form, wrong))
                @if may {
                    p class="buttons" {
                        button type="submit" class="main" { "Accept" }
                        a class="button" href=(above(place)) { "Cancel" }
                    }
                }
            }
        }
        @if visit.may(Role::Operator) && kind_of(place) == ServiceKind::Virtual {
            (tests(visit, desk, &document, tab, place))
        }
    };
    let title = match place {
        Place::Server(..) => "Edit real server",
        Place::Global | Place::Service(..) => match tab {
            Tab::Block => "Edit virtual server",
            Tab::Servers => "Real servers",
            Tab::Scripts => "Edit monitoring scripts",
        },
    };
    let title = match kind_of(place) {
        ServiceKind::Virtual => title,
        ServiceKind::Failover => "Edit failover service",
    };
    Ok(visit.page(Area::Virtual, title, &body))
}

/// The buttons that test the check of real servers with the draft as it is.
fn tests(visit: &Visit, desk: &Desk, document: &Document, tab: Tab, place: &Place) -> Markup {
    let servers = match (place, tab) {
        (Place::Server(..), _) => vec![place.clone()],
        (Place::Service(..), Tab::Scripts) => {
            let service = document.service(place);
            let servers = service
                .map(|service| servers(place, service))
                .unwrap_or_default();
            servers
                .into_iter()
                .map(|(place, _)| place)
                .take(TESTS)
                .collect()
        }
        (Place::Global | Place::Service(..), _) => Vec::new(),
    };
    html! {
        @if !servers.is_empty() {
            section class="card" {
                h2 { "Test now" }
                p class="hint" { "Checks a real server once, as the draft says. Accept what you have typed first." }
                form method="post" action="/block/test" class="buttons" {
                    (desk.hidden(visit, None))
                    @for server in &servers {
                        button type="submit" name="at" value=(server) {
                            "Test " (name_of(document, server).unwrap_or_default())
                        }
                    }
                }
            }
        }
    }
}

/// So many servers have a button on the page of their service.
const TESTS: usize = 20;

async fn accept(visit: Visit, tab: Tab, form: Sent) -> Result<Response, Problem> {
    let at = sent(&form, "at").unwrap_or_default().to_owned();
    let place = At { at }.place()?;
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(sent(&form, "state").unwrap_or_default()) {
        return Ok(stale(&visit, &address(tab, &place)));
    }
    let document = desk.document();
    let said = Said::at(&document, &place).ok_or_else(|| missing(&place))?;
    let name = name_of(&document, &place).ok_or_else(|| missing(&place))?;
    let wishes = edits(sheet(tab, &place), &place, &said, &form).map(|mut wishes| {
        if let Some(new) = sent(&form, NAME).filter(|new| *new != name && tab == Tab::Block) {
            let path = place.clone();
            let name = new.to_owned();
            wishes.push((NAME, Edit::RenameBlock { path, name }));
        }
        wishes
    });
    let tried = wishes.and_then(|wishes| try_edits(&mut desk.draft, &place, &wishes));
    match tried {
        Ok(()) => {
            desk.keep(&visit);
            let place = renamed(&document, &desk.document(), &place).unwrap_or(place);
            let next = match place {
                Place::Server(..) => above(&place),
                Place::Global | Place::Service(..) => address(tab, &place),
            };
            Ok(visit.go(&next))
        }
        Err(wrong) => show(&visit, &desk, tab, &place, Some(&form), &wrong),
    }
}

async fn show_servers(visit: Visit, Asked(at): Asked<At>) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    list(
        &visit,
        &desk,
        &service_of(&at.place()?),
        None,
        &Wrong::default(),
    )
}

fn list(
    visit: &Visit,
    desk: &Desk,
    place: &Place,
    form: Option<&Sent>,
    wrong: &Wrong,
) -> Result<Response, Problem> {
    let document = desk.document();
    let service = document.service(place).ok_or_else(|| missing(place))?;
    let servers = servers(place, service);
    let of_service = Said::at(&document, place).ok_or_else(|| missing(place))?;
    let may = visit.may(Role::Admin);
    let row = |(place, server): &(Place, &crate::config::document::Server)| {
        let said = Said::of_server(server);
        let text = |name, default: &str| said.get(name).unwrap_or(default).to_owned();
        let port = text("port", of_service.get("port").unwrap_or("80"));
        let name = &server.name.text;
        html! {
            tr {
                td { (status(said.is_active())) }
                th scope="row" { a href=(address(Tab::Block, place)) { (name) } }
                td class="mono" { (text("address", "")) " (" (port) ")" }
                td class="number" { (text("weight", "1")) }
                td class="actions" { @if may { (actions(visit, desk, place, said.is_active(), name)) } }
            }
        }
    };
    let rows: Vec<_> = servers.iter().map(row).collect();
    let body = html! {
        (desk.bar(visit))
        (head(&document, Tab::Servers, place))
        (summary(&SERVER, wrong))
        @if rows.is_empty() {
            p class="empty" { "This service has no real servers yet." }
        } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Real servers" {
                table id="servers" {
                    thead { tr {
                        th scope="col" { "Status" } th scope="col" { "Name" } th scope="col" { "Address (Port)" }
                        th scope="col" class="number" { "Weight" } th { span class="hidden" { "What to do" } }
                    } }
                    tbody { @for row in &rows { (row) } }
                }
            }
        }
        @if may { (new_server(visit, desk, place, form, wrong, rows.is_empty())) }
    };
    Ok(visit.page(Area::Virtual, "Real servers", &body))
}

fn new_server(
    visit: &Visit,
    desk: &Desk,
    place: &Place,
    form: Option<&Sent>,
    wrong: &Wrong,
    is_first: bool,
) -> Markup {
    let text = |name, default| form.and_then(|form| sent(form, name)).unwrap_or(default);
    let field = |name, label, default| {
        Field::new(name, label)
            .value(text(name, default))
            .error(wrong.of(name))
    };
    html! {
        details id="add" open[form.is_some() || is_first] {
            summary { "Add a real server" }
            form method="post" action="/block/servers" {
                (desk.hidden(visit, Some(place)))
                fieldset {
                    legend { "New real server" }
                    div class="grid" {
                        (field(NAME, "Name", "").required().text())
                        (field("address", "Address", "").required().text())
                        (field("port", "Port", "").hint("If it is not that of the service.").text())
                        (field("weight", "Weight", "1").text())
                        (field("active", "Status", "1").choice(&[("1", "up"), ("0", "down")]))
                    }
                    p class="buttons" { button type="submit" class="main" { "Add" } }
                }
            }
        }
    }
}

async fn add_server(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    let at = sent(&form, "at").unwrap_or_default().to_owned();
    let service = service_of(&At { at }.place()?);
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(sent(&form, "state").unwrap_or_default()) {
        return Ok(stale(&visit, &address(Tab::Servers, &service)));
    }
    let Place::Service(kind, of) = &service else {
        return Err(missing(&service));
    };
    let name = sent(&form, NAME).unwrap_or_default().trim();
    let place = Place::Server(*kind, of.clone(), Which::named(name));
    let mut wrong = Wrong::default();
    if name.is_empty() {
        wrong.at(NAME, "a real server needs a name".to_owned());
    }
    let active = match sent(&form, "active") {
        Some("0") => "0",
        Some(_) | None => "1",
    };
    let block = Edit::AddBlock {
        path: place.clone(),
        directives: vec![Assignment {
            directive: "active".to_owned(),
            value: active.to_owned(),
        }],
    };
    let mut all = vec![(NAME, block)];
    for name in ["address", "port", "weight"] {
        if let Some(value) = sent(&form, name)
            .map(str::trim)
            .filter(|one| !one.is_empty())
        {
            let path = DirectivePath {
                place: place.clone(),
                directive: name.to_owned(),
            };
            let value = value.into();
            all.push((name, Edit::Set { path, value }));
        }
    }
    let tried = match wrong.is_empty() {
        true => try_new(&mut desk, &place, &all),
        false => Err(wrong),
    };
    match tried {
        Ok(()) => {
            desk.keep(&visit);
            Ok(visit.go(&address(Tab::Servers, &service)))
        }
        Err(wrong) => list(&visit, &desk, &service, Some(&form), &wrong),
    }
}

/// The check of one server, once, as the draft says. It changes nothing, so its answer is the page.
async fn test(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    let at = sent(&form, "at").unwrap_or_default().to_owned();
    let place = At { at }.place()?;
    let desk = Desk::open(&visit).await?;
    let trial = Trial::Written {
        text: desk.draft.text().clone(),
        place: place.clone(),
    };
    let tried = match client::probe(visit.daemon(), &trial).await {
        Ok(tried) => tried,
        Err(error) => {
            let text = format!("{error:#}");
            visit.audit(&format!("test {place}"), Err(&text));
            visit.tell(Notice::Failed(text));
            return Ok(visit.go(&address(Tab::Block, &place)));
        }
    };
    let well = if tried.checked.well {
        "well"
    } else {
        "not well"
    };
    visit.audit(&format!("test {place}"), Ok(well));
    let document = desk.document();
    let body = html! {
        (desk.bar(&visit))
        (head(&document, Tab::Servers, &place))
        (found(&tried))
        form method="post" action="/block/test" class="buttons" {
            (desk.hidden(&visit, Some(&place)))
            button type="submit" class="main" { "Test again" }
            a class="button" href=(address(Tab::Scripts, &service_of(&place))) { "Monitoring scripts" }
        }
    };
    Ok(visit.page(Area::Virtual, "Test of a real server", &body))
}

fn found(tried: &Tried) -> Markup {
    let checked = &tried.checked;
    html! {
        section class="card" id="found" {
            p {
                @match checked.well {
                    true => span class="state good" { "▲ well" },
                    false => span class="state bad" { "▼ not well" },
                }
                " " span class="mono" { (tried.address) } " by " (tried.protocol) ", " (format!("{:.1} ms", checked.outcome.milliseconds))
            }
            div class="scroll" tabindex="0" role="region" aria-label="What happened" {
                table {
                    thead { tr { th scope="col" class="number" { "ms" } th scope="col" { "What happened" } } }
                    tbody {
                        @for step in checked.steps.iter().chain([&checked.outcome]) {
                            tr {
                                td class="number" { (format!("{:.1}", step.milliseconds)) }
                                td class="wrap" { (step.text) }
                            }
                        }
                    }
                }
            }
            @if let Some(hint) = &checked.hint { p class="hint" { (hint) } }
        }
    }
}
