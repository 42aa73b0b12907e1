//! A virtual machine as a value, and QEMU's words for it.

use std::{ffi::OsString, fs, os::unix::net::UnixListener, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{
    boot::{self, mac},
    channel::Listener,
    guest::Guest,
    initramfs,
    kernel::Kernel,
    qemu,
};
use crate::{netns::Namespace, process::Process};

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What it boots.
    pub kernel: Kernel,
    /// Virtual processors.
    pub cpus: u32,
    /// Its interfaces: `eth0`, `eth1` and so on, with the addresses of [`mac`].
    pub nics: Vec<Nic>,
}

/// A network interface that can do zero-copy: virtio's, where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub enum Nic {
    /// Intel's 82576 (driver igb), with up to eight queues, on a tap as [`Tap`](Self::Tap). The kernel must be one of
    /// [`ORDINARY`](super::kernel::ORDINARY). Needs root.
    Igb,
    /// On a tap with so many queue pairs, which [`Guest::plug`] moves to where it is wanted. Needs root.
    Tap(u32),
    /// On a segment within QEMU, with one queue pair; the other interfaces of the same number hear it. Needs nothing.
    Segment(u32),
    /// With one queue pair, and [`Guest::wire`] at its other end: as long as nobody reads there, nothing that it is to send is
    /// ever done. Needs nothing.
    Wire,
}

impl Machine {
    /// Boots it, and returns once it answers.
    ///
    /// # Errors
    /// With what is on the console, when it does not answer in time.
    pub fn boot(&self) -> Result<Guest> {
        self.boot_with(&[])
    }

    /// The same, with a clock that goes on by what instructions the guest executes, and by real time while it executes none: what the
    /// guest takes for its own CPU time does not depend on what else the host does.
    ///
    /// # Errors
    /// As [`boot`](Self::boot).
    pub fn boot_counting(&self) -> Result<Guest> {
        self.boot_with(&["-icount", INSTRUCTION])
    }

    fn boot_with(&self, words: &[&str]) -> Result<Guest> {
        let directory = tempfile::Builder::new().prefix("mcrt-vm-").tempdir()?;
        let [initramfs, socket] = ["initramfs", "channel"].map(|name| directory.path().join(name));
        let has_igb = self.nics.iter().any(|nic| matches!(nic, Nic::Igb));
        fs::write(&initramfs, initramfs::build(&self.kernel, if has_igb { &["igb"] } else { &[] })?)?;
        let listener = Listener::bind(&socket)?;
        // Taps are made in a namespace of their own: the machine's has none of them at any time.
        let taps = self.nics.iter().any(|nic| matches!(nic, Nic::Tap(_) | Nic::Igb));
        let namespace = if taps { Some(Namespace::create("qemu")?) } else { None };

        // 82576 is a PCI Express device, which only a newer QEMU has.
        let (program, kind) = match has_igb {
            true => (qemu::unpacked(&qemu::fetched()?), "q35"),
            false => (vec![OsString::from(qemu::QEMU)], "pc"),
        };
        let mut command = match &namespace {
            Some(namespace) => namespace.command(&program[0]),
            None => Command::new(&program[0]),
        };
        command.args(&program[1..]).args(["-machine", kind]);
        // `-serial stdio`: the console is the process's standard output, shown when a test fails.
        command.args("-nodefaults -no-user-config -display none -no-reboot -serial stdio -cpu max".split(' '));
        command.args(words).args(["-accel", ACCELERATOR, "-smp", &self.cpus.to_string(), "-m", MEMORY]);
        command
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(&initramfs)
            .args(["-append", &boot::kernel_words()]);
        command.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=channel,name=mcr"]);
        command.args(["-chardev", &format!("socket,id=channel,path={}", socket.display())]);
        let mut wires = Vec::new();
        for (i, nic) in self.nics.iter().enumerate() {
            let path = directory.path().join(format!("wire-{i}"));
            command.args(nic.words(i, &path));
            if let Nic::Wire = nic {
                wires.push((i, UnixListener::bind(&path)?));
            }
        }
        let process = Process::spawn(&mut command).context("`cargo xtask setup` installs QEMU")?;
        let mut guest = Guest::connect(process, listener, namespace, directory)?;
        for (i, wire) in wires {
            // QEMU connects before the guest's first instruction.
            guest.add_wire(i, wire.accept()?.0);
        }
        guest.check(&self.kernel.release, self.nics.len())?;
        Ok(guest)
    }
}

/// One thread for all processors. With one for each, QEMU 7.2 may run a translation that is older than the code: a kernel
/// that patches itself while another processor runs through the place dies of an int3 then, one boot in five.
const ACCELERATOR: &str = "tcg,thread=single";
/// 2^2 ns for each instruction, a little less than emulation takes.
const INSTRUCTION: &str = "shift=2,sleep=on";
/// In MiB: more than a guest needs, so that there is memory at [`SET_ASIDE`](boot::SET_ASIDE). What is read where none is goes through the one buffer
/// that QEMU has for all devices, and a device that finds it taken is broken from then on.
const MEMORY: &str = "1280";
impl Nic {
    /// Without `iommu_platform` the driver does not use the kernel's DMA interface, and refuses zero-copy.
    fn words(self, i: usize, wire: &Path) -> Vec<String> {
        let modern = "iommu_platform=on,disable-legacy=on,rx_queue_size=1024";
        let device = format!("virtio-net-pci,netdev=n{i},mac={},{modern}", mac(i));
        let tap = |queues| format!("tap,id=n{i},ifname=tap{i},queues={queues},script=no,downscript=no,vhost=off");
        let (back, queues) = match self {
            Self::Igb => {
                let port = format!("pcie-root-port,id=port{i},chassis={i},slot={i}");
                let device = format!("igb,bus=port{i},netdev=n{i},mac={},romfile=", mac(i));
                // The tap has one queue: the device itself spreads what comes over its own.
                return ["-netdev", &tap(1), "-device", &port, "-device", &device].map(String::from).into();
            }
            Self::Tap(queues) => (tap(queues), format!(",mq=on,vectors={}", 2 * queues + 2)),
            Self::Wire => {
                let back = format!("stream,id=n{i},server=off,addr.type=unix,addr.path={}", wire.display());
                (back, String::new())
            }
            Self::Segment(number) => (format!("hubport,id=n{i},hubid={number}"), String::new()),
        };
        vec!["-netdev".into(), back, "-device".into(), device + &queues]
    }
}
