//! The request to capture packets of rules, and its answer.

use serde::{Deserialize, Serialize};

/// Bytes of the longest packet that can be captured.
pub const MAX_SNAPLEN: u32 = 65_535;

/// Where packets are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// As they came in.
    In,
    /// As each output sent them.
    Out,
    /// What was dropped, with its reason.
    Dropped,
}

impl Point {
    /// All points.
    pub const ALL: [Self; 3] = [Self::In, Self::Out, Self::Dropped];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Dropped => "dropped",
        }
    }
}

/// What is to be captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureSpec {
    /// Names of rules, or patterns of names; at least one.
    pub rules: Vec<String>,
    /// Where; nowhere means at all points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
    /// End after so many packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// End after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// At most so many bytes of each packet; 0 or left out: whole packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snaplen: Option<u32>,
}

/// The answer, after which the connection carries the capture and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capturing {
    /// Its number.
    pub id: u64,
    /// The rules that are captured now.
    pub rules: Vec<String>,
    /// Where.
    pub points: Vec<Point>,
    /// At most so many bytes of each packet.
    pub snaplen: u32,
}
