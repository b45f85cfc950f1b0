//! A real browser on a host, Chromium, driven by chromedriver (W3C WebDriver, by HTTP on the host's own loopback).
//!
//! It sees nothing but the lab, and ends with it: every process of it lives in the lab's process namespace.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{host::Host, lab::find_program, process::Process, wait};

/// What Chromium is called, in the order of preference.
const NAMES: [&str; 3] = ["chromium", "google-chrome", "chromium-browser"];
const DRIVER: &str = "chromedriver";
/// How long a page may take to become what is expected: the machine may be busy, and then a browser is slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer of the driver may take; it answers a navigation when the page is there.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// The key of an element in the driver's answers (WebDriver §12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Of a page only so much is photographed, in CSS pixels.
const HIGHEST: f64 = 1600.0;

/// Whether pages may run scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripts {
    /// As everywhere.
    On,
    /// None runs.
    Off,
}

/// What somebody looks by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A window on a light screen.
    Light,
    /// The same on a dark one.
    Dark,
    /// A telephone, upright.
    Phone,
}

/// A browser with one window. Dropping it kills it.
#[derive(Debug)]
pub struct Browser {
    host: Host,
    driver: Process,
    port: u16,
    session: String,
}

/// Something on a page.
#[derive(Clone, Debug)]
struct Element(String);

impl Browser {
    /// What is missing on this machine, if anything is.
    pub fn missing() -> Option<String> {
        if find_program(DRIVER).is_none() {
            return Some(format!(
                "{DRIVER} is not installed; try: apt-get install chromium chromium-driver"
            ));
        }
        match program() {
            Some(_) => None,
            None => Some("Chromium is not installed; try: apt-get install chromium".to_owned()),
        }
    }

    /// Starts a browser on a host. Its profile is new; its driver listens on this port of 127.0.0.1.
    pub fn start(host: &Host, port: u16, scripts: Scripts) -> Result<Self> {
        let home = format!("/run/browser-{port}");
        host.run("mkdir", ["-p", &home])?;
        let mut command = Command::new(DRIVER);
        command.arg(format!("--port={port}"));
        // Whatever it leaves in any of these is on the host's own /run.
        for name in ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(name, &home);
        }
        // The lab is not behind a proxy.
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(name);
        }
        let driver = Process::start(host, &mut command)?;
        driver.wait_until_printed("started successfully", PATIENCE)?;
        let mut browser = Self {
            host: host.clone(),
            driver,
            port,
            session: String::new(),
        };
        let program = program().context("there is no Chromium")?;
        // 1 allows, 2 blocks.
        let javascript = if scripts == Scripts::On { 1 } else { 2 };
        let wishes = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            // That of the web tool is made by itself.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {
                "binary": program,
                "args": [
                    "--headless=new",
                    // Root has no sandbox in Chromium; what it shows comes from the lab only.
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--hide-scrollbars",
                    "--no-proxy-server",
                    "--window-size=1280,900",
                    format!("--user-data-dir={home}/profile"),
                ],
                "prefs": {"profile.managed_default_content_settings.javascript": javascript},
            },
        }}});
        let begun = browser.ask("POST", "/session", &wishes);
        let begun = begun.with_context(|| browser.driver.printed())?;
        let id = begun["sessionId"].as_str();
        browser.session = id.context("a session without an id")?.to_owned();
        Ok(browser)
    }

    /// Goes to an address and waits until the page is there.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("url", &json!({"url": url})).map(drop)
    }

    /// The title of the page.
    pub fn title(&self) -> Result<String> {
        text(self.get("title")?)
    }

    /// Where it is.
    pub fn address(&self) -> Result<String> {
        text(self.get("url")?)
    }

    /// Presses the first thing that matches a selector (CSS), and waits until the page that follows is there.
    pub fn press(&self, selector: &str) -> Result<()> {
        self.click("css selector", selector)
    }

    /// Presses a button, or follows a link, that says this.
    pub fn press_words(&self, words: &str) -> Result<()> {
        let path = format!(
            "//main//*[self::button or self::a][normalize-space()='{words}']|\
             //header//button[normalize-space()='{words}']|//nav//a[normalize-space()='{words}']|\
             //summary[normalize-space()='{words}']"
        );
        self.click("xpath", &path)
    }

    /// Writes into the field that has this selector, in place of what is there.
    pub fn fill(&self, selector: &str, words: &str) -> Result<()> {
        self.act("css selector", selector, |element| {
            self.post(&format!("element/{}/clear", element.0), &json!({}))?;
            self.post(
                &format!("element/{}/value", element.0),
                &json!({"text": words}),
            )
        })
    }

    /// What stands in the field that has this selector.
    pub fn value(&self, selector: &str) -> Result<String> {
        let element = self.await_element("css selector", selector)?;
        text(self.get(&format!("element/{}/property/value", element.0))?)
    }

    /// Waits until something that matches the selector says these words. All that it says then.
    pub fn await_words(&self, selector: &str, words: &str) -> Result<String> {
        let what = format!("{selector} says “{words}”");
        self.until(&what, || {
            let said = self.said(selector)?;
            Ok(said.into_iter().find(|said| said.contains(words)))
        })
    }

    /// Waits until the first thing that matches the selector says something else. What it says then.
    pub fn await_other(&self, selector: &str, before: &str) -> Result<String> {
        let what = format!("{selector} says something else than “{before}”");
        self.until(&what, || {
            let said = self.said(selector)?;
            Ok(said.into_iter().next().filter(|said| said != before))
        })
    }

    /// What those say that match the selector now.
    pub fn said(&self, selector: &str) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for element in self.elements("css selector", selector)? {
            // One that was written anew meanwhile says nothing; the next look finds its successor.
            if let Ok(words) = self.get(&format!("element/{}/text", element.0)) {
                said.push(text(words)?);
            }
        }
        Ok(said)
    }

    /// What a script in the page returns; the page's own policy does not hold for it.
    pub fn script(&self, script: &str) -> Result<Value> {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Photographs the page, from its top, as PNG.
    pub fn photograph(&self, look: Look, file: &Path) -> Result<()> {
        let (width, height, is_phone) = match look {
            Look::Light | Look::Dark => (1280.0, 900.0, false),
            Look::Phone => (390.0, 844.0, true),
        };
        let scheme = if look == Look::Dark { "dark" } else { "light" };
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({"features": [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]}),
        )?;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}),
        )?;
        let sizes = self.devtools("Page.getLayoutMetrics", &json!({}))?;
        let full = sizes["cssContentSize"]["height"].as_f64();
        let height = full.context("a page without a height")?.min(HIGHEST);
        let shot = self.devtools(
            "Page.captureScreenshot",
            &json!({
                "format": "png",
                "captureBeyondViewport": true,
                "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
            }),
        )?;
        self.devtools("Emulation.clearDeviceMetricsOverride", &json!({}))?;
        let picture = STANDARD.decode(shot["data"].as_str().context("no picture")?)?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, picture).with_context(|| format!("writing {}", file.display()))
    }

    /// How wide the page is, in CSS pixels, on a telephone that is 390 wide.
    pub fn width_on_phone(&self) -> Result<f64> {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true}),
        )?;
        let sizes = self.devtools("Page.getLayoutMetrics", &json!({}))?;
        self.devtools("Emulation.clearDeviceMetricsOverride", &json!({}))?;
        sizes["cssContentSize"]["width"]
            .as_f64()
            .context("a page without a width")
    }

    fn click(&self, using: &str, what: &str) -> Result<()> {
        self.act(using, what, |element| {
            self.post(&format!("element/{}/click", element.0), &json!({}))
        })
    }

    /// Does something with an element, again if what is around it is just being written anew.
    fn act(&self, using: &str, what: &str, act: impl Fn(&Element) -> Result<Value>) -> Result<()> {
        let mut refused = String::new();
        let acted = self.until(&format!("{what} can be used"), || {
            let Some(element) = self.elements(using, what)?.into_iter().next() else {
                return Ok(None);
            };
            match act(&element) {
                Ok(_) => Ok(Some(())),
                Err(error) => {
                    refused = format!("{error:#}");
                    Ok(None)
                }
            }
        });
        acted.with_context(|| refused)
    }

    fn await_element(&self, using: &str, what: &str) -> Result<Element> {
        self.until(&format!("{what} is there"), || {
            Ok(self.elements(using, what)?.into_iter().next())
        })
    }

    fn elements(&self, using: &str, what: &str) -> Result<Vec<Element>> {
        let found = self.post("elements", &json!({"using": using, "value": what}))?;
        let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
        let ids = found.iter().filter_map(|one| one[ELEMENT].as_str());
        Ok(ids.map(|id| Element(id.to_owned())).collect())
    }

    /// Looks until there is something; where it looked in vain, it says so.
    fn until<T>(&self, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let found = wait::until(what, PATIENCE, look);
        found.with_context(|| {
            let page = self.said("main").unwrap_or_default().concat();
            let address = self.address().unwrap_or_default();
            format!("on {address}, which says:\n{page}\n")
        })
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.post(
            "goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    fn get(&self, what: &str) -> Result<Value> {
        let path = format!("/session/{}/{what}", self.session);
        self.ask("GET", &path, &Value::Null)
    }

    fn post(&self, what: &str, said: &Value) -> Result<Value> {
        let path = format!("/session/{}/{what}", self.session);
        self.ask("POST", &path, said)
    }

    /// One question to the driver, in a connection of its own; the value of its answer.
    fn ask(&self, method: &str, path: &str, said: &Value) -> Result<Value> {
        let body = if said.is_null() {
            String::new()
        } else {
            said.to_string()
        };
        let question = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        let (status, answer) = self.host.inside(|| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            stream.write_all(question.as_bytes())?;
            read(&mut BufReader::new(stream))
        })?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        let value = answer["value"].take();
        if status != 200 {
            let (kind, text) = (&value["error"], &value["message"]);
            bail!("{method} {path}: {kind}: {text}");
        }
        Ok(value)
    }
}

/// The status and the body of an answer.
fn read(stream: &mut impl BufRead) -> Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.with_context(|| format!("{DRIVER} answered “{line}”"))?;
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, body))
}

fn text(value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            bail!("{DRIVER} answered {value} in place of a text")
        }
    }
}

fn program() -> Option<std::path::PathBuf> {
    NAMES.into_iter().find_map(find_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nX: y\r\n\r\nbodyand more";
        let (status, body) = read(&mut &answer[..]).unwrap();
        assert_eq!((status, body.as_slice()), (404, &b"body"[..]));
        assert!(read(&mut &b"what?\r\n\r\n"[..]).is_err());
    }
}
