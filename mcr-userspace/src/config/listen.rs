//! Where metrics are served: an address and a port, in the file and as a flag alike.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use crate::rules::value::shown;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Every address of the host, of IPv6 and IPv4: `:9469`, `*:9469`.
    All(u16),
    /// This address: `127.0.0.1:9469`, `[::1]:9469`, `localhost:9469`.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not ADDRESS:PORT; write such as \"127.0.0.1:9469\", or \":9469\" for all addresses",
                shown(text)
            )
        };
        if let Ok(address) = text.parse() {
            return Ok(Self::At(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        // `u16` takes a sign.
        let port = port.parse().ok().filter(|_| port.starts_with(|c: char| c.is_ascii_digit())).ok_or_else(wrong)?;
        match host {
            "" | "*" => Ok(Self::All(port)),
            _ if host.eq_ignore_ascii_case("localhost") => {
                Ok(Self::At((IpAddr::from(Ipv4Addr::LOCALHOST), port).into()))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(port) => write!(f, ":{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_everyone_types_them() {
        for (text, wanted) in [
            ("127.0.0.1:9469", "127.0.0.1:9469"),
            ("localhost:9469", "127.0.0.1:9469"),
            ("LocalHost:9469", "127.0.0.1:9469"),
            ("[::1]:9469", "[::1]:9469"),
            ("0.0.0.0:9469", "0.0.0.0:9469"),
            (":9469", ":9469"),
            ("*:9469", ":9469"),
        ] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(wanted.to_owned()), "{text}");
        }
        for text in [
            "",
            ":",
            "9469",
            "localhost",
            "127.0.0.1",
            "::1:9469",
            "relay:9469",
            ":65536",
            ":-1",
            ":+1",
            "*",
            "a:b",
            ": 1",
        ] {
            let error = text.parse::<Listen>().expect_err(text);
            assert!(error.contains("127.0.0.1:9469") && error.contains(":9469"), "{error}");
        }
    }
}
