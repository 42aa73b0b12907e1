//! A control group for one program: with some CPUs, a quota of CPU time, or a number of threads. Version 1 or 2, as the machine has it.

use std::{fs, path::PathBuf, process::id, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};

/// A group; dropping it deletes it, once its processes are gone.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
}

/// What a group may have.
#[derive(Clone, Copy, Debug)]
pub enum Grant {
    /// These CPUs alone, as `cpuset.cpus` takes them.
    Cpus(&'static str),
    /// So many microseconds of CPU time in each 100,000.
    Quota(u32),
    /// So many threads, of all its processes together.
    Threads(u32),
}

impl Group {
    /// Makes a group with this label; `None` where this machine has no controller for it that can be used.
    pub fn create(label: &str, grant: Grant) -> Result<Option<Self>> {
        let controller = match grant {
            Grant::Cpus(_) => "cpuset",
            Grant::Quota(_) => "cpu",
            Grant::Threads(_) => "pids",
        };
        let Some((root, version)) = mounted(controller)? else { return Ok(None) };
        let group = Self { directory: root.join(format!("mcrt-{}-{label}", id())) };
        fs::create_dir(&group.directory).with_context(|| format!("{}", group.directory.display()))?;
        let set = |file: &str, value: &str| {
            fs::write(group.directory.join(file), value).with_context(|| format!("{file} = {value}"))
        };
        match (grant, version) {
            (Grant::Cpus(cpus), 1) => {
                // Empty in a new group, which takes no process then.
                set("cpuset.mems", fs::read_to_string(root.join("cpuset.mems"))?.trim())?;
                set("cpuset.cpus", cpus)?;
            }
            (Grant::Cpus(cpus), _) => set("cpuset.cpus", cpus)?,
            (Grant::Quota(quota), 1) => {
                set("cpu.cfs_period_us", "100000")?;
                set("cpu.cfs_quota_us", &quota.to_string())?;
            }
            (Grant::Quota(quota), _) => set("cpu.max", &format!("{quota} 100000"))?,
            (Grant::Threads(threads), _) => set("pids.max", &threads.to_string())?,
        }
        Ok(Some(group))
    }

    /// Words that start a program within it: a shell that enters it, and executes the program in place.
    pub fn words(&self) -> [String; 4] {
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.directory.display());
        ["sh".into(), "-ec".into(), script, "sh".into()]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was killed is in it for a moment more.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// The root of the hierarchy in which groups can have this controller, and its version.
fn mounted(controller: &str) -> Result<Option<(PathBuf, u8)>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, at, kind, options, ..] = words[..] else { continue };
        let root = PathBuf::from(at);
        if kind == "cgroup" && options.split(',').any(|option| option == controller) {
            return Ok(Some((root, 1)));
        }
        if kind == "cgroup2" {
            let controllers = fs::read_to_string(root.join("cgroup.controllers"))?;
            if controllers.split_whitespace().any(|name| name == controller) {
                let enabled = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
                ensure!(enabled.is_ok(), "{at}: {controller} cannot be enabled: {enabled:?}");
                return Ok(Some((root, 2)));
            }
        }
    }
    Ok(None)
}
