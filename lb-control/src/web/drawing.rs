//! Pages as they are drawn for those who look on: once for all of a role who look at the same page.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use maud::{Markup, PreEscaped, Render, html};

use super::{live::Snapshot, role::Role};

/// Where a page that lives is drawn. It knows the role of those who look at it, and nothing else of them: what is drawn
/// is for all of that role.
#[derive(Debug)]
pub(super) struct Canvas {
    role: Role,
    parts: RefCell<Vec<(String, String)>>,
}

impl Canvas {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            parts: RefCell::default(),
        }
    }

    /// Whether this is for those who look at it.
    pub(super) fn may(&self, role: Role) -> bool {
        self.role >= role
    }

    /// What has to be kept up to date within an element with this id.
    pub(super) fn part(&self, id: &str, inner: &impl Render) -> Markup {
        let inner = inner.render();
        let mut parts = self.parts.borrow_mut();
        parts.push((id.to_owned(), inner.0.clone()));
        inner
    }

    /// A cell of a table that is kept up to date.
    pub(super) fn cell(&self, id: &str, class: &str, inner: &impl Render) -> Markup {
        html! { td id=(id) class=[(!class.is_empty()).then_some(class)] { (self.part(id, inner)) } }
    }

    /// Cells of a line of a table that are kept up to date, with their classes. Ahead of them stands a heading; they are
    /// called by the line and their place in it, so that only lines need an id.
    pub(super) fn cells(&self, line: &str, cells: &[(&str, Markup)]) -> Markup {
        html! {
            @for (place, (class, inner)) in (1..).zip(cells) {
                td class=[(!class.is_empty()).then_some(class)] { (self.part(&format!("{line}/{place}"), inner)) }
            }
        }
    }

    /// A part of a line, or of anything else.
    pub(super) fn span(&self, id: &str, inner: &impl Render) -> Markup {
        html! { span id=(id) { (self.part(id, inner)) } }
    }

    /// A block.
    pub(super) fn block(&self, id: &str, class: &str, inner: &impl Render) -> Markup {
        html! { div id=(id) class=[(!class.is_empty()).then_some(class)] { (self.part(id, inner)) } }
    }

    /// Which parts there are, by a hash.
    pub(super) fn shape(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (id, _) in &*self.parts.borrow() {
            id.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What has to be kept up to date of a page, as it is in one state.
#[derive(Debug)]
pub(super) struct Drawn {
    /// Which parts there are, by a hash.
    pub(super) shape: u64,
    /// What is in each of them, in the order in which they were drawn.
    parts: Vec<(String, String)>,
    /// What is new since another drawing, which is what all but the newest viewers ask.
    news: Mutex<Option<News>>,
}

/// What is new since another drawing, if anything is.
#[derive(Debug)]
struct News {
    since: Weak<Drawn>,
    text: Option<Arc<str>>,
}

impl Drawn {
    fn new(role: Role, now: &Snapshot, draw: impl Fn(&Canvas, &Snapshot) -> Markup) -> Self {
        let canvas = Canvas::new(role);
        let PreEscaped(_) = draw(&canvas, now);
        Self {
            shape: canvas.shape(),
            parts: canvas.parts.into_inner(),
            news: Mutex::default(),
        }
    }

    /// The parts that were others in a drawing of the same shape before, as JSON; all of them if there was none. None
    /// if there are no such parts.
    pub(super) fn since(&self, before: Option<&Arc<Self>>) -> Option<Arc<str>> {
        let Some(before) = before else {
            return json(self.parts.iter().collect());
        };
        // Whoever panicked with it in hand left it whole.
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*news
            && known.since.as_ptr() == Arc::as_ptr(before)
        {
            return known.text.clone();
        }
        let both = self.parts.iter().zip(&before.parts);
        let other = both.filter(|(now, before)| now != before);
        let text = json(other.map(|(now, _)| now).collect());
        *news = Some(News {
            since: Arc::downgrade(before),
            text: text.clone(),
        });
        text
    }
}

fn json(parts: Vec<&(String, String)>) -> Option<Arc<str>> {
    if parts.is_empty() {
        return None;
    }
    // Ids and texts are always fit for JSON.
    serde_json::to_string(&parts).ok().map(Arc::from)
}

/// The drawings of one state. Those who look at it come at the same time, and few after them.
#[derive(Debug, Default)]
pub(super) struct Drawings(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    of: Option<Arc<Snapshot>>,
    drawn: HashMap<(String, Role), Arc<Drawn>>,
}

impl Drawings {
    /// The page at a path for a role as it is now. Whoever looks at the same page draws the same.
    pub(super) fn of(
        &self,
        now: &Arc<Snapshot>,
        path: &str,
        role: Role,
        draw: impl Fn(&Canvas, &Snapshot) -> Markup,
    ) -> Arc<Drawn> {
        // Whoever panicked with it in hand left it whole.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, now)) {
            *kept = Kept {
                of: Some(Arc::clone(now)),
                drawn: HashMap::new(),
            };
        }
        let drawn = kept.drawn.entry((path.to_owned(), role));
        let drawn = drawn.or_insert_with(|| Arc::new(Drawn::new(role, now, draw)));
        Arc::clone(drawn)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn snapshot() -> Arc<Snapshot> {
        Arc::new(Snapshot::unknown("nobody answers"))
    }

    #[test]
    fn a_page_is_drawn_once_for_a_state_and_a_role() {
        let drawings = Drawings::default();
        let drawn = Cell::new(0);
        let draw = |canvas: &Canvas, _: &Snapshot| {
            drawn.set(drawn.get() + 1);
            canvas.span("a", &"1")
        };
        let (one, other) = (snapshot(), snapshot());
        let table = [
            (&one, "/", Role::Viewer, 1),
            (&one, "/", Role::Viewer, 1),
            (&one, "/", Role::Admin, 2),
            (&one, "/?page=2", Role::Viewer, 3),
            (&one, "/", Role::Viewer, 3),
            (&other, "/", Role::Viewer, 4),
            (&other, "/", Role::Viewer, 4),
        ];
        for (now, path, role, expected) in table {
            drawings.of(now, path, role, draw);
            assert_eq!(drawn.get(), expected, "{path} {role}");
        }
    }

    #[test]
    fn only_what_is_different_is_new() {
        let drawn = |parts: &[(&str, &str)]| {
            let draw = |canvas: &Canvas, _: &Snapshot| {
                html! { @for (id, inner) in parts { (canvas.span(id, inner)) } }
            };
            Arc::new(Drawn::new(Role::Viewer, &snapshot(), draw))
        };
        let first = drawn(&[("a", "1"), ("b", "2")]);
        let same = drawn(&[("a", "1"), ("b", "2")]);
        let next = drawn(&[("a", "1"), ("b", "3")]);
        let all = first.since(None);
        assert_eq!(all.as_deref(), Some(r#"[["a","1"],["b","2"]]"#));
        assert_eq!(same.since(Some(&first)), None);
        for _ in 0..2 {
            let news = next.since(Some(&first));
            assert_eq!(news.as_deref(), Some(r#"[["b","3"]]"#));
        }
        assert_eq!(next.since(Some(&next)), None);
        assert_eq!(first.shape, next.shape);
        assert_ne!(first.shape, drawn(&[("a", "1")]).shape);
    }

    #[test]
    fn cells_are_called_by_their_place() {
        let canvas = Canvas::new(Role::Viewer);
        let cells = canvas.cells("s-1", &[("", html! { "up" }), ("number", html! { "7" })]);
        assert_eq!(
            cells.into_string(),
            r#"<td>up</td><td class="number">7</td>"#
        );
        let ids: Vec<_> = canvas
            .parts
            .borrow()
            .iter()
            .map(|part| part.0.clone())
            .collect();
        assert_eq!(ids, ["s-1/1", "s-1/2"]);
        assert!(canvas.may(Role::Viewer) && !canvas.may(Role::Operator));
    }
}
