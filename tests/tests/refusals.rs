//! What `lb run` refuses: with one clear line, exit status 1, and nothing changed on the machine.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Host, Method, Network, Plan, Service, Site, Stage,
    client::{self, all_good},
    director::{CONFIG, PINS, SOCKET},
    lab::skip,
    on_stage,
};

const FAMILY: Family = Family::V4;
const OTHER_PINS: &str = "/sys/fs/bpf/other";
const OTHER_SOCKET: &str = "/run/other/lb.sock";

/// An `lb run` that is to be refused.
struct Attempt<'a> {
    what: &'a str,
    /// What is called before `lb`.
    before: &'a [&'a str],
    config: &'a str,
    pins: &'a str,
    socket: &'a str,
    interfaces: &'a [&'a str],
    /// What the line has to say.
    says: &'a [&'a str],
}

const DEFAULT: Attempt<'_> = Attempt {
    what: "",
    before: &[],
    config: CONFIG,
    pins: PINS,
    socket: SOCKET,
    interfaces: &["eth0", "eth1"],
    says: &[],
};

#[test]
fn what_cannot_work_is_refused_before_anything_is_changed() {
    on_stage(|lab, lb| {
        let network = Network::new(
            lab,
            Plan {
                servers: 1,
                ..Plan::new(Method::Nat)
            },
        )?;
        let router = network.router();
        let site = site();
        router.write(CONFIG, &site.to_string())?;
        router.write(
            "/run/broken.cf",
            &site.to_string().replace("port = 80", "port = http!"),
        )?;
        router.write(
            "/run/astray.cf",
            &site.to_string().replace("eth0:1", "eth9:1"),
        )?;
        router.write("/run/file", "")?;
        fill_up(router, "/run/full")?;
        let attempts = [
            Attempt {
                what: "no lvs.cf",
                config: "/run/none.cf",
                says: &["/run/none.cf", "No such file"],
                ..DEFAULT
            },
            Attempt {
                what: "a directory for lvs.cf",
                config: "/run",
                says: &["/run"],
                ..DEFAULT
            },
            Attempt {
                what: "a broken lvs.cf",
                config: "/run/broken.cf",
                says: &["/run/broken.cf:", "port"],
                ..DEFAULT
            },
            Attempt {
                what: "a virtual address on an interface that is missing",
                config: "/run/astray.cf",
                says: &["eth9"],
                ..DEFAULT
            },
            Attempt {
                what: "an interface that is missing",
                interfaces: &["eth0", "eth7"],
                says: &["eth7"],
                ..DEFAULT
            },
            Attempt {
                what: "nobody's rights",
                before: &[
                    "setpriv",
                    "--reuid=65534",
                    "--regid=65534",
                    "--clear-groups",
                    "--inh-caps=-all",
                    "--bounding-set=-all",
                ],
                says: &["not permitted", "root"],
                ..DEFAULT
            },
            Attempt {
                what: "pins elsewhere than on a bpf filesystem",
                pins: "/run/pins",
                says: &["/run/pins", "bpf filesystem"],
                ..DEFAULT
            },
            Attempt {
                what: "a file where the socket's directory is to be",
                socket: "/run/file/lb.sock",
                says: &["/run/file"],
                ..DEFAULT
            },
            Attempt {
                what: "a directory where the socket is to be",
                socket: "/run",
                says: &["/run"],
                ..DEFAULT
            },
            Attempt {
                what: "a full disk for the socket's directory",
                socket: "/run/full/lb/lb.sock",
                says: &["/run/full", "No space left"],
                ..DEFAULT
            },
            Attempt {
                what: "a full disk for the socket",
                socket: "/run/full/lb.sock",
                says: &["/run/full/lb.sock", "No space left"],
                ..DEFAULT
            },
        ];
        are_refused(lb, router, &attempts)
    });
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let stage = Stage::set(lab, lb, plan, &site())?;
        stage.await_servers()?;
        let other = Attempt {
            pins: OTHER_PINS,
            socket: OTHER_SOCKET,
            ..DEFAULT
        };
        let attempts = [
            Attempt {
                what: "the pins of another daemon",
                socket: OTHER_SOCKET,
                says: &["another lb"],
                ..DEFAULT
            },
            Attempt {
                what: "the network namespace of another daemon",
                says: &["another lb runs in this network namespace"],
                ..other
            },
        ];
        let refused = are_refused(lb, stage.network.router(), &attempts);
        goes_on(&stage).and(refused)
    });
}

/// With pins and interfaces of its own it would still take the other's socket and addresses away.
#[test]
fn the_socket_of_another_daemon_is_not_taken() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let stage = Stage::set(lab, lb, plan, &site())?;
        stage.await_servers()?;
        let attempt = Attempt {
            what: "the socket of another daemon",
            interfaces: &["lo"],
            pins: OTHER_PINS,
            says: &["another lb"],
            ..DEFAULT
        };
        let refused = are_refused(lb, stage.network.router(), &[attempt]);
        refused.and(goes_on(&stage))
    });
}

/// A program that was put there by somebody else stays.
#[test]
fn an_interface_with_another_program_is_refused() {
    on_stage(|lab, lb| {
        let Some(object) = std::env::var_os("LB_BPF_OBJECT") else {
            skip("LB_BPF_OBJECT does not say where an XDP program is");
            return Ok(());
        };
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let network = Network::new(lab, plan)?;
        let router = network.router();
        router.write(CONFIG, &site().to_string())?;
        let object = Path::new(&object).to_str().context("a strange path")?;
        let foreign = "/sys/fs/bpf/foreign";
        router.run("bpftool", ["prog", "loadall", object, foreign])?;
        let program = format!("{foreign}/balance");
        router.run(
            "bpftool",
            ["net", "attach", "xdp", "pinned", &program, "dev", "eth0"],
        )?;
        let attempt = Attempt {
            what: "an interface with another XDP program",
            says: &["another XDP program is on eth0"],
            ..DEFAULT
        };
        are_refused(lb, router, &[attempt])
    });
}

/// The data plane that a daemon left behind is nobody's mistake.
#[test]
fn a_start_that_is_refused_leaves_the_data_plane_forwarding() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let mut stage = Stage::set(lab, lb, plan, &site())?;
        stage.await_servers()?;
        stage.director.kill()?;
        let router = stage.network.router();
        router.write("/run/broken.cf", "network = carrier pigeon\n")?;
        fill_up(router, "/run/full")?;
        let attempts = [
            Attempt {
                what: "a broken lvs.cf",
                config: "/run/broken.cf",
                says: &["/run/broken.cf:1:"],
                ..DEFAULT
            },
            Attempt {
                what: "a full disk for the socket",
                socket: "/run/full/lb.sock",
                says: &["/run/full/lb.sock", "No space left"],
                ..DEFAULT
            },
        ];
        let refused = are_refused(lb, router, &attempts);
        let answers = client::get_many(&stage.network.client, &FAMILY.url(), 20, 4)?;
        all_good(&answers).context("without a daemon")?;
        stage.director.start_again()?;
        // Its checks begin anew.
        stage.await_servers()?;
        goes_on(&stage)?;
        refused
    });
}

fn goes_on(stage: &Stage) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &FAMILY.url(), 20, 4)?;
    all_good(&answers)?;
    let status = stage.director.status()?;
    ensure!(status.is_complete(), "{status}");
    Ok(())
}

fn site() -> Site {
    Site::new(Method::Nat).with(Service::web(FAMILY, 1))
}

/// A filesystem with no room for anything.
fn fill_up(host: &Host, path: &str) -> Result<()> {
    host.run("mkdir", [path])?;
    // One page, and of the two inodes one is the root's, the other the file's.
    let options = "size=4k,nr_inodes=2";
    host.run("mount", ["-t", "tmpfs", "-o", options, "full", path])?;
    host.write(format!("{path}/filling"), &".".repeat(4096))
        .map(drop)
}

/// Tells all that are not refused as they should be.
fn are_refused(lb: &Path, host: &Host, attempts: &[Attempt<'_>]) -> Result<()> {
    let mut complaints = Vec::new();
    for attempt in attempts {
        if let Err(error) = is_refused(lb, host, attempt) {
            complaints.push(format!("{}: {error:#}", attempt.what));
        }
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

fn is_refused(lb: &Path, host: &Host, attempt: &Attempt<'_>) -> Result<()> {
    let lb = lb.canonicalize()?;
    // What an attempt before this one has left is not this one's.
    for path in [SOCKET, OTHER_SOCKET] {
        let directory = Path::new(path).parent().context("no directory")?;
        host.output("rmdir", [directory])?;
    }
    let before = machine(host)?;
    let mut words: Vec<_> = attempt.before.to_vec();
    // One that is not refused is ended, and seen by its exit status.
    words.extend(["timeout", "5"]);
    words.push(lb.to_str().context("a strange path")?);
    words.extend(["run", "--config", attempt.config, "--bpffs", attempt.pins]);
    words.extend(["--socket", attempt.socket]);
    for interface in attempt.interfaces {
        words.extend(["--interface", interface]);
    }
    let output = host.output(words[0], &words[1..])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1),
        "{}, said:\n{said}",
        output.status
    );
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.contains(" WARN ") && !line.contains(" INFO "))
        .collect();
    ensure!(
        lines.len() == 1 && lines[0].starts_with("lb: "),
        "not one line:\n{said}"
    );
    let missing: Vec<_> = attempt
        .says
        .iter()
        .filter(|words| !lines[0].contains(*words))
        .collect();
    ensure!(
        missing.is_empty(),
        "nothing of {missing:?} in: {}",
        lines[0]
    );
    let repeats = lines[0].matches("(os error").count();
    ensure!(repeats <= 1, "says the same twice: {}", lines[0]);
    let after = machine(host)?;
    for (before, after) in before.lines().zip(after.lines()) {
        ensure!(
            before == after,
            "changed the machine: {before} became {after}"
        );
    }
    ensure!(
        before.lines().count() == after.lines().count(),
        "changed the machine:\n{after}"
    );
    Ok(())
}

/// All that an `lb run` could change.
fn machine(host: &Host) -> Result<String> {
    let commands = "ip -brief address; ip -details link; ip route; ip -6 route; \
                    find /sys/fs/bpf /run | sort";
    host.run("sh", ["-c", commands])
}
