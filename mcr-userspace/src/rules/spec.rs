//! A rule as it was typed: in the file, on the command line, on the control socket.
//!
//! The types are wide on purpose. A wrong value must get as far as [`check`](super::check), which reports
//! every error of a rule at once.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, Visitor},
};

use super::rule::{Output, Ports, Prefix, Rule, Source, Ttl, Vlan};

/// A rule as typed, with the field names of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Received")]
pub struct RuleSpec {
    /// Left out: `IF:GROUP:PORT[:SOURCE]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `false`: it is checked, and keeps its name and its match, and does not forward; left out: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A duration such as `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after: Option<String>,
    /// Which packets it takes.
    #[serde(default, rename = "match")]
    pub matcher: MatchSpec,
    /// Where they go.
    #[serde(default)]
    pub output: Vec<OutputSpec>,
}

/// A rule as it is received: with what an answer has beside the rule itself, so that it can be sent back as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    name: Option<String>,
    description: Option<String>,
    enabled: Option<bool>,
    stall_after: Option<String>,
    #[serde(default, rename = "match")]
    matcher: MatchSpec,
    #[serde(default)]
    output: Vec<OutputSpec>,
    #[serde(rename = "state")]
    _state: Option<IgnoredAny>,
    #[serde(rename = "state_reason")]
    _state_reason: Option<IgnoredAny>,
    #[serde(rename = "origin")]
    _origin: Option<IgnoredAny>,
    #[serde(rename = "changed_at_run_time")]
    _changed_at_run_time: Option<IgnoredAny>,
}

impl From<Received> for RuleSpec {
    fn from(received: Received) -> Self {
        let Received { name, description, enabled, stall_after, matcher, output, .. } = received;
        Self { name, description, enabled, stall_after, matcher, output }
    }
}

/// `match = { ... }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchSpec {
    /// Ingress interface; empty is missing.
    #[serde(default)]
    pub interface: String,
    /// Group or group prefix; empty is missing.
    #[serde(default)]
    pub group: String,
    /// A port or a range such as `5001-5050`; left out: any port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Scalar>,
    /// Source or source prefix; left out: any source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// VLAN ID; left out: untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Scalar>,
}

/// One of `output = [ ... ]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The user's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Egress interface; empty is missing.
    #[serde(default)]
    pub interface: String,
    /// New group or base; left out: the packet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// New port or base; left out: the packet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Scalar>,
    /// `interface`, `keep` or an address; left out: `interface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `decrement`, `keep` or a number; left out: `decrement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Scalar>,
    /// 0 to 63; left out: the packet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<Scalar>,
    /// `none`, `keep` or a VLAN ID; left out: `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Scalar>,
}

/// A value that may be typed as a number or as a string: `5001`, `"5001-5050"`, `"keep"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A bare number.
    Number(i64),
    /// A string; on the command line everything is one.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text}"),
        }
    }
}

/// A number that is none of [`Number`](Scalar::Number)'s is kept as its digits, to be refused with the rest.
impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Typed;
        impl Visitor<'_> for Typed {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a string")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(i64::try_from(number).map_or_else(|_| Scalar::Text(number.to_string()), Scalar::Number))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Text(number.to_string()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_any(Typed)
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl RuleSpec {
    /// The name it has when none was typed: `IF:GROUP:PORT[:SOURCE]`.
    pub fn default_name(interface: &str, group: Prefix, ports: Ports, source: Prefix) -> String {
        match source {
            Prefix::ANY => format!("{interface}:{group}:{ports}"),
            source => format!("{interface}:{group}:{ports}:{source}"),
        }
    }
}

/// What it takes to type `rule` again, with the defaults written out.
impl From<&Rule> for RuleSpec {
    fn from(rule: &Rule) -> Self {
        let matcher = &rule.matcher;
        Self {
            name: Some(rule.name.clone()),
            description: rule.description.clone(),
            enabled: (!rule.enabled).then_some(false),
            stall_after: rule.stall_after.map(|after| humantime::format_duration(after).to_string()),
            matcher: MatchSpec {
                interface: matcher.interface.clone(),
                group: matcher.group.to_string(),
                port: match matcher.ports {
                    Ports::Any => None,
                    Ports::Exact(port) => Some(Scalar::Number(port.into())),
                    range @ Ports::Range(..) => Some(Scalar::Text(range.to_string())),
                },
                source: (matcher.source != Prefix::ANY).then(|| matcher.source.to_string()),
                vlan: matcher.vlan.map(|id| Scalar::Number(id.into())),
            },
            output: rule.outputs.iter().map(OutputSpec::from).collect(),
        }
    }
}

impl From<&Output> for OutputSpec {
    fn from(output: &Output) -> Self {
        Self {
            name: output.name.clone(),
            interface: output.interface.clone(),
            group: output.group.map(|group| group.to_string()),
            port: output.port.map(|port| Scalar::Number(port.into())),
            source: Some(match output.source {
                Source::Interface => "interface".to_owned(),
                Source::Keep => "keep".to_owned(),
                Source::Address(address) => address.to_string(),
            }),
            ttl: Some(match output.ttl {
                Ttl::Decrement => "decrement".into(),
                Ttl::Keep => "keep".into(),
                Ttl::Set(ttl) => Scalar::Number(ttl.into()),
            }),
            dscp: output.dscp.map(|dscp| Scalar::Number(dscp.into())),
            vlan: Some(match output.vlan {
                Vlan::None => "none".into(),
                Vlan::Keep => "keep".into(),
                Vlan::Set(id) => Scalar::Number(id.into()),
            }),
        }
    }
}
