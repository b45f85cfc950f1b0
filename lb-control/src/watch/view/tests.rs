use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers},
};

use super::*;
use crate::{
    control::order::Order,
    status::testing::{report, server, service},
    watch::model::Input,
};

/// Midnight and so many seconds.
fn answer(model: &mut Model, report: StatusReport, seconds: u64) {
    let input = Input::Answer {
        report: Ok(Box::new(report)),
        at: Duration::from_secs(seconds),
    };
    assert_eq!(model.take(input), None);
}

fn press(model: &mut Model, code: KeyCode) -> Option<Wish> {
    let key = KeyEvent::new(code, KeyModifiers::NONE);
    model.take(Input::Event(Event::Key(key)))
}

fn typed(model: &mut Model, text: &str) -> Option<Wish> {
    let wishes = text
        .chars()
        .map(|letter| press(model, KeyCode::Char(letter)));
    wishes.fold(None, |_, wish| wish)
}

/// What is on a screen of this size.
fn screen(model: &mut Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(model, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// A second after [`report`]: 50 connections more, and the first server of dns is down.
fn later() -> StatusReport {
    let mut report = report();
    let web = &mut report.services[0];
    web.connections += 50;
    web.packets_in += 500;
    web.bytes_in += 20_480;
    web.servers[0].connections += 50;
    web.servers[0].packets_in += 500;
    web.servers[0].bytes_in += 20_480;
    let dns = &mut report.services[1].servers[0];
    dns.state = ServerState::Down;
    dns.open = None;
    dns.overridden = None;
    dns.last_error = Some("no answer within 6s".to_owned());
    report.unsteered[0].packets += 3;
    report
}

#[test]
fn two_answers_make_rates_and_events() {
    let mut model = Model::new(false);
    answer(&mut model, report(), 43_200);
    answer(&mut model, later(), 43_201);
    let expected = "\
lb watch  12:00:01  active  flows 1200 of 262k  eth0 native
2 services, 3 servers, 2 not well: 50 conn/s, 500 pkt/s, 20.0 KiB in, 0 out B/s  by file
service, server                         state weight active inactive conn/s  pkt/s   in B/s  out B/s
- TCP 192.0.2.10:80 web wlc               1/2      3      7        9     50    500 20.0 KiB        0
  10.0.0.11:80 rs1                         up      1      7        9     50    500 20.0 KiB        0
  10.0.0.12:80 rs2                       down      2      0        0      0      0        0        0
- UDP [2001:db8::53]:53 dns rr            0/1      1      3        0      0      0        0        0
  [2001:db8::1111]:53 rs1                down      1      3        0      0      0        0        0






web: 12395 conns
last events (UTC)
  12:00:01 dns rs1 [2001:db8::1111]:53: draining → down: no answer within 6s
not steered: no-server 15 (+3/s)
q quit  ? help  / filter  s sort  Enter fold  d drain  u up  D down  a auto  r reload
";
    assert_eq!(screen(&mut model, 100, 19), expected);
}

#[test]
fn a_small_terminal_has_what_matters() {
    let mut model = Model::new(false);
    answer(&mut model, report(), 43_200);
    let expected = "\
lb watch  12:00:00  active  flows 1200 o
2 services, 3 servers, 1 not well  by fi
service, server                    state
- TCP 192.0.2.10:80 web wlc          1/2
  10.0.0.11:80 rs1                    up
  10.0.0.12:80 rs2                  down
- UDP [2001:db8::53]:53 dns rr       0/1
  [2001:db8::1111]:53 rs1       draining
web: 12345 conns
q quit  ? help  / filter  s sort  Enter
";
    assert_eq!(screen(&mut model, 40, 10), expected);
    // No size is too small, and none is remembered.
    for (width, height) in [(1, 1), (5, 2), (20, 3), (26, 4), (300, 100)] {
        screen(&mut model, width, height);
    }
    assert_eq!(screen(&mut model, 40, 10), expected);
}

#[test]
fn a_daemon_that_is_gone_comes_back() {
    let mut model = Model::new(false);
    assert_eq!(
        screen(&mut model, 60, 2).lines().next(),
        Some("lb watch  waiting for the daemon")
    );
    answer(&mut model, report(), 60);
    let gone = |model: &mut Model, seconds| {
        model.take(Input::Answer {
            report: Err("no daemon answers at /run/lb/lb.sock".to_owned()),
            at: Duration::from_secs(seconds),
        });
    };
    gone(&mut model, 61);
    gone(&mut model, 62);
    let shown = screen(&mut model, 100, 20);
    let head = "lb watch  no daemon answers at /run/lb/lb.sock, trying again\n";
    assert!(shown.starts_with(head), "{shown}");
    assert!(
        shown.contains("10.0.0.11:80 rs1"),
        "what was known stays: {shown}"
    );
    assert_eq!(shown.matches("the daemon does not answer").count(), 1);
    answer(&mut model, later(), 63);
    let shown = screen(&mut model, 100, 20);
    assert!(
        shown.contains("00:01:03 the daemon answers again"),
        "{shown}"
    );
    // Nothing is known of the time in between.
    assert!(!shown.contains("conn/s,"), "{shown}");
}

#[test]
fn orders_are_confirmed() {
    let mut model = Model::new(false);
    answer(&mut model, report(), 0);
    assert_eq!(typed(&mut model, "d"), None);
    assert!(screen(&mut model, 80, 12).ends_with("select a server first\n"));
    let table = [
        ("jd", "Drain 10.0.0.11:80 of web? (y/N)", Verb::Drain),
        (
            "u",
            "10.0.0.11:80 of web up, whatever its checks say? (y/N)",
            Verb::Up,
        ),
        ("D", "10.0.0.11:80 of web down at once? (y/N)", Verb::Down),
        (
            "a",
            "Let the checks of 10.0.0.11:80 of web decide? (y/N)",
            Verb::Auto,
        ),
    ];
    for (keys, question, verb) in table {
        assert_eq!(typed(&mut model, keys), None);
        let shown = screen(&mut model, 80, 12);
        assert!(shown.ends_with(&format!("{question}\n")), "{shown}");
        assert_eq!(typed(&mut model, "n"), None);
        assert!(screen(&mut model, 80, 12).ends_with("nothing was changed\n"));
        let keys = keys.trim_start_matches('j');
        let order = Order {
            verb,
            service: "web".to_owned(),
            server: "10.0.0.11:80".to_owned(),
            deadline: None,
        };
        typed(&mut model, keys);
        assert_eq!(typed(&mut model, "y"), Some(Wish::Order(order)));
    }
    model.take(Input::Done(Err("no daemon answers".to_owned())));
    assert!(screen(&mut model, 80, 12).ends_with("no daemon answers\n"));
    typed(&mut model, "r");
    assert_eq!(typed(&mut model, "y"), Some(Wish::Reload));
    assert_eq!(typed(&mut model, "q"), Some(Wish::Quit));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    let wish = model.take(Input::Event(Event::Key(interrupt)));
    assert_eq!(wish, Some(Wish::Quit));
}

/// The names in the lines of the table.
fn names(model: &mut Model) -> Vec<String> {
    let shown = screen(model, 100, 14);
    let lines = shown.lines().skip(3).take(6).map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["-" | "+", ..] => words.get(3).copied().unwrap_or_default().to_owned(),
            [_, name, ..] => name.to_owned(),
            _ => String::new(),
        }
    });
    lines.filter(|name| !name.is_empty()).collect()
}

#[test]
fn lines_are_folded_filtered_and_sorted() {
    let mut model = Model::new(false);
    answer(&mut model, report(), 0);
    assert_eq!(names(&mut model), ["web", "rs1", "rs2", "dns", "rs1"]);
    typed(&mut model, "jj");
    press(&mut model, KeyCode::Enter);
    assert_eq!(names(&mut model), ["web", "dns", "rs1"]);
    press(&mut model, KeyCode::Enter);
    typed(&mut model, "/2001:DB8");
    assert!(screen(&mut model, 60, 14).ends_with("/2001:DB8_\n"));
    press(&mut model, KeyCode::Enter);
    assert_eq!(names(&mut model), ["dns", "rs1"]);
    press(&mut model, KeyCode::Esc);
    for (sort, expected) in [
        ("name", ["dns", "rs1", "web", "rs1", "rs2"]),
        ("conn/s", ["web", "rs1", "rs2", "dns", "rs1"]),
        ("active", ["web", "rs1", "rs2", "dns", "rs1"]),
        ("trouble", ["web", "rs2", "rs1", "dns", "rs1"]),
        ("file", ["web", "rs1", "rs2", "dns", "rs1"]),
    ] {
        typed(&mut model, "s");
        assert_eq!(names(&mut model), expected, "{sort}");
        let shown = screen(&mut model, 80, 14);
        assert!(shown.contains(&format!("by {sort}\n")), "{shown}");
    }
    typed(&mut model, "?");
    assert!(screen(&mut model, 60, 14).starts_with("lb watch: keys\n"));
    typed(&mut model, "q");
    assert!(screen(&mut model, 60, 14).starts_with("lb watch  00:00:00"));
}

#[test]
fn of_a_thousand_services_the_seen_ones_are_drawn() {
    let services = (0..1000).map(|number| {
        let servers = (0..10).map(|server_number| {
            let socket = format!("10.{}.{}.{server_number}:80", number / 250, number % 250);
            server(&format!("rs{server_number}"), &socket)
        });
        let id = format!("tcp 192.0.2.10:{}", 1000 + number);
        service(&format!("s{number}"), &id, servers.collect())
    });
    let mut many = report();
    many.services = services.collect();
    let mut model = Model::new(true);
    answer(&mut model, many.clone(), 0);
    answer(&mut model, many, 1);
    let shown = screen(&mut model, 80, 24);
    assert!(
        shown.contains("s0 wlc") && !shown.contains("s3 wlc"),
        "{shown}"
    );
    press(&mut model, KeyCode::End);
    let shown = screen(&mut model, 80, 24);
    assert!(shown.contains("10.3.249.9:80 rs9"), "{shown}");
    press(&mut model, KeyCode::PageUp);
    let shown = screen(&mut model, 80, 24);
    assert!(
        shown.contains("  10.3.248.2:80 rs2 ") && shown.contains("rs2: 5 checks"),
        "{shown}"
    );
    press(&mut model, KeyCode::Home);
    typed(&mut model, "jjj");
    let before = screen(&mut model, 80, 24);
    // What is selected stays where it is while others come and go above it.
    let mut fewer = report();
    fewer.services = Vec::from(&model.report.as_ref().unwrap().services[..1]);
    fewer.services[0].servers.remove(0);
    answer(&mut model, fewer, 2);
    let after = screen(&mut model, 80, 24);
    assert!(
        before.contains("rs2: 5 checks") && after.contains("rs2: 5 checks"),
        "{after}"
    );
}
