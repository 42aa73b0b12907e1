//! Whatever connects to the metrics: packets are forwarded, and a scrape is answered.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Daemon,
    deadline::SOON,
    needs_root,
    netns::Namespace,
    probe::{Load, Share},
    rules,
    topology::{GEN, Network, SINK, Topology},
};

const ADDRESS: &str = "127.0.0.1:9469";
const LOAD: Load = Load { first: rules::SENT, streams: 2, rate: 2_000, size: 256, seconds: 1 };
/// Connections at once.
const MANY: usize = 1_000;

fn start() -> Result<(Network, Daemon)> {
    let network = Topology::chain(1).build()?;
    let config = rules::file(&rules::streams(2, "v1", "v2"));
    let daemon = Daemon::start(network.relay(), &config, &["--metrics-listen", ADDRESS])?;
    Ok((network, daemon))
}

fn connect(namespace: &Namespace) -> Result<TcpStream> {
    let address: SocketAddr = ADDRESS.parse()?;
    let stream = namespace.enter(|| Ok(TcpStream::connect_timeout(&address, SOON)?)).context("connecting")?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// All of the answer to `request`, to the connection's end.
fn ask(namespace: &Namespace, request: &str) -> Result<String> {
    let mut stream = connect(namespace)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("no whole answer to {request:?}"))?;
    Ok(String::from_utf8(answer)?)
}

fn scrape(namespace: &Namespace) -> Result<String> {
    let answer = ask(
        namespace,
        "GET /metrics HTTP/1.1\r\nHost: relay\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n",
    )?;
    ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("# EOF\n"), "{answer}");
    Ok(answer)
}

#[test]
fn no_request_ends_the_daemon() -> Result<()> {
    needs_root!();
    let (network, daemon) = start()?;
    for path in ["/", "/metrics"] {
        for headers in [
            "Content-Length: 1000000000000000",
            "Content-Length: 18446744073709551615",
            "Content-Length: 1000000000000000\r\nExpect: 100-continue",
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff",
            "Content-Length: -1",
            "Content-Length: 5\r\nContent-Length: 1000000000000000",
        ] {
            for method in ["GET", "POST"] {
                let request =
                    format!("{method} {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n{headers}\r\n\r\n");
                let answer = ask(network.relay(), &request)?;
                ensure!(answer.starts_with("HTTP/1.1 "), "{request:?} got {answer:?}");
            }
        }
    }
    scrape(network.relay())?;
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    assert_eq!(daemon.stop()?.sent, LOAD.packets());
    Ok(())
}

#[test]
fn what_is_answered() -> Result<()> {
    needs_root!();
    let (network, daemon) = start()?;
    for (request, status, is_whole) in [
        ("GET /metrics", 200, true),
        ("GET /metrics?x=y", 200, true),
        ("GET http://relay/metrics", 200, true),
        ("HEAD /metrics", 200, false),
        ("HEAD /metrics?a=b&c", 200, false),
        ("GET /healthz", 200, false),
        ("HEAD /healthz", 200, false),
        ("GET /", 404, false),
        ("GET /metrics/more", 404, false),
        ("POST /metrics", 405, false),
        ("POST /healthz", 405, false),
        ("DELETE /metrics", 405, false),
    ] {
        for version in ["1.0", "1.1"] {
            let headers = "Host: relay\r\nAccept: application/openmetrics-text\r\nConnection: close";
            let answer = ask(network.relay(), &format!("{request} HTTP/{version}\r\n{headers}\r\n\r\n"))?;
            let found = answer.split(' ').nth(1).context("no status")?;
            assert_eq!(found, status.to_string(), "{request}: {answer}");
            assert_eq!(answer.contains("# EOF"), is_whole, "{request}: {answer}");
            assert_eq!(
                answer.to_lowercase().contains("\r\nallow: get, head\r\n"),
                status == 405,
                "{request}: {answer}"
            );
            ensure!(status != 404 || answer.contains("/metrics"), "{request}: {answer}");
        }
    }
    // Who has sent all that it will send gets its answer too.
    let mut half = connect(network.relay())?;
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nAccept: application/openmetrics-text\r\n\r\n")?;
    half.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    half.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("# EOF\n"), "{answer}");
    daemon.stop()?;
    Ok(())
}

/// A kind of hostile client: it does its worst on one connection, as far as that goes, and leaves it open.
type Hostile = fn(&mut TcpStream) -> std::io::Result<()>;

const HOSTILES: [(&str, Hostile); 9] = [
    ("says nothing", |_| Ok(())),
    ("begins", |stream| stream.write_all(b"GET /metr")),
    ("announces a body", |stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000\r\n\r\n")
    }),
    ("has a header without an end", |stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nA: ")?;
        (0..64).try_for_each(|_| stream.write_all(&[b'a'; 16 << 10]))
    }),
    ("has headers without an end", |stream| {
        stream.write_all(b"GET / HTTP/1.1\r\n")?;
        (0..10_000).try_for_each(|i| stream.write_all(format!("A{i}: b\r\n").as_bytes()))
    }),
    ("never reads", |stream| stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")),
    ("asks all at once", |stream| {
        (0..1_000).try_for_each(|_| stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"))
    }),
    ("speaks another language", |stream| stream.write_all(&[0x16, 3, 1, 0xff, 0xff, 0, 0, 0, 0])),
    ("has ended half", |stream| {
        stream.write_all(b"GET /metrics HTTP/1.1\r\n")?;
        stream.shutdown(Shutdown::Write)
    }),
];

#[test]
fn among_a_thousand_hostile_clients_a_scrape_is_answered_and_packets_cross() -> Result<()> {
    needs_root!();
    allow_descriptors()?;
    let (network, daemon) = start()?;
    scrape(network.relay())?;
    let before = resident(&daemon)?;
    let mut open = Vec::new();
    for i in 0..MANY {
        let mut stream = connect(network.relay())?;
        // What is refused in the middle ends in an error here.
        let _ = HOSTILES[i % HOSTILES.len()].1(&mut stream);
        open.push(stream);
        if i % 50 == 49 {
            scrape(network.relay()).with_context(|| format!("beside {i} clients"))?;
        }
    }
    for (name, hostile) in HOSTILES {
        let mut alike = Vec::new();
        for _ in 0..300 {
            let mut stream = connect(network.relay())?;
            let _ = hostile(&mut stream);
            alike.push(stream);
        }
        scrape(network.relay()).with_context(|| format!("beside 300 clients of which each {name}"))?;
    }
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    let grown = resident(&daemon)?.saturating_sub(before);
    ensure!(grown < 64 << 10, "{grown} KiB more than before");
    drop(open);
    scrape(network.relay())?;
    assert_eq!(daemon.stop()?.sent, LOAD.packets());
    Ok(())
}

/// Resident memory, in KiB.
fn resident(daemon: &Daemon) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// This process holds the clients' ends.
fn allow_descriptors() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one valid `rlimit`, which the calls write and read.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
    };
    ensure!(result == 0 && limit.rlim_cur > 4 * MANY as u64, "{} descriptors are too few", limit.rlim_cur);
    Ok(())
}

/// Outputs that differ in their tag or name alone are series of their own, and bytes belong to packets while these pass.
#[test]
fn each_output_is_a_series_and_bytes_go_with_packets() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let config = r#"
        [[rule]]
        name = "feed"
        match = { interface = "v1", group = "239.1.1.1", port = 5001 }
        output = [
          { interface = "v2", group = "239.10.1.1", port = 6001 },
          { interface = "v2", group = "239.10.1.1", port = 6001, vlan = 100 },
          { interface = "v2", group = "239.10.1.1", port = 6001, vlan = "keep" },
          { interface = "v2", group = "239.10.1.1", port = 6001, vlan = 200, name = "spare" },
        ]"#;
    let daemon = Daemon::start(network.relay(), config, &["--metrics-listen", ADDRESS])?;
    let load = Load { streams: 1, rate: 20_000, seconds: 4, ..LOAD };
    let receiver = load.receive(network.namespace(SINK), "v3", rules::RECEIVED, Share::Many)?;
    let sender = load.send(network.namespace(GEN), "v0", Share::Many)?;
    let mut moved = BTreeSet::new();
    while sender.running()? {
        let text = scrape(network.relay())?;
        let value = |series: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(series)).with_context(|| text.clone())?;
            Ok(line.trim().parse()?)
        };
        let packets = value(r#"mcr_rule_matched_packets_total{rule="feed"}"#)?;
        let bytes = value(r#"mcr_rule_matched_bytes_total{rule="feed"}"#)?;
        assert_eq!(bytes, packets * u64::from(load.size), "{packets} packets");
        moved.insert(packets);
        thread::sleep(Duration::from_millis(5));
    }
    ensure!(moved.len() > 10, "it was not looked at under traffic: {moved:?}");
    load.sent(sender)?;
    drop(receiver);
    daemon.stats_at_rest()?;
    let text = scrape(network.relay())?;
    for (output, vlan) in [("1", "none"), ("2", "100"), ("3", "keep"), ("spare", "200")] {
        let series = format!(
            r#"mcr_output_sent_packets_total{{rule="feed",output="{output}",interface="v2",group="239.10.1.1",port="6001",vlan="{vlan}"}} {}"#,
            load.packets()
        );
        ensure!(text.contains(&series), "no {series}\n{text}");
    }
    let series: Vec<&str> = text.lines().filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series)).collect();
    let series: Vec<&str> = series.into_iter().filter(|series| series.starts_with("mcr_")).collect();
    assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len(), "a series twice:\n{text}");
    daemon.stop()?;
    Ok(())
}
