//! A real name server: dnsmasq, with records that tell which real server they come from.

use std::{net::Ipv4Addr, process::Command, time::Duration};

use anyhow::Result;

use crate::{host::Host, process::Process};

/// The name that every server answers for: as text its own name, as address [`answer`].
pub const NAME: &str = "whoami.lab";

/// A running name server on port 53.
#[derive(Debug)]
pub struct Dns {
    process: Process,
}

impl Dns {
    /// Starts dnsmasq on a real server (0, 1, 2, …), and waits until it answers.
    pub fn start(host: &Host, index: u8) -> Result<Self> {
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--log-facility=-",
                "--conf-file=/dev/null",
            ])
            .args(["--no-resolv", "--no-hosts", "--user=root", "--pid-file="])
            .arg(format!("--txt-record={NAME},{}", host.name()))
            .arg(format!("--address=/{NAME}/{}", answer(index)));
        let process = Process::start(host, &mut command)?;
        process.wait_until_printed("started, version", Duration::from_secs(10))?;
        Ok(Self { process })
    }

    /// The program itself.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The address that a real server (0, 1, 2, …) answers.
pub fn answer(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, index + 1)
}
