//! What depends on the kernel's release and cannot be asked otherwise.

use std::sync::OnceLock;

/// Whether the consumer of a copy-mode TX ring is published after every call: from Linux 6.17 ("xsk: update tx queue consumer
/// immediately after transmission"). Before, only once the ring is empty.
pub fn shows_tx_consumer() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| release().1.is_some_and(|version| version >= (6, 17)))
}

/// Whether AF_XDP sockets take packets that need several frames (`XDP_USE_SG`): from Linux 6.6.
pub fn has_chains() -> bool {
    release().1.is_some_and(|version| version >= (6, 6))
}

/// The running kernel's release, and its first two numbers.
pub fn release() -> (String, Option<(u32, u32)>) {
    // uname(2) needs no descriptor, and so cannot fail.
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let numbers = parse(&release);
    (release, numbers)
}

/// Major and minor number of a release such as `6.12.41+deb13-amd64`.
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn releases() {
        assert_eq!(parse("6.12.41+deb13-amd64\n"), Some((6, 12)));
        assert_eq!(parse("7.3-rc2"), Some((7, 3)));
        assert_eq!(parse("unknown"), None);
    }
}
