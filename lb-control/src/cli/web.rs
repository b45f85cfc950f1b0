//! `lb web`.

use std::{
    io::{self, BufRead as _, Write as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use super::run::log_to_stderr;
use crate::{
    control,
    web::{
        FOLDER,
        partner::{Address, make_key},
        password::{Change, LONGEST, change, check_name, check_password},
        privilege,
        role::Role,
        run::{Options, run},
    },
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Web {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sets the password of a user of the web tool, or makes or removes the user.
    Passwd(Passwd),
    /// Makes the key by which the web tools of both directors know each other, to be copied to the partner.
    Key(MakeKey),
}

#[derive(Debug, Args)]
struct Serve {
    /// Where it listens, repeatable; else port 3636 of every address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// Where passwords, its own certificate and the audit log are kept.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    state_dir: PathBuf,
    /// The certificate, with those that vouch for it (PEM); else one of its own.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Speak http, not https; on loopback addresses only.
    #[arg(long, conflicts_with_all = ["certificate", "key"])]
    plain_http: bool,
    /// The proxy in front of it: what it says of its clients' addresses is believed.
    #[arg(long, value_name = "ADDRESS")]
    trust_proxy: Option<IpAddr>,
    /// Who it is when root starts it.
    #[arg(long, value_name = "USER", default_value = USER)]
    user: String,
    /// Where the web tool of the partner is, https://ADDRESS:PORT; else at the partner's address in lvs.cf.
    #[arg(long, value_name = "URL")]
    partner: Option<Address>,
}

/// Who the web tool is when root starts it, unless told otherwise.
const USER: &str = "piranha";

#[derive(Debug, Args)]
struct Passwd {
    /// The user.
    #[arg(value_name = "USER")]
    name: String,
    /// What the user may do; a new user is a viewer, another one keeps the role.
    #[arg(long, value_enum, conflicts_with = "remove")]
    role: Option<Role>,
    /// Read the password from standard input, one line, and do not ask.
    #[arg(long, conflicts_with = "remove")]
    stdin: bool,
    /// Remove the user, and end the user's sessions.
    #[arg(long)]
    remove: bool,
    /// Where passwords are kept.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    state_dir: PathBuf,
    /// Whom the folder belongs to if it has to be made and root makes it.
    #[arg(long, value_name = "USER", default_value = USER)]
    owner: String,
}

#[derive(Debug, Args)]
struct MakeKey {
    /// Replace a key that there is.
    #[arg(long)]
    new: bool,
    /// Where it is kept.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    state_dir: PathBuf,
    /// Whom the folder belongs to if it has to be made and root makes it.
    #[arg(long, value_name = "USER", default_value = USER)]
    owner: String,
}

impl MakeKey {
    fn run(self) -> anyhow::Result<()> {
        make_folder(&self.state_dir, &self.owner)?;
        let path = make_key(&self.state_dir, self.new)?;
        let path = path.display();
        writeln!(
            io::stdout(),
            "{path} is made; copy it to the partner, to the same place, readable by the user of its web tool only:\n  \
             scp -p {path} PARTNER:{path}"
        )?;
        Ok(())
    }
}

/// Makes the folder of the web tool, if there is none.
fn make_folder(folder: &Path, owner: &str) -> anyhow::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let owner = match nix::unistd::Uid::effective().is_root() {
        true => Some(privilege::find(owner)?),
        false => None,
    };
    privilege::make(folder, owner.as_ref())
}

impl Web {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Some(Verb::Passwd(passwd)) => passwd.run()?,
            Some(Verb::Key(key)) => key.run()?,
            None => self.serve.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Serve {
    fn run(self) -> anyhow::Result<()> {
        log_to_stderr(Default::default());
        run(&Options {
            listen: self.listen,
            socket: self.socket,
            folder: self.state_dir,
            certificate: self.certificate.zip(self.key),
            plain: self.plain_http,
            proxy: self.trust_proxy,
            user: self.user,
            partner: self.partner,
        })
    }
}

impl Passwd {
    fn run(self) -> anyhow::Result<()> {
        check_name(&self.name)?;
        let wanted = match (self.remove, self.stdin) {
            (true, _) => Change::Remove,
            (false, true) => Change::Set(line()?, self.role),
            (false, false) => Change::Set(ask(&self.name)?, self.role),
        };
        make_folder(&self.state_dir, &self.owner)?;
        change(&self.state_dir, &self.name, wanted)
    }
}

/// One line of standard input, without its end.
fn line() -> anyhow::Result<String> {
    let mut text = Vec::new();
    let input = io::stdin().lock();
    // A password that is too long is refused, not cut.
    let mut input = io::Read::take(input, LONGEST as u64 + 2);
    input
        .read_until(b'\n', &mut text)
        .context("reading the password")?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    String::from_utf8(text.to_vec()).context("the password is not UTF-8")
}

/// Twice, without showing it.
fn ask(name: &str) -> anyhow::Result<String> {
    let first = secret(&format!("Password for {name}: "))?;
    check_password(&first)?;
    ensure!(
        secret("The same again: ")? == first,
        "the two are not the same"
    );
    Ok(first)
}

fn secret(prompt: &str) -> anyhow::Result<String> {
    let stdin = io::stdin();
    let Ok(before) = tcgetattr(&stdin) else {
        bail!("standard input is no terminal; use --stdin");
    };
    let mut error = io::stderr().lock();
    write!(error, "{prompt}")?;
    error.flush()?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    silent.local_flags.insert(LocalFlags::ECHONL);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
    let typed = line();
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before)?;
    typed
}
