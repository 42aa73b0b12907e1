//! What the build and the tests need, and whether this machine has it: a look at files, nothing is run but rustc and ldd.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::rust;
use crate::bpf;
use crate::programs::{self, program};

/// A thing that is needed.
pub struct Item {
    /// Its name, or what it does.
    pub what: String,
    /// Where it is, or what brings it.
    pub state: Result<String, Lack>,
}

/// What brings a thing that lacks.
#[derive(Clone)]
pub enum Lack {
    /// The first of these lists of Debian packages that the machine's sources have.
    Packages(Vec<String>),
    /// A component of the active rustup toolchain.
    Component(&'static str),
    /// rustup's component rust-src, or else Debian's pair of packages.
    BpfRust(String),
    /// bpf-linker built with the LLVM of this rustc; why the one here will not do.
    BpfLinker(PathBuf, String),
    /// cargo-deny.
    CargoDeny,
}

/// Programs, and the Debian packages that bring them: the later lists where the first is not to be had.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("cc", &["gcc libc6-dev"]),
    ("make", &["make"]),
    ("m4", &["m4"]),
    ("pkg-config", &["pkgconf", "pkg-config"]),
    ("git", &["git"]), // cargo-deny fetches the database of advisories with it
    ("ip", &["iproute2"]),
    ("ethtool", &["ethtool"]),
    ("socat", &["socat"]),
    ("tcpdump", &["tcpdump"]),
    ("tshark", &["tshark"]),
    ("bpftool", &["bpftool", "linux-tools-common linux-tools-generic"]),
    ("ps", &["procps"]),
    ("ping", &["iputils-ping"]),
    ("modprobe", &["kmod"]),
    ("nft", &["nftables"]),
    ("iptables-legacy", &["iptables"]),
    ("iptables-nft", &["iptables"]),
    ("ffmpeg", &["ffmpeg"]),
    ("ffprobe", &["ffmpeg"]),
    // For virtual machines: the emulator, what is in the guest, and what unpacks kernels and their modules.
    ("qemu-system-x86_64", &["qemu-system-x86"]),
    ("busybox", &["busybox-static"]),
    ("strip", &["binutils"]),
    ("depmod", &["kmod"]),
    ("xz", &["xz-utils"]),
    ("zstd", &["zstd"]),
];

/// Programs that only `cargo xtask bench` needs.
const BENCH_PROGRAMS: &[(&str, &[&str])] = &[("taskset", &["util-linux"])];

/// C headers, and their packages.
const HEADERS: &[(&str, &str)] = &[("libelf.h", "libelf-dev"), ("zlib.h", "zlib1g-dev")];

/// Modules of the system's Python, and their packages.
const PYTHON: &[(&str, &str)] = &[("prometheus_client/openmetrics/parser.py", "python3-prometheus-client")];

/// All that is needed, with its state.
pub fn take() -> Vec<Item> {
    let mut items = rust_items();
    items.extend(programs(PROGRAMS));
    for (name, package) in HEADERS {
        let path = ["/usr/include", "/usr/local/include"].map(|dir| Path::new(dir).join(name));
        let path = path.into_iter().find(|path| path.is_file());
        let package = || Lack::Packages(vec![(*package).to_owned()]);
        items.push(Item { what: (*name).to_owned(), state: found(path).ok_or_else(package) });
    }
    for (module, package) in PYTHON {
        let path = Path::new("/usr/lib/python3/dist-packages").join(module);
        let lack = || Lack::Packages(vec![(*package).to_owned()]);
        items.push(Item {
            what: (*package).to_owned(),
            state: found(Some(path).filter(|path| path.is_file())).ok_or_else(lack),
        });
    }
    items.push(Item { what: "cargo-deny".to_owned(), state: found(program("cargo-deny")).ok_or(Lack::CargoDeny) });
    items
}

/// What only `cargo xtask bench` needs, with its state.
pub fn for_bench() -> Vec<Item> {
    programs(BENCH_PROGRAMS).collect()
}

fn programs(list: &'static [(&str, &[&str])]) -> impl Iterator<Item = Item> {
    list.iter().map(|(name, packages)| {
        let packages = || Lack::Packages(packages.iter().map(|list| (*list).to_owned()).collect());
        Item { what: (*name).to_owned(), state: found(program(name)).ok_or_else(packages) }
    })
}

/// Rust for the host and for BPF, and what goes with the LLVM of the latter.
fn rust_items() -> Vec<Item> {
    let mut items = Vec::new();
    let host = bpf::sysroot(Path::new("rustc"));
    for (name, file) in [("rustfmt", "rustfmt"), ("clippy", "clippy-driver")] {
        let path = host.as_ref().map(|root| root.join("bin").join(file)).filter(|path| path.is_file());
        items.push(Item { what: name.to_owned(), state: found(path).ok_or(Lack::Component(name)) });
    }
    let what = "rustc that builds core for BPF".to_owned();
    let rustc = match bpf::rustc() {
        Ok(rustc) => rustc,
        Err(why) => {
            items.push(Item { what, state: Err(Lack::BpfRust(why)) });
            // What clang and bpf-linker have to match is known once rustc is there.
            return items;
        }
    };
    let llvm = rust::version(&rustc).map_or(0, |version| version.llvm);
    items.push(Item { what, state: Ok(format!("{}, LLVM {llvm}", rustc.display())) });

    let driver = rustc.with_file_name("clippy-driver");
    let lack = match rustc.as_path() == Path::new(bpf::DEBIAN_RUSTC) {
        true => Lack::Packages(vec!["rust-web-clippy".to_owned()]),
        false => Lack::Component("clippy"),
    };
    items.push(Item {
        what: "clippy for BPF".to_owned(),
        state: found(Some(driver).filter(|path| path.is_file())).ok_or(lack),
    });

    let clang = || Lack::Packages(vec![format!("clang-{llvm}"), "clang".to_owned()]);
    items.push(Item { what: "clang".to_owned(), state: found(programs::clang()).ok_or_else(clang) });
    items.push(Item { what: "bpf-linker".to_owned(), state: bpf_linker(rustc, llvm) });
    items
}

/// bpf-linker, linked with the LLVM that `rustc` has: with an older one it cannot read what rustc writes.
fn bpf_linker(rustc: PathBuf, llvm: u32) -> Result<String, Lack> {
    let Some(path) = program("bpf-linker") else {
        return Err(Lack::BpfLinker(rustc, "it is not installed".to_owned()));
    };
    let libraries = Command::new("ldd").arg(&path).output().map(|output| output.stdout).unwrap_or_default();
    let libraries = String::from_utf8_lossy(&libraries);
    match libraries.lines().find(|line| line.contains("libLLVM")) {
        Some(line) if line.contains(&format!("libLLVM.so.{llvm}.")) && !line.contains("not found") => {
            Ok(format!("{}, LLVM {llvm}", path.display()))
        }
        line => {
            let has = line.map_or("no shared libLLVM", str::trim);
            Err(Lack::BpfLinker(rustc, format!("{} has {has}", path.display())))
        }
    }
}

fn found(path: Option<PathBuf>) -> Option<String> {
    path.map(|path| path.display().to_string())
}
