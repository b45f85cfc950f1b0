//! Marks of a firewall become groups: what `iptables-save`, `iptables -t mangle -S` or
//! `nft list ruleset` print, as the lines that lvs.cf has for it. What cannot be carried over is
//! told by line, for a group that takes more than its mark did would be worse than none.

mod iptables;
mod nft;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    net::IpAddr,
    ops::RangeInclusive,
};

use super::values::EVERY_PORT;
use crate::model::{Protocol, Selector};

/// What the rules of a firewall mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What each mark stands for, in order; by mark and whether it is of IPv4.
    pub groups: BTreeMap<(u32, Family), Vec<Selector>>,
    /// Rules that could not be carried over.
    pub left_out: Vec<LeftOut>,
}

/// The address family of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A rule that could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The line, from 1.
    pub line: usize,
    /// Why not.
    pub why: String,
}

/// Whether the text is one that these programs could have printed.
#[must_use]
pub fn looks_like_it(text: &str) -> bool {
    let table = |line: &str| line.starts_with("*mangle") || line.contains("-j MARK");
    is_nft(text) || text.lines().any(table)
}

fn is_nft(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        line.starts_with("table ") && line.ends_with('{')
    })
}

/// Reads the rules; which of the programs printed them is seen from their form.
#[must_use]
pub fn import(text: &str) -> Imported {
    let rules = if is_nft(text) {
        nft::rules(text)
    } else {
        iptables::rules(text)
    };
    let mut imported = Imported::default();
    let mut taken: Vec<(u32, usize, Selector)> = Vec::new();
    for (line, rule) in rules {
        let found = rule.and_then(|rule| Ok((rule.mark()?, rule.selectors()?)));
        let (mark, selectors) = match found {
            Ok(found) => found,
            Err(why) => {
                imported.left_out.push(LeftOut { line, why });
                continue;
            }
        };
        for selector in selectors {
            // The last rule that fits decides a packet's mark, and here it would be an error.
            let other = taken
                .iter()
                .find(|(other, _, taken)| *other != mark && overlap(taken, &selector));
            if let Some((other, before, _)) = other {
                let why = format!("{selector} has mark {other} already, by line {before}");
                imported.left_out.push(LeftOut { line, why });
                continue;
            }
            taken.push((mark, line, selector));
            let family = match selector.address {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(_) => Family::V6,
            };
            let group = imported.groups.entry((mark, family)).or_default();
            group.push(selector);
        }
    }
    for group in imported.groups.values_mut() {
        unite(group);
    }
    imported
}

impl fmt::Display for Imported {
    /// As lvs.cf has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for ((mark, family), selectors) in &self.groups {
            if !std::mem::take(&mut first) {
                writeln!(f)?;
            }
            let family = match family {
                Family::V4 => "",
                Family::V6 => ", IPv6",
            };
            writeln!(f, "# For the virtual block of mark {mark}{family}")?;
            writeln!(f, "fwmark = {mark}")?;
            for ((address, protocol), ports) in by_address(selectors) {
                let protocol = protocol.to_string().to_lowercase();
                writeln!(f, "match = \"{protocol} {}\"", target(address, &ports))?;
            }
        }
        Ok(())
    }
}

fn by_address(selectors: &[Selector]) -> BTreeMap<(IpAddr, Protocol), Vec<Selector>> {
    let mut lists: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for selector in selectors {
        let key = (selector.address, selector.protocol);
        lists.entry(key).or_default().push(*selector);
    }
    lists
}

/// `192.0.2.10:80,1000-2000`, or without ports for all and for those that have none.
fn target(address: IpAddr, selectors: &[Selector]) -> String {
    if selectors.iter().any(|selector| selector.first == 0) {
        return address.to_string();
    }
    let mut text = match address {
        IpAddr::V4(_) => address.to_string(),
        IpAddr::V6(_) => format!("[{address}]"),
    };
    let mut before = ':';
    for Selector { first, last, .. } in selectors {
        // To write to a string cannot fail.
        let _ = match first == last {
            true => write!(text, "{before}{first}"),
            false => write!(text, "{before}{first}-{last}"),
        };
        before = ',';
    }
    text
}

fn overlap(one: &Selector, other: &Selector) -> bool {
    one.clone().join(other)
}

/// Each once and in order.
fn unite(selectors: &mut Vec<Selector>) {
    selectors.sort();
    let mut united: Vec<Selector> = Vec::new();
    for selector in selectors.drain(..) {
        if !united.last_mut().is_some_and(|last| last.join(&selector)) {
            united.push(selector);
        }
    }
    *selectors = united;
}

/// A rule that sets a mark, as far as it has been read.
#[derive(Debug, Default)]
struct Rule {
    mark: Option<u32>,
    protocol: Option<Protocol>,
    addresses: Vec<IpAddr>,
    ports: Vec<RangeInclusive<u16>>,
}

impl Rule {
    fn mark(&self) -> Result<u32, String> {
        match self.mark {
            Some(0) | None => Err("mark 0 stands for nothing".to_owned()),
            Some(mark) if i32::try_from(mark).is_err() => {
                Err(format!("{mark:#x} is too large for `fwmark`"))
            }
            Some(mark) => Ok(mark),
        }
    }

    fn selectors(&self) -> Result<Vec<Selector>, String> {
        let Some(protocol) = self.protocol else {
            return Err("no protocol is named".to_owned());
        };
        if self.addresses.is_empty() {
            return Err("no destination address is named".to_owned());
        }
        let ports = match protocol {
            Protocol::Ah | Protocol::Esp => vec![0..=0],
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp if self.ports.is_empty() => {
                vec![EVERY_PORT.0..=EVERY_PORT.1]
            }
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => self.ports.clone(),
        };
        let of_address = |address: &IpAddr| {
            let address = *address;
            ports.clone().into_iter().map(move |ports| Selector {
                address,
                protocol,
                first: *ports.start(),
                last: *ports.end(),
            })
        };
        Ok(self.addresses.iter().flat_map(of_address).collect())
    }

    /// `192.0.2.10`, or the same with a mask of all bits.
    fn add_address(&mut self, text: &str) -> Result<(), String> {
        let network = || format!("{text} is a network; a group names every virtual IP");
        let (host, mask) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = host.parse().map_err(|_| format!("{text} is no address"))?;
        let full: &[&str] = match address {
            IpAddr::V4(_) => &["", "32", "255.255.255.255"],
            IpAddr::V6(_) => &["", "128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        };
        if !full.contains(&mask) {
            return Err(network());
        }
        self.addresses.push(address);
        Ok(())
    }

    /// A port or a range; `between` stands between both ends.
    fn add_port(&mut self, text: &str, between: char) -> Result<(), String> {
        let (first, last) = text.split_once(between).unwrap_or((text, text));
        let ends = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        match ends {
            Some((0, u16::MAX)) => self.ports.push(0..=u16::MAX),
            Some((first @ 1.., last)) if first <= last => self.ports.push(first..=last),
            Some(_) | None => return Err(format!("{text} is no port and no range of ports")),
        }
        Ok(())
    }

    fn set_protocol(&mut self, name: &str) -> Result<(), String> {
        let protocol = match name {
            "tcp" | "6" => Protocol::Tcp,
            "udp" | "17" => Protocol::Udp,
            "sctp" | "132" => Protocol::Sctp,
            "esp" | "50" => Protocol::Esp,
            "ah" | "51" => Protocol::Ah,
            _ => return Err(format!("protocol {name} is not balanced")),
        };
        self.protocol = Some(protocol);
        Ok(())
    }

    /// `1`, `0x1` or `0x1/0xffffffff`.
    fn set_mark(&mut self, text: &str) -> Result<(), String> {
        let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
        if number(mask) != Some(u32::MAX) {
            return Err(format!("{text} sets only some bits of the mark"));
        }
        let value = number(value).ok_or_else(|| format!("{value} is no mark"))?;
        self.mark = Some(value);
        Ok(())
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The rules that set marks, by line; why not, for those that cannot be carried over.
type Rules = Vec<(usize, Result<Rule, String>)>;

/// Where the kernel's IPVS sees what is set: before the routing decision or on the way to a local
/// process. Its own marks count from there, so only these do here.
const HOOKS: [&str; 2] = ["prerouting", "input"];

#[cfg(test)]
mod tests;
