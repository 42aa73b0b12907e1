//! The fields of a packet that nftables' rules look at.

use serde_json::Value;

use super::{
    super::known::{GROUP, Known, Query},
    word,
};

/// What an expression is for `query`.
pub(super) fn field(expression: &Value, query: &Query) -> Known {
    let Some((kind, of)) = expression.as_object().and_then(|object| object.iter().next()) else { return Known::Open };
    match kind.as_str() {
        "meta" => meta(word(of, "key"), query),
        "payload" => payload(word(of, "protocol"), word(of, "field")),
        // Nothing answers to 224.0.0.1, so the kernel never knows the connection.
        "ct" if word(of, "key") == "state" => Known::Word("new".to_owned()),
        "fib" if word(of, "result") == "type" && has(of, "flags", "daddr") => Known::Word("multicast".to_owned()),
        "concat" => {
            let all: Vec<Known> = of.as_array().into_iter().flatten().map(|one| field(one, query)).collect();
            if all.contains(&Known::Absent) { Known::Absent } else { Known::Several(all) }
        }
        // Of IPv6.
        "exthdr" => Known::Absent,
        _ => Known::Open,
    }
}

fn has(object: &Value, key: &str, wanted: &str) -> bool {
    match object.get(key) {
        Some(Value::Array(all)) => all.iter().any(|one| one == wanted),
        one => one.and_then(Value::as_str) == Some(wanted),
    }
}

fn meta(key: &str, query: &Query) -> Known {
    match key {
        "iif" | "iifname" => Known::Word(query.interface.clone()),
        "iiftype" => Known::Number(1, "ether"),
        "protocol" => Known::Number(0x0800, "ip"),
        "nfproto" => Known::Number(2, "ipv4"),
        "l4proto" => Known::Number(2, "igmp"),
        "pkttype" => Known::Word("multicast".to_owned()),
        _ => Known::Open,
    }
}

fn payload(protocol: &str, field: &str) -> Known {
    match (protocol, field) {
        ("ip", "protocol") => Known::Number(2, "igmp"),
        ("ip", "daddr") => Known::Address(GROUP),
        ("ip", "version") => Known::Number(4, ""),
        ("ip", "ttl") => Known::Number(1, ""),
        ("ether", "type") => Known::Number(0x0800, "ip"),
        ("ether", "daddr") => Known::Word("01:00:5e:00:00:01".to_owned()),
        ("igmp", "type") => Known::Number(0x11, "membership-query"),
        ("igmp", "group") => Known::Address(std::net::Ipv4Addr::UNSPECIFIED),
        // Bytes wherever they are, which may be of IGMP.
        ("ip" | "ether" | "igmp" | "th" | "", _) => Known::Open,
        _ => Known::Absent,
    }
}
