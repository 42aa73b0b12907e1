//! From start to end.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    budget::auto_limit,
    cpus::Cpus,
    fleet::{FAILED, Fleet},
    interfaces::{Interfaces, Role},
    logger::print_last,
    members::Members,
    metrics,
    options::Options,
    origin::Origins,
    privileges,
    report::final_line,
    retire::Shared,
    signals::{Asked, Signals, Wish, go_on},
    slots::Slots,
    state::{State, Totals},
    survey::{Seen, read_nic},
};
use crate::{
    control::{
        peer::Peer,
        protocol::{Reload, Response},
        server::Server,
    },
    kernel::{self, descriptors, events::Events, flows::Flows, nic::Nic, program::Program},
    memory,
    rules::set::{Change, RuleSet},
};

/// How long changes of interfaces are waited for that come with the first.
const TOGETHER: Duration = Duration::from_millis(5);

/// Rules entered at the start between two looks at whether it is to go on.
const RULES_AT_ONCE: usize = 100;
/// Between attempts to hear of changes after one that failed.
const LATER: Duration = Duration::from_secs(1);

/// Runs the daemon until it is asked to end.
///
/// # Errors
///
/// It could not start, or not keep running.
pub fn run(options: Options, signals: &Signals) -> anyhow::Result<()> {
    memory::map_large_blocks();
    descriptors::raise_limit();
    descriptors::suffice()?;
    kernel::prepare().context("opening the sockets by which the kernel is asked")?;
    privileges::check(&options.config)?;
    signals.begin();
    let server = Server::bind(&options.config.daemon.control_socket)?;
    let metrics = options.config.daemon.metrics_listen.map(metrics::listen).transpose()?;
    let state = match start(options) {
        Err(error) if error.is::<Asked>() => {
            print_last(final_of_nothing());
            return Ok(());
        }
        state => state?,
    };
    let shared = Arc::new(Shared::new(state));
    memory::give_back();
    let ended = Arc::new(AtomicBool::new(false));
    let caretaker = {
        let (shared, ended) = (shared.clone(), ended.clone());
        thread::Builder::new().name("mcr-caretaker".into()).spawn(move || shared.care(&ended))?
    };
    if let Some(metrics) = metrics {
        metrics::serve(metrics, shared.clone())?;
    }
    watch(&shared)?;
    let reload = reloader(&shared)?;
    let serving = server.serve(shared.clone());
    log_ready(&shared.lock());

    while signals.next() == Wish::Reload {
        // One that waits reads the file after this moment, and so for this signal too.
        let _ = reload.try_send(());
    }
    serving.stop();
    shared.end(&ended);
    if caretaker.join().is_err() {
        log::error!("the caretaker ended in a panic; its message stands above");
    }
    print_last(final_line(&stop(&shared)?));
    anyhow::ensure!(!FAILED.load(SeqCst), "a worker ended in a panic");
    Ok(())
}

/// The last line of a daemon that was asked to end before it had begun.
pub fn final_of_nothing() -> String {
    final_line(&Totals::default())
}

/// A thread that reloads the file when it is asked to: the file may be slow, and signals must be heard meanwhile.
fn reloader(shared: &Arc<Shared>) -> anyhow::Result<SyncSender<()>> {
    let (ask, asked) = sync_channel(1);
    let shared = shared.clone();
    thread::Builder::new().name("mcr-reload".into()).spawn(move || asked.iter().for_each(|()| reload(&shared)))?;
    Ok(ask)
}

/// Has the caretaker look around whenever the kernel tells that an interface or an address has changed.
fn watch(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let events = Events::listen().context("listening for changes of interfaces (netlink)")?;
    let shared = Arc::downgrade(shared);
    thread::Builder::new().name("mcr-events".into()).spawn(move || {
        let mut failed = false;
        loop {
            let heard = events.wait().and_then(|()| {
                // A change is told in several messages.
                thread::sleep(TOGETHER);
                events.drain()
            });
            if let Err(error) = &heard {
                if !failed {
                    log::error!("changes of interfaces are found by looking for now: netlink: {error}");
                }
                thread::sleep(LATER);
            }
            failed = heard.is_err();
            let Some(shared) = shared.upgrade() else { break };
            shared.has_changed();
        }
    })?;
    Ok(())
}

fn log_ready(state: &State) {
    let (rules, socket) = (state.set.len(), state.options.config.daemon.control_socket.display());
    log::info!("ready: {rules} rule{}, control socket {socket}", if rules == 1 { "" } else { "s" });
}

/// Loads the program, attaches the interfaces that are there, and enters the file's rules.
fn start(mut options: Options) -> anyhow::Result<State> {
    // From here on the set is the truth.
    let rules = std::mem::take(&mut options.config.rules);
    let config = &options.config;
    let set = RuleSet::build(config.limits.rules, rules)
        .map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(|(_, problem)| problem.to_string()).collect();
            anyhow::anyhow!(lines.join("\n"))
        })?
        .set;
    let demanded = demanded_interfaces(&options)?;
    let known = known_interfaces(&set, &demanded);
    let egress = known.iter().filter(|(_, role)| *role == Role::Egress);
    let workers = match config.datapath.workers {
        Some(workers) => workers.get(),
        None => {
            let cpus = Cpus::ask().context("asking which CPUs mcrd may run on")?;
            egress.map(|(nic, _)| nic.tx_queues).min().unwrap_or(1).min(cpus.workers(config.datapath.profile))
        }
    };
    let slots = Slots::total(config.limits.rules);
    let (program, maps) = Program::load(slots, config.limits.rules)?;
    let mut state = State {
        started: Instant::now(),
        workers,
        frames_limit: config.limits.frames.unwrap_or_else(|| auto_limit(workers)),
        program,
        flows: Flows::new(maps),
        fleet: None,
        interfaces: Interfaces::default(),
        doubts: Default::default(),
        offloads: Default::default(),
        members: Members::new(&options.config.interfaces),
        others: Default::default(),
        told: Default::default(),
        live: Default::default(),
        retiring: Vec::new(),
        leaving: Vec::new(),
        watch: Default::default(),
        slots_are_short: false,
        slots: Slots::new(config.limits.rules),
        gone: Totals::default(),
        lineages: 0,
        captures: Default::default(),
        journal: Default::default(),
        origins: Origins::of_file(set.iter().cloned()),
        unconfirmed: None,
        set,
        options,
    };
    state.attach_demanded(&demanded, &known)?;
    let rules: Vec<Change> = state.set.iter().cloned().map(Change::Add).collect();
    let mut seen = Seen::default();
    for some in rules.chunks(RULES_AT_ONCE) {
        go_on()?;
        state.apply_seen(some, &mut seen).iter().for_each(|warning| log::warn!("{warning}"));
    }
    // From now on each new interface gets a part of the frames that are left.
    state.fleet.iter_mut().for_each(|fleet| fleet.known = None);
    if state.interfaces.iter().next().is_none() {
        log::info!("no interface yet: each is attached with the first rule that names it");
    }
    Ok(state)
}

/// The interfaces that flags name: they must be there, and be of use.
fn demanded_interfaces(options: &Options) -> anyhow::Result<Vec<(Nic, Role)>> {
    let ingress = options.iface_in.iter().map(|name| (name, Role::Ingress));
    let all = ingress.chain(options.iface_out.iter().map(|name| (name, Role::Egress)));
    all.map(|(name, role)| Ok((read_nic(name)?, role))).collect()
}

/// Those, and the interfaces of rules that are there.
fn known_interfaces(set: &RuleSet, demanded: &[(Nic, Role)]) -> Vec<(Nic, Role)> {
    let mut known: Vec<(Nic, Role)> = demanded.to_vec();
    let mut asked: HashSet<(&str, bool)> = HashSet::new();
    for rule in set.iter().filter(|rule| rule.enabled) {
        for (at, name) in rule.interfaces().enumerate() {
            let role = if at == 0 { Role::Ingress } else { Role::Egress };
            let is_known = || known.iter().any(|(nic, of)| nic.name == *name && *of == role);
            if asked.insert((name, at == 0))
                && !is_known()
                && let Ok(nic) = Nic::read(name)
            {
                known.push((nic, role));
            }
        }
    }
    // An interface that is both begins with the role that needs more.
    known.sort_by_key(|(_, role)| *role == Role::Egress);
    known
}

fn reload(shared: &Shared) {
    if let Response::Reloaded(reloaded) = shared.reload(&Reload::default(), &Peer::signal("SIGHUP")) {
        reloaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    }
}

/// Stops taking packets, lets workers finish, detaches, and adds up.
fn stop(shared: &Shared) -> anyhow::Result<Totals> {
    shared.lock().flows.close().context("letting the program pass everything on")?;
    shared.settle();
    let mut guard = shared.lock();
    let state = &mut *guard;
    let sockets = state.fleet.as_mut().map(Fleet::stop);
    // Some drivers reset the link when the program goes: nothing is under way any more. The sockets are closed last.
    state.interfaces.detach_all(&mut state.program);
    state.offloads.restore_all();
    drop(sockets);
    let totals = state.totals();
    // Whoever still waits for the state, with a slow file or a slow client, changes nothing any more.
    std::mem::forget(guard);
    Ok(totals)
}
