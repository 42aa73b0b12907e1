//! Whether nftables has anything, and what its own program does not tell of it (linux/netfilter/nfnetlink.h, nf_tables.h).

use std::io;

use super::netlink::{ask, attributes, text};

/// `NFNL_SUBSYS_NFTABLES`, and `NFT_MSG_GETTABLE` of it.
const GET_TABLES: u16 = 10 << 8 | 1;
/// `NFT_MSG_GETCHAIN`.
const GET_CHAINS: u16 = 10 << 8 | 4;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
const NFTA_DEVICE_NAME: u16 = 1;
const NFTA_DEVICE_PREFIX: u16 = 2;
/// Bytes of `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// Families of tables through which IPv4 packets come in (linux/netfilter.h): inet, ip, netdev.
const FAMILIES: [u8; 3] = [1, 2, 5];

/// How many tables IPv4 packets may pass in this network namespace.
///
/// # Errors
///
/// When the kernel does not say; to a process without CAP_NET_ADMIN it does not.
pub fn tables() -> io::Result<usize> {
    // `struct nfgenmsg`: every family, version 0.
    match ask(libc::NETLINK_NETFILTER, GET_TABLES, libc::NLM_F_DUMP, &[0; NFGENMSG]) {
        Ok(tables) => Ok(tables.iter().filter(|table| table.first().is_some_and(|one| FAMILIES.contains(one))).count()),
        // A kernel without nftables.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPROTONOSUPPORT)) => Ok(0),
        Err(error) => Err(error),
    }
}

/// A chain that is hooked to interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooked {
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// The interfaces' names; with `*` at its end, the start of some.
    pub devices: Vec<String>,
}

/// The chains of this network namespace that are hooked to interfaces.
///
/// # Errors
///
/// As [`tables`].
pub fn hooked() -> io::Result<Vec<Hooked>> {
    let answers = ask(libc::NETLINK_NETFILTER, GET_CHAINS, libc::NLM_F_DUMP, &[0; NFGENMSG])?;
    let read = |answer: &Vec<u8>| {
        let of = |wanted| attributes(answer.get(NFGENMSG..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let mut devices = Vec::new();
        for (kind, value) in attributes(of(NFTA_CHAIN_HOOK)?) {
            match kind {
                NFTA_HOOK_DEV => devices.push(text(value)),
                NFTA_HOOK_DEVS => devices.extend(attributes(value).filter_map(|(kind, name)| match kind {
                    NFTA_DEVICE_NAME => Some(text(name)),
                    NFTA_DEVICE_PREFIX => Some(text(name) + "*"),
                    _ => None,
                })),
                _ => {}
            }
        }
        Some(Hooked { table: text(of(NFTA_CHAIN_TABLE)?), chain: text(of(NFTA_CHAIN_NAME)?), devices })
    };
    Ok(answers.iter().filter_map(read).filter(|hooked| !hooked.devices.is_empty()).collect())
}
