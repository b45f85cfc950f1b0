//! The network module against the kernel: a director and a real server in network namespaces of
//! their own, joined by a cable. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    future::Future,
    net::IpAddr,
    os::fd::AsRawFd,
    process::{Command, Output},
    time::Duration,
};

use lb_control::{
    model::FloatingAddress,
    network::{
        addresses::{Addresses, Lowered, Raised},
        announce::{Announcement, announce_once},
        links::Links,
        next_hop::{NextHop, Resolution, Resolved},
        resolver::{Handle, Pace, Resolver},
    },
};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::{sync::mpsc, time::timeout};

const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Long enough for a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_server_on_the_link_is_found() {
    in_lab(async |lab| {
        let mut followed = follow(&["10.0.0.2", "2001:db8::2", "10.0.0.1", "127.0.0.1"]);
        for (address, source) in [("10.0.0.2", "10.0.0.1"), ("2001:db8::2", "2001:db8::1")] {
            let hop = followed.resolved(address).await;
            assert_eq!(
                hop,
                NextHop {
                    interface: lab.index("eth0").await,
                    vlan: None,
                    source_mac: DIRECTOR_MAC,
                    mac: SERVER_MAC,
                    mtu: 1500,
                    source: source.parse().ok(),
                }
            );
        }
        for address in ["10.0.0.1", "127.0.0.1"] {
            assert_eq!(followed.next(address).await, Resolution::Local);
        }
    });
}

#[test]
fn a_mac_address_that_changes_silently_is_noticed() {
    in_lab(async |lab| {
        let mut followed = follow(&["10.0.0.2", "2001:db8::2"]);
        for address in ["10.0.0.2", "2001:db8::2"] {
            assert_eq!(followed.resolved(address).await.mac, SERVER_MAC);
        }
        lab.server(&["link set eth0 address 02:00:00:00:00:03"]);
        for address in ["10.0.0.2", "2001:db8::2"] {
            let Resolution::Resolved(hop) = followed.next(address).await else {
                panic!("{address} was given up in between");
            };
            assert_eq!(hop.mac, OTHER_MAC);
        }
    });
}

#[test]
fn a_mac_address_that_is_announced_is_noticed_at_once() {
    in_lab(async |lab| {
        let mut followed = Followed::new(Pace {
            check_up: Duration::from_secs(3600),
            reread: Duration::from_secs(3600),
        });
        let addresses = ["10.0.0.2", "2001:db8::2"];
        followed.follow(&addresses);
        for address in addresses {
            assert_eq!(followed.resolved(address).await.mac, SERVER_MAC);
        }
        lab.server(&["link set eth0 address 02:00:00:00:00:03"]);
        lab.in_server(|| {
            for address in addresses {
                announce_once(&floating(address, 24, "eth0")).unwrap();
            }
        });
        for address in addresses {
            assert_eq!(followed.resolved(address).await.mac, OTHER_MAC);
        }
    });
}

#[test]
fn a_server_that_falls_silent_is_unresolved_and_found_again() {
    in_lab(async |lab| {
        let mut followed = follow(&["10.0.0.2"]);
        followed.resolved("10.0.0.2").await;
        lab.server(&["link set eth0 arp off"]);
        assert_eq!(
            followed.unresolved("10.0.0.2").await,
            "10.0.0.2 does not answer on eth0"
        );
        lab.server(&["link set eth0 arp on"]);
        assert_eq!(followed.resolved("10.0.0.2").await.mac, SERVER_MAC);
    });
}

#[test]
fn a_server_behind_a_gateway_is_reached_by_the_gateway() {
    in_lab(async |lab| {
        let mut followed = follow(&["10.9.0.7", "2001:db8:9::7"]);
        for address in ["10.9.0.7", "2001:db8:9::7"] {
            assert_eq!(
                followed.unresolved(address).await,
                format!("no route to {address}: Network is unreachable")
            );
        }
        lab.director(&[
            "route add 10.9.0.0/16 via 10.0.0.2 mtu 1400",
            "-6 route add 2001:db8:9::/48 via 2001:db8::2",
        ]);
        let hop = followed.resolved("10.9.0.7").await;
        assert_eq!((hop.mac, hop.mtu), (SERVER_MAC, 1400));
        assert_eq!(followed.resolved("2001:db8:9::7").await.mac, SERVER_MAC);
        lab.director(&["route replace unreachable 10.9.0.0/16"]);
        followed.unresolved("10.9.0.7").await;
    });
}

#[test]
fn rules_count() {
    in_lab(async |lab| {
        lab.director(&["route add default via 10.0.0.2"]);
        let mut followed = follow(&["10.9.0.7"]);
        followed.resolved("10.9.0.7").await;
        lab.director(&["rule add to 10.9.0.0/16 prohibit"]);
        assert_eq!(
            followed.unresolved("10.9.0.7").await,
            "no route to 10.9.0.7: Permission denied"
        );
        lab.director(&["rule del to 10.9.0.0/16 prohibit"]);
        followed.resolved("10.9.0.7").await;
    });
}

#[test]
fn a_vlan_is_told_as_its_parent_and_its_id() {
    in_lab(async |lab| {
        if !lab.has_vlans() {
            eprintln!("skipped: this kernel has no VLANs");
            return;
        }
        lab.director(&[
            "link add link eth0 name eth0.100 address 02:00:00:00:01:01 type vlan id 100",
            "link set eth0.100 up mtu 1480",
            "addr add 10.1.0.1/24 dev eth0.100",
        ]);
        lab.server(&[
            "link add link eth0 name eth0.100 type vlan id 100",
            "link set eth0.100 up",
            "addr add 10.1.0.2/24 dev eth0.100",
        ]);
        let mut followed = follow(&["10.1.0.2"]);
        assert_eq!(
            followed.resolved("10.1.0.2").await,
            NextHop {
                interface: lab.index("eth0").await,
                vlan: Some(100),
                source_mac: [2, 0, 0, 0, 1, 1],
                mac: SERVER_MAC,
                mtu: 1480,
                source: "10.1.0.1".parse().ok(),
            }
        );
    });
}

#[test]
fn a_link_that_goes_takes_its_servers_along() {
    in_lab(async |lab| {
        let mut followed = follow(&["10.0.0.2"]);
        followed.resolved("10.0.0.2").await;
        lab.server(&["link set eth0 down"]);
        assert_eq!(followed.unresolved("10.0.0.2").await, "eth0 has no carrier");
        lab.server(&["link set eth0 up"]);
        followed.resolved("10.0.0.2").await;
        lab.director(&["link set eth0 down"]);
        followed.unresolved("10.0.0.2").await;
        lab.director(&["link set eth0 up"]);
        followed.resolved("10.0.0.2").await;
    });
}

#[test]
fn hundreds_of_servers_are_followed() {
    in_lab(async |lab| {
        let addresses: Vec<String> = (0..500)
            .map(|n| format!("10.2.{}.{}", n / 250, n % 250 + 1))
            .collect();
        lab.director(&["route add 10.2.0.0/16 dev eth0"]);
        lab.server(&["route add local 10.2.0.0/16 dev lo"]);
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut followed = follow(&addresses);
        for address in addresses {
            assert_eq!(followed.resolved(address).await.mac, SERVER_MAC);
        }
    });
}

#[test]
fn a_floating_address_is_added_and_taken_off() {
    in_lab(async |lab| {
        let addresses = Addresses::open().unwrap();
        for (vip, shown) in [
            (
                floating("10.0.0.100", 24, "eth0"),
                "inet 10.0.0.100/24 brd 10.0.0.255 scope global secondary eth0:1",
            ),
            (
                floating("2001:db8::64", 64, "eth0"),
                "inet6 2001:db8::64/64 scope global nodad deprecated",
            ),
        ] {
            assert_eq!(addresses.raise(&vip).await, Ok(Raised::Added));
            assert!(lab.shows(shown), "{}", lab.addresses());
            assert_eq!(addresses.raise(&vip).await, Ok(Raised::Kept));
            assert_eq!(addresses.lower(&vip).await, Ok(Lowered::Removed));
            assert!(!lab.shows(&vip.address.to_string()));
            assert_eq!(addresses.lower(&vip).await, Ok(Lowered::Absent));
        }
    });
}

#[test]
fn a_foreign_address_stays() {
    in_lab(async |lab| {
        lab.director(&[
            "addr add 10.0.0.100/24 dev eth0",
            "addr add 2001:db8::64/64 dev eth0 nodad",
        ]);
        let addresses = Addresses::open().unwrap();
        for vip in ["10.0.0.100", "2001:db8::64"] {
            let vip = floating(vip, 32, "eth0");
            assert_eq!(addresses.raise(&vip).await, Ok(Raised::Foreign));
            assert_eq!(addresses.lower(&vip).await, Ok(Lowered::Foreign));
            assert_eq!(addresses.lower_all_but(&[]).await, Ok(vec![]));
            assert!(lab.shows(&vip.address.to_string()));
        }
    });
}

#[test]
fn addresses_of_a_killed_director_are_taken_over() {
    in_lab(async |lab| {
        let vips = ["10.5.0.100", "10.5.0.101", "2001:db8::64"].map(|vip| {
            let prefix = if vip.contains(':') { 128 } else { 24 };
            floating(vip, prefix, "eth0")
        });
        let killed = Addresses::open().unwrap();
        for vip in &vips {
            killed.raise(vip).await.unwrap();
        }
        drop(killed);

        let addresses = Addresses::open().unwrap();
        // One that the configuration does not know any more; it was the primary of its network.
        let gone = addresses.lower_all_but(&vips[1..]).await;
        assert_eq!(gone, Ok(vec![vips[0].address]));
        for vip in &vips[1..] {
            assert_eq!(addresses.raise(vip).await, Ok(Raised::Kept));
        }
        // Another prefix is another address.
        let wider = floating("10.5.0.101", 16, "eth0");
        assert_eq!(addresses.raise(&wider).await, Ok(Raised::Added));
        assert!(lab.shows("10.5.0.101/16"));
        assert!(!lab.shows("10.5.0.101/24"));
        let mut gone = addresses.lower_all_but(&[]).await.unwrap();
        gone.sort();
        assert_eq!(gone, [vips[1].address, vips[2].address]);
        assert!(lab.shows("10.0.0.1/24") && lab.shows("2001:db8::1/64"));
    });
}

#[test]
fn a_primary_address_that_goes_takes_no_other_along() {
    in_lab(async |lab| {
        let addresses = Addresses::open().unwrap();
        let vip = floating("10.5.0.100", 24, "eth0");
        addresses.raise(&vip).await.unwrap();
        lab.director(&["addr add 10.5.0.1/24 dev eth0 label eth0:own"]);
        assert_eq!(addresses.lower(&vip).await, Ok(Lowered::Removed));
        assert!(
            lab.shows("inet 10.5.0.1/24 scope global eth0:own"),
            "{}",
            lab.addresses()
        );
        assert!(!lab.shows("10.5.0.100"));
    });
}

#[test]
fn what_the_kernel_refuses_is_said_in_full() {
    in_lab(async |_| {
        let addresses = Addresses::open().unwrap();
        let error = addresses.raise(&floating("10.0.0.1", 24, "eth7")).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "putting 10.0.0.1/24 on eth7: there is no interface eth7"
        );
        let error = announce_once(&floating("10.0.0.1", 24, "eth7"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "announcing 10.0.0.1 on eth7: there is no interface eth7"
        );
        let error = announce_once(&floating("10.0.0.1", 24, "lo"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "announcing 10.0.0.1 on lo: lo has no MAC address"
        );
    });
}

#[test]
fn an_announcement_moves_an_address_and_ends() {
    in_lab(async |lab| {
        let vips = [
            floating("10.0.0.100", 24, "eth0"),
            floating("2001:db8::64", 64, "eth0"),
        ];
        // The server knows the addresses from the director that held them before.
        lab.server(&[
            "neigh add 10.0.0.100 lladdr 02:00:00:00:00:99 dev eth0 nud stale",
            "neigh add 2001:db8::64 lladdr 02:00:00:00:00:99 dev eth0 nud stale",
        ]);
        let announcement = Announcement::start(vips.to_vec(), std::sync::Arc::new(|| true));
        timeout(PATIENCE, announcement.finished()).await.unwrap();
        for vip in vips {
            let entry = lab.server(&[&format!("neigh show {}", vip.address)]);
            assert!(entry.contains("lladdr 02:00:00:00:00:01"), "{entry}");
        }
    });
}

/// A director and a server. The thread of the test is in the director's namespace.
struct Lab {
    director: File,
    server: File,
}

/// Runs a test in a namespace of its own, which ends with its thread.
fn in_lab<F: Future<Output = ()>>(test: impl FnOnce(Lab) -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        let lab = Lab::new();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test(lab));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Lab {
    fn new() -> Self {
        let server = new_namespace();
        let director = new_namespace();
        let cable = format!(
            "link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 \
             address 02:00:00:00:00:02 netns /proc/{}/fd/{}",
            std::process::id(),
            server.as_raw_fd()
        );
        let lab = Self { director, server };
        lab.director(&[
            &cable,
            "link set lo up",
            "link set eth0 up",
            "addr add 10.0.0.1/24 dev eth0",
            "addr add 2001:db8::1/64 dev eth0 nodad",
        ]);
        lab.server(&[
            "link set lo up",
            "link set eth0 up",
            "addr add 10.0.0.2/24 dev eth0",
            "addr add 2001:db8::2/64 dev eth0 nodad",
        ]);
        lab
    }

    fn director(&self, commands: &[&str]) -> String {
        commands.iter().map(|command| ip(command)).collect()
    }

    fn server(&self, commands: &[&str]) -> String {
        self.in_server(|| commands.iter().map(|command| ip(command)).collect())
    }

    fn in_server<T>(&self, act: impl FnOnce() -> T) -> T {
        setns(&self.server, CloneFlags::CLONE_NEWNET).unwrap();
        let result = act();
        setns(&self.director, CloneFlags::CLONE_NEWNET).unwrap();
        result
    }

    fn addresses(&self) -> String {
        self.director(&["addr show dev eth0"])
    }

    fn shows(&self, address: &str) -> bool {
        self.addresses().contains(address)
    }

    fn has_vlans(&self) -> bool {
        let mut probe = Command::new("ip");
        probe.args([
            "link", "add", "link", "eth0", "name", "probe", "type", "vlan", "id", "1",
        ]);
        probe.output().unwrap().status.success()
    }

    async fn index(&self, name: &str) -> u32 {
        Links::read().await.unwrap().named(name).unwrap().index
    }
}

/// Leaves the thread in a new namespace without duplicate address detection, which takes seconds.
fn new_namespace() -> File {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for scope in ["default", "all"] {
        let setting = format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad");
        std::fs::write(setting, "0").unwrap();
    }
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn ip(arguments: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "ip {arguments}: {complaint}");
    String::from_utf8(stdout).unwrap()
}

fn floating(address: &str, prefix: u8, interface: &str) -> FloatingAddress {
    FloatingAddress {
        address: address.parse().unwrap(),
        prefix,
        interface: interface.to_owned(),
        label: format!("{interface}:1"),
    }
}

/// A resolver and what it told.
struct Followed {
    handle: Handle,
    news: mpsc::Receiver<Resolved>,
    /// News of addresses that were not waited for.
    kept: BTreeMap<IpAddr, VecDeque<Resolution>>,
}

fn follow(addresses: &[&str]) -> Followed {
    let followed = Followed::new(Pace {
        check_up: Duration::from_secs(1),
        reread: Duration::from_secs(3600),
    });
    followed.follow(addresses);
    followed
}

impl Followed {
    fn new(pace: Pace) -> Self {
        let (sender, news) = mpsc::channel(16);
        Self {
            handle: Resolver::spawn(pace, sender).unwrap(),
            news,
            kept: BTreeMap::new(),
        }
    }

    fn follow(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        self.handle.follow(addresses.collect());
    }

    /// The next news of an address.
    async fn next(&mut self, address: &str) -> Resolution {
        let address = address.parse().unwrap();
        loop {
            if let Some(news) = self.kept.entry(address).or_default().pop_front() {
                return news;
            }
            let Ok(news) = timeout(PATIENCE, self.news.recv()).await else {
                panic!("no news of {address}");
            };
            let news = news.unwrap();
            let kept = self.kept.entry(news.address).or_default();
            kept.push_back(news.resolution);
        }
    }

    /// The way to an address, once there is one.
    async fn resolved(&mut self, address: &str) -> NextHop {
        loop {
            if let Resolution::Resolved(hop) = self.next(address).await {
                return hop;
            }
        }
    }

    /// Why there is no way to an address, once there is none.
    async fn unresolved(&mut self, address: &str) -> String {
        loop {
            if let Resolution::Unresolved { reason } = self.next(address).await {
                return reason;
            }
        }
    }
}
