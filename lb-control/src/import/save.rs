//! What `ipvsadm -S` prints, read as values. A line is one command, its options in any order.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use super::{
    found::{Found, Server, Service, Setting, What},
    report::{Place, Report},
};
use crate::{
    config::names::Names,
    control::change::{ServerTerms, ServiceTerms},
    model::{Family, Forwarding, Protocol, Scheduler, SchedulerFlags, Tunnel},
};

/// Whether the text is one that `ipvsadm -S` could have printed.
pub(super) fn looks_like_it(text: &str) -> bool {
    text.lines().any(|line| {
        let first = words(line).next();
        first.is_some_and(|word| matches!(word, "-A" | "--add-service" | "-a" | "--add-server"))
    })
}

/// What the lines say.
pub(super) fn read(file: &str, text: &str, names: &mut dyn Names, report: &mut Report) -> Found {
    let mut found = Found::default();
    for (index, line) in text.lines().enumerate() {
        let place = Place {
            file: file.into(),
            line: index + 1,
        };
        let mut words: VecDeque<&str> = words(line).collect();
        if words.front().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let command = Command {
            place: &place,
            names,
            report,
        };
        if let Err(why) = command.carry(&mut words, &mut found) {
            report.left_out(&place, why);
        }
    }
    found
}

/// The words of a line, without the name of the program, which scripts have and `-S` has not.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split_ascii_whitespace();
    words.skip_while(|word| *word == "ipvsadm" || word.ends_with("/ipvsadm"))
}

struct Command<'a> {
    place: &'a Place,
    names: &'a mut dyn Names,
    report: &'a mut Report,
}

/// The options of one line.
#[derive(Default)]
struct Options {
    service: Option<(Protocol, String)>,
    mark: Option<u32>,
    ipv6: bool,
    server: Option<String>,
    service_terms: ServiceTerms,
    mask: Option<String>,
    flags: Option<String>,
    server_terms: ServerTerms,
    method: Option<char>,
    tunnel: Option<String>,
    tunnel_port: Option<u16>,
    checksum: bool,
    interface: Option<String>,
    sync_id: Option<u32>,
}

impl Command<'_> {
    fn carry(mut self, words: &mut VecDeque<&str>, found: &mut Found) -> Result<(), String> {
        let command = words.pop_front().unwrap_or_default();
        match command {
            "-A" | "--add-service" => {
                let options = self.options(words)?;
                let service = self.service(options)?;
                let known = |other: &&Service| other.what == service.what;
                if let Some(before) = found.services.iter().find(known) {
                    return Err(format!("the service is there already, by {}", before.place));
                }
                found.services.push(service);
            }
            "-a" | "--add-server" => {
                let options = self.options(words)?;
                let what = self.what(&options)?;
                let server = self.server(options)?;
                let service = found.services.iter_mut().find(|one| one.what == what);
                let service = service.ok_or("no line before adds its service")?;
                service.servers.push(server);
            }
            "--set" => found.globals.extend(self.timeouts(words)?),
            "--start-daemon" => {
                let options = {
                    words.pop_front();
                    self.options(words)?
                };
                self.sync_daemon(options, found);
            }
            "-C" | "--clear" => found.services.clear(),
            other => {
                return Err(format!("`{other}` is no command that `ipvsadm -S` writes"));
            }
        }
        Ok(())
    }

    fn options(&mut self, words: &mut VecDeque<&str>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(option) = words.pop_front() {
            let mut value = || {
                let value = words.pop_front();
                value.ok_or_else(|| format!("`{option}` has no value"))
            };
            let service = &mut options.service_terms;
            let server = &mut options.server_terms;
            match option {
                "-t" | "--tcp-service" => {
                    options.service = Some((Protocol::Tcp, value()?.to_owned()));
                }
                "-u" | "--udp-service" => {
                    options.service = Some((Protocol::Udp, value()?.to_owned()));
                }
                "--sctp-service" => options.service = Some((Protocol::Sctp, value()?.to_owned())),
                "-f" | "--fwmark-service" => options.mark = Some(number(value()?)?),
                "-6" | "--ipv6" => options.ipv6 = true,
                "-s" | "--scheduler" => service.scheduler = Some(scheduler(value()?)?),
                "-b" | "--sched-flags" => options.flags = Some(value()?.to_owned()),
                "-p" | "--persistent" => {
                    let said = words.front().filter(|word| !word.starts_with('-'));
                    service.persistent = Some(match said {
                        Some(_) => number(words.pop_front().unwrap_or_default())?,
                        None => 300,
                    });
                }
                "-M" | "--netmask" => options.mask = Some(value()?.to_owned()),
                "-o" | "--ops" => service.one_packet = Some(true),
                "--pe" => {
                    let why = format!(
                        "the persistence engine `{}`: clients are told apart by their addresses",
                        value()?
                    );
                    self.report.left_out(self.place, why);
                }
                "-r" | "--real-server" => options.server = Some(value()?.to_owned()),
                "-g" | "--gatewaying" => options.method = Some('g'),
                "-i" | "--ipip" => options.method = Some('i'),
                "-m" | "--masquerading" => options.method = Some('m'),
                "-w" | "--weight" => server.weight = Some(number(value()?)?),
                "-x" | "--u-threshold" => server.upper = Some(number(value()?)?),
                "-y" | "--l-threshold" => server.lower = Some(number(value()?)?),
                "--tun-type" => options.tunnel = Some(value()?.to_owned()),
                "--tun-port" => options.tunnel_port = Some(number(value()?)?),
                "--tun-csum" => options.checksum = true,
                "--tun-nocsum" => options.checksum = false,
                "--tun-remcsum" => {
                    let why = "`--tun-remcsum`: GUE is sent without remote checksum offload";
                    self.report.left_out(self.place, why);
                }
                "--mcast-interface" => options.interface = Some(value()?.to_owned()),
                "--syncid" => options.sync_id = Some(number(value()?)?),
                "--sync-maxlen" | "--mcast-group" | "--mcast-port" | "--mcast-ttl" => {
                    let why = format!("`{option} {}` has no directive", value()?);
                    self.report.left_out(self.place, why);
                }
                "-n" | "--numeric" => {}
                other => return Err(format!("`{other}` is no option that `ipvsadm -S` writes")),
            }
        }
        Ok(options)
    }

    fn service(&mut self, options: Options) -> Result<Service, String> {
        let what = self.what(&options)?;
        let mut terms = options.service_terms;
        let scheduler = *terms.scheduler.get_or_insert(Scheduler::Wlc);
        if let Some(flags) = &options.flags {
            terms.flags = Some(scheduler_flags(scheduler, flags)?);
        }
        if let Some(mask) = &options.mask {
            terms.mask = Some(netmask(mask)?);
        }
        Ok(Service {
            place: self.place.clone(),
            what,
            terms,
            servers: Vec::new(),
            sorry: None,
            settings: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn what(&mut self, options: &Options) -> Result<What, String> {
        match (&options.service, options.mark) {
            (Some((protocol, text)), None) => {
                let (address, port) = self.socket(text)?;
                let socket = SocketAddr::new(address, port.unwrap_or(0));
                Ok(What::Address(*protocol, socket))
            }
            (None, Some(mark @ 1..)) => {
                let family = if options.ipv6 {
                    Family::Ipv6
                } else {
                    Family::Ipv4
                };
                Ok(What::Mark(mark, family))
            }
            (None, Some(0)) => Err("the mark 0 stands for nothing".to_owned()),
            (None, None) => Err("no service is named".to_owned()),
            (Some(_), Some(_)) => Err("two services are named".to_owned()),
        }
    }

    fn server(&mut self, options: Options) -> Result<Server, String> {
        let text = options.server.as_deref().ok_or("no server is named")?;
        let (address, port) = self.socket(text)?;
        let checksum = options.checksum;
        let forwarding = match options.method {
            Some('m') => Forwarding::Nat,
            Some('i') => Forwarding::Tunnel {
                tunnel: match options.tunnel.as_deref() {
                    None | Some("ipip") => Tunnel::Ipip,
                    Some("gre") => Tunnel::Gre { checksum },
                    Some("gue") => Tunnel::Gue {
                        port: options.tunnel_port.ok_or("`--tun-port` is missing")?,
                        checksum,
                    },
                    Some(other) => return Err(format!("`{other}` is no type of tunnel")),
                },
            },
            Some(_) | None => Forwarding::Direct,
        };
        Ok(Server {
            place: self.place.clone(),
            address,
            port,
            terms: ServerTerms {
                forwarding: Some(forwarding),
                ..options.server_terms
            },
        })
    }

    /// `HOST`, `HOST:PORT`, `[IPV6]:PORT`; names as `-S` without `-n` writes them.
    fn socket(&mut self, text: &str) -> Result<(IpAddr, Option<u16>), String> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok((socket.ip(), Some(socket.port())));
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok((address, None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let literal = host.parse().ok();
        let address = literal.or_else(|| self.names.host(host)).ok_or_else(|| {
            format!("`{host}` is not known here: `ipvsadm -S -n` writes addresses")
        })?;
        let port = match port {
            None => None,
            Some(name) => {
                let number = name.parse().ok().or_else(|| self.names.service(name));
                let unknown =
                    || format!("the port `{name}` is not known here: use `ipvsadm -S -n`");
                Some(number.ok_or_else(unknown)?)
            }
        };
        Ok((address, port))
    }

    fn timeouts(&mut self, words: &mut VecDeque<&str>) -> Result<Vec<Setting>, String> {
        let mut settings = Vec::new();
        for name in ["tcp_timeout", "tcpfin_timeout", "udp_timeout"] {
            let seconds: u32 = number(words.pop_front().unwrap_or_default())?;
            if seconds != 0 {
                settings.push(Setting::plain(name, seconds, self.place));
            }
        }
        Ok(settings)
    }

    /// The daemons of both roles are one `syncdaemon`.
    fn sync_daemon(&mut self, options: Options, found: &mut Found) {
        if found.globals.iter().any(|one| one.name == "syncdaemon") {
            return;
        }
        let interface = options.interface.unwrap_or_else(|| "eth0".to_owned());
        let settings = [
            Setting::plain("syncdaemon", 1, self.place),
            Setting::plain("syncd_iface", interface, self.place),
            Setting::plain("syncd_id", options.sync_id.unwrap_or(0), self.place),
        ];
        found.globals.extend(settings);
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no number that can be here"))
}

/// A scheduler by its name.
pub(super) fn scheduler(name: &str) -> Result<Scheduler, String> {
    let mut all = Scheduler::ALL.into_iter();
    let found = all.find(|scheduler| scheduler.name() == name);
    found.ok_or_else(|| format!("there is no scheduler `{name}`"))
}

/// `sh-port,sh-fallback`, or the bits as IPVS numbers them.
fn scheduler_flags(scheduler: Scheduler, text: &str) -> Result<SchedulerFlags, String> {
    let mut flags = SchedulerFlags::default();
    for flag in text.split(',') {
        let of = flag.strip_prefix(scheduler.name());
        match of.and_then(|rest| rest.strip_prefix('-')).unwrap_or(flag) {
            "fallback" | "flag-1" => flags.fallback = true,
            "port" | "flag-2" => flags.port = true,
            _ => return Err(format!("`{flag}` is no flag of {scheduler}")),
        }
    }
    if matches!(scheduler, Scheduler::Sh | Scheduler::Mh) {
        return Ok(flags);
    }
    Err(format!("{scheduler} has no flags"))
}

/// `255.255.255.0`, or the length of an IPv6 prefix.
pub(super) fn netmask(text: &str) -> Result<IpAddr, String> {
    if let Ok(IpAddr::V4(mask)) = text.parse() {
        return Ok(mask.into());
    }
    match text.parse::<u32>() {
        Ok(length @ 1..=128) => Ok(Ipv6Addr::from_bits(u128::MAX << (128 - length)).into()),
        Ok(_) | Err(_) => Err(format!("`{text}` is no mask")),
    }
}
