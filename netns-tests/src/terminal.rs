//! A program in a pseudo-terminal, and what its user sees there.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    num::NonZero,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::{
    deadline::{SOON, until},
    programs,
};

/// A program and its terminal; dropping it kills the program.
pub struct Terminal {
    child: Child,
    master: File,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Whether the program has been on the second screen.
    has_been_taken: Arc<AtomicBool>,
    /// Whether nobody looks at the screen any more.
    is_gone: Arc<AtomicBool>,
    /// It ends once all is read and nobody has the other side open, or the screen is gone.
    reader: JoinHandle<()>,
    before: Termios,
}

/// No sequence that switches screens is longer, so none is looked past.
const SEQUENCE: usize = "\x1b[?1049h".len();

/// What is left of a terminal whose program has ended.
pub struct Left {
    /// How the program ended.
    pub status: ExitStatus,
    /// The screen.
    pub screen: vt100::Screen,
    /// Whether line discipline and screen are as the program found them.
    pub is_restored: bool,
    /// Whether the program was on the second screen meanwhile.
    pub has_been_taken: bool,
}

impl Terminal {
    /// Runs `command` in a terminal of so many columns and rows.
    pub fn run(command: &Command, (columns, rows): (u16, u16)) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = File::from(ioctl_tiocgptpeer(&master, flags)?);
        tcsetwinsize(&master, size(columns, rows))?;
        let before = tcgetattr(&slave)?;
        // Its own session, whose terminal this is: a change of its size is signalled to it.
        let mut command = programs::before(&["setsid", "--ctty"], command);
        // A backtrace would push the message of a panic off the screen.
        command.env("TERM", "xterm-256color").env("RUST_BACKTRACE", "0").env_remove("NO_COLOR");
        let child = command
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave)
            .spawn()
            .context("cannot start a program in a terminal")?;
        drop(command);
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
        let has_been_taken = Arc::new(AtomicBool::new(false));
        let (mut output, seen, taken) = (master.try_clone()?, Arc::clone(&screen), Arc::clone(&has_been_taken));
        let is_gone = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&is_gone);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 1 << 16];
            loop {
                match output.read(&mut bytes) {
                    Ok(0) => return,
                    Ok(_) if gone.load(Relaxed) => return,
                    Ok(length) => {
                        let mut seen = lock(&seen);
                        for piece in bytes[..length].chunks(SEQUENCE) {
                            seen.process(piece);
                            taken.fetch_or(seen.screen().alternate_screen(), Relaxed);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // EIO: nobody has the other side open any more.
                    Err(_) => return,
                }
            }
        });
        Ok(Self { child, master, screen, has_been_taken, is_gone, reader, before })
    }

    /// Its process; `setsid` executes in place.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The screen as it is now.
    pub fn screen(&self) -> vt100::Screen {
        lock(&self.screen).screen().clone()
    }

    /// Its lines, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.screen())
    }

    /// Types these keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Waits until the screen's lines are as `seen` wants them, and returns them.
    ///
    /// # Errors
    /// They are not after a while: with the screen as it is then.
    pub fn until(&self, what: &str, seen: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        until(what, SOON, || Ok(Some(self.lines()).filter(|lines| seen(lines))))
            .with_context(|| format!("the screen:\n{}", self.lines().join("\n")))
    }

    /// Waits until `text` is on the screen, and returns its lines.
    pub fn until_it_says(&self, text: &str) -> Result<Vec<String>> {
        self.until(text, |lines| lines.iter().any(|line| line.contains(text)))
    }

    /// Makes the terminal so large.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        lock(&self.screen).screen_mut().set_size(cells(rows), cells(columns));
        Ok(tcsetwinsize(&self.master, size(columns, rows))?)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// Whether the program has it for itself: its second screen, no cursor, and no key is shown by the line discipline.
    pub fn is_taken(&self) -> Result<bool> {
        let screen = self.screen();
        let echoes = tcgetattr(&self.master)?.local_modes.contains(LocalModes::ECHO);
        Ok(screen.alternate_screen() && screen.hide_cursor() && !echoes)
    }

    /// Takes the terminal away, as the end of a connection does, once the program writes again; and waits for the program's end.
    pub fn hung_up(mut self) -> Result<ExitStatus> {
        self.is_gone.store(true, Relaxed);
        self.master = File::open("/dev/null")?;
        until("the end of the program", SOON, || Ok(self.child.try_wait()?))
    }

    /// Waits for the program's end.
    pub fn ended(mut self) -> Result<Left> {
        let status = until("the end of the program", SOON, || Ok(self.child.try_wait()?))
            .with_context(|| format!("the screen:\n{}", self.lines().join("\n")))?;
        let all_is_read = || Ok(self.reader.is_finished().then_some(()));
        until("the program's last words", SOON, all_is_read)?;
        let (screen, after) = (self.screen(), tcgetattr(&self.master)?);
        let same =
            |termios: &Termios| (termios.input_modes, termios.output_modes, termios.control_modes, termios.local_modes);
        let is_restored = !screen.alternate_screen() && !screen.hide_cursor() && same(&after) == same(&self.before);
        Ok(Left { status, screen, is_restored, has_been_taken: self.has_been_taken.load(Relaxed) })
    }
}

impl Left {
    /// Itself where the program exited with 0 and left the terminal as it was.
    pub fn in_order(self) -> Result<Self> {
        match self.status.success() && self.is_restored {
            true => Ok(self),
            false => bail!("{}, restored: {}\n{}", self.status, self.is_restored, lines(&self.screen).join("\n")),
        }
    }

    /// Whether the program was ended by this signal, and the terminal is as it was.
    pub fn was_ended_by(&self, signal: Signal) -> bool {
        self.status.signal() == Some(signal as i32) && self.is_restored
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A screen's lines, without blanks at their ends.
pub fn lines(screen: &vt100::Screen) -> Vec<String> {
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect()
}

/// No terminal has none.
fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap_or(NonZero::<u16>::MIN)
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// The reader panics only where the emulator does, which then shows in what is missing.
fn lock(screen: &Mutex<vt100::Parser>) -> MutexGuard<'_, vt100::Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
