//! The kernels that are tested: chosen by what Debian carries, fetched once, and kept.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{apt::Apt, cache::Cache, process};

/// The suites that have kernels, long-term ones and new ones.
const SUITES: [&str; 4] = ["bookworm", "bookworm-backports", "trixie", "trixie-backports"];

/// Which drivers a kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    /// Those of virtual machines: a third of the size.
    Cloud,
    /// Those of all machines.
    Ordinary,
}

impl Flavour {
    /// Whether a release is of this flavour; others (`-rt-amd64`) are of none.
    fn has(self, release: &str) -> bool {
        let Some(rest) = release.strip_suffix("-amd64") else { return false };
        match self {
            Self::Cloud => rest.ends_with("-cloud"),
            Self::Ordinary => !rest.rsplit('-').next().unwrap_or(rest).starts_with(|c: char| c.is_ascii_alphabetic()),
        }
    }
}

/// Which of the kernels that Debian carries.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// What it is called here.
    pub name: &'static str,
    /// The first release, and the first beyond.
    range: ((u32, u32), (u32, u32)),
    newest: bool,
    flavour: Flavour,
}

/// Beyond all releases.
const END: (u32, u32) = (u32::MAX, 0);
/// All that are tested: Debian 12's, the long-term ones since, the first with zero-copy on virtio_net, and the newest.
pub const CHOICES: [Choice; 5] = [
    Choice { name: "6.1", range: ((6, 1), (6, 2)), newest: true, flavour: Flavour::Cloud },
    Choice { name: "6.12", range: ((6, 12), (6, 13)), newest: true, flavour: Flavour::Cloud },
    Choice { name: "oldest-from-6.13", range: ((6, 13), END), newest: false, flavour: Flavour::Cloud },
    Choice { name: "6.18", range: ((6, 18), (6, 19)), newest: true, flavour: Flavour::Cloud },
    Choice { name: "newest", range: ((6, 13), END), newest: true, flavour: Flavour::Cloud },
];
/// With the drivers of real NICs: a long-term one whose igb wakes only senders, and the newest.
pub const ORDINARY: [Choice; 2] = [
    Choice { name: "6.18-ordinary", range: ((6, 18), (6, 19)), newest: true, flavour: Flavour::Ordinary },
    Choice { name: "newest-ordinary", range: ((6, 19), END), newest: true, flavour: Flavour::Ordinary },
];

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Why it is here: the name of its [`Choice`].
    pub name: &'static str,
    /// What `uname -r` says.
    pub release: String,
    directory: PathBuf,
}

impl Kernel {
    /// The image to boot.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// `/lib/modules/<release>`, with the list of what needs what.
    pub fn modules(&self) -> PathBuf {
        modules(&self.directory, &self.release)
    }

    /// Major and minor number.
    pub fn version(&self) -> (u32, u32) {
        version(&self.release)
    }
}

/// All of [`CHOICES`] or [`ORDINARY`], in their order; what the cache lacks is fetched first.
///
/// A kernel stays until its directory is deleted: then a newer one of its kind may come.
pub fn fetched(choices: &[Choice]) -> Result<Vec<Kernel>> {
    let cache = Cache::lock()?;
    let lacking: Vec<Choice> = choices.iter().copied().filter(|choice| choice.cached(&cache).is_none()).collect();
    if !lacking.is_empty() {
        let apt = cache.apt(&SUITES)?;
        let names = apt.names("linux-")?;
        for choice in lacking {
            choice.fetch(&apt, &names, &cache).with_context(|| format!("fetching kernel {}", choice.name))?;
        }
    }
    choices.iter().map(|choice| choice.cached(&cache).context("it was there")).collect()
}

/// All of [`CHOICES`].
pub fn all() -> Result<Vec<Kernel>> {
    fetched(&CHOICES)
}

/// The newest kernel.
pub fn newest() -> Result<Kernel> {
    all()?.pop().context("there are kernels")
}

impl Choice {
    fn cached(&self, cache: &Cache) -> Option<Kernel> {
        let directory = cache.path(self.name);
        let release = fs::read_to_string(directory.join("release")).ok()?;
        Some(Kernel { name: self.name, release, directory })
    }

    fn fetch(&self, apt: &Apt, names: &[String], cache: &Cache) -> Result<()> {
        let release = self.choose(names).context("no suite has it")?;
        // The image may be in one package or in four.
        let packages = ["image", "binary", "modules", "base"].map(|part| format!("linux-{part}-{release}"));
        let packages: Vec<String> = packages.into_iter().filter(|package| names.contains(package)).collect();
        let (unpacked, made) = (cache.empty("unpacked")?, cache.empty("made")?);
        apt.unpack(&packages, &unpacked)?;

        let image = [format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")];
        move_first(&unpacked, &image, &made.join("vmlinuz"))?;
        fs::create_dir_all(made.join("lib/modules"))?;
        let tree = [format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")];
        move_first(&unpacked, &tree, &modules(&made, &release))?;
        let depmod = process::run(Command::new("depmod").arg("--basedir").arg(&made).arg(&release))?;
        ensure!(depmod.is_empty(), "depmod: {depmod}");

        fs::write(made.join("release"), &release)?;
        fs::remove_dir_all(&unpacked)?;
        cache.keep(&made, self.name)
    }

    /// The release to take of those that these packages are for.
    fn choose(&self, names: &[String]) -> Option<String> {
        let releases = names.iter().filter_map(|name| {
            let release = name.strip_prefix("linux-image-")?;
            (self.flavour.has(release) && (self.range.0..self.range.1).contains(&version(release))).then_some(release)
        });
        let chosen = if self.newest { releases.max_by_key(order) } else { releases.min_by_key(order) };
        chosen.map(str::to_owned)
    }
}

/// Moves the first of `places` that exists below `from`.
fn move_first(from: &Path, places: &[String], to: &Path) -> Result<()> {
    let place = places.iter().map(|place| from.join(place)).find(|place| place.exists());
    let place = place.with_context(|| format!("the packages have none of {places:?}"))?;
    Ok(fs::rename(&place, to)?)
}

fn modules(directory: &Path, release: &str) -> PathBuf {
    directory.join("lib/modules").join(release)
}

/// All numbers of a release, in order.
fn order(release: &&str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn version(release: &str) -> (u32, u32) {
    let numbers = order(&release);
    (numbers.first().copied().unwrap_or(0), numbers.get(1).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_and_the_newest_of_a_range() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-60-amd64",
            "linux-image-6.1.0-60-cloud-amd64-dbg",
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.16.3+deb13-cloud-amd64",
            "linux-image-6.16.12+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-image-7.3.10+deb13-cloud-amd64",
            "linux-image-7.3.10+deb13-amd64",
            "linux-image-7.3.10+deb13-rt-amd64",
            "linux-image-7.3.11+deb13-amd64-unsigned",
            "linux-image-6.18.5+deb13-amd64",
        ]
        .map(String::from);
        let chosen = CHOICES.map(|choice| choice.choose(&names).unwrap_or_default());
        let wanted = ["6.1.0-50", "6.12.9+deb12", "6.16.3+deb13", "", "7.3.10+deb13"];
        assert_eq!(
            chosen,
            wanted.map(|release| if release.is_empty() { "".into() } else { format!("{release}-cloud-amd64") })
        );
        let chosen = ORDINARY.map(|choice| choice.choose(&names).unwrap_or_default());
        assert_eq!(chosen, ["6.18.5+deb13-amd64", "7.3.10+deb13-amd64"]);
    }
}
