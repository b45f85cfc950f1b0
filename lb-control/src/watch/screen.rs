//! The terminal.

use std::{
    io::{self, Stdout},
    panic,
    sync::Once,
};

use anyhow::Context;
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

/// The whole terminal. It is left as it was when this is dropped, and in a panic.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn enter() -> anyhow::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                leave();
                usual(panic);
            }));
        });
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))
            .context("looking at the terminal")?;
        let screen = Self { terminal };
        enable_raw_mode().context("taking the terminal")?;
        execute!(io::stdout(), EnterAlternateScreen).context("taking the terminal")?;
        Ok(screen)
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> anyhow::Result<()> {
        self.terminal.draw(draw).context("drawing")?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// There is nothing to be done if it fails: the terminal is gone.
fn leave() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}
