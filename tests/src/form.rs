//! The forms of a page, as a browser finds them: what stands in them, and what is sent.

/// A form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Where it is sent to.
    pub action: String,
    /// Whether it is sent by POST.
    pub is_post: bool,
    /// What is in it, in its order.
    pub fields: Vec<Field>,
}

/// Something in a form that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it is called.
    pub name: String,
    /// What stands in it; what is sent if it is ticked or pressed.
    pub value: String,
    /// What it is.
    pub kind: Kind,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// People write into it, or choose.
    Written,
    /// Nobody sees it.
    Hidden,
    /// A box or one of several, ticked or not.
    Tick(bool),
    /// It sends the form.
    Button,
}

impl Form {
    /// What a browser sends if nobody touches anything and no button has a name.
    pub fn untouched(&self) -> Vec<(String, String)> {
        let sent = self.fields.iter().filter(|field| match field.kind {
            Kind::Written | Kind::Hidden | Kind::Tick(true) => true,
            Kind::Tick(false) | Kind::Button => false,
        });
        sent.map(|field| (field.name.clone(), field.value.clone()))
            .collect()
    }
}

/// All forms of a page.
pub fn forms(page: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut is_inside = false;
    let mut rest = page;
    // The list that is open, and whether something of it was chosen.
    let mut list: Option<(Field, bool)> = None;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, behind) = tag(after);
        rest = behind;
        let field = |kind, value: Option<String>| {
            let name = tag.value("name")?;
            Some(Field {
                name,
                value: value.unwrap_or_default(),
                kind,
            })
        };
        let mut found = None;
        match tag.name {
            "form" => {
                is_inside = true;
                forms.push(Form {
                    action: tag.value("action").unwrap_or_default(),
                    is_post: tag.value("method").as_deref() == Some("post"),
                    fields: Vec::new(),
                });
            }
            "/form" => is_inside = false,
            "input" => {
                let kind = match tag.value("type").as_deref() {
                    Some("hidden") => Kind::Hidden,
                    Some("checkbox" | "radio") => Kind::Tick(tag.has("checked")),
                    Some("submit") => Kind::Button,
                    _ => Kind::Written,
                };
                found = field(kind, tag.value("value"));
            }
            "button" => found = field(Kind::Button, tag.value("value")),
            "textarea" => {
                let (text, behind) = rest.split_once("</textarea>").unwrap_or((rest, ""));
                rest = behind;
                // HTML leaves out the first line break.
                let text = text.strip_prefix('\n').unwrap_or(text);
                found = field(Kind::Written, Some(unescaped(text)));
            }
            "select" => list = field(Kind::Written, None).map(|field| (field, false)),
            "option" => {
                let value = tag.value("value").unwrap_or_default();
                if let Some((field, is_chosen)) = &mut list {
                    let is_selected = tag.has("selected");
                    if is_selected || (!*is_chosen && field.value.is_empty()) {
                        field.value = value;
                    }
                    *is_chosen |= is_selected;
                }
            }
            "/select" => found = list.take().map(|(field, _)| field),
            _ => {}
        }
        if let (true, Some(form), Some(field)) = (is_inside, forms.last_mut(), found) {
            form.fields.push(field);
        }
    }
    forms
}

/// The addresses of all links of a page.
pub fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, behind) = tag(after);
        rest = behind;
        if tag.name == "a" {
            links.extend(tag.value("href"));
        }
    }
    links
}

/// What stands between `<` and `>`.
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, Option<&'a str>)>,
}

impl Tag<'_> {
    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(found, _)| *found == name)
    }

    fn value(&self, name: &str) -> Option<String> {
        let (_, value) = self.attributes.iter().find(|(found, _)| *found == name)?;
        Some(unescaped(value.unwrap_or_default()))
    }
}

/// The tag that begins here, and what is behind it.
fn tag(text: &str) -> (Tag<'_>, &str) {
    let is_name = |c: char| !c.is_whitespace() && !matches!(c, '>' | '=');
    let end = |text: &str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end(text));
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        if let Some(behind) = rest.strip_prefix('>') {
            rest = behind;
            break;
        }
        let (name, behind) = rest.split_at(end(rest).max(1).min(rest.len()));
        let Some(behind) = behind.strip_prefix('=') else {
            attributes.push((name, None));
            rest = behind;
            continue;
        };
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.split_at(end(behind)),
        };
        attributes.push((name, Some(value)));
        rest = behind;
    }
    (Tag { name, attributes }, rest)
}

/// A text as it was before it was written into a page.
pub fn unescaped(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&#39;", "'");
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_what_a_browser_sends() {
        let page = r#"<p>a<b</p><input name="outside" value="x">
            <form method="post" action="/a?b=1&amp;c=2">
            <input type="hidden" name="csrf" value="12">
            <input name="name" value="a &quot;b&quot; &lt;c&gt;" required>
            <input type="checkbox" name="on" value="1" checked><input type="checkbox" name="off" value="1">
            <select name="one"><option value="x">X</option><option value="y" selected>Y</option></select>
            <select name="two"><option value="p">P</option><option value="q">Q</option></select>
            <textarea name="text">
first &amp;
second</textarea>
            <button name="do" value="it">Do it</button></form>
            <form action="/search"><input name="q"></form><a href="/x?y=1&amp;z">z</a>"#;
        let found = forms(page);
        assert_eq!(found.len(), 2);
        assert!(found[0].is_post && !found[1].is_post);
        assert_eq!(found[0].action, "/a?b=1&c=2");
        let sent = found[0].untouched();
        let sent: Vec<_> = sent.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            sent,
            [
                ("csrf", "12"),
                ("name", "a \"b\" <c>"),
                ("on", "1"),
                ("one", "y"),
                ("two", "p"),
                ("text", "first &\nsecond"),
            ]
        );
        assert_eq!(found[1].untouched(), [("q".to_owned(), String::new())]);
        assert_eq!(links(page), ["/x?y=1&z"]);
    }
}
