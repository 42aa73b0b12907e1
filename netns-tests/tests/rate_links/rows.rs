//! The table: each event, what undoes it, and what is so meanwhile.

use netns_tests::topology::{GEN, RELAY, SINK};

use crate::step::{
    AWAY,
    Step::{self, Ip, Run, Times},
};

/// A link event.
pub struct Row {
    /// What happens.
    pub name: &'static str,
    /// Makes it happen.
    pub breaks: &'static [Step],
    /// Where packets of rule `one` come in at gen and out at sink meanwhile.
    pub carries: &'static [Way],
    /// What begins the state of rule `one` meanwhile.
    pub state: &'static str,
    /// Undoes it; the touched pair has all that it needs when this is done.
    pub mends: &'static [Step],
    /// Whether only rule `one`'s egress is touched, so that rule `two`'s second output may lose nothing.
    pub egress_alone: bool,
}

/// From an end at gen to one at sink.
pub type Way = (&'static str, &'static str);

const NOTHING: &[Way] = &[];
const OWN: &[Way] = &[("w0", "w3")];
const ACTIVE: &str = "forwards";
const NO_INGRESS: &str = "waiting: no interface w1";
const NO_EGRESS: &str = "waiting: no interface w2";

const INGRESS_UP: &str = "addr add 10.100.0.2/24 dev w1\nlink set w1 up";
const EGRESS_UP: &str = "addr add 10.101.0.1/24 dev w2\nlink set w2 up";
const GEN_UP: Step = Ip(GEN, "addr add 10.100.0.1/24 dev w0\nlink set w0 up");
const SINK_UP: Step = Ip(SINK, "addr add 10.101.0.2/24 dev w3\nlink set w3 up");
const DELETE_INGRESS: Step = Ip(RELAY, "link del w1");
const DELETE_EGRESS: Step = Ip(RELAY, "link del w2");
const MAKE_INGRESS: Step =
    Ip(RELAY, "link add w1 numrxqueues 4 numtxqueues 4 type veth peer name w0 numrxqueues 4 numtxqueues 4 netns @gen");
const MAKE_EGRESS: Step =
    Ip(RELAY, "link add w2 numrxqueues 4 numtxqueues 4 type veth peer name w3 numrxqueues 4 numtxqueues 4 netns @sink");
const SWAP_INGRESS: Step = Ip(RELAY, "link set w1 name tmp\nlink set x1 name w1\nlink set tmp name x1");
const SWAP_EGRESS: Step = Ip(RELAY, "link set w2 name tmp\nlink set x2 name w2\nlink set tmp name x2");

/// Something happens at the ingress, and packets stop.
const fn ingress(name: &'static str, state: &'static str, breaks: &'static [Step], mends: &'static [Step]) -> Row {
    Row { name, breaks, carries: NOTHING, state, mends, egress_alone: false }
}

/// Something happens at the egress, and packets stop.
const fn egress(name: &'static str, state: &'static str, breaks: &'static [Step], mends: &'static [Step]) -> Row {
    Row { name, breaks, carries: NOTHING, state, mends, egress_alone: true }
}

impl Row {
    /// Meanwhile packets take this way.
    const fn carries(mut self, way: &'static [Way]) -> Self {
        self.carries = way;
        self
    }
}

/// All of it. Renaming an interface that is up needs Linux 6.2.
pub const ROWS: &[Row] = &[
    ingress("ingress down", ACTIVE, &[Ip(RELAY, "link set w1 down")], &[Ip(RELAY, "link set w1 up")]),
    egress("egress down", ACTIVE, &[Ip(RELAY, "link set w2 down")], &[Ip(RELAY, "link set w2 up")]),
    ingress("no carrier at the ingress", ACTIVE, &[Ip(GEN, "link set w0 down")], &[Ip(GEN, "link set w0 up")]),
    egress("no carrier at the egress", ACTIVE, &[Ip(SINK, "link set w3 down")], &[Ip(SINK, "link set w3 up")]),
    ingress(
        "ingress deleted and made again",
        NO_INGRESS,
        &[DELETE_INGRESS],
        &[MAKE_INGRESS, GEN_UP, Ip(RELAY, INGRESS_UP)],
    ),
    egress("egress deleted and made again", NO_EGRESS, &[DELETE_EGRESS], &[MAKE_EGRESS, SINK_UP, Ip(RELAY, EGRESS_UP)]),
    ingress(
        "both deleted and made again",
        NO_INGRESS,
        &[Ip(RELAY, "link del w1\nlink del w2")],
        &[MAKE_EGRESS, MAKE_INGRESS, SINK_UP, GEN_UP, Ip(RELAY, EGRESS_UP), Ip(RELAY, INGRESS_UP)],
    ),
    ingress(
        "ingress deleted and made again ten times at once",
        ACTIVE,
        &[],
        &[Times(10, &[DELETE_INGRESS, MAKE_INGRESS, GEN_UP, Ip(RELAY, INGRESS_UP)])],
    )
    .carries(OWN),
    egress(
        "egress deleted and made again ten times at once",
        ACTIVE,
        &[],
        &[Times(10, &[DELETE_EGRESS, MAKE_EGRESS, SINK_UP, Ip(RELAY, EGRESS_UP)])],
    )
    .carries(OWN),
    ingress(
        "ingress made again with one queue",
        NO_INGRESS,
        &[DELETE_INGRESS],
        &[Ip(RELAY, "link add w1 type veth peer name w0 netns @gen"), GEN_UP, Ip(RELAY, INGRESS_UP)],
    ),
    ingress(
        "ingress made again with eight queues",
        NO_INGRESS,
        &[DELETE_INGRESS],
        &[
            Ip(
                RELAY,
                "link add w1 numrxqueues 8 numtxqueues 8 type veth peer name w0 numrxqueues 8 numtxqueues 8 netns @gen",
            ),
            GEN_UP,
            Ip(RELAY, INGRESS_UP),
        ],
    ),
    egress(
        "egress made again with two queues",
        NO_EGRESS,
        &[DELETE_EGRESS],
        &[
            Ip(
                RELAY,
                "link add w2 numrxqueues 2 numtxqueues 2 type veth peer name w3 numrxqueues 2 numtxqueues 2 netns @sink",
            ),
            SINK_UP,
            Ip(RELAY, EGRESS_UP),
        ],
    ),
    ingress(
        "ingress renamed and back",
        NO_INGRESS,
        &[Ip(RELAY, "link set w1 name y1")],
        &[Ip(RELAY, "link set y1 name w1")],
    ),
    egress(
        "egress renamed and back",
        NO_EGRESS,
        &[Ip(RELAY, "link set w2 name y2")],
        &[Ip(RELAY, "link set y2 name w2")],
    ),
    ingress("ingress swapped with another", ACTIVE, &[SWAP_INGRESS], &[SWAP_INGRESS]).carries(&[("x0", "w3")]),
    egress("egress swapped with another", ACTIVE, &[SWAP_EGRESS], &[SWAP_EGRESS]).carries(&[("w0", "x3")]),
    ingress(
        "ingress moved away and back",
        NO_INGRESS,
        &[Ip(RELAY, "link set w1 netns @away")],
        &[Ip(AWAY, "link set w1 netns @relay"), Ip(RELAY, INGRESS_UP)],
    ),
    egress(
        "egress moved away and back",
        NO_EGRESS,
        &[Ip(RELAY, "link set w2 netns @away")],
        &[Ip(AWAY, "link set w2 netns @relay"), Ip(RELAY, EGRESS_UP)],
    ),
    // Nothing that shows is another afterwards, not even the index.
    ingress(
        "ingress moved away and back ten times at once",
        ACTIVE,
        &[],
        &[
            Times(10, &[Ip(RELAY, "link set w1 netns @away"), Ip(AWAY, "link set w1 netns @relay")]),
            Ip(RELAY, INGRESS_UP),
        ],
    )
    .carries(OWN),
    egress(
        "egress moved away and back ten times at once",
        ACTIVE,
        &[],
        &[
            Times(10, &[Ip(RELAY, "link set w2 netns @away"), Ip(AWAY, "link set w2 netns @relay")]),
            Ip(RELAY, EGRESS_UP),
        ],
    )
    .carries(OWN),
    ingress(
        "ingress without its address",
        ACTIVE,
        &[Ip(RELAY, "addr del 10.100.0.2/24 dev w1")],
        &[Ip(RELAY, "addr add 10.100.0.2/24 dev w1")],
    )
    .carries(OWN),
    egress(
        "egress without its address",
        ACTIVE,
        &[Ip(RELAY, "addr del 10.101.0.1/24 dev w2")],
        &[Ip(RELAY, "addr add 10.101.0.1/24 dev w2")],
    ),
    egress(
        "egress with another address",
        ACTIVE,
        &[Ip(RELAY, "addr del 10.101.0.1/24 dev w2\naddr add 10.101.0.99/24 dev w2")],
        &[Ip(RELAY, "addr del 10.101.0.99/24 dev w2\naddr add 10.101.0.1/24 dev w2")],
    )
    .carries(OWN),
    ingress(
        "ingress with another MAC",
        ACTIVE,
        &[Ip(RELAY, "link set w1 address 02:00:00:00:01:01")],
        &[Ip(RELAY, "link set w1 address 02:00:00:00:01:02")],
    )
    .carries(OWN),
    egress(
        "egress with another MAC",
        ACTIVE,
        &[Ip(RELAY, "link set w2 address 02:00:00:00:02:01")],
        &[Ip(RELAY, "link set w2 address 02:00:00:00:02:02")],
    )
    .carries(OWN),
    ingress(
        "ingress with a small MTU",
        ACTIVE,
        &[Ip(RELAY, "link set w1 mtu 100")],
        &[Ip(RELAY, "link set w1 mtu 1500")],
    ),
    egress(
        "egress with a small MTU",
        ACTIVE,
        &[Ip(RELAY, "link set w2 mtu 100")],
        &[Ip(RELAY, "link set w2 mtu 1500")],
    ),
    ingress(
        "ingress promiscuous and allmulticast",
        ACTIVE,
        &[Ip(RELAY, "link set w1 promisc on\nlink set w1 allmulticast on")],
        &[Ip(RELAY, "link set w1 promisc off\nlink set w1 allmulticast off")],
    )
    .carries(OWN),
    ingress(
        "ingress a port of a bridge",
        ACTIVE,
        &[Ip(RELAY, "link add bridge0 type bridge\nlink set bridge0 up\nlink set w1 master bridge0")],
        &[Ip(RELAY, "link set w1 nomaster\nlink del bridge0")],
    )
    .carries(OWN),
    // Removing them again is refused while sockets are bound to them, so it gets its name when it has few.
    ingress(
        "queues added to the ingress",
        ACTIVE,
        &[
            DELETE_INGRESS,
            Ip(
                RELAY,
                "link add new numrxqueues 4 numtxqueues 4 type veth peer name w0 numrxqueues 4 numtxqueues 4 netns @gen",
            ),
            Run(RELAY, "ethtool -L new rx 2 tx 2"),
            Run(GEN, "ethtool -L w0 rx 2 tx 2"),
            GEN_UP,
            Ip(RELAY, "link set new name w1"),
            Ip(RELAY, INGRESS_UP),
        ],
        // XDP wants that no end sends on more queues than the other receives on.
        &[Run(RELAY, "ethtool -L w1 rx 4 tx 4"), Run(GEN, "ethtool -L w0 rx 4 tx 4")],
    )
    .carries(OWN),
];
