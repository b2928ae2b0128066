//! What happens in a run, told while it happens: printed, and kept in a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

/// Name of the file.
const FILE_NAME: &str = "story.txt";

/// The story of a run.
pub struct Story {
    file: File,
    begun: Instant,
}

impl Story {
    /// Begins it, in a folder that is there.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn begin(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(folder.join(FILE_NAME))?, begun: Instant::now() })
    }

    /// One line, with the time.
    pub fn tell(&mut self, what: &str) {
        let line = format!("{:8.2} s  {what}\n", self.begun.elapsed().as_secs_f64());
        self.write(&line);
    }

    /// Text without a time.
    pub fn say(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&mut self, text: &str) {
        // A closed terminal or a full disk does not end a run; its verdict is the exit code.
        let _ = io::stdout().write_all(text.as_bytes());
        let _ = self.file.write_all(text.as_bytes());
    }
}
