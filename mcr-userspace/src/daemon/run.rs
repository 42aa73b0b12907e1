//! From start to end.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{
    budget::auto_limit,
    fleet::{FAILED, Fleet, allowed_cpus},
    interfaces::{Interfaces, Role},
    metrics,
    options::Options,
    report::final_line,
    retire::Shared,
    slots::Slots,
    state::{State, Totals},
    survey::read_nic,
};
use crate::{
    control::{protocol::Response, server::Server},
    kernel::{events::Events, flows::Flows, nic::Nic, program::Program},
    rules::set::{Change, RuleSet},
};

/// How long changes of interfaces are waited for that come with the first.
const TOGETHER: Duration = Duration::from_millis(5);

/// Runs the daemon until SIGTERM or SIGINT.
pub fn run(options: Options) -> anyhow::Result<()> {
    // Before anything is made: what arrives meanwhile is not lost.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("signals")?;
    allow_descriptors();
    let server = Server::bind(&options.config.daemon.control_socket)?;
    let metrics = options.config.daemon.metrics_listen.map(metrics::listen).transpose()?;
    let shared = Arc::new(Shared::new(start(options)?));
    give_memory_back();
    let ended = Arc::new(AtomicBool::new(false));
    let caretaker = {
        let (shared, ended) = (shared.clone(), ended.clone());
        thread::Builder::new().name("mcr-caretaker".into()).spawn(move || shared.care(&ended))?
    };
    if let Some(metrics) = metrics {
        metrics::serve(metrics, shared.clone())?;
    }
    watch(&shared)?;
    let serving = server.serve(shared.clone());
    log_ready(&shared.lock());

    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        reload(&shared);
    }
    serving.stop();
    shared.end(&ended);
    if caretaker.join().is_err() {
        log::error!("the caretaker ended in a panic; its message stands above");
    }
    println!("{}", final_line(&stop(&shared)?));
    anyhow::ensure!(!FAILED.load(SeqCst), "a worker ended in a panic");
    Ok(())
}

/// Memberships take a descriptor for each 20 groups, so as many as may be are allowed.
fn allow_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }) {
        log::debug!("the limit of open files stays {:?}: {error}", limit.current);
    }
}

/// Returns to the kernel what reading a file took: several times what its rules need to keep.
pub(super) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer, and touches only memory that nobody holds.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the caretaker look around whenever the kernel tells that an interface or an address has changed.
fn watch(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let events = Events::listen().context("listening for changes of interfaces (netlink)")?;
    let shared = Arc::downgrade(shared);
    thread::Builder::new().name("mcr-events".into()).spawn(move || {
        loop {
            let heard = events.wait().and_then(|()| {
                // A change is told in several messages.
                thread::sleep(TOGETHER);
                events.drain()
            });
            if let Err(error) = heard {
                log::error!("changes of interfaces are found by looking from now on: netlink: {error}");
                break;
            }
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
    let known = known_interfaces(&options, &set, &demanded);
    let egress = known.iter().filter(|(_, role)| *role == Role::Egress);
    let workers = match config.datapath.workers {
        Some(workers) => workers.get(),
        None => egress.map(|(nic, _)| nic.tx_queues).min().unwrap_or(1).min(allowed_cpus().len().max(1) as u32),
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
        offloads: Default::default(),
        members: Default::default(),
        others: Default::default(),
        live: Default::default(),
        retiring: Vec::new(),
        leaving: Vec::new(),
        watch: Default::default(),
        slots_are_short: false,
        slots: Slots::new(config.limits.rules),
        gone: Totals::default(),
        lineages: 0,
        set,
        options,
    };
    state.attach_demanded(&demanded, &known)?;
    let rules: Vec<Change> = state.set.iter().cloned().map(Change::Add).collect();
    for warning in state.apply_all(&rules) {
        log::warn!("{warning}");
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
fn known_interfaces(options: &Options, set: &RuleSet, demanded: &[(Nic, Role)]) -> Vec<(Nic, Role)> {
    let mut known: Vec<(Nic, Role)> = demanded.to_vec();
    let mut asked: HashSet<(&str, bool)> = HashSet::new();
    for rule in set.iter() {
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
    log::debug!("{} interfaces of {} rules and {} flags", known.len(), set.len(), options.iface_in.len());
    // An interface that is both begins with the role that needs more.
    known.sort_by_key(|(_, role)| *role == Role::Egress);
    known
}

fn reload(shared: &Shared) {
    let response = shared.lock().reload(false);
    shared.ring();
    match response {
        Response::Error { message, .. } => {
            message.lines().for_each(|line| log::error!("reload: {line}"));
            log::error!("reload: nothing was changed");
        }
        Response::Reloaded { warnings, .. } => warnings.iter().for_each(|warning| log::warn!("{warning}")),
        _ => {}
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
    Ok(state.totals())
}
