//! Who holds a BPF program: /proc/PID/fdinfo, of which only root sees all.

use std::fs;

/// A process with a descriptor of a program, or of a link that attaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its name, cut to 15 bytes (/proc/PID/comm).
    pub name: String,
    /// Whether it holds the attachment: that ends with the process, and cannot be taken away before.
    pub link: bool,
}

/// The processes that hold a program, as far as they can be seen; those first that hold its attachment.
pub fn of(program: u32) -> Vec<Holder> {
    let mut holders: Vec<Holder> = Vec::new();
    let processes = fs::read_dir("/proc").into_iter().flatten();
    for pid in processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()) {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        let infos = descriptors.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let held = infos.filter_map(|info| holds(&info, program)).reduce(|one, other| one | other);
        if let Some(link) = held {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
            holders.push(Holder { pid, name, link });
        }
    }
    holders.sort_by_key(|holder| !holder.link);
    holders
}

/// Whether what a descriptor's file says is of this program, and of a link to it.
fn holds(info: &str, program: u32) -> Option<bool> {
    let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    (value("prog_id:")?.parse() == Ok(program)).then(|| value("link_type:").is_some())
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn descriptors_of_a_program_and_of_a_link() {
        let program = "pos:\t0\nprog_type:\t6\nprog_id:\t42\nrun_cnt:\t0\n";
        let link = "pos:\t0\nlink_type:\txdp\nlink_id:\t7\nprog_tag:\t00\nprog_id:\t42\nifindex:\t3\n";
        assert_eq!((holds(program, 42), holds(link, 42), holds(link, 7)), (Some(false), Some(true), None));
        assert_eq!(holds("pos:\t0\nflags:\t02\n", 42), None);
    }
}
