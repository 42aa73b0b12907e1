//! What monitoring reads: both text formats as other programs take them, alerts with their causes, and the state of mcrd's threads.

use std::{
    collections::BTreeSet, fs, io::Write, os::unix::net::UnixListener, path::Path, process::Command, thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::{Daemon, ctl},
    deadline::{SOON, until},
    http::get,
    needs_root,
    probe::{Load, Share},
    process::{feed, finish, run},
    prometheus::{Prometheus, promtool},
    rules,
    topology::{GEN, Network, Topology},
};
use serde_json::Value;

const MCRD: &str = "127.0.0.1:9469";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";
/// Python of the system, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

/// A rule whose name needs every escape, one that gets a stream, and one output that has a name.
const CONFIG: &str = r#"
[[rule]]
name = 'a"b\c'
match = { interface = "v1", group = "239.1.9.1", port = 5009 }
output = [{ interface = "v2" }, { interface = "v2", group = "239.10.9.1", name = "spare" }]

[[rule]]
name = "feed"
match = { interface = "v1", group = "239.1.1.1", port = 5001 }
output = [{ interface = "v2", group = "239.10.1.1" }]
"#;

fn metrics(network: &Network) -> Result<String> {
    Ok(get(network.relay(), MCRD, "/metrics", "")?.1)
}

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

#[test]
fn promtool_finds_nothing_and_pythons_parser_takes_it() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), CONFIG, &["--metrics-listen", ":9469"])?;
    let load = Load { first: rules::SENT, streams: 1, rate: 1_000, size: 256, seconds: 1 };
    load.sent(load.send(network.namespace(GEN), "v0", Share::Many)?)?;
    daemon.stats_at_rest()?;
    let (head, text) = get(network.relay(), MCRD, "/metrics", "")?;
    ensure!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let (head, open_metrics) = get(network.relay(), MCRD, "/metrics", OPEN_METRICS)?;
    ensure!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");

    feed(promtool()?.args(["check", "metrics"]), &text)?;
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        families = list(parse(sys.stdin.read()))\nassert len(families) > 30, len(families)\n\
        names = {s.labels.get('rule') for f in families for s in f.samples}\nassert 'a\"b\\\\c' in names, names\n";
    feed(Command::new(PYTHON).args(["-c", script]), &open_metrics)?;

    for sample in [
        format!("mcr_rule_matched_packets_total{{rule=\"feed\"}} {}", load.packets()),
        r#"mcr_rule_dropped_packets_total{rule="a\"b\\c",reason="malformed"} 0"#.to_owned(),
        r#"mcr_output_dropped_packets_total{rule="a\"b\\c",output="spare",interface="v2",group="239.10.9.1",port="5009",vlan="none",reason="no_frame"} 0"#.to_owned(),
        r#"mcr_rule_state{rule="feed",state="waiting"} 0"#.to_owned(),
        r#"mcr_rule_path_info{rule="feed",path="xsk"} 1"#.to_owned(),
        "mcr_rules 2".to_owned(),
        "mcr_config_last_reload_successful 1".to_owned(),
        r#"mcr_interface_up{interface="v2"} 1"#.to_owned(),
        r#"mcr_memberships{interface="v1",state="joined"} 2"#.to_owned(),
    ] {
        ensure!(text.lines().any(|line| line == sample), "no {sample}\n{text}");
        ensure!(open_metrics.lines().any(|line| line == sample), "no {sample}\n{open_metrics}");
    }
    // The stream came just now; the other rule's never did.
    let last: Vec<&str> =
        text.lines().filter(|line| line.starts_with("mcr_rule_last_packet_timestamp_seconds{")).collect();
    let [line] = last[..] else { anyhow::bail!("{last:?}") };
    let seconds: f64 =
        line.strip_prefix("mcr_rule_last_packet_timestamp_seconds{rule=\"feed\"} ").context("feed")?.parse()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    ensure!((now - 3600.0..=now).contains(&seconds), "{seconds}, and now is {now}");
    daemon.stop()?;
    Ok(())
}

#[test]
fn the_dashboard_and_the_alerts_use_metrics_that_there_are() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), CONFIG, &["--metrics-listen", MCRD])?;
    let text = metrics(&network)?;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let there: BTreeSet<&str> = types.collect();
    let dashboard = fs::read_to_string(examples().join("grafana/mcr.json"))?;
    let parsed: Value = serde_json::from_str(&dashboard)?;
    let panels = parsed["panels"].as_array().context("no panels")?;
    ensure!(panels.len() > 10 && parsed["templating"]["list"].is_array(), "{} panels", panels.len());
    for panel in panels {
        let targets = panel["targets"].as_array().context("no targets")?;
        ensure!(targets.iter().all(|target| target["expr"].is_string()), "{}", panel["title"]);
    }
    let alerts = fs::read_to_string(examples().join("prometheus/mcr-alerts.yml"))?;
    for file in [&dashboard, &alerts] {
        let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let used: BTreeSet<&str> =
            words.filter(|word| word.starts_with("mcr_") || word.starts_with("process_")).collect();
        ensure!(used.len() > 8, "{used:?}");
        let missing: Vec<&&str> = used.difference(&there).collect();
        ensure!(missing.is_empty(), "no such metrics: {missing:?}");
    }
    daemon.stop()?;
    run(promtool()?.args(["check", "rules"]).arg(examples().join("prometheus/mcr-alerts.yml")))?;
    let tests = examples().join("prometheus/mcr-alerts-test.yml");
    run(promtool()?.args(["test", "rules", "mcr-alerts-test.yml"]).current_dir(tests.parent().context("a file")?))?;
    // Each alert has a test of its time logic.
    let tests = fs::read_to_string(&tests)?;
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        ensure!(tests.contains(&format!("alertname: {alert}\n        exp_alerts:")), "{alert} is not tested");
    }
    Ok(())
}

/// The alerts of `examples/`, without the time that their causes have to last, which `promtool test rules` is for.
fn alerts_at_once() -> Result<String> {
    let alerts = fs::read_to_string(examples().join("prometheus/mcr-alerts.yml"))?;
    Ok(alerts.lines().filter(|line| !line.trim().starts_with("for: ")).collect::<Vec<_>>().join("\n"))
}

#[test]
fn prometheus_scrapes_it_and_each_cause_fires_its_alert() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    network.ip("relay", "link set lo up")?;
    let daemon = Daemon::start(network.relay(), CONFIG, &["--metrics-listen", MCRD])?;
    let load = Load { first: rules::SENT, streams: 1, rate: 200, size: 256, seconds: 600 };
    let stream = load.send(network.namespace(GEN), "v0", Share::Many)?;
    let prometheus = Prometheus::start(network.relay(), MCRD, &alerts_at_once()?)?;
    until("a scrape without an error", SOON, || Ok(prometheus.value("up").filter(|up| *up == 1.0)))?;
    until("samples", SOON, || Ok(prometheus.value("scrape_samples_scraped").filter(|samples| *samples > 60.0)))?;
    let targets = prometheus.ask("/api/v1/targets")?;
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
    let rate = "rate(mcr_rule_matched_packets_total{rule=\"feed\"}[5s])"
        .replace('"', "%22")
        .replace('{', "%7B")
        .replace('}', "%7D");
    until("packets a second", SOON, || Ok(prometheus.value(&rate).filter(|rate| *rate > 1.0)))?;
    let quiet = prometheus.firing()?;
    let said: Vec<&String> = quiet.iter().filter(|labels| !labels.contains("McrWarnings")).collect();
    ensure!(said.is_empty(), "alerts without a cause: {said:?}");

    let more = |text: &str| fs::write(daemon.files().config(), format!("{CONFIG}{text}"));
    more(
        "[[rule]]\nname = \"late\"\nstall_after = \"1s\"\nmatch = { interface = \"v1\", group = \"239.1.7.1\", port = 5007 }\noutput = [{ interface = \"v2\" }]\n\
        [[rule]]\nname = \"waits\"\nmatch = { interface = \"nowhere\", group = \"239.1.7.1\", port = 5007 }\noutput = [{ interface = \"v2\" }]\n\
        [[rule]]\nname = \"tagged\"\nmatch = { interface = \"v1\", group = \"239.1.6.1\", port = 5007, vlan = 100 }\noutput = [{ interface = \"v2\" }]\n",
    )?;
    daemon.done(&["reload"])?;
    prometheus.fires("McrRuleStalled", &["late"])?;
    prometheus.fires("McrRuleWaiting", &["waits"])?;
    prometheus.fires("McrJoinFailed", &["v1"])?;
    prometheus.fires("McrWarnings", &[])?;
    more("[[rule]]\nname = 7\n")?;
    ensure!(!daemon.ctl(&["reload"])?.status.success(), "the file is wrong");
    prometheus.fires("McrReloadFailed", &[])?;
    network.ip("relay", "link set v2 down")?;
    prometheus.fires("McrLinkDown", &["v2"])?;
    prometheus.fires("McrRuleDegraded", &["feed"])?;
    prometheus.fires("McrOutputDrops", &["feed", "link_down"])?;
    network.ip("relay", "link set v2 up")?;

    // The same daemon, as a plugin sees it.
    let checked = daemon.ctl(&["status", "--check"])?;
    assert_eq!(checked.status.code(), Some(2), "{}", checked.told());
    ensure!(
        checked.stdout.starts_with("MCR CRITICAL - ") && checked.stdout.contains("waits waiting: "),
        "{}",
        checked.told()
    );
    assert_eq!(checked.stdout.lines().count(), 1);

    drop(stream);
    daemon.kill()?;
    prometheus.fires("McrDown", &[MCRD])?;
    Ok(())
}

/// A thread of the daemon that does not run, until this is dropped: by ptrace(2), as a debugger stops it.
struct Stopped(libc::pid_t);

impl Stopped {
    fn stop(daemon: &Daemon, name: &str) -> Result<Self> {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid()))?;
        let is_named = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let mut tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
        let task = tasks.find(|path| is_named(path)).with_context(|| format!("no thread {name}"))?;
        let tid: libc::pid_t = task.file_name().and_then(|name| name.to_str()).context("a number")?.parse()?;
        for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
            // SAFETY: neither request reads or writes memory of ours.
            let result = unsafe { libc::ptrace(request, tid, 0, 0) };
            ensure!(result == 0, "ptrace: {}", std::io::Error::last_os_error());
        }
        // SAFETY: no status is asked for.
        let waited = unsafe { libc::waitpid(tid, std::ptr::null_mut(), libc::__WALL) };
        ensure!(waited == tid, "waitpid: {}", std::io::Error::last_os_error());
        Ok(Self(tid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: the request reads and writes no memory of ours. It fails where the thread has ended.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

#[test]
fn health_tells_of_a_thread_that_does_not_run() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), CONFIG, &["--metrics-listen", MCRD])?;
    let health = || get(network.relay(), MCRD, "/healthz", "");
    let becomes = |status: &str, text: &str| {
        let mut last = String::new();
        until(&format!("{status} {text}"), 3 * SOON, || {
            let (head, body) = health()?;
            last = format!("{head}\n{body}");
            Ok((head.starts_with(&format!("http/1.0 {status} ")) && body.contains(text)).then_some(()))
        })
        .with_context(|| last.clone())
    };
    becomes("200", "ok\n")?;
    for (thread, text) in [("mcr-worker-0", "worker 0 has not answered"), ("mcr-caretaker", "caretaker thread")] {
        let stopped = Stopped::stop(&daemon, thread)?;
        becomes("503", text)?;
        drop(stopped);
        becomes("200", "ok\n")?;
    }
    daemon.stop()?;
    Ok(())
}

#[test]
fn a_check_ends_whatever_the_socket_does() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let says = |name: &str, serve: fn(UnixListener)| -> Result<String> {
        let path = directory.path().join(name);
        let listener = UnixListener::bind(&path)?;
        thread::spawn(move || serve(listener));
        let checked = ctl(&path, &["status", "--check"])?;
        assert_eq!(checked.status.code(), Some(2), "{}", checked.told());
        assert_eq!(checked.stdout.lines().count(), 1, "{}", checked.told());
        Ok(checked.stdout)
    };
    let told = says("silent", |listener| listener.incoming().for_each(std::mem::forget))?;
    ensure!(told.starts_with("MCR CRITICAL - mcrd has not answered within "), "{told}");
    let told = says("slow", |listener| {
        for mut stream in listener.incoming().flatten() {
            while stream.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    })?;
    ensure!(told.starts_with("MCR CRITICAL - mcrd has not answered within "), "{told}");
    let told = says("other", |listener| {
        listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"{\"x\":\n")));
    })?;
    ensure!(told.starts_with("MCR CRITICAL - what answers"), "{told}");
    let nothing = ctl(&directory.path().join("nothing"), &["status", "--check"])?;
    assert_eq!((nothing.status.code(), nothing.stderr.as_str()), (Some(2), ""));
    ensure!(nothing.stdout.starts_with("MCR CRITICAL - no control socket at "), "{}", nothing.told());
    Ok(())
}

#[test]
fn the_log_level_changes_while_mcrd_runs() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), CONFIG, &["--log-level", "error"])?;
    assert_eq!(daemon.done(&["log-level"])?, "error\n");
    let log_of = |words: &[&str]| -> Result<String> {
        let before = daemon.log().len();
        daemon.done(words)?;
        thread::sleep(Duration::from_millis(300));
        Ok(daemon.log()[before..].to_owned())
    };
    ensure!(log_of(&["reload"])?.is_empty(), "{}", daemon.log());
    let told = log_of(&["log-level", "info"])?;
    ensure!(told.contains("log level info set by uid 0 (pid "), "{told}");
    let told = log_of(&["reload"])?;
    ensure!(told.contains("reloaded by uid 0"), "{told}");
    ensure!(log_of(&["log-level", "warn"])?.contains("log level warn set by"), "{}", daemon.log());
    ensure!(log_of(&["reload"])?.is_empty(), "{}", daemon.log());
    assert_eq!(daemon.done(&["--json", "log-level"])?, "{\"level\":\"warn\"}\n");
    ensure!(daemon.ctl(&["log-level", "loud"])?.status.code() == Some(2), "no such level");
    daemon.stop()?;
    Ok(())
}

#[test]
fn bash_completes_words_of_mcrctl() -> Result<()> {
    let mcrctl = netns_tests::programs::path("mcrctl")?;
    let completes = |words: &str, at: usize| -> Result<String> {
        let script = format!(
            "source <({} completions bash) && complete -p mcrctl >/dev/null && COMP_WORDS=({words}) COMP_CWORD={at} && \
             _mcrctl mcrctl \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\" && echo \"${{COMPREPLY[@]}}\"",
            mcrctl.display()
        );
        Ok(finish(Command::new("bash").args(["--norc", "-c", &script]))?.success()?.stdout)
    };
    assert_eq!(completes("mcrctl relo", 1)?, "reload\n");
    ensure!(completes("mcrctl rule a", 2)?.contains("add"), "no `rule add`");
    ensure!(completes("mcrctl log-level ''", 2)?.contains("error warn info debug trace"), "no levels");
    for shell in ["zsh", "fish"] {
        let script = finish(Command::new(&mcrctl).args(["completions", shell]))?.success()?.stdout;
        ensure!(script.contains("mcrctl") && script.contains("reload"), "{shell}: {script}");
    }
    Ok(())
}

#[test]
fn an_address_to_listen_on_is_refused_alike_as_flag_and_in_the_file() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let message = "`relay:x` is not ADDRESS:PORT; write such as \"127.0.0.1:9469\", or \":9469\" for all addresses";
    for (config, flags) in
        [("", &["--metrics-listen", "relay:x"][..]), ("[daemon]\nmetrics_listen = \"relay:x\"\n", &[])]
    {
        let files = netns_tests::daemon::Files::new(config)?;
        let ended = finish(&mut files.command(network.relay(), flags)?)?;
        assert_eq!(ended.status.code(), Some(2), "{}", ended.told());
        ensure!(ended.stderr.contains(message), "{}", ended.told());
    }
    for address in [":9469", "localhost:9469"] {
        let config = format!("[daemon]\nmetrics_listen = \"{address}\"\n");
        let daemon = Daemon::start(network.relay(), &config, &[])?;
        ensure!(metrics(&network)?.contains("\nmcr_rules 0\n"), "{address}");
        daemon.stop()?;
    }
    Ok(())
}
