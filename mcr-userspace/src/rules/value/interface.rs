//! Names of interfaces as typed, and what was meant by text that can be none.

use super::shown;

/// `IFNAMSIZ` less the final NUL, linux/if.h.
const MAX_INTERFACE: usize = 15;

/// An interface's name, by the kernel's rule (`dev_valid_name` in net/core/dev.c), and without the `@` behind which `ip link` shows
/// something else.
pub fn interface(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is missing; name the interface".to_owned());
    }
    if let Some(hint) = hint(text) {
        return Err(format!("`{}` cannot be an interface's name: {hint}", shown(text)));
    }
    if text.len() > MAX_INTERFACE {
        return Err(format!(
            "`{}` is {} bytes long; Linux allows {MAX_INTERFACE} bytes in an interface's name (an altname may be longer: write the name that `ip link` shows first)",
            shown(text),
            text.len()
        ));
    }
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{}` cannot be an interface's name: Linux allows no spaces, `/` or `:` in it, nor `.` or `..` alone",
            shown(text)
        )),
    }
}

/// The interface of a match: [`interface`], and neither the loopback interface nor what is the name of a VLAN's by custom.
pub fn rule_interface(text: &str) -> Result<String, String> {
    let name = interface(text)?;
    if name == "lo" {
        return Err(
            "`lo`: the loopback interface cannot be used, since no segment is behind it; name an Ethernet interface"
                .to_owned(),
        );
    }
    match vlan_of(&name) {
        Some((trunk, id)) => Err(format!("`{name}` is VLAN {id} of {trunk}: use {trunk} with vlan={id}")),
        None => Ok(name),
    }
}

/// The same of an output, whose keys are told from its name.
pub fn output_interface(text: &str) -> Result<String, String> {
    let (name, rest) = text.split_at(text.find([':', ' ', ';', '=']).unwrap_or(text.len()));
    let rest = rest.trim_start_matches([':', ' ', ';', '=', ',']);
    let is_more = rest.contains('=') || rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('.');
    if is_more && is_name(name) {
        let meant = match rest.contains('=') {
            true => rest.split([' ', ';', ',']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(","),
            false => match rest.split_once(':') {
                Some((group, port)) => format!("group={group},port={port}"),
                None => format!("group={rest}"),
            },
        };
        return Err(format!("`{}`: separate with commas: {name},{}", shown(text), shown(&meant)));
    }
    rule_interface(text)
}

/// The interface and the ID in a name such as `eth0.100`, by which hosts call a VLAN's interface.
fn vlan_of(name: &str) -> Option<(&str, u16)> {
    let (trunk, id) = name.rsplit_once('.')?;
    let id = id.parse().ok().filter(|id| (1..=4094).contains(id))?;
    (!trunk.is_empty()).then_some((trunk, id))
}

fn is_name(text: &str) -> bool {
    let forbidden = |c: char| c == '/' || c == ':' || c == '@' || c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() <= MAX_INTERFACE && text != "." && text != ".." && !text.contains(forbidden)
}

/// What was copied together with a name.
fn hint(text: &str) -> Option<String> {
    let say = |why: &str, meant: &str| is_name(meant).then(|| format!("{why}; write {meant}"));
    if let Some((meant, link)) = text.trim_end_matches(':').split_once('@') {
        let why = format!("`ip link` shows behind the `@` what the interface is connected to ({})", shown(link));
        return say(&why, meant).or_else(|| Some(why + "; write what stands before it"));
    }
    if text.trim() != text {
        return say("there are spaces around it", text.trim());
    }
    if let Some(meant) = text.strip_suffix(':') {
        return say("the colon is `ip link`'s", meant);
    }
    if let Some((meant, _)) = text.split_once(':') {
        return say("that is the label of an address", meant);
    }
    text.rsplit_once('/').and_then(|(_, meant)| say("that is a path", meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_the_kernel_s() {
        for good in ["eth0", "eth0.100", "veth-1_a", "123456789012345"] {
            assert!(interface(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a:1", "1234567890123456", "a\0", "/", ":", "@", " "] {
            assert!(interface(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_vlan_s_interface_and_the_loopback_are_told_from_others() {
        for (typed, part) in [
            ("eth0.100", "use eth0 with vlan=100"),
            ("eth0.1.7", "use eth0.1 with vlan=7"),
            ("lo", "the loopback interface cannot be used"),
        ] {
            assert!(rule_interface(typed).expect_err(typed).contains(part), "{typed}");
            assert!(output_interface(typed).expect_err(typed).contains(part), "{typed}");
        }
        for typed in ["eth0", "eth0.4095", "eth0.0", "br.lan", ".5"] {
            assert_eq!(rule_interface(typed).as_deref(), Ok(typed));
        }
    }

    #[test]
    fn an_output_s_keys_are_separated_with_commas() {
        for (typed, meant) in [
            ("eth1:239.10.1.1:6001", "separate with commas: eth1,group=239.10.1.1,port=6001"),
            ("eth1:239.10.1.1", "separate with commas: eth1,group=239.10.1.1"),
            ("eth1 group=239.10.1.1", "separate with commas: eth1,group=239.10.1.1"),
            ("eth1 group=239.10.1.1 port=5", "separate with commas: eth1,group=239.10.1.1,port=5"),
            ("eth1;ttl=5", "separate with commas: eth1,ttl=5"),
            ("eth1:0", "label of an address; write eth1"),
        ] {
            let error = output_interface(typed).expect_err(typed);
            assert!(error.contains(meant), "{typed}: {error}");
        }
    }

    #[test]
    fn what_was_copied_with_a_name_is_told_from_it() {
        for (typed, meant) in [
            ("v1@if2", "write v1"),
            ("eth0.100@eth0", "write eth0.100"),
            ("eth0.100@eth0:", "write eth0.100"),
            ("a-name-of-15-b.@far-too-long-for-a-name", "write a-name-of-15-b."),
            ("@if2", "before it"),
            ("v1:", "write v1"),
            ("v1:0", "label of an address; write v1"),
            (" v1", "write v1"),
            ("/sys/class/net/v1", "write v1"),
            ("enx001122334455667788", "an altname may be longer"),
        ] {
            let error = interface(typed).expect_err(typed);
            assert!(error.contains(meant), "{typed}: {error}");
        }
    }
}
