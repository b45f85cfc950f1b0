//! Two routers with `lb run` and `lb web`: what is applied on one is pushed to the other.

use std::fs;

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use lb_tests::{
    Family, Host, Lab, Method, Pair, Service, Site, Visitor, WebTool, director::CONFIG, on_stage,
    web_tool,
};
use sha2::{Digest, Sha256};

const FAMILY: Family = Family::V4;
const USER: &str = "ada";
const PASSWORD: &str = "correct horse battery";
const APPLY: &str = "/config/apply";
/// The key of both, in the folders of both.
const KEY: &str = "partner.key";

/// A pair of routers with a web tool on each.
struct Tools {
    pair: Pair,
    tools: [WebTool; 2],
}

impl Tools {
    /// Everything runs, and there is no key yet.
    fn set(lab: &Lab, lb: &std::path::Path) -> Result<Self> {
        let mut site = Site::new(Method::Nat)
            .with(Service::web(FAMILY, 2))
            .paired();
        site.socket_group = Some(web_tool::group()?);
        let pair = Pair::set(lab, lb, Method::Nat, &site)?;
        pair.await_ready()?;
        let start = |index: u8| {
            let router = &pair.network.routers[usize::from(index)];
            WebTool::start(lb, router, FAMILY.router(index), USER, PASSWORD)
        };
        let tools = [start(0)?, start(1)?];
        Ok(Self { pair, tools })
    }

    /// Makes a key here and copies it to the partner, as the documentation says.
    fn share_key(&self) -> Result<()> {
        self.tools[0].lb_web(&["key"])?;
        self.put_key(1, &self.tools[0].file(KEY)?)
    }

    /// Puts a key there, for the user of the web tool only.
    fn put_key(&self, index: usize, key: &str) -> Result<()> {
        let path = format!("{}/{KEY}", web_tool::FOLDER);
        let router = self.router(index);
        router.write(&path, key)?;
        router.run("chown", ["nobody", &path])?;
        router.run("chmod", ["600", &path]).map(drop)
    }

    fn router(&self, index: usize) -> &Host {
        &self.pair.network.routers[index]
    }

    /// What lvs.cf says.
    fn text(&self, index: usize) -> Result<String> {
        self.router(index)
            .inside(|| Ok(fs::read_to_string(CONFIG)?))
    }

    /// Somebody who is logged in here.
    fn ada(&self, index: usize) -> Result<Visitor> {
        self.tools[index].visitor(&self.pair.network.client)
    }

    /// Waits until the daemon there has this weight for the first real server.
    fn await_weight(&self, index: usize, weight: u32) -> Result<()> {
        let what = format!("rs1 has the weight {weight}");
        let director = &self.pair.directors[index];
        director
            .await_status(&what, |status| {
                let web = status.service("web");
                let found = web.and_then(|web| web.server("rs1"));
                found.is_some_and(|one| one.weight == weight)
            })
            .map(drop)
    }

    /// The audit log of this tool has a line with all of these words.
    fn is_written(&self, index: usize, words: &[&str]) -> Result<()> {
        let log = self.tools[index].file("audit.log")?;
        let is_there = |line: &str| words.iter().all(|word| line.contains(word));
        ensure!(log.lines().any(is_there), "{words:?} is not in\n{log}");
        Ok(())
    }
}

/// Writes a weight for rs1 into the draft.
fn weigh(ada: &mut Visitor, weight: &str) -> Result<()> {
    let page = "/block?at=virtual/web/server/rs1";
    ada.fill_in(page, "/block", &[("weight", weight)]).map(drop)
}

/// Applies the draft and pushes it. What the page says then.
fn push(ada: &mut Visitor, more: &[(&str, &str)]) -> Result<String> {
    let fields = [&[("do", "push")], more].concat();
    let page = ada.fill_in(APPLY, APPLY, &fields)?;
    let notices = page.split("id=\"notices\"").nth(1);
    let notices = notices.with_context(|| format!("nothing is told: {page}"))?;
    Ok(notices
        .split("</div>")
        .next()
        .unwrap_or_default()
        .to_owned())
}

fn says(notices: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(notices.contains(word), "“{word}” is not in {notices}");
    }
    Ok(())
}

/// What one does with a pair, and what is told at each step.
#[test]
fn what_is_applied_here_is_applied_there() {
    on_stage(|lab, lb| {
        let mut tools = Tools::set(lab, lb)?;
        let mut ada = tools.ada(0)?;
        let page = ada.page(APPLY)?;
        says(&page, &["there is no key for the partner"])?;

        // The tools run already when the key comes.
        tools.share_key()?;
        weigh(&mut ada, "3")?;
        let told = push(&mut ada, &[])?;
        let steps = ["Check: ", "Write: ", "Reload: "];
        let partners = steps.map(|step| format!("Partner, {}", step.to_lowercase()));
        says(&told, &steps)?;
        says(&told, &partners.each_ref().map(String::as_str))?;
        ensure!(!told.contains("failed"), "{told}");
        let text = tools.text(0)?;
        ensure!(text.contains("weight = 3"), "{text}");
        ensure!(tools.text(1)? == text, "the partner has {}", tools.text(1)?);
        tools.await_weight(0, 3)?;
        tools.await_weight(1, 3)?;
        tools.is_written(0, &["push lvs.cf to the partner", "\"done\":true", USER])?;
        tools.is_written(1, &["push lvs.cf from the partner", "\"done\":true", USER])?;

        // Nothing is different.
        let told = push(&mut ada, &[])?;
        says(&told, &["says this already", "Partner, write: "])?;
        ensure!(tools.text(1)? == text, "the partner has {}", tools.text(1)?);

        // A whole service, in the table of both.
        let add = [
            ("_name", "more"),
            ("address", "10.88.0.101 eth0:2"),
            ("port", "8080"),
        ];
        ada.fill_in("/virtual", "/block/add", &add)?;
        let add = [("_name", "one"), ("address", "10.88.1.11"), ("active", "1")];
        let servers = "/block/servers?at=virtual/more";
        ada.fill_in(servers, "/block/servers", &add)?;
        let page = "/block?at=virtual/more";
        ada.fill_in(
            page,
            "/block",
            &[("active", "1"), ("vip_nmask", "255.255.255.255")],
        )?;
        push(&mut ada, &[])?;
        for director in &tools.pair.directors {
            director.await_status("the new service is there", |status| {
                status.service("more").is_some()
            })?;
        }
        ensure!(tools.text(0)? == tools.text(1)?, "the files differ");
        tools.pair.all_answered(FAMILY, 10)?;

        // The partner's tool is gone: what was applied here stays.
        tools.tools[1].stop()?;
        weigh(&mut ada, "4")?;
        let told = push(&mut ada, &[])?;
        says(
            &told,
            &["https://10.88.0.2:3636: Connection refused", "stays"],
        )?;
        tools.await_weight(0, 4)?;
        tools.await_weight(1, 3)?;
        let missed = tools.text(1)?;
        ensure!(missed.contains("weight = 3"), "{missed}");

        // It is back and catches up by two versions.
        tools.tools[1].start_again()?;
        weigh(&mut ada, "5")?;
        says(&push(&mut ada, &[])?, &["Partner, reload: "])?;
        tools.await_weight(1, 5)?;

        // Somebody changes the partner's file; neither change is lost.
        let changed = format!("# mine\n{}", tools.text(1)?);
        tools.router(1).write(CONFIG, &changed)?;
        weigh(&mut ada, "6")?;
        let told = push(&mut ada, &[])?;
        says(
            &told,
            &["was changed there", "nothing was written", "stays"],
        )?;
        ensure!(tools.text(1)? == changed, "it was overrun");
        tools.await_weight(0, 6)?;
        tools.is_written(0, &["push lvs.cf to the partner", "\"done\":false"])?;
        tools.is_written(1, &["push lvs.cf from the partner", "\"done\":false"])?;
        // Only who wants that replaces it, and what it was is a version there.
        push(&mut ada, &[("overwrite", "1")])?;
        ensure!(tools.text(1)? == tools.text(0)?, "it was not replaced");
        tools.await_weight(1, 6)?;
        let mut eve = tools.ada(1)?;
        let history = eve.page("/config/history")?;
        let kept = lb_tests::form::links(&history);
        let mut texts = Vec::new();
        for path in kept.iter().filter(|path| path.contains("/history/")) {
            texts.push(eve.page(path)?);
        }
        ensure!(
            texts.iter().any(|text| text.contains("# mine")),
            "the partner's own text is lost: {kept:?}"
        );
        Ok(())
    });
}

/// Who has another key gets nothing and is written down; what was pushed once is not taken again.
#[test]
fn strangers_and_echoes_are_refused() {
    on_stage(|lab, lb| {
        let tools = Tools::set(lab, lb)?;
        tools.share_key()?;
        let mut ada = tools.ada(0)?;
        let first = tools.text(1)?;
        tools.tools[1].lb_web(&["key", "--new"])?;
        weigh(&mut ada, "3")?;
        let told = push(&mut ada, &[])?;
        says(
            &told,
            &["does not have our key", "nothing was sent to it", "stays"],
        )?;
        ensure!(tools.text(1)? == first, "it was written");
        tools.is_written(0, &["push lvs.cf to the partner", "\"done\":false"])?;
        tools.is_written(
            1,
            &[
                "push lvs.cf from the partner",
                "another key",
                "10.88.0.1",
                "\"done\":false",
            ],
        )?;

        // Both keys for a while, as when they are exchanged.
        let (mine, other) = (tools.tools[0].file(KEY)?, tools.tools[1].file(KEY)?);
        let other = other.replace("1:", "2:");
        tools.put_key(1, &format!("{other}{mine}"))?;
        tools.put_key(0, &format!("{mine}{other}"))?;
        says(&push(&mut ada, &[])?, &["Partner, reload: "])?;
        tools.await_weight(1, 3)?;

        // One who heard a push sends it again, in a connection of its own.
        tools.put_key(1, &mine)?;
        let text = tools.text(1)?;
        let client = Pusher::new(&tools, &mine)?;
        let challenge = client.challenge()?;
        let body = format!(
            "{{\"text\":{},\"ancestors\":[],\"overwrite\":true,\"user\":\"eve\"}}",
            serde_json::to_string(&format!("{text}# pushed\n"))?
        );
        let pushed = client.push(&challenge, &body)?;
        ensure!(pushed.0 == 200, "{pushed:?}");
        ensure!(tools.text(1)? == format!("{text}# pushed\n"), "not written");
        tools.router(1).write(CONFIG, &text)?;
        let again = client.push(&challenge, &body)?;
        ensure!(
            again.0 == 403 && again.1.contains("used before"),
            "{again:?}"
        );
        let other = body.replace("# pushed", "# forged");
        let forged = client.send(&client.challenge()?, &body, &other)?;
        ensure!(
            forged.0 == 403 && forged.1.contains("not the one"),
            "{forged:?}"
        );
        ensure!(tools.text(1)? == text, "an echo was written");
        tools.is_written(1, &["push lvs.cf from the partner", "used before"])?;
        Ok(())
    });
}

/// A partner that knows the protocol, and nothing of the program.
struct Pusher {
    https: lb_tests::https::Https,
    key: Vec<u8>,
    fingerprint: String,
}

impl Pusher {
    fn new(tools: &Tools, key: &str) -> Result<Self> {
        let https = tools.tools[1].https(tools.router(0))?;
        let certificate = https.connect()?.certificate()?;
        let (_, digits) = key.trim().split_once(':').context("no key")?;
        let byte = |at: usize| Ok(u8::from_str_radix(&digits[at..at + 2], 16)?);
        Ok(Self {
            https,
            key: (0..digits.len())
                .step_by(2)
                .map(byte)
                .collect::<Result<_>>()?,
            fingerprint: digits_of(&Sha256::digest(certificate)),
        })
    }

    fn sign(&self, words: &[&str]) -> Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)?;
        for word in [&["lvs-xdp partner 1"], words].concat() {
            mac.update(word.as_bytes());
            mac.update(&[0]);
        }
        Ok(digits_of(&mac.finalize().into_bytes()))
    }

    fn challenge(&self) -> Result<String> {
        let nonce = "5".repeat(64);
        let proof = self.sign(&["ask", &nonce, &self.fingerprint])?;
        let answer = self.https.ask(
            format!(
                "GET /partner/challenge?nonce={nonce} HTTP/1.1\r\nhost: x\r\nlb-partner-proof: {proof}\r\n\r\n"
            )
            .as_bytes(),
        )?;
        let given: serde_json::Value = serde_json::from_str(&answer.body)?;
        let challenge = given["challenge"].as_str();
        let challenge = challenge.with_context(|| answer.body.clone())?;
        let proof = self.sign(&["server", &nonce, challenge, &self.fingerprint])?;
        ensure!(given["proof"] == proof, "it has another key");
        Ok(challenge.to_owned())
    }

    fn push(&self, challenge: &str, body: &str) -> Result<(u16, String)> {
        self.send(challenge, body, body)
    }

    /// Signs one body and sends another.
    fn send(&self, challenge: &str, signed: &str, body: &str) -> Result<(u16, String)> {
        let digest = digits_of(&Sha256::digest(signed));
        let proof = self.sign(&["client", challenge, &self.fingerprint, &digest])?;
        let question = format!(
            "POST /partner/config HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             lb-partner-challenge: {challenge}\r\nlb-partner-digest: {digest}\r\n\
             lb-partner-proof: {proof}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.https.ask(question.as_bytes())?;
        Ok((answer.status, answer.body))
    }
}

fn digits_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
