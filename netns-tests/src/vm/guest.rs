//! A running guest.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    os::unix::{net::UnixStream, process::ExitStatusExt},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::{
    boot::{KERNEL_MAP, SET_ASIDE, mac},
    channel::{Channel, Listener},
};
use crate::{
    deadline,
    netns::Namespace,
    process::{self, Finished, Process},
};

/// Whether virtio_net is a module is seen here.
const MODULE: &str = "/sys/module/virtio_net";
/// Against hangs: a boot takes some five seconds on an idle machine.
const BOOT: Duration = Duration::from_secs(180);
/// Against hangs: emulation is ten times slower, and others use the machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A running guest; dropping it ends the machine. It ends by itself, too, when this process is gone.
pub struct Guest {
    process: Process,
    channel: RefCell<Channel>,
    /// Where QEMU runs and its taps begin.
    namespace: Option<Namespace>,
    /// The other ends of wires, by interface.
    wires: BTreeMap<usize, UnixStream>,
    _directory: TempDir,
    born: Instant,
    /// Programs started in the background so far.
    started: RefCell<u32>,
}

/// A program in the background of a guest; dropping it leaves it running.
pub struct Background<'a> {
    guest: &'a Guest,
    line: String,
    /// Its files begin so.
    files: String,
}

impl Guest {
    pub(super) fn connect(
        process: Process,
        listener: Listener,
        namespace: Option<Namespace>,
        directory: TempDir,
    ) -> Result<Self> {
        let born = Instant::now();
        let alive = || match process.ended()? {
            Some(status) => bail!("QEMU ended: {status}"),
            None => Ok(()),
        };
        let channel = listener.accept(BOOT, alive).with_context(|| process.stdout() + &process.stderr())?;
        let wires = BTreeMap::new();
        Ok(Self { process, channel: channel.into(), namespace, wires, _directory: directory, born, started: 0.into() })
    }

    pub(super) fn add_wire(&mut self, i: usize, wire: UnixStream) {
        self.wires.insert(i, wire);
    }

    /// The other end of interface `i`, where it is a [`Wire`](super::machine::Nic::Wire): each frame that the guest sends, after its
    /// length in four bytes, big-endian.
    pub fn wire(&self, i: usize) -> Result<&UnixStream> {
        self.wires.get(&i).context("this interface has no wire")
    }

    /// Whether the kernel of `release` runs, and has so many interfaces.
    pub(super) fn check(&self, release: &str, nics: usize) -> Result<()> {
        let running = self.run("uname -r")?;
        ensure!(running.trim() == release, "{running} runs instead of {release}");
        for i in 0..nics {
            let address = self.run(&format!("cat /sys/class/net/eth{i}/address"))?;
            ensure!(address.trim() == mac(i), "eth{i} has the address {address}");
        }
        self.check_header()
    }

    /// Whether the device finds zeros for a header when zero-copy sends: see [`SET_ASIDE`]. Kernels before 6.13 have no such thing.
    fn check_header(&self) -> Result<()> {
        let known = self.run(
            "grep -wE '_text|xsk_hdr' /proc/kallsyms
             grep 'Kernel code' /proc/iomem",
        )?;
        let number = |name: &str| -> Result<Option<u64>> {
            let Some(line) = known.lines().find(|line| line.contains(name)) else { return Ok(None) };
            let digits = line.trim().split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default();
            Ok(Some(u64::from_str_radix(digits, 16).with_context(|| line.to_owned())?))
        };
        let (text, code) = (number(" _text")?, number("Kernel code")?);
        ensure!(
            text.is_some() && text == code.map(|code| code + KERNEL_MAP),
            "the kernel is not where expected: {known}"
        );
        let header = number(" xsk_hdr")?.map(|address| address.wrapping_sub(KERNEL_MAP));
        ensure!(header.is_none_or(|header| SET_ASIDE.contains(&header)), "xsk_hdr is not where expected: {known}");
        // So the driver is as good as one that is built in, and looks like it.
        self.run(&format!("mount -t tmpfs none {MODULE}"))?;
        Ok(())
    }

    /// Lets the driver look again like the module that it is.
    pub fn show_module(&self) -> Result<()> {
        self.run(&format!("umount {MODULE}"))?;
        Ok(())
    }

    /// Runs a shell script, whatever its exit code.
    pub fn finish(&self, script: &str) -> Result<Finished> {
        let answer = self.channel.borrow_mut().run(script, LIMIT);
        let answer = answer.with_context(|| format!("guest: {script}\n--- console\n{}", self.console()))?;
        let status = ExitStatus::from_raw(answer.code << 8);
        Ok(Finished { name: format!("guest: {script}"), status, stdout: answer.stdout, stderr: answer.stderr })
    }

    /// Runs a shell script, which must succeed, and returns its standard output.
    pub fn run(&self, script: &str) -> Result<String> {
        Ok(self.finish(&format!("set -e\n{script}"))?.success()?.stdout)
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        self.run(&format!("cat >{path} <<'#written'\n{text}\n#written"))?;
        Ok(())
    }

    /// Starts a program in the background.
    pub fn spawn(&self, line: &str) -> Result<Background<'_>> {
        *self.started.borrow_mut() += 1;
        let files = format!("/run/program-{}", self.started.borrow());
        self.write(&files, &format!("echo $$ >{files}.pid\nexec {line}"))?;
        let run = format!("if sh {files} >{files}.out 2>{files}.err; then echo 0; else echo $?; fi >{files}.code");
        self.run(&format!("({run}) 2>/dev/null &"))?;
        Ok(Background { guest: self, line: line.to_owned(), files })
    }

    /// Moves the tap of interface `i` to `namespace`, as `name` with `address`, and sets it up.
    pub fn plug(&self, i: usize, namespace: &Namespace, name: &str, address: &str) -> Result<()> {
        let own = self.namespace.as_ref().context("this machine has no taps")?;
        let line = format!("link set tap{i} netns {} name {name}", namespace.name());
        process::run(Command::new("ip").args(["-n", own.name()]).args(line.split(' ')))?;
        namespace.ip_batch(&format!("addr add {address} dev {name}\nlink set {name} up\n"))
    }

    /// How long ago QEMU was started.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Whether the guest's kernel has met nothing that it should not.
    pub fn healthy(&self) -> Result<()> {
        let console = self.console();
        let wrong = console.lines().find(|line| ["BUG:", "WARNING:", "Oops"].iter().any(|word| line.contains(word)));
        ensure!(wrong.is_none(), "the guest's kernel: {}", wrong.unwrap_or_default());
        Ok(())
    }

    /// What the guest's kernel has said so far.
    pub fn console(&self) -> String {
        self.process.stdout()
    }
}

impl Background<'_> {
    /// How it ended and what it said, if it has ended.
    pub fn ended(&self) -> Result<Option<Finished>> {
        let files = &self.files;
        let code = self.guest.run(&format!("if [ -s {files}.code ]; then cat {files}.code; fi"))?;
        let Ok(code) = code.trim().parse::<i32>() else { return Ok(None) };
        Ok(Some(Finished {
            name: format!("guest: {}", self.line),
            status: ExitStatus::from_raw(code << 8),
            stdout: self.guest.run(&format!("cat {files}.out"))?,
            stderr: self.stderr()?,
        }))
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> Result<String> {
        self.guest.run(&format!("cat {}.err", self.files))
    }

    /// Sends it a signal, by name: `TERM`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.guest.run(&format!("kill -{signal} $(cat {}.pid)", self.files))?;
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&self) -> Result<Finished> {
        deadline::until(&format!("the end of `{}` in the guest", self.line), LIMIT, || self.ended())
    }
}
