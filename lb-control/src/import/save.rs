//! What `ipvsadm -S` prints, and the lines of scripts that call ipvsadm: read by the ipvsadm of `lb`.

use std::collections::HashMap;

use super::{
    found::{self, Found, Server, Service, Setting, What},
    report::{Place, Report},
};
use crate::{
    ipvsadm::{
        self, Names,
        change::{forwarding, server_terms, service_terms},
        command::{self, Command, Wish},
    },
    model::ServiceId,
    sync::ipvs::daemon::SyncDaemon,
};

/// Where in what was found a service is.
type Known = HashMap<ServiceId, usize>;

/// Whether the text is one that `ipvsadm -S` could have printed.
pub(super) fn looks_like_it(text: &str) -> bool {
    text.lines().any(|line| {
        let first = words(line).next();
        first.is_some_and(|word| matches!(word, "-A" | "--add-service" | "-a" | "--add-server"))
    })
}

/// What the lines say.
pub(super) fn read(file: &str, text: &str, names: &dyn Names, report: &mut Report) -> Found {
    let mut found = Found::default();
    let mut known = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let place = Place {
            file: file.into(),
            line: index + 1,
        };
        let words: Vec<String> = words(line).map(str::to_owned).collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let done = ipvsadm::parse("ipvsadm", &words, names)
            .map_err(|complaint| complaint.text)
            .and_then(|command| carry(command, &place, &mut found, &mut known, report));
        if let Err(why) = done {
            // What is wrong is in the first line; what follows is how it would be right.
            report.left_out(&place, why.lines().next().unwrap_or_default());
        }
    }
    found
}

/// The words of a line, without the name of the program, which scripts have and `-S` has not.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split_ascii_whitespace();
    words.skip_while(|word| *word == "ipvsadm" || word.ends_with("/ipvsadm"))
}

/// Puts what a line says to what was found.
fn carry(
    command: Command,
    place: &Place,
    found: &mut Found,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), String> {
    match command {
        Command::Change(Wish::AddService(wish)) => add_service(&wish, place, found, known, report),
        Command::Change(Wish::AddServer(wish)) => add_server(&wish, place, found, known),
        Command::Change(Wish::SetTimeouts { tcp, tcp_fin, udp }) => {
            let said = [
                ("tcp_timeout", tcp),
                ("tcpfin_timeout", tcp_fin),
                ("udp_timeout", udp),
            ];
            let said = said.into_iter().filter(|(_, seconds)| *seconds != 0);
            let settings = said.map(|(name, seconds)| Setting::plain(name, seconds, place));
            found.globals.extend(settings);
            Ok(())
        }
        Command::Change(Wish::Clear) => {
            found.services.clear();
            known.clear();
            Ok(())
        }
        Command::Change(Wish::StartDaemon(_, daemon)) => {
            sync_daemon(&daemon, place, found, report);
            Ok(())
        }
        Command::Change(
            Wish::EditService(_)
            | Wish::DeleteService(_)
            | Wish::EditServer(_)
            | Wish::DeleteServer(..)
            | Wish::Zero(_)
            | Wish::StopDaemon(..),
        )
        | Command::Help
        | Command::Version
        | Command::List(_)
        | Command::Save { .. }
        | Command::Restore => {
            Err("only what is added is read, as `ipvsadm -S` writes it".to_owned())
        }
    }
}

fn add_service(
    wish: &command::Service,
    place: &Place,
    found: &mut Found,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), String> {
    let before = known.get(&wish.service);
    if let Some(before) = before.and_then(|index| found.services.get(*index)) {
        return Err(format!("the service is there already, by {}", before.place));
    }
    let mut notes = Vec::new();
    let terms = service_terms(wish, &mut notes).map_err(|complaint| complaint.text)?;
    notes
        .into_iter()
        .for_each(|note| report.left_out(place, note));
    known.insert(wish.service, found.services.len());
    found.services.push(Service {
        place: place.clone(),
        what: what(&wish.service),
        terms,
        servers: Vec::new(),
        sorry: None,
        settings: Vec::new(),
        notes: Vec::new(),
    });
    Ok(())
}

fn add_server(
    wish: &command::Server,
    place: &Place,
    found: &mut Found,
    known: &Known,
) -> Result<(), String> {
    let index = known.get(&wish.service);
    let service = index.and_then(|index| found.services.get_mut(*index));
    let service = service.ok_or("no line before adds its service")?;
    let forwarding = forwarding(wish).map_err(|complaint| complaint.text)?;
    service.servers.push(Server {
        place: place.clone(),
        address: wish.server.ip(),
        port: Some(wish.server.port()),
        terms: server_terms(wish, forwarding),
    });
    Ok(())
}

fn what(service: &ServiceId) -> What {
    match service {
        ServiceId::Address(key) => What::Address(key.protocol, (key.address, key.port).into()),
        ServiceId::Mark { mark, family } => What::Mark(*mark, *family),
    }
}

/// The daemons of both roles are one `syncdaemon`.
fn sync_daemon(daemon: &SyncDaemon, place: &Place, found: &mut Found, report: &mut Report) {
    for (option, value) in daemon.said() {
        report.left_out(place, format!("`{option} {value}` has no directive"));
    }
    if found.globals.iter().any(|one| one.name == "syncdaemon") {
        return;
    }
    match found::sync_daemon(&daemon.interface, daemon.syncid, place) {
        Ok(settings) => found.globals.extend(settings),
        Err(why) => report.left_out(place, why),
    }
}
