//! Topologies as values: what namespaces, links and bridges there are is data; [`Topology::build`] makes them.

use std::{collections::BTreeMap, fmt::Write, thread::sleep, time::Duration};

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// The label of the namespace in which `mcrd` runs.
pub const RELAY: &str = "relay";
/// The label of the chain's sending end.
pub const GEN: &str = "gen";
/// The label of the chain's receiving end.
pub const SINK: &str = "sink";
/// The label of the namespace that holds the bridges.
pub const BRIDGES: &str = "bridges";

/// In hundredths of a second: until this has passed twice, a bridge that became querier floods (and ignores
/// permanent mdb entries). The kernel's default is ten seconds.
const RESPONSE_INTERVAL: u32 = 20;

/// What is to be built.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Labels of the namespaces.
    pub namespaces: Vec<String>,
    /// Bridges, by namespace label and name; they snoop, are querier, and do not flood.
    pub bridges: Vec<(String, String)>,
    /// Pairs of connected interfaces.
    pub links: Vec<Link>,
    /// Version of IGMP in which the bridges ask; the kernel's default where it is absent.
    pub igmp: Option<u8>,
}

/// A veth pair.
#[derive(Clone, Debug)]
pub struct Link {
    /// Receive and transmit queues of each end.
    pub queues: u32,
    /// Its two ends.
    pub ends: [End; 2],
}

/// One end of a veth pair.
#[derive(Clone, Debug)]
pub struct End {
    /// Label of its namespace.
    pub namespace: String,
    /// Its name, at most 15 bytes, unique within its namespace only.
    pub name: String,
    /// What it is there.
    pub role: Role,
}

/// What an interface is in its namespace.
#[derive(Clone, Debug)]
pub enum Role {
    /// It has an IPv4 address, with prefix length; multicast is sent through it when `multicast` is set.
    Host {
        /// Address and prefix length: `10.1.0.1/24`.
        address: String,
        /// Whether the namespace's route for 224.0.0.0/4 leads here.
        multicast: bool,
    },
    /// It is a bridge's port.
    Port {
        /// The bridge's name.
        bridge: String,
        /// Whether groups that nobody asked for are flooded to it.
        flood: bool,
    },
}

impl End {
    /// An end with an address.
    pub fn host(namespace: &str, name: &str, address: impl Into<String>) -> Self {
        let role = Role::Host { address: address.into(), multicast: false };
        Self { namespace: namespace.into(), name: name.into(), role }
    }

    /// An end with an address, through which its namespace's multicast leaves.
    pub fn sender(namespace: &str, name: &str, address: impl Into<String>) -> Self {
        let role = Role::Host { address: address.into(), multicast: true };
        Self { namespace: namespace.into(), name: name.into(), role }
    }

    /// An end that is a port of `bridge` and is sent only what was asked for behind it.
    pub fn port(name: &str, bridge: &str) -> Self {
        let role = Role::Port { bridge: bridge.into(), flood: false };
        Self { namespace: BRIDGES.into(), name: name.into(), role }
    }
}

impl Topology {
    /// `gen (v0)-(v1) relay (v2)-(v3) sink`, each link with `queues` queues; v0 is 10.1.0.1, v1 10.1.0.2, v2 10.2.0.1
    /// and v3 10.2.0.2.
    pub fn chain(queues: u32) -> Self {
        Self::fan(queues, 1)
    }

    /// The [chain](Self::chain) with `outputs` links between relay and sink: v2-v3, v4-v5, v6-v7 and so on, with
    /// 10.2.0.1 and .2, 10.3.0.1 and .2, and so on.
    pub fn fan(queues: u32, outputs: u32) -> Self {
        let ingress = [End::sender(GEN, "v0", "10.1.0.1/24"), End::host(RELAY, "v1", "10.1.0.2/24")];
        let egress = (1..=outputs).map(|i| {
            let (near, far) = (format!("v{}", 2 * i), format!("v{}", 2 * i + 1));
            let net = i + 1;
            [End::host(RELAY, &near, format!("10.{net}.0.1/24")), End::host(SINK, &far, format!("10.{net}.0.2/24"))]
        });
        Self {
            namespaces: [GEN, RELAY, SINK].map(String::from).into(),
            links: std::iter::once(ingress).chain(egress).map(|ends| Link { queues, ends }).collect(),
            ..Self::default()
        }
    }

    /// The [fan](Self::fan) with a second ingress link w0-w1 between gen and relay, with 10.100.0.1 and .2.
    pub fn mesh(queues: u32, outputs: u32) -> Self {
        let mut mesh = Self::fan(queues, outputs);
        let ends = [End::host(GEN, "w0", "10.100.0.1/24"), End::host(RELAY, "w1", "10.100.0.2/24")];
        mesh.links.push(Link { queues, ends });
        mesh
    }

    /// `n` senders on br0, `n` receivers on br1, each in a namespace of its own (`s0`.., `r0`.., interface `e0`), and
    /// the relay between with v1 (10.1.0.1) on br0 and v2 (10.2.0.1) on br1. Sender i is 10.1.1.i + 1, receiver i
    /// 10.2.1.i + 1. The relay's links have `queues` queues.
    pub fn dual_bridge(n: u32, queues: u32) -> Self {
        let relay = [("v1", "10.1.0.1/16", "br0"), ("v2", "10.2.0.1/16", "br1")].map(|(name, address, bridge)| Link {
            queues,
            ends: [End::host(RELAY, name, address), End::port(name, bridge)],
        });
        let member = |letter: char, net: u32, bridge: &'static str| {
            (0..n).map(move |i| {
                let label = format!("{letter}{i}");
                let host = End::sender(&label, "e0", format!("10.{net}.1.{}/16", i + 1));
                Link { queues: 1, ends: [host, End::port(&label, bridge)] }
            })
        };
        Self {
            namespaces: [RELAY, BRIDGES]
                .map(String::from)
                .into_iter()
                .chain(['s', 'r'].into_iter().flat_map(|letter| (0..n).map(move |i| format!("{letter}{i}"))))
                .collect(),
            bridges: ["br0", "br1"].map(|name| (BRIDGES.to_owned(), name.to_owned())).into(),
            links: relay.into_iter().chain(member('s', 1, "br0")).chain(member('r', 2, "br1")).collect(),
            ..Self::default()
        }
    }

    /// Bridges that ask in this version of IGMP, 2 or 3, from their first query on.
    pub fn with_igmp(self, version: u8) -> Self {
        Self { igmp: Some(version), ..self }
    }

    /// Makes it; everything is up when this returns, and bridges have stopped flooding.
    pub fn build(&self) -> Result<Network> {
        let mut namespaces = BTreeMap::new();
        for label in &self.namespaces {
            namespaces.insert(label.clone(), Namespace::create(label)?);
        }
        let network = Network { namespaces };
        let mut created = Batches::default();
        let mut settled = Batches::default();
        for (namespace, name) in &self.bridges {
            created.line(namespace, format_args!(
                "link add {name} type bridge forward_delay 0 mcast_snooping 1 mcast_query_response_interval {RESPONSE_INTERVAL}"
            ));
            if let Some(version) = self.igmp {
                created.line(namespace, format_args!("link set {name} type bridge mcast_igmp_version {version}"));
            }
            // Separately: within one request the kernel sets the querier, with the old interval, first.
            settled.line(namespace, format_args!("link set {name} type bridge mcast_querier 1"));
            settled.line(namespace, format_args!("link set {name} up"));
        }
        for Link { queues, ends: [a, b] } in &self.links {
            let peer = network.namespace(&b.namespace).name();
            created.line(
                &a.namespace,
                format_args!(
                    "link add {} numrxqueues {queues} numtxqueues {queues} type veth peer name {} numrxqueues {queues} \
                 numtxqueues {queues} netns {peer}",
                    a.name, b.name
                ),
            );
            for end in [a, b] {
                end.settle(&mut settled);
            }
        }
        created.run(&network)?;
        settled.run(&network)?;
        if !self.bridges.is_empty() {
            sleep(Duration::from_millis(u64::from(RESPONSE_INTERVAL) * 10 * 2));
        }
        Ok(network)
    }
}

impl End {
    fn settle(&self, batches: &mut Batches) {
        let Self { namespace, name, role } = self;
        match role {
            Role::Host { address, .. } => batches.line(namespace, format_args!("addr add {address} dev {name}")),
            Role::Port { bridge, flood } => {
                let flood = if *flood { "on" } else { "off" };
                batches.line(namespace, format_args!("link set {name} master {bridge}"));
                batches.line(namespace, format_args!("link set {name} type bridge_slave mcast_flood {flood}"));
            }
        }
        batches.line(namespace, format_args!("link set {name} up"));
        if let Role::Host { multicast: true, .. } = role {
            batches.line(namespace, format_args!("route add 224.0.0.0/4 dev {name}"));
        }
    }
}

/// Lines for `ip -batch`, by namespace label.
#[derive(Default)]
struct Batches(BTreeMap<String, String>);

impl Batches {
    fn line(&mut self, namespace: &str, line: std::fmt::Arguments<'_>) {
        let text = self.0.entry(namespace.to_owned()).or_default();
        writeln!(text, "{line}").expect("a String takes everything");
    }

    fn run(&self, network: &Network) -> Result<()> {
        for (label, lines) in &self.0 {
            network.namespace(label).ip_batch(lines).with_context(|| format!("cannot set up {label}"))?;
        }
        Ok(())
    }
}

/// A topology that stands; dropping it takes it down, with every process inside.
#[derive(Debug)]
pub struct Network {
    namespaces: BTreeMap<String, Namespace>,
}

impl Network {
    /// A namespace by its label.
    ///
    /// # Panics
    /// When the topology has none of that label.
    pub fn namespace(&self, label: &str) -> &Namespace {
        self.namespaces.get(label).unwrap_or_else(|| panic!("the topology has no namespace {label:?}"))
    }

    /// Feeds `ip -batch` in the namespace of this label with `lines`; `@label` in them stands for a namespace's name.
    pub fn ip(&self, label: &str, lines: &str) -> Result<()> {
        let named = self
            .namespaces
            .iter()
            .fold(lines.to_owned(), |lines, (label, namespace)| lines.replace(&format!("@{label}"), namespace.name()));
        self.namespace(label).ip_batch(&named)
    }

    /// Where `mcrd` runs.
    pub fn relay(&self) -> &Namespace {
        self.namespace(RELAY)
    }
}
