//! Somebody who is logged in to the web tool, without a browser.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use crate::{
    form::{Form, Kind, forms},
    https::{Answer, Connection, Https},
};

/// The name of the field that every form has to bring back.
pub const TOKEN: &str = "csrf";

/// Somebody with a session.
#[derive(Debug)]
pub struct Visitor {
    https: Https,
    connection: Option<Connection>,
    cookie: String,
    token: String,
}

impl Visitor {
    /// Logs in.
    pub fn log_in(https: &Https, user: &str, password: &str) -> Result<Self> {
        let mut visitor = Self {
            https: https.clone(),
            connection: None,
            cookie: String::new(),
            token: String::new(),
        };
        let answer = visitor.send("/login", &[("user", user), ("password", password)])?;
        ensure!(
            answer.status == 303,
            "{user} is not let in: {}",
            answer.body
        );
        let cookie = answer.header("set-cookie").context("there is no cookie")?;
        visitor.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let page = visitor.page("/help")?;
        let token = page.split("name=\"csrf\" content=\"").nth(1);
        let token = token.and_then(|rest| rest.split('"').next());
        visitor.token = token.context("the page has no token")?.to_owned();
        Ok(visitor)
    }

    /// What its browser calls the session: `NAME=VALUE`.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// What every form of the session has to bring back.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Asks for a path.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        let question = format!("GET {path} HTTP/1.1\r\n{}\r\n", self.head());
        self.ask(question.as_bytes())
            .with_context(|| format!("GET {path}"))
    }

    /// A page, which has to be there.
    pub fn page(&mut self, path: &str) -> Result<String> {
        let answer = self.get(path)?;
        ensure!(
            answer.status == 200,
            "{path}: {}: {}",
            answer.status,
            answer.body
        );
        Ok(answer.body)
    }

    /// Sends these fields to a path, with the token of the session.
    pub fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let token = self.token.clone();
        self.send_bare(path, &[fields, &[(TOKEN, &token)]].concat())
    }

    /// Sends these fields to a path, and nothing else.
    pub fn send_bare(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let body = fields.collect::<Vec<_>>().join("&");
        let question = format!(
            "POST {path} HTTP/1.1\r\n{}content-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{body}",
            self.head(),
            body.len()
        );
        self.ask(question.as_bytes())
            .with_context(|| format!("POST {path}"))
    }

    /// Opens a page, fills some fields of the form with this action, presses a button if one of the fields is one, and
    /// follows to where that leads. What is there then.
    pub fn fill_in(&mut self, page: &str, action: &str, said: &[(&str, &str)]) -> Result<String> {
        let shown = self.page(page)?;
        let form = find(&shown, action, said);
        let form = form.with_context(|| format!("{page} has no such form {action}: {shown}"))?;
        let answer = self.submit(&form, said)?;
        ensure!(
            answer.status == 303,
            "{action} with {said:?}: {}: {}",
            answer.status,
            answer.body
        );
        let location = answer.location().to_owned();
        self.page(&location)
    }

    /// Sends a form with some of its fields filled in another way.
    pub fn submit(&mut self, form: &Form, said: &[(&str, &str)]) -> Result<Answer> {
        let mut fields = form.untouched();
        fields.retain(|(name, _)| name != TOKEN && said.iter().all(|(other, _)| other != name));
        let kept = fields.iter();
        let mut all: Vec<_> = kept.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        all.extend(said);
        match form.is_post {
            true => self.send(&form.action, &all),
            false => {
                let mut path = form.action.clone();
                for (index, (name, value)) in all.iter().enumerate() {
                    let sign = if index == 0 { '?' } else { '&' };
                    write!(path, "{sign}{}={}", encoded(name), encoded(value))?;
                }
                self.get(&path)
            }
        }
    }

    /// The headers of every question.
    fn head(&self) -> String {
        let mut head = format!("host: {}\r\n", self.https.address());
        if !self.cookie.is_empty() {
            head += &format!("cookie: {}\r\n", self.cookie);
        }
        head
    }

    /// Asks in the connection that there is, or in another one if that was ended meanwhile.
    fn ask(&mut self, question: &[u8]) -> Result<Answer> {
        if let Some(mut connection) = self.connection.take()
            && connection.send(question).is_ok()
            && let Ok(Some(answer)) = connection.answer()
        {
            self.keep(connection, &answer);
            return Ok(answer);
        }
        let mut connection = self.https.connect()?;
        connection.send(question)?;
        let answer = connection.answer()?.context("no answer")?;
        self.keep(connection, &answer);
        Ok(answer)
    }

    fn keep(&mut self, connection: Connection, answer: &Answer) {
        // Of what comes in pieces nothing was read.
        if answer.header("transfer-encoding").is_none() {
            self.connection = Some(connection);
        }
    }
}

/// The form with this action that has all of these fields.
fn find(page: &str, action: &str, said: &[(&str, &str)]) -> Option<Form> {
    forms(page).into_iter().find(|form| {
        let has = |(name, value): &(&str, &str)| {
            form.fields.iter().any(|field| {
                field.name == *name && (field.kind != Kind::Button || field.value == *value)
            })
        };
        form.action == action && said.iter().all(has)
    })
}

/// A text as it stands in a form that is sent, and behind a path.
pub fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
