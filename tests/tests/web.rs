//! The web tool as people use it: a real browser, real pages, a router with `lb run` and `lb web`, and traffic.
//!
//! Pictures of the pages are left in `target/screenshots`; with `UPDATE_DOCS=1` those of the tour in docs/web.md
//! are put into docs/images/web too.

use std::{
    env,
    fmt::Display,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Browser, Family, Method, Plan, Service, Site, Stage, WebTool,
    browser::{Look, Scripts},
    client,
    lab::skip,
    on_stage, web_tool,
};

const FAMILY: Family = Family::V4;
const USER: &str = "ada";
const PASSWORD: &str = "correct horse battery";
/// The service that is made by the forms.
const SHOP: &str = "shop";
const PORT: u16 = 8080;
const DRIVER: u16 = 9515;
/// The table of the service's page, and what has been counted of it so far.
const TABLE: &str = "#table";
const COUNTED: &str = "#counted";

/// What somebody in front of the browser does, or has to see.
#[derive(Clone, Copy)]
enum Act {
    /// Goes to a path of the tool.
    Open(&'static str),
    /// Presses a button or follows a link with these words.
    Press(&'static str),
    /// Presses what a selector finds.
    Click(&'static str),
    /// Writes into a field.
    Fill(&'static str, &'static str),
    /// Writes an address with something behind it into a field.
    Address(&'static str, fn() -> IpAddr, &'static str),
    /// Replaces a word of what stands in a field by another one.
    Replace(&'static str, &'static str, &'static str),
    /// Waits until what a selector finds says these words.
    See(&'static str, &'static str),
    /// Sees that a selector finds nothing.
    SeeNo(&'static str),
    /// Clients ask the service, and the number on the page goes up without anybody touching the page.
    Traffic(&'static str),
    /// All requests are answered by these servers.
    AnsweredBy(&'static [&'static str]),
    /// The routing table of the daemon has the service, or has not.
    Routed(bool),
    /// Takes a picture.
    Picture(&'static str, Look),
}

use Act::{
    Address, AnsweredBy, Click, Fill, Open, Picture, Press, Replace, Routed, See, SeeNo, Traffic,
};
use Look::{Dark, Light, Phone};

/// A day of an administrator: what it is about, and how it is done.
const DAY: &[(&str, &[Act])] = &[
    (
        "without a session there is the login",
        &[
            Open("/virtual"),
            See("h1", "Log in"),
            Picture("login", Light),
        ],
    ),
    (
        "a wrong password is refused, the right one is not",
        &[
            Fill("#f-user", USER),
            Fill("#f-password", "something else"),
            Press("Log in"),
            See("#problem", "Wrong user or password"),
            Fill("#f-user", USER),
            Fill("#f-password", PASSWORD),
            Press("Log in"),
            See("h1", "Virtual"),
            See(".account", USER),
        ],
    ),
    (
        "a service is added by its form",
        &[
            Press("Add a service"),
            Fill("#f-_name", SHOP),
            Address("#f-address", vip, " eth0:9"),
            Fill("#f-port", "8080"),
            Press("Add"),
            See("h1", "virtual server"),
            See("#draft", "not in force"),
            Picture("virtual-server", Light),
            Picture("virtual-server-phone", Phone),
        ],
    ),
    (
        "and two real servers",
        &[
            Press("Real server"),
            See(".empty", "no real servers"),
            Fill("#f-_name", "left"),
            Address("#f-address", left, ""),
            Fill("#f-port", "80"),
            Press("Add"),
            See("#servers", "left"),
            Press("Add a real server"),
            Fill("#f-_name", "right"),
            Address("#f-address", right, ""),
            Fill("#f-port", "80"),
            Press("Add"),
            See("#servers", "right"),
            Picture("real-servers", Light),
        ],
    ),
    (
        "it is activated",
        &[
            Press("Virtual Servers"),
            See("#services", SHOP),
            Click("#services tr:last-child button[name=active]"),
            See("#services tr:last-child", "up"),
            Picture("virtual-servers", Light),
            Routed(false),
        ],
    ),
    (
        "the differences are shown, and nothing has happened yet",
        &[
            Press("Review and apply"),
            See("#diff", "virtual shop {"),
            See("#diff", "server right {"),
            See("#table", ":8080"),
            Picture("apply", Light),
            Picture("apply-phone", Phone),
            Routed(false),
        ],
    ),
    (
        "it is applied, each step is told, and it works",
        &[
            Press("Apply"),
            See("#notices", "Check:"),
            See("#notices", "Reload:"),
            SeeNo("#notices .failed"),
            Picture("applied", Light),
            Routed(true),
            AnsweredBy(&["rs1", "rs2"]),
        ],
    ),
    (
        "the page of the service moves by itself",
        &[
            Press("Control/Monitoring"),
            See("#pulse", "live"),
            Press(SHOP),
            See("#pulse", "live"),
            See(TABLE, "right"),
            Traffic(COUNTED),
            Traffic(COUNTED),
            Picture("service", Light),
        ],
    ),
    (
        "a packet for it is explained, and what is wrong is told at its field",
        &[
            Press("Explain a packet"),
            See("h1", "What would become"),
            Fill("#f-from", "nobody"),
            Press("Explain"),
            See("#f-from-error", "An address"),
            SeeNo("#story"),
            Fill("#f-from", "198.51.100.7"),
            Press("Explain"),
            See(".story", "wlc chooses"),
            See(".story", "leaves by eth1"),
            Picture("explain", Light),
            Picture("explain-dark", Dark),
            Picture("explain-phone", Phone),
        ],
    ),
    (
        "a server is drained",
        &[
            Press("Control/Monitoring"),
            Press(SHOP),
            See("#pulse", "live"),
            Click("#table button[value^=drain][aria-label*=left]"),
            See("#notices", "Done"),
            See(TABLE, "drained"),
            AnsweredBy(&["rs2"]),
            Picture("drained", Light),
            Press("Control/Monitoring"),
            See("#pulse", "live"),
            See("#table", "drained"),
            Picture("control", Light),
            Picture("control-dark", Dark),
            Picture("control-phone", Phone),
        ],
    ),
    (
        "what is wrong in the text is told in its place, and cannot be applied",
        &[
            Press("Config"),
            Replace("#f-text", "scheduler = rr", "scheduler = fastest"),
            Press("Save draft and check"),
            See("#said", "error"),
            See("li.wrong", "scheduler = fastest"),
            See("li.wrong + li.said", "^"),
            Picture("config", Light),
            Picture("config-dark", Dark),
            See("#draft", "cannot be applied yet"),
            Press("Differences and apply"),
            See("main", "cannot be applied"),
            SeeNo("#apply"),
            AnsweredBy(&["rs2"]),
        ],
    ),
    (
        "back to the version before",
        &[
            Press("Config"),
            Press("History"),
            Picture("history", Light),
            Click("#versions tbody tr:first-child a"),
            See("#diff", "virtual shop {"),
            Click("form.card button.main"),
            See("#diff", "server right {"),
            Press("Apply"),
            See("#notices", "Reload:"),
            SeeNo("#notices .failed"),
            Routed(false),
        ],
    ),
    (
        "the other pages",
        &[
            Press("Global Settings"),
            See("h1", "Global"),
            Picture("global", Light),
            Press("Redundancy"),
            See("h1", "Redundancy"),
            Picture("redundancy", Light),
            Press("Drops"),
            See("h1", "not steered"),
            Picture("drops", Light),
            Press("Events"),
            See("main", "ada from"),
            Picture("events", Light),
            Picture("events-phone", Phone),
            Press("Audit"),
            See("main", "apply lvs.cf"),
            Picture("audit", Light),
            Press("Help"),
            See("h1", "Help"),
            Picture("help", Light),
        ],
    ),
    (
        "after logging out there is nothing to see",
        &[
            Press("Log out"),
            See("h1", "Log in"),
            Open("/control"),
            See("h1", "Log in"),
        ],
    ),
];

/// What can be read without JavaScript.
const WITHOUT: &[(&str, &[Act])] = &[
    (
        "the forms work",
        &[
            Open("/control"),
            See("h1", "Log in"),
            Fill("#f-user", USER),
            Fill("#f-password", PASSWORD),
            Press("Log in"),
        ],
    ),
    (
        "the pages say the same, and nothing pretends to move",
        &[
            See("#table", "web"),
            See("#table", "up"),
            SeeNo("#pulse[data-live]"),
            Picture("control-without-scripts", Light),
            SeeNo("meta[http-equiv=refresh]"),
            Press("web"),
            See(COUNTED, "connections"),
            See(TABLE, "rs3"),
        ],
    ),
    (
        "so do those that edit",
        &[
            Open("/virtual"),
            See("#services", "web"),
            Open("/global"),
            See("h1", "Global"),
            Open("/redundancy"),
            See("h1", "Redundancy"),
            Open("/config"),
            See("#text", "virtual web {"),
            Open("/config/history"),
            See("#versions", "/run/lvs.cf"),
            Open("/config/apply"),
            See("main", "Nothing would be different"),
            Open("/drops"),
            See("h1", "not steered"),
            Press("Explain a packet"),
            Press("Explain"),
            See(".story", "verdict"),
            Open("/events"),
            See("main", "ada from"),
            Open("/audit"),
            See("main", "log in"),
            Open("/help"),
            See("h1", "Help"),
            Press("Log out"),
            See("h1", "Log in"),
        ],
    ),
];

/// The pictures that docs/web.md shows.
const TOUR: [&str; 9] = [
    "login",
    "control",
    "control-dark",
    "control-phone",
    "virtual-server",
    "apply",
    "config",
    "service",
    "explain",
];

#[test]
fn a_day_in_front_of_the_browser() {
    if let Some(why) = Browser::missing() {
        return skip(&why);
    }
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let web = Service::web(FAMILY, plan.servers);
        let mut site = Site::new(Method::Nat)
            .with(web)
            .with(Service::web(Family::V6, plan.servers))
            .with(Service::dns(FAMILY, plan.servers));
        site.socket_group = Some(web_tool::group()?);
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let tool = WebTool::start(lb, stage.network.router(), FAMILY.router(0), USER, PASSWORD)?;
        for (scripts, port, day) in [
            (Scripts::On, DRIVER, DAY),
            (Scripts::Off, DRIVER + 1, WITHOUT),
        ] {
            let browser = Browser::start(&stage.network.client, port, scripts)?;
            // Only so does a page with scripts say whether they run.
            browser
                .open("data:text/html,<title>off</title><script>document.title='on'</script>")?;
            let runs = if scripts == Scripts::On { "on" } else { "off" };
            ensure!(browser.title()? == runs, "scripts are not {runs}");
            let person = Person {
                stage: &stage,
                tool: &tool,
                browser: &browser,
            };
            for (what, acts) in day {
                for act in *acts {
                    let done = person.perform(*act);
                    let done = done.with_context(|| format!("lb web printed:\n{}", tool.printed()));
                    done.with_context(|| format!("“{what}”"))
                        .inspect_err(|_| person.leave_a_picture())?;
                }
            }
        }
        Ok(())
    });
}

/// Somebody in front of the browser.
struct Person<'a> {
    stage: &'a Stage,
    tool: &'a WebTool,
    browser: &'a Browser,
}

impl Person<'_> {
    fn perform(&self, act: Act) -> Result<()> {
        let browser = self.browser;
        match act {
            Open(path) => browser.open(&format!("{}{path}", self.tool.url())),
            Press(words) => browser.press_words(words),
            Click(selector) => browser.press(selector),
            Fill(field, words) => browser.fill(field, words),
            Address(field, address, more) => browser.fill(field, &format!("{}{more}", address())),
            Replace(field, old, new) => {
                let text = browser.value(field)?;
                ensure!(text.contains(old), "there is no “{old}” in\n{text}");
                browser.fill(field, &text.replacen(old, new, 1))
            }
            See(selector, words) => browser.await_words(selector, words).map(drop),
            SeeNo(selector) => {
                let said = browser.said(selector)?;
                ensure!(said.is_empty(), "{selector} says {said:?}");
                Ok(())
            }
            Traffic(selector) => {
                let before = browser
                    .said(selector)?
                    .pop()
                    .context("nothing is counted")?;
                self.ask(20)?;
                browser.await_other(selector, &before).map(drop)
            }
            AnsweredBy(names) => {
                let shares = client::shares(&self.ask(20)?);
                let asked: Vec<_> = shares.keys().map(String::as_str).collect();
                ensure!(asked == names, "{asked:?} answered");
                Ok(())
            }
            Routed(expected) => {
                let status = self.stage.director.status()?;
                let is_there = status.service(SHOP).is_some();
                ensure!(is_there == expected, "the shop is there: {is_there}");
                if expected {
                    let what = "the real servers of the shop are up";
                    self.stage.director.await_status(what, |status| {
                        let shop = status.service(SHOP);
                        shop.is_some_and(|shop| shop.servers.iter().all(|one| one.state == "up"))
                    })?;
                }
                Ok(())
            }
            Picture(name, look) => self.picture(name, look),
        }
    }

    /// So many requests to the service of the forms, all of which have to be answered.
    fn ask(&self, count: u32) -> Result<Vec<client::Answer>> {
        let url = format!("http://{}/", SocketAddr::new(vip(), PORT));
        let answers = client::get_many(&self.stage.network.client, &url, count, 2)?;
        client::all_good(&answers)?;
        Ok(answers)
    }

    fn picture(&self, name: impl Display, look: Look) -> Result<()> {
        let name = name.to_string();
        // The folder is that of the tests; beside it is the one for what people look at.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        let file = folder.join(format!("{name}.png"));
        self.browser.photograph(look, &file)?;
        if look == Phone {
            let width = self.browser.width_on_phone()?;
            ensure!(width <= 390.0, "the page is {width} wide on a telephone");
        }
        if env::var_os("UPDATE_DOCS").is_some() && TOUR.contains(&name.as_str()) {
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images/web");
            fs::create_dir_all(&docs)?;
            fs::copy(&file, docs.join(format!("{name}.png")))?;
        }
        Ok(())
    }

    /// Of what went wrong. Where even that fails, the error itself says enough.
    fn leave_a_picture(&self) {
        drop(self.picture("failed", Light));
    }
}

/// Of the service that is made by the forms: one of its own, so that it comes and goes with the service.
fn vip() -> IpAddr {
    FAMILY.further_vip(0)
}

fn left() -> IpAddr {
    FAMILY.server(0)
}

fn right() -> IpAddr {
    FAMILY.server(1)
}
