//! Modules for a guest, with what they need, in the order in which they go in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::kernel::Kernel;

/// The bytes of each module that `wanted` need, itself included, in the order to load them; built-in ones are left out.
pub fn load(kernel: &Kernel, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let directory = kernel.modules();
    let read = |name: &str| fs::read_to_string(directory.join(name)).with_context(|| name.to_owned());
    let (needs, built_in) = (read("modules.dep")?, read("modules.builtin")?);
    let mut files: Vec<&str> = Vec::new();
    for module in wanted {
        // path: what it needs, the innermost last
        let line = needs.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| name_of(path) == *module);
        match line {
            Some((path, before)) => files.extend(before.split_whitespace().rev().chain([path])),
            None if built_in.lines().any(|path| name_of(path) == *module) => {}
            None => bail!("kernel {} has no module {module}", kernel.release),
        }
    }
    let mut modules: Vec<(String, Vec<u8>)> = Vec::new();
    for file in files {
        let name = name_of(file);
        if modules.iter().all(|(loaded, _)| *loaded != name) {
            modules.push((name, unpacked(&directory.join(file))?));
        }
    }
    Ok(modules)
}

/// A module's name, as `lsmod` shows it.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn unpacked(file: &PathBuf) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return fs::read(file).with_context(|| file.display().to_string()),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => bail!("{}: packed in an unknown way", file.display()),
    };
    output(Command::new(program).arg("-dc").arg(file))
}

/// What `command` writes, as bytes.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} did not start", Path::new(command.get_program()).display()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_are_those_of_lsmod() {
        assert_eq!(name_of("kernel/drivers/net/virtio_net.ko.xz"), "virtio_net");
        assert_eq!(name_of("kernel/net/8021q/8021q.ko"), "8021q");
        assert_eq!(name_of("kernel/sound/snd-pcm.ko.zst"), "snd_pcm");
    }
}
