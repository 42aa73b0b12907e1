//! The terminal while it is ours: raw, on its second screen; and given back however `top` ends.

use std::{io, mem::ManuallyDrop};

use ratatui::{DefaultTerminal, Frame, layout::Rect};

/// The terminal; it is as it was before once this is dropped. A panic gives it back before its message is written.
pub(super) struct Screen(ManuallyDrop<DefaultTerminal>);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// It cannot be made raw, or not be written to.
    pub(super) fn open() -> io::Result<Self> {
        ratatui::try_init().map(|terminal| Self(ManuallyDrop::new(terminal))).inspect_err(|_| ratatui::restore())
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }

    /// Draws everything the next time: something else has written to the terminal.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks the terminal where its cursor is, and the thread that reads keys would get the answer.
        let size = self.0.size()?;
        self.0.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing. What ratatui itself would do at its end, and then complain on that terminal, is done here.
        self.0.show_cursor().ok();
        ratatui::try_restore().ok();
    }
}
