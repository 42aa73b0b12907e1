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
