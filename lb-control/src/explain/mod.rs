//! `lb explain`: what the data plane would do with a packet, without doing it. The packet is tried by
//! the program itself, on the tables as they are now.

pub mod capture;
pub mod explainer;
pub mod layers;
pub mod names;
pub mod story;
pub mod tuple;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use self::{
    capture::Captured,
    names::Names,
    story::{Story, Teller},
    tuple::Tuple,
};
use crate::{
    control::client,
    dataplane::{
        bpffs::Pins,
        trial::{Fate, LONGEST, Trial},
    },
    network::links::{Link, Links},
};

/// How long the daemon may take to tell names.
const PATIENCE: Duration = Duration::from_secs(2);

/// How `lb explain` was called.
#[derive(Debug, Clone)]
pub struct Options {
    /// The packets.
    pub packets: Packets,
    /// The interface that they come in by; else the first that the program is on.
    pub interface: Option<String>,
    /// Where packets are written as they leave.
    pub out: Option<PathBuf>,
    /// Where things are pinned.
    pub bpffs: PathBuf,
    /// Where the daemon listens, who knows names.
    pub socket: PathBuf,
    /// The answer as JSON.
    pub json: bool,
}

/// Where packets come from.
#[derive(Debug, Clone)]
pub enum Packets {
    /// One, described in words.
    Tuple(String),
    /// A capture.
    Capture(PathBuf),
}

/// Tells what would become of each packet. Whether all could be tried.
///
/// # Errors
/// If there is no data plane, or what was asked for is not understood.
pub async fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let pins = Pins::below(&options.bpffs);
    let mut trial = Trial::load(&pins)?;
    let links = Links::read().await?;
    let link = ingress(&pins, &links, options.interface.as_deref())?;
    let packets = packets(&options.packets, link)?;
    let names = names(&options.socket).await;
    let mut departures = options.out.as_deref().map(departures).transpose()?;
    let (mut stories, mut is_complete) = (Vec::new(), true);
    if !trial.is_the_one_in_use() && !options.json {
        writeln!(
            out,
            "the program in use is another build; this is what the one of this lb would do"
        )?;
    }
    for (number, packet) in (1..).zip(&packets) {
        let story = match explained(&mut trial, &names, &links, link, number, packet) {
            Ok((story, frame)) => {
                if let (Some(file), Some(frame)) = (&mut departures, frame) {
                    capture::write(file, packet.time, &frame)?;
                }
                story
            }
            Err(error) => {
                is_complete = false;
                if !options.json {
                    writeln!(out, "{number}. not explained: {error:#}")?;
                }
                continue;
            }
        };
        if options.json {
            stories.push(story);
        } else {
            write!(out, "{story}")?;
        }
    }
    if options.json {
        serde_json::to_writer_pretty(&mut *out, &stories)?;
        writeln!(out)?;
    }
    if let Some(mut file) = departures {
        file.flush().context("writing the packets as they leave")?;
    }
    Ok(is_complete)
}

/// The story of one packet, and its bytes as they leave, if they do.
fn explained(
    trial: &mut Trial,
    names: &Names,
    links: &Links,
    link: &Link,
    number: usize,
    packet: &Captured,
) -> Result<(Story, Option<Vec<u8>>)> {
    ensure!(
        packet.frame.len() >= packet.length,
        "the capture has only {} of its {} bytes",
        packet.frame.len(),
        packet.length
    );
    ensure!(
        (14..=LONGEST).contains(&packet.frame.len()),
        "it has {} bytes; the kernel tries frames of 14 to {LONGEST}",
        packet.frame.len()
    );
    let tried = trial.run(link.index, &packet.frame)?;
    let teller = Teller {
        trial,
        names,
        links,
    };
    let story = teller.tell(number, link.index, &packet.frame, &tried)?;
    let leaves = match tried.fate {
        Fate::Back | Fate::Away(_) => Some(tried.frame),
        Fate::Passed | Fate::Dropped | Fate::Failed => None,
    };
    Ok((story, leaves))
}

/// The interface that packets come in by.
fn ingress<'a>(pins: &Pins, links: &'a Links, wanted: Option<&str>) -> Result<&'a Link> {
    if let Some(name) = wanted {
        return links
            .named(name)
            .ok()
            .with_context(|| format!("there is no interface {name}"));
    }
    let mut names: Vec<_> = fs::read_dir(pins.links())
        .context("looking for the interfaces that the program is on")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
        .iter()
        .find_map(|name| links.named(name).ok())
        .context("the program is on no interface; name one by --interface")
}

fn packets(packets: &Packets, link: &Link) -> Result<Vec<Captured>> {
    match packets {
        Packets::Tuple(text) => {
            let frame = Tuple::parse(text)?.frame(link.mac.unwrap_or_default());
            Ok(vec![Captured::now(frame)])
        }
        Packets::Capture(path) => {
            let shown = path.display();
            let bytes = fs::read(path).with_context(|| format!("reading {shown}"))?;
            capture::read(&bytes).with_context(|| format!("{shown} is not understood"))
        }
    }
}

/// Names are told by the daemon. If it does not answer, addresses have to do.
async fn names(socket: &Path) -> Names {
    match tokio::time::timeout(PATIENCE, client::status(socket)).await {
        Ok(Ok(report)) => Names::of(&report),
        Ok(Err(_)) | Err(_) => Names::default(),
    }
}

fn departures(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
    let mut file = BufWriter::new(file);
    capture::write_head(&mut file)?;
    Ok(file)
}
