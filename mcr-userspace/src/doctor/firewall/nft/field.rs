//! The fields of a packet that nftables' rules look at.

use serde_json::Value;

use super::{
    super::known::{Kind, Known, Message},
    word,
};

/// What an expression is for `message`.
pub(super) fn field(expression: &Value, message: &Message) -> Known {
    let Some((kind, of)) = expression.as_object().and_then(|object| object.iter().next()) else { return Known::Open };
    match kind.as_str() {
        "meta" => meta(word(of, "key"), message),
        "payload" => payload(word(of, "protocol"), word(of, "field"), message),
        // Nothing answers to these groups, so the kernel never knows the connection.
        "ct" if word(of, "key") == "state" => Known::Word("new".to_owned()),
        "fib" if word(of, "result") == "type" && has(of, "flags", "daddr") => Known::Word("multicast".to_owned()),
        "concat" => {
            let all: Vec<Known> = of.as_array().into_iter().flatten().map(|one| field(one, message)).collect();
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

fn meta(key: &str, message: &Message) -> Known {
    match key {
        "iif" | "iifname" => Known::Word(message.comes_in().to_owned()),
        "oif" | "oifname" => Known::Word(message.goes_out().to_owned()),
        "iiftype" if message.kind == Kind::Report => Known::Absent,
        "oiftype" if message.kind == Kind::Query => Known::Absent,
        "iiftype" | "oiftype" => Known::Number(1, "ether"),
        "protocol" => Known::Number(0x0800, "ip"),
        "nfproto" => Known::Number(2, "ipv4"),
        "l4proto" => Known::Number(2, "igmp"),
        "pkttype" if message.kind == Kind::Query => Known::Word("multicast".to_owned()),
        _ => Known::Open,
    }
}

fn payload(protocol: &str, field: &str, message: &Message) -> Known {
    match (protocol, field) {
        ("ip", "protocol") => Known::Number(2, "igmp"),
        ("ip", "daddr") => Known::Address(message.group()),
        ("ip", "version") => Known::Number(4, ""),
        ("ip", "ttl") => Known::Number(1, ""),
        ("ether", "type") => Known::Number(0x0800, "ip"),
        ("ether", "daddr") => {
            // RFC 1112, section 6.4.
            let [_, b, c, d] = message.group().octets();
            Known::Word(format!("01:00:5e:{:02x}:{c:02x}:{d:02x}", b & 0x7f))
        }
        ("igmp", "type") if message.kind == Kind::Query => Known::Number(0x11, "membership-query"),
        ("igmp", "type") => Known::Number(0x22, "membership-report-v3"),
        ("igmp", "group") if message.kind == Kind::Query => Known::Address(std::net::Ipv4Addr::UNSPECIFIED),
        // Bytes wherever they are, which may be of IGMP.
        ("ip" | "ether" | "igmp" | "th" | "", _) => Known::Open,
        _ => Known::Absent,
    }
}
