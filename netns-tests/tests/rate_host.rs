//! What is left to the host, and to the daemon's own threads, where workers have more to do than their CPUs can carry.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    account::trials,
    connection::Connection,
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::{Load, Share},
    process::Process,
    rules,
    topology::{GEN, Network, SINK, Topology},
};
use nix::sys::signal::Signal;
use serde_json::json;

/// From two senders, more than two CPUs carry with eight outputs; it is ended before its time.
const FLOOD: Load = Load { first: rules::SENT, streams: 50, rate: 400_000, size: 256, seconds: 120 };
/// Times that something is asked.
const ASKED: usize = 15;
/// Within it the host answers.
const SECOND: Duration = Duration::from_secs(1);
/// Within it a daemon that has one CPU does.
const TENTH: Duration = Duration::from_millis(100);
/// Percent of a CPU that workers leave.
const RESERVE: f64 = 5.0;

/// One rule with eight outputs on v2 for all streams of the flood.
fn fan() -> String {
    let mut text = String::from(
        "[[rule]]\nname = \"fan\"\nmatch = { interface = \"v1\", group = \"239.1.1.0/24\", port = \"5001-5050\" }\noutput = [\n",
    );
    for k in 1..=8 {
        writeln!(text, "  {{ interface = \"v2\", group = \"239.10.{k}.0\", port = 6001 }},").expect("a String");
    }
    text + "]\n"
}

/// The median of how long something takes.
fn median(mut what: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let begun = Instant::now();
        what()?;
        times.push(begun.elapsed());
    }
    times.sort();
    eprintln!("{times:?}");
    Ok(times[ASKED / 2])
}

/// A flood that is on, from as many senders as there are CPUs.
fn flood(network: &Network) -> Result<Vec<Process>> {
    // Far ends that drop what comes at once.
    network
        .namespace(SINK)
        .ip_batch("link add drop type bridge\nlink set v3 master drop\nlink set v3 type bridge_slave state 0\n")?;
    (0..2).map(|_| FLOOD.send(network.namespace(GEN), "v0", Share::Many)).collect()
}

/// Packets after which a flood is in full flow.
const IN_FLOW: u64 = 100_000;

/// Waits until the flood is in full flow. The senders share the CPUs with the workers, which go before them: whether packets are lost
/// follows from how the two happen to be scheduled.
fn is_in_flow(daemon: &Daemon) -> Result<()> {
    until("the flood", SOON, || Ok((daemon.stats()?.totals.matched_packets > IN_FLOW).then_some(())))
}

/// CPU time that a process has had, `/proc/PID/schedstat`.
fn cpu_time(process: &Process) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{}/schedstat", process.pid()))?;
    Ok(Duration::from_nanos(text.split_whitespace().next().context("no time")?.parse()?))
}

/// With a worker on every CPU, a TCP connection and `mcrctl status` are answered, and who has to work gets the reserve.
#[test]
fn the_host_answers_while_workers_have_too_much_to_do() -> Result<()> {
    needs_root!();
    for profile in ["efficient", "low-latency"] {
        trials(|| overload(profile))?;
    }
    Ok(())
}

/// What was late, in words.
fn overload(profile: &str) -> Result<Vec<String>> {
    let network = Topology::chain(2).build()?;
    let flags = ["--workers", "2", "--profile", profile];
    let daemon = Daemon::start(network.relay(), &fan(), &flags)?;
    let echo = Process::spawn(network.relay().command("socat").args(["TCP-LISTEN:7777,fork,reuseaddr", "EXEC:cat"]))?;
    let senders = flood(&network)?;
    is_in_flow(&daemon)?;
    let hogs = ["0", "1"]
        .map(|cpu| Process::spawn(Command::new("taskset").args(["-c", cpu, "sh", "-c", "while :; do :; done"])));
    let hogs = hogs.into_iter().collect::<Result<Vec<_>>>()?;

    let begun = Instant::now();
    let status = median(|| daemon.done(&["status"]).map(drop))?;
    let tcp = median(|| {
        network.namespace(GEN).enter(|| {
            let mut stream = TcpStream::connect("10.1.0.2:7777")?;
            stream.set_read_timeout(Some(SOON))?;
            stream.write_all(b"hello\n")?;
            let mut answer = [0; 6];
            stream.read_exact(&mut answer)?;
            ensure!(&answer == b"hello\n", "{answer:?}");
            Ok(())
        })
    })?;
    sleep(SECOND);
    let passed = begun.elapsed();
    let had = hogs.iter().map(cpu_time).collect::<Result<Vec<_>>>()?;
    drop((hogs, echo));
    senders.iter().try_for_each(|sender| sender.signal(Signal::SIGINT))?;
    for sender in senders {
        FLOOD.sent(sender)?;
    }
    ledger::check(&daemon.stats_at_rest()?, Deleted::None)?;

    let mut late = Vec::new();
    for (what, took) in [("mcrctl status", status), ("a TCP echo", tcp)] {
        if took > SECOND {
            late.push(format!("{profile}: {what} took {took:?}"));
        }
    }
    let percent = 100.0 * had.iter().sum::<Duration>().as_secs_f64() / passed.as_secs_f64() / 2.0;
    eprintln!("{profile}: status {status:?}, TCP {tcp:?}, busy programs had {percent:.1} % of the CPUs");
    if percent < RESERVE / 2.0 {
        late.push(format!("{profile}: busy programs had {percent:.1} % of the CPUs, not {RESERVE}"));
    }
    daemon.stop()?;
    Ok(late)
}

/// A daemon that is asked to spin and has one CPU answers within a tenth of a second, at rest and under 20,000 packets a second, of
/// which it loses none.
#[test]
fn one_cpu_is_enough_for_an_answer() -> Result<()> {
    needs_root!();
    trials(|| {
        let load = Load { first: rules::SENT, streams: 50, rate: 20_000, size: 256, seconds: 4 };
        let network = Topology::chain(2).build()?;
        let files = Files::new(&rules::file(&rules::streams(load.streams, "v1", "v2")))?;
        let words = ["taskset", "-c", "1"];
        let daemon = Daemon::start_by(&words, files, network.relay(), &["--profile", "low-latency"])?;
        let mut connection = Connection::open(&daemon)?;
        let mut answer = || {
            median(|| {
                let answer = connection.ask(&json!({"command": "status"}))?;
                ensure!(answer["status"]["rules"] == load.streams, "{answer}");
                Ok(())
            })
        };
        let at_rest = answer()?;
        let sender = load.send(network.namespace(GEN), "v0", Share::Many)?;
        until("packets", SOON, || Ok((daemon.stats()?.totals.matched_packets > 0).then_some(())))?;
        let busy = answer()?;
        let sent = load.sent(sender)?;
        let stats = daemon.stats_at_rest()?;
        ledger::check(&stats, Deleted::None)?;
        ensure!(stats.totals.sent_packets == stats.totals.matched_packets, "{stats:?}");
        eprintln!("{sent:?}; answers after {at_rest:?} and {busy:?}");
        daemon.stop()?;
        let late = [("at rest", at_rest), ("busy", busy)].into_iter().filter(|(_, took)| *took > TENTH);
        Ok(late.map(|(when, took)| format!("{when} it answers after {took:?}")).collect())
    })
}
