//! The terminal, where a password is typed and `top` draws.

use std::io::{self, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Runs `read` while the terminal at standard input does not show what is typed. What is no terminal is read as it is.
pub fn without_echo<T>(read: impl FnOnce() -> T) -> T {
    let stdin = io::stdin();
    let Ok(before) = tcgetattr(&stdin) else { return read() };
    let mut hidden: Termios = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    // A terminal that cannot be told keeps showing: better than not to ask.
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
    let line = read();
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &before);
    line
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl Size {
    /// For what is no terminal.
    pub const UNBOUNDED: Self = Self { columns: usize::MAX, rows: usize::MAX };
    /// For a terminal that does not tell.
    const USUAL: Self = Self { columns: 80, rows: 24 };
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it is.
    Plain,
    /// The head of a table.
    Head,
    /// Beside the matter.
    Faint,
    /// Somebody must look.
    Alarm,
}

/// One line of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How.
    pub weight: Weight,
    /// What.
    pub text: String,
}

impl Line {
    /// A line.
    pub fn new(weight: Weight, text: impl Into<String>) -> Self {
        Self { weight, text: text.into() }
    }

    /// An empty one.
    pub fn blank() -> Self {
        Self::new(Weight::Plain, "")
    }
}

/// The whole terminal, until this goes: then it is as it was before, also if the program fails.
pub struct Screen {
    before: Termios,
    drawn: Size,
}

impl Screen {
    /// Takes the terminal at standard input and output. Keys come one by one and are not shown; Ctrl-C is a key.
    ///
    /// # Errors
    /// They are no terminal.
    pub fn open() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        let screen = Self { before, drawn: Size::USUAL };
        // The alternate screen, without a cursor.
        write(b"\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    /// As it is now.
    pub fn size(&self) -> Size {
        let told = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        told.map_or(Size::USUAL, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
    }

    /// Whether it has another size than when it was drawn.
    pub fn was_resized(&self) -> bool {
        self.size() != self.drawn
    }

    /// Draws lines from the top, and nothing below. What is wider than the terminal is to be cut before.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw<'a>(&mut self, lines: impl Iterator<Item = &'a Line>) -> io::Result<()> {
        self.drawn = self.size();
        let mut text = String::from("\x1b[H");
        for (row, line) in lines.take(self.drawn.rows).enumerate() {
            let (begin, end) = match line.weight {
                Weight::Plain => ("", ""),
                Weight::Head => ("\x1b[1m", "\x1b[0m"),
                Weight::Faint => ("\x1b[2m", "\x1b[0m"),
                Weight::Alarm => ("\x1b[31m", "\x1b[0m"),
            };
            let break_before = if row > 0 { "\r\n" } else { "" };
            let shown: String =
                line.text.chars().filter(|c| !c.is_control()).take(self.drawn.columns).collect();
            // What was there goes first: behind a line of full width its last character would go too.
            text += &format!("{break_before}\x1b[2K{begin}{shown}{end}");
        }
        write((text + "\x1b[J").as_bytes())
    }

    /// The next key, if one is pressed within that time. The end of standard input is Ctrl-D.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn key(&mut self, wait: Duration) -> io::Result<Option<u8>> {
        let stdin = io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut ready, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        // Not through std's buffer, which would hide from `poll` what it holds.
        let mut keys = [0; 64];
        let count = rustix::io::read(&stdin, &mut keys)?;
        // What begins with an escape and goes on is a key such as an arrow.
        Ok(match keys[..count] {
            [] => Some(0x04),
            [0x1b, _, ..] => None,
            [key, ..] => Some(key),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing left to do about a terminal that is gone.
        let _ = write(b"\x1b[?25h\x1b[?1049l");
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}
