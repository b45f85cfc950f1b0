//! What has to be there before anything on the machine is changed.

use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use anyhow::{Context, bail};
use network_interface::{NetworkInterface, NetworkInterfaceConfig};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    utsname::uname,
};
use tracing::warn;

use crate::{
    model::{Family, Method, RealServer, Site},
    network::links::Links,
};

/// The oldest kernel that the program is for: `bpf_loop` came with 5.17.
pub const OLDEST: (u32, u32) = (5, 17);

/// The capabilities that are needed, by number and name.
const CAPABILITIES: &[(u32, &str)] = &[
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// Checks the kernel and our rights.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn kernel_and_rights() -> anyhow::Result<()> {
    let release = uname()?.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(version) if version < OLDEST => {
            bail!(
                "Linux {}.{} or newer is needed; this is {release}",
                OLDEST.0,
                OLDEST.1
            )
        }
        Some(_) | None => {}
    }
    let status = fs::read_to_string("/proc/self/status").context("reading our capabilities")?;
    let missing = missing_rights(&status).context("reading our capabilities")?;
    if !missing.is_empty() {
        bail!(
            "not permitted: run it as root, or with {}",
            missing.join(", ")
        );
    }
    Ok(())
}

/// The rights that a process has not, from its `/proc/PID/status`; none if that does not tell.
#[must_use]
pub fn missing_rights(status: &str) -> Option<Vec<&'static str>> {
    let effective = capabilities(status)?;
    let missing = CAPABILITIES
        .iter()
        .filter(|(number, _)| effective & (1 << number) == 0)
        .map(|(_, name)| *name);
    Some(missing.collect())
}

/// Whether a process may make network namespaces (CAP_SYS_ADMIN), which takes more than `lb run` otherwise does; none if
/// its `/proc/PID/status` does not tell.
#[must_use]
pub fn may_make_namespaces(status: &str) -> Option<bool> {
    const SYS_ADMIN: u32 = 21;
    Some(capabilities(status)? & (1 << SYS_ADMIN) != 0)
}

/// The mark of the one lb of a network namespace, for as long as it lives.
#[derive(Debug)]
pub struct Only {
    _mark: UnixDatagram,
}

/// Makes sure that there is no other lb in this network namespace: it would take our addresses for
/// leftovers of its own. The mark is an abstract socket, which belongs to the namespace and goes
/// with the process, whatever way it ends.
///
/// # Errors
/// If there is another.
pub fn alone() -> anyhow::Result<Only> {
    let name = SocketAddr::from_abstract_name("lvs-xdp")?;
    match UnixDatagram::bind_addr(&name) {
        Ok(mark) => Ok(Only { _mark: mark }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("another lb runs in this network namespace")
        }
        Err(error) => Err(error).context("making sure that no other lb runs"),
    }
}

/// Checks that the interfaces are there which the site and the command line name.
///
/// # Errors
/// The first that is missing.
pub fn interfaces(links: &Links, site: &Site, named: &[String]) -> anyhow::Result<()> {
    for name in named {
        if links.named(name).is_err() {
            bail!("there is no interface {name}{}", those_there_are());
        }
    }
    for address in &site.addresses {
        if links.named(&address.interface).is_err() {
            bail!(
                "there is no interface {}, on which {} is to be put{}",
                address.interface,
                address.address,
                those_there_are()
            );
        }
    }
    Ok(())
}

/// The interfaces that could have been meant.
fn those_there_are() -> String {
    let mut names: Vec<_> = NetworkInterface::show()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.name)
        .filter(|name| name != "lo")
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        String::new()
    } else {
        format!("; there are {}", names.join(", "))
    }
}

/// Tells what will keep the site from working although the daemon can run.
pub fn warn_of_settings(site: &Site) {
    for setting in forwarding(site) {
        let value = fs::read_to_string(format!("/proc/sys/{setting}")).unwrap_or_default();
        if value.trim() == "0" {
            let setting = setting.replace('/', ".");
            warn!("{setting} is 0: replies of masqueraded real servers cannot leave; set it to 1");
        }
    }
}

/// The settings below `/proc/sys` that must not be 0, since real servers are masqueraded.
#[must_use]
pub fn forwarding(site: &Site) -> Vec<&'static str> {
    let masquerades = |family: Family| {
        site.services.iter().any(|service| {
            let masquerades = |server: &RealServer| server.forwarding.method() == Method::Nat;
            service.key.family() == family && service.servers.iter().any(masquerades)
        })
    };
    let settings = [
        (Family::Ipv4, "net/ipv4/ip_forward"),
        (Family::Ipv6, "net/ipv6/conf/all/forwarding"),
    ];
    settings
        .into_iter()
        .filter(|(family, _)| masquerades(*family))
        .map(|(_, setting)| setting)
        .collect()
}

/// As many open files as we may have: every check that is under way is one.
pub fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        warn!(%error, "the limit of open files stays as it is");
    }
}

/// The first two numbers of a release.
#[must_use]
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        let table = [
            ("6.18.44-x", Some((6, 18))),
            ("5.4.0", Some((5, 4))),
            ("6.1", Some((6, 1))),
            ("linux", None),
        ];
        for (release, numbers) in table {
            assert_eq!(version(release), numbers, "{release}");
        }
        assert!((6, 1) > OLDEST && (5, 4) < OLDEST);
    }

    #[test]
    fn capabilities_are_read_from_the_status() {
        assert_eq!(
            capabilities("Name:\tlb\nCapEff:\t000001ffffffffff\n"),
            Some(0x1ff_ffff_ffff)
        );
        assert_eq!(capabilities("Name:\tlb\n"), None);
    }
}
