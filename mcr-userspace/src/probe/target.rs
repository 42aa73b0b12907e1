//! Where the streams go: `G[+N]` and `P[+N]` made into one group and port for each stream.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    str::FromStr,
};

/// Streams of one probe at most: a payload has 16 bits for the number.
pub const MAX_STREAMS: u32 = 1 << 16;

/// A first value and the step from one stream to the next, as typed: `239.1.1.1`, `5001+2`, `239.1.1.1+0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series<T> {
    /// The value of stream 0.
    pub base: T,
    /// What is added for each further stream; 1 unless typed.
    pub step: u32,
}

impl<T> FromStr for Series<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (base, step) = match text.split_once('+') {
            Some((base, step)) => (base, step.parse().map_err(|e| format!("step '{step}' after '+': {e}"))?),
            None => (text, 1),
        };
        Ok(Self { base: base.parse().map_err(|e| format!("'{base}': {e}"))?, step })
    }
}

/// Destination of each stream, in stream order: stream i has group and port base + i x step.
///
/// Every group is multicast, every port is 1 to 65535, and no two streams share both.
///
/// # Errors
/// One line naming the stream and the value that does not fit.
pub fn targets(group: Series<Ipv4Addr>, port: Series<u16>, streams: u32) -> Result<Vec<SocketAddrV4>, String> {
    if streams == 0 || streams > MAX_STREAMS {
        return Err(format!("--streams {streams}: 1 to {MAX_STREAMS} are possible"));
    }
    if !group.base.is_multicast() {
        return Err(format!(
            "--group {}: not a multicast address; take one of 224.0.0.0 to 239.255.255.255",
            group.base
        ));
    }
    if port.base == 0 {
        return Err("--port 0: take one of 1 to 65535".into());
    }
    if streams > 1 && group.step == 0 && port.step == 0 {
        return Err(format!(
            "--group {}+0 --port {}+0: all {streams} streams would be one; give one of them a step",
            group.base, port.base
        ));
    }
    (0..streams)
        .map(|i| {
            let address = u64::from(u32::from(group.base)) + u64::from(i) * u64::from(group.step);
            let group =
                u32::try_from(address).ok().map(Ipv4Addr::from).filter(Ipv4Addr::is_multicast).ok_or_else(|| {
                    format!("--group {}+{}: stream {i} would pass 239.255.255.255", group.base, group.step)
                })?;
            let number = u64::from(port.base) + u64::from(i) * u64::from(port.step);
            let port = u16::try_from(number).map_err(|_| {
                format!("--port {}+{}: stream {i} would have port {number}, above 65535", port.base, port.step)
            })?;
            Ok(SocketAddrV4::new(group, port))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(group: &str, port: &str, streams: u32) -> Result<Vec<SocketAddrV4>, String> {
        targets(group.parse()?, port.parse()?, streams)
    }

    #[test]
    fn step_defaults_to_one_and_adds_per_stream() {
        let got = of("239.1.1.254", "5001+10", 3).unwrap();
        let want = ["239.1.1.254:5001", "239.1.1.255:5011", "239.1.2.0:5021"].map(|t| t.parse().unwrap());
        assert_eq!(got, want);
        assert_eq!(of("239.1.1.1+0", "5001", 2).unwrap()[1], "239.1.1.1:5002".parse().unwrap());
        assert_eq!(of("239.1.1.1+256", "7+0", 2).unwrap()[1], "239.1.2.1:7".parse().unwrap());
    }

    #[test]
    fn the_last_address_and_port_fit_and_the_next_do_not() {
        assert!(of("239.255.255.255", "65535", 1).is_ok());
        assert!(of("239.255.255.255", "1", 2).unwrap_err().contains("stream 1 would pass"));
        assert!(of("239.1.1.1", "65535", 2).unwrap_err().contains("stream 1 would have port 65536"));
        assert!(of("239.1.1.1+4294967295", "1", 3).unwrap_err().contains("stream 1"));
        assert!(of("239.1.1.1+0", "1+4294967295", 65536).unwrap_err().contains("stream 1"));
    }

    #[test]
    fn refusals_name_what_was_typed() {
        for (group, port, streams, part) in [
            ("10.0.0.1", "1", 1, "--group 10.0.0.1"),
            ("223.255.255.255", "1", 2, "--group 223.255.255.255"),
            ("240.0.0.0", "1", 1, "--group 240.0.0.0"),
            ("239.1.1.1", "0", 1, "--port 0"),
            ("239.1.1.1", "1", 0, "--streams 0"),
            ("239.1.1.1+0", "1+0", 2, "would be one"),
            ("239.1.1.1+x", "1", 1, "step 'x'"),
            ("239.1.1.1+-1", "1", 1, "step '-1'"),
            ("239.1.1", "1", 1, "'239.1.1'"),
            ("239.1.1.1", "65536", 1, "'65536'"),
        ] {
            let error = of(group, port, streams).unwrap_err();
            assert!(error.contains(part) && !error.contains('\n'), "{group} {port} {streams}: {error}");
        }
    }
}
