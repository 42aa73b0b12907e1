//! The archive that an initramfs is: cpio's "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// An archive that grows; directories come by themselves.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    present: BTreeSet<String>,
}

impl Archive {
    /// Adds a file with these permissions; a path that is there already stays as it is.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.add(path, FILE | permissions, content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, LINK, target.as_bytes());
    }

    /// Adds an empty directory.
    pub fn directory(&mut self, path: &str) {
        self.add(path, DIRECTORY, &[]);
    }

    /// Whether there is something at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.present.contains(path.trim_matches('/'))
    }

    /// The archive's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = path.trim_matches('/');
        if self.has(path) {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.present.insert(path.to_owned());
        self.entry(path, mode, content);
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        self.bytes.extend(b"070701");
        // inode, mode, uid, gid, links, time, size, device (2), node (2), length of the name with its zero, checksum
        let (size, name) = (content.len() as u32, path.len() as u32 + 1);
        for field in [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0] {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_aligned_and_parents_come_first() {
        let mut archive = Archive::default();
        archive.file("/usr/bin/a", 0o755, b"12345");
        archive.file("usr/bin/a", 0o644, b"not again");
        archive.link("/init", "usr/bin/a");
        let bytes = archive.finish();
        assert!(bytes.len().is_multiple_of(4));
        let starts: Vec<usize> = (0..bytes.len() - 6).filter(|at| &bytes[*at..at + 6] == b"070701").collect();
        assert!(starts.iter().all(|start| start.is_multiple_of(4)));
        let name = |start: &usize| bytes[start + 110..].split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let names: Vec<String> = starts.iter().map(|start| String::from_utf8(name(start)).unwrap()).collect();
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/a", "init", "TRAILER!!!"]);
    }
}
