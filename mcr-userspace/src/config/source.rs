//! The text of a file, whatever it is that was named: within bounds of memory and time.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Largest file that is read, in bytes: some 100,000 rules.
const MAX_SIZE: u64 = 32 << 20;
/// Most marks that divide it into lines, keys and values: as many rules as the size allows have fewer. The parser takes some hundred
/// bytes for each, and time.
const MAX_MARKS: usize = 5_000_000;
/// What has been read of the files that make one configuration.
#[derive(Debug, Default)]
pub(super) struct Budget {
    bytes: u64,
    marks: usize,
}

impl Budget {
    /// After this text.
    pub(super) fn of(text: &str) -> Self {
        Self { bytes: (text.len() as u64).min(MAX_SIZE), marks: text.bytes().filter(is_mark).count() }
    }
}

/// Whether it divides the text.
fn is_mark(byte: &u8) -> bool {
    b"\n=,[{.".contains(byte)
}

/// How long a pipe may take to say all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between looks at a pipe that has nothing yet.
const NAP: Duration = Duration::from_millis(5);
/// `/dev/null`, Documentation/admin-guide/devices.txt: by custom an empty file.
const NULL: (u32, u32) = (1, 3);

/// The text of a file, or a line of it (0: none) and what is wrong there.
pub(super) fn read(path: &Path, budget: &mut Budget) -> Result<String, (usize, String)> {
    let bytes = read_bytes(path, budget).map_err(|why| (0, why))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        (line, "is not UTF-8 text; is it a configuration file?".to_owned())
    })
}

fn read_bytes(path: &Path, budget: &mut Budget) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot be read: {error}");
    // Before it is opened: opening some devices does something.
    let found = fs::metadata(path).map_err(failed)?;
    let kind = found.file_type();
    let device = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    if kind.is_block_device() || (kind.is_char_device() && device != NULL) || kind.is_socket() {
        return Err("is a device or a socket; name a configuration file".to_owned());
    }
    // Of a pipe that nobody writes to, opening would otherwise wait for a writer.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let patient = Patient { file, until: Instant::now() + PATIENCE };
    patient.take(MAX_SIZE - budget.bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    let has = if budget.bytes == 0 { "" } else { "with the files read before it " };
    if budget.bytes + bytes.len() as u64 > MAX_SIZE {
        return Err(format!("{has}is larger than {} MiB; is it a configuration file?", MAX_SIZE >> 20));
    }
    budget.bytes += bytes.len() as u64;
    budget.marks += bytes.iter().filter(|byte| is_mark(byte)).count();
    if budget.marks > MAX_MARKS {
        return Err(format!("{has}has more than {MAX_MARKS} lines, keys and values; is it a configuration file?"));
    }
    if bytes.is_empty() && kind.is_fifo() {
        return Err("is a pipe that nobody writes to; name a configuration file".to_owned());
    }
    Ok(bytes)
}

/// A file whose reads wait, but not for ever.
struct Patient {
    file: fs::File,
    until: Instant,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < self.until => {
                    thread::sleep(NAP)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let why = format!("a pipe that did not end within {PATIENCE:?}");
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                read if Instant::now() < self.until => return read,
                _ => return Err(io::Error::new(ErrorKind::TimedOut, format!("not at its end within {PATIENCE:?}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, process::Command};

    use super::*;

    fn why(path: &str) -> String {
        let started = Instant::now();
        let (line, message) = read(Path::new(path), &mut Budget::default()).expect_err("no file");
        assert!(line == 0 && started.elapsed() < PATIENCE * 2, "{path}: {message}");
        message
    }

    #[test]
    fn devices_and_sockets_are_not_opened() {
        for device in ["/dev/zero", "/dev/tty", "/dev/random"] {
            assert!(why(device).contains("is a device"), "{device}");
        }
        assert_eq!(read(Path::new("/dev/null"), &mut Budget::default()), Ok(String::new()));
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe");
        let shown = path.to_str().expect("a plain path");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        assert!(why(shown).contains("nobody writes"));
        // One that holds it open and says nothing more.
        let mut held = OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        held.write_all(b"# fine\n").expect("written");
        assert!(why(shown).contains("did not end within 5s"));
        let mut both = OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        both.write_all(b"[limits]\n").expect("written");
        drop(held);
        let reading = thread::spawn(move || read(&path, &mut Budget::default()));
        thread::sleep(Duration::from_millis(100));
        drop(both);
        assert_eq!(reading.join().expect("no panic"), Ok("[limits]\n".to_owned()));
    }
}
