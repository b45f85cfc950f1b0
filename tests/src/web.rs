//! A real web server: nginx, with pages that tell which real server they come from.

use std::{fs, io::Write, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::{host::Host, process::Process};

const DIRECTORY: &str = "/run/web";
/// Bytes per second of `/slow`.
const SLOW_RATE: usize = 4000;
/// How long `/slow` takes, less a second that nginx gives in advance.
const SLOW_SECONDS: usize = 5;

/// A web server on a host: running, or stopped for now.
#[derive(Debug)]
pub struct Web {
    host: Host,
    running: Option<Process>,
}

impl Web {
    /// Starts nginx on port 80 of both families, and waits until it listens.
    ///
    /// `/` answers the host's name, which is in the header `Real-Server` of every answer as well.
    /// `/slow` takes some seconds, `/put` takes a file.
    pub fn start(host: &Host) -> Result<Self> {
        host.write(
            format!("{DIRECTORY}/pages/index.html"),
            &format!("{}\n", host.name()),
        )?;
        host.write(
            format!("{DIRECTORY}/nginx.conf"),
            &configuration(host.name()),
        )?;
        host.write(
            format!("{DIRECTORY}/pages/slow"),
            &".".repeat(SLOW_RATE * SLOW_SECONDS),
        )?;
        let mut web = Self {
            host: host.clone(),
            running: None,
        };
        web.start_again()?;
        Ok(web)
    }

    /// Starts nginx after a stop.
    pub fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p", DIRECTORY, "-c", "nginx.conf"]);
        let nginx = Process::start(&self.host, &mut command)?;
        // It says so when its sockets listen already.
        nginx.wait_until_printed("event method", Duration::from_secs(10))?;
        self.running = Some(nginx);
        Ok(())
    }

    /// Kills nginx; its connections are reset.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Lets nginx finish its requests and end.
    pub fn quit(&mut self) -> Result<()> {
        if let Some(mut nginx) = self.running.take() {
            nginx.signal(Signal::SIGQUIT)?;
            nginx.wait()?;
        }
        Ok(())
    }

    /// Lets nginx hang: connections are still accepted, but nobody answers.
    pub fn hang(&self) -> Result<()> {
        self.running
            .as_ref()
            .map_or(Ok(()), |nginx| nginx.signal(Signal::SIGSTOP))
    }

    /// Whether nginx runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The host it is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Puts a file of so many MiB there, with the same content on every server, as `/big`.
    /// Its SHA-256.
    pub fn offer_big_file(&self, mebibytes: usize) -> Result<String> {
        let path = Path::new(DIRECTORY).join("pages/big");
        self.host.inside(|| {
            let mut file = fs::File::create(&path)?;
            let mut noise = Noise(1);
            let mut chunk: Vec<u8> = (0..1 << 17).flat_map(|_| noise.next()).collect();
            for number in 0..mebibytes as u64 {
                // No two are the same.
                chunk[..8].copy_from_slice(&number.to_le_bytes());
                file.write_all(&chunk)?;
            }
            Ok(())
        })?;
        sha256(&self.host, &path)
    }

    /// The SHA-256 of the file that was put at `/put` last.
    pub fn sha256_of_put(&self) -> Result<String> {
        sha256(&self.host, &Path::new(DIRECTORY).join("pages/put"))
    }

    /// How many connections clients have to the server, as its kernel counts them.
    pub fn connections(&self) -> Result<usize> {
        let filter = "--no-header --numeric --tcp state established sport = :80";
        let list = self.host.run("ss", filter.split(' '))?;
        Ok(list.lines().count())
    }
}

fn sha256(host: &Host, path: &Path) -> Result<String> {
    let sum = host.run("sha256sum", [path])?;
    Ok(sum
        .split_whitespace()
        .next()
        .context("sha256sum printed nothing")?
        .to_owned())
}

/// Numbers without a pattern, the same every time (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> [u8; 8] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()
    }
}

/// One process, so that one signal stops all of it. Everything it writes is below its prefix.
fn configuration(name: &str) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 1000; }}
http {{
    access_log access.log;
    client_body_temp_path body;
    fastcgi_temp_path fastcgi;
    proxy_temp_path proxy;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    client_max_body_size 1g;
    sendfile on;
    default_type text/plain;
    server {{
        listen 80;
        listen [::]:80;
        root pages;
        add_header Real-Server {name};
        location = /upload {{ return 200 $request_length; }}
        location = /put {{ dav_methods PUT; }}
        location = /slow {{ limit_rate {SLOW_RATE}; }}
    }}
}}
"
    )
}
