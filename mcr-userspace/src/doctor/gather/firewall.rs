//! The firewall's rules, as its own programs list them; these are run only where the kernel says that it has some.

use std::{fs, io, process::Command};

use serde_json::{Value, json};

use super::super::firewall::{Listed, Ruleset};
use crate::kernel::nftables::{self, Hooked};

/// Where the kernel lists tables of the older kind (net/netfilter/x_tables.c).
const OLDER: &str = "/proc/net/ip_tables_names";

/// All that can be read.
pub(super) fn ruleset() -> Ruleset {
    Ruleset { nft: nft(), xtables: xtables() }
}

fn nft() -> Listed {
    match nftables::tables() {
        Ok(0) => Listed::Nothing,
        Ok(tables) => match list("nft", &["-j", "list", "ruleset"], "nft") {
            Some(Listed::Text { text, program }) => match nftables::hooked() {
                Ok(hooked) => Listed::Text { text: with_devices(text, &hooked), program },
                Err(error) => Listed::Unread(format!("the kernel does not tell of nftables' chains: {error}")),
            },
            Some(listed) => listed,
            None => Listed::Unread(format!("nftables has {tables} tables, and no program `nft` is here to list them")),
        },
        Err(error) => Listed::Unread(format!("the kernel does not tell of nftables: {error}")),
    }
}

/// nft lists chains at ingress and egress without their interfaces up to version 1.0.6 at least: the kernel tells these.
fn with_devices(text: String, hooked: &[Hooked]) -> String {
    let Ok(mut root) = serde_json::from_str::<Value>(&text) else { return text };
    for chain in root["nftables"].as_array_mut().into_iter().flatten().filter_map(|object| object.get_mut("chain")) {
        let known = hooked.iter().find(|hooked| chain["table"] == hooked.table && chain["name"] == hooked.chain);
        if (chain["hook"] == "ingress" || chain["hook"] == "egress")
            && chain.get("dev").is_none()
            && let Some(known) = known
        {
            chain["dev"] = json!(known.devices);
        }
    }
    root.to_string()
}

fn xtables() -> Listed {
    match fs::read_to_string(OLDER) {
        Ok(names) if names.trim().is_empty() => Listed::Nothing,
        Ok(_) => {
            let legacy = list("iptables-legacy-save", &[], "iptables-legacy");
            // Where there is but one kind, it may be the older one under the plain name.
            let plain = || list("iptables-save", &[], "iptables").filter(|_| is_older());
            legacy.or_else(plain).unwrap_or_else(|| {
                Listed::Unread(
                    "iptables has tables, and no program `iptables-legacy-save` is here to list them".to_owned(),
                )
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Listed::Nothing,
        Err(error) => Listed::Unread(format!("{OLDER}: {error}")),
    }
}

fn is_older() -> bool {
    let version = Command::new("iptables-save").arg("-V").output();
    version.is_ok_and(|output| !String::from_utf8_lossy(&output.stdout).contains("nf_tables"))
}

/// What a program lists, and the name of the one that changes it; `None` where there is no such program.
fn list(program: &str, words: &[&str], changes: &str) -> Option<Listed> {
    let line = || std::iter::once(program).chain(words.iter().copied()).collect::<Vec<_>>().join(" ");
    Some(match Command::new(program).args(words).output() {
        Ok(output) if output.status.success() => {
            Listed::Text { text: String::from_utf8_lossy(&output.stdout).into_owned(), program: changes.to_owned() }
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Listed::Unread(format!("`{}`: {}", line(), said.lines().next().unwrap_or("it failed")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Listed::Unread(format!("`{}`: {error}", line())),
    })
}
