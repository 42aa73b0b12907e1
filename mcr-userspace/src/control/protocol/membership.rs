//! Memberships as answers have them.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// What the host is a member of, for rules' sake.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MembershipView {
    /// The rules' interface.
    pub interface: String,
    /// The rules' VLAN; `null` where that is none, and where it is every group.
    pub vlan: Option<u16>,
    /// The host's interface in that VLAN, on which it is joined; `null` where there is none.
    pub via: Option<String>,
    /// The group; `null` where it is every one.
    pub group: Option<Ipv4Addr>,
    /// The source; `null` where it is any.
    pub source: Option<Ipv4Addr>,
    /// `joined`, until no rule needs it; `allmulticast`, which takes in every group and asks for none; or `failed: ` and why.
    pub state: String,
}
