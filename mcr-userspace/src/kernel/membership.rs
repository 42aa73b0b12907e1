//! Memberships of the host itself: its kernel speaks IGMP, tells the NIC's filter, and drops them with this process.
//!
//! They are held by sockets on which nothing is ever queued: UDP sockets without a port, and packet sockets without a protocol. One
//! UDP socket may hold only so many (`net.ipv4.igmp_max_memberships`, 20 unless set), and of one group only so many sources
//! (`net.ipv4.igmp_max_msf`, 10), so there are as many sockets as that takes.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io, mem,
    net::Ipv4Addr,
    os::fd::{FromRawFd, OwnedFd},
};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

use super::sockopt;

/// What is asked of the kernel on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Membership {
    /// A group, whoever sends to it (RFC 3376, section 3.1: EXCLUDE of nobody).
    Group(Ipv4Addr),
    /// A group, as sent by one source (RFC 4607).
    Source {
        /// The group.
        group: Ipv4Addr,
        /// The source.
        source: Ipv4Addr,
    },
    /// Every group that reaches the interface: the NIC filters none, and no report is sent.
    All,
}

/// linux/in.h.
const MCAST_JOIN_SOURCE_GROUP: libc::c_int = 46;
const MCAST_LEAVE_SOURCE_GROUP: libc::c_int = 47;
/// linux/igmp.h: memberships of a socket, sources of a group, unless set.
const MAX_MEMBERSHIPS: (&str, usize) = ("/proc/sys/net/ipv4/igmp_max_memberships", 20);
const MAX_SOURCES: (&str, usize) = ("/proc/sys/net/ipv4/igmp_max_msf", 10);

/// linux/in.h, `struct group_source_req`.
#[repr(C)]
#[derive(Clone, Copy)]
struct GroupSourceReq {
    interface: u32,
    group: libc::sockaddr_storage,
    source: libc::sockaddr_storage,
}

/// The sockets that hold memberships; dropping it leaves all.
#[derive(Debug)]
pub struct Holders {
    max_memberships: usize,
    max_sources: usize,
    groups: Vec<Holder>,
    sources: Vec<Holder>,
    /// By interface index.
    all: HashMap<u32, OwnedFd>,
}

/// A UDP socket, and the sources of each (interface index, group) that it holds: none where it holds the whole group.
#[derive(Debug)]
struct Holder {
    socket: Socket,
    held: HashMap<(u32, Ipv4Addr), Vec<Ipv4Addr>>,
}

impl Default for Holders {
    /// Holds nothing yet.
    fn default() -> Self {
        let limit = |(path, default): (&str, usize)| {
            let set = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
            set.unwrap_or(default).max(1)
        };
        Self {
            max_memberships: limit(MAX_MEMBERSHIPS),
            max_sources: limit(MAX_SOURCES),
            groups: Vec::new(),
            sources: Vec::new(),
            all: HashMap::new(),
        }
    }
}

impl Holders {
    /// Joins what is not held yet.
    pub fn join(&mut self, ifindex: u32, membership: Membership) -> io::Result<()> {
        match membership {
            Membership::All => {
                self.all.insert(ifindex, all_multicast(ifindex)?);
            }
            Membership::Group(group) => {
                let most = self.max_memberships;
                let holder = with_room(&mut self.groups, |held| held.len() < most)?;
                holder.socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(ifindex))?;
                holder.held.insert((ifindex, group), Vec::new());
            }
            Membership::Source { group, source } => {
                let (most, most_sources, key) = (self.max_memberships, self.max_sources, (ifindex, group));
                let has_room = |held: &HashMap<_, Vec<_>>| match held.get(&key) {
                    Some(sources) => sources.len() < most_sources,
                    None => held.len() < most,
                };
                let holder = with_room(&mut self.sources, has_room)?;
                source_group(&holder.socket, MCAST_JOIN_SOURCE_GROUP, ifindex, group, source)?;
                holder.held.entry(key).or_default().push(source);
            }
        }
        Ok(())
    }

    /// Leaves all of these. A socket that holds nothing else is closed: the kernel leaves its groups in about half of the time.
    pub fn leave_all(&mut self, going: &BTreeSet<(u32, Membership)>) {
        self.groups.retain(|holder| {
            !holder.held.keys().all(|(ifindex, group)| going.contains(&(*ifindex, Membership::Group(*group))))
        });
        self.sources.retain(|holder| {
            let mut held = holder.held.iter().flat_map(|((ifindex, group), sources)| {
                sources.iter().map(|source| (*ifindex, Membership::Source { group: *group, source: *source }))
            });
            !held.all(|held| going.contains(&held))
        });
        for (ifindex, membership) in going {
            self.leave(*ifindex, *membership);
        }
    }

    /// Leaves what is held. That the kernel has let go of it already, with its interface, is as well.
    pub fn leave(&mut self, ifindex: u32, membership: Membership) {
        match membership {
            Membership::All => drop(self.all.remove(&ifindex)),
            Membership::Group(group) => {
                let key = (ifindex, group);
                let Some(holder) = self.groups.iter_mut().find(|holder| holder.held.contains_key(&key)) else { return };
                holder.leave_group(key);
                self.groups.retain(|holder| !holder.held.is_empty());
            }
            Membership::Source { group, source } => {
                let key = (ifindex, group);
                let holds = |holder: &&mut Holder| holder.held.get(&key).is_some_and(|held| held.contains(&source));
                let Some(holder) = self.sources.iter_mut().find(holds) else { return };
                match holder.held.get_mut(&key) {
                    Some(sources) if sources.len() > 1 => {
                        sources.retain(|held| *held != source);
                        said(key, source_group(&holder.socket, MCAST_LEAVE_SOURCE_GROUP, ifindex, group, source));
                    }
                    // The last one goes with the group. Without its interface the kernel would not let a source go, and the socket
                    // would have less room than it seems to have.
                    _ => holder.leave_group(key),
                }
                self.sources.retain(|holder| !holder.held.is_empty());
            }
        }
    }

    /// How many sockets hold something of each group on the interface: as many users of it has the kernel (/proc/net/igmp) from here.
    pub fn users(&self, ifindex: u32) -> HashMap<Ipv4Addr, usize> {
        let held = self.groups.iter().chain(&self.sources).flat_map(|holder| holder.held.keys());
        let mut users = HashMap::new();
        for (_, group) in held.filter(|(on, _)| *on == ifindex) {
            *users.entry(*group).or_default() += 1;
        }
        users
    }
}

impl Holder {
    /// Leaves a group with all of its sources; with an interface that is gone, too.
    fn leave_group(&mut self, (ifindex, group): (u32, Ipv4Addr)) {
        let left = self.socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(ifindex));
        said((ifindex, group), left);
        self.held.remove(&(ifindex, group));
    }
}

fn said((ifindex, group): (u32, Ipv4Addr), left: io::Result<()>) {
    if let Err(error) = left {
        log::debug!("leaving {group} on interface {ifindex}: {error}");
    }
}

/// A holder that `has_room`, a new one where none has.
fn with_room(
    holders: &mut Vec<Holder>,
    has_room: impl Fn(&HashMap<(u32, Ipv4Addr), Vec<Ipv4Addr>>) -> bool,
) -> io::Result<&mut Holder> {
    let at = match holders.iter().position(|holder| has_room(&holder.held)) {
        Some(at) => at,
        None => {
            // Unbound: no packet is ever for it.
            holders.push(Holder { socket: Socket::new(Domain::IPV4, Type::DGRAM, None)?, held: HashMap::new() });
            holders.len() - 1
        }
    };
    Ok(&mut holders[at])
}

fn source_group(
    socket: &Socket,
    option: libc::c_int,
    ifindex: u32,
    group: Ipv4Addr,
    source: Ipv4Addr,
) -> io::Result<()> {
    let request = GroupSourceReq { interface: ifindex, group: storage(group), source: storage(source) };
    sockopt::set(socket, libc::IPPROTO_IP, option, &request)
}

/// Joins a group on an interface as sent by one source, by any UDP socket.
///
/// # Errors
///
/// The socket has no room for more, or there is no such interface.
pub fn join_source(socket: &Socket, ifindex: u32, group: Ipv4Addr, source: Ipv4Addr) -> io::Result<()> {
    source_group(socket, MCAST_JOIN_SOURCE_GROUP, ifindex, group, source)
}

fn storage(address: Ipv4Addr) -> libc::sockaddr_storage {
    // SAFETY: integers: all zero is a value of it.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: a `sockaddr_storage` has room for, and the alignment of, any socket address.
    unsafe { std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>().write(address) };
    storage
}

/// A packet socket that receives nothing (protocol 0) and has the interface take every group; the kernel undoes it with the socket.
fn all_multicast(ifindex: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes three integers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let request = libc::packet_mreq {
        mr_ifindex: ifindex as libc::c_int,
        mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    sockopt::set(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)?;
    Ok(socket)
}
