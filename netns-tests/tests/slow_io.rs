//! Files, pipes and sockets that are slow, or never ready: nobody but their own user waits for them.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener, net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::{Daemon, Files, Final, ctl},
    deadline::{SOON, until},
    needs_root,
    probe::Load,
    process::{Process, run},
    rules,
    topology::{Network, Topology},
};
use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};

const LOAD: Load = Load { first: rules::SENT, streams: 2, rate: 2_000, size: 256, seconds: 1 };

/// Runs as a user without any right.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

fn config() -> String {
    rules::file(&rules::streams(2, "v1", "v2"))
}

fn start() -> Result<(Network, Daemon)> {
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &config(), &[])?;
    Ok((network, daemon))
}

/// A pipe in the place of `path`, open at both ends, so that its reader waits for more.
fn pipe_at(path: &Path) -> Result<File> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}

/// A program that is running; dropping it kills it.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.process_group(0).spawn().with_context(|| format!("{command:?}"))?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.0.id().cast_signed()), signal)?)
    }

    /// All that it has printed, once it has ended with 0.
    fn ended(mut self) -> Result<String> {
        let status = until("the end of it", SOON, || Ok(self.0.try_wait()?))?;
        ensure!(status.success(), "{status}");
        let mut text = String::new();
        self.0.stdout.take().context("no stdout")?.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_other_user_keeps_it_from_starting() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let files = Files::new(&config())?;
    let socket = files.socket();
    let directory = socket.parent().context("in a directory")?.to_owned();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
    let nobody = |words: &[&str]| Process::spawn(Command::new(NOBODY[0]).args(&NOBODY[1..]).args(words));
    let shown = directory.to_str().context("a plain path")?;
    let holding = nobody(&["flock", shown, "sh", "-c", "echo held; exec sleep 600"])?;
    until("the lock", SOON, || Ok(holding.stdout().contains("held").then_some(())))?;
    // And whatever is there that it may open, again and again.
    let script =
        format!("while :; do for f in {shown}/*; do [ -r $f ] && flock -n $f sleep 0.2; done; sleep 0.01; done");
    let trying = nobody(&["sh", "-c", &script])?;
    let daemon = Daemon::start_with(files, network.relay(), &[])?;
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    ensure!(holding.running()? && trying.running()?, "they ended: {}{}", holding.stderr(), trying.stderr());
    let left: Vec<_> = fs::read_dir(&directory)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    assert_eq!(left.len(), 2, "a file and a socket: {left:?}");
    daemon.stop()?;
    Ok(())
}

#[test]
fn signals_while_the_file_is_read() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    for (signal, ends) in [
        (Signal::SIGHUP, false),
        (Signal::SIGUSR1, false),
        (Signal::SIGUSR2, false),
        (Signal::SIGTERM, true),
        (Signal::SIGINT, true),
    ] {
        let files = Files::new("# its name is taken\n")?;
        let mut pipe = pipe_at(&files.config())?;
        let mut command = files.command(network.relay(), &[])?;
        let running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::null()))?;
        let pid = running.0.id();
        until("mcrd at its file", SOON, || Ok(reads(pid, &files.config())?.then_some(())))?;
        running.signal(signal)?;
        if ends {
            let last = Final::parse(&running.ended()?)?;
            assert_eq!(last, Final { matched: 0, ingress_dropped: 0, sent: 0, egress_dropped: 0 });
            continue;
        }
        thread::sleep(Duration::from_millis(200));
        pipe.write_all(config().as_bytes())?;
        drop(pipe);
        until("mcrd's answer", SOON, || Ok(ctl(&files.socket(), &["status"])?.status.success().then_some(())))
            .with_context(|| format!("after {signal}"))?;
        Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
        running.signal(Signal::SIGTERM)?;
        assert_eq!(Final::parse(&running.ended()?)?.sent, LOAD.packets());
    }
    Ok(())
}

/// Whether a process has `path` open.
fn reads(pid: u32, path: &Path) -> Result<bool> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    Ok(open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|other| other == path))
}

#[test]
fn a_file_that_does_not_end_holds_up_nobody_else() -> Result<()> {
    needs_root!();
    let (network, daemon) = start()?;
    let _pipe = pipe_at(&daemon.files().config())?;
    let mut mcrctl = Command::new(netns_tests::programs::path("mcrctl")?);
    let reload = Process::spawn(mcrctl.arg("--socket").arg(daemon.files().socket()).arg("reload"))?;
    let pid = daemon.pid().as_raw().cast_unsigned();
    until("the reading", SOON, || Ok(reads(pid, &daemon.files().config())?.then_some(())))?;
    for words in [
        &["status"][..],
        &["stats"],
        &["rule", "add", "--name", "new", "--in", "v1", "--group", "239.9.9.9", "--out", "v2"],
        &["rule", "del", "new"],
    ] {
        daemon.done(words)?;
    }
    ensure!(reload.running()?, "the others were answered only after it: {}{}", reload.stdout(), reload.stderr());
    let refused = reload.wait(SOON)?.exited(1)?;
    ensure!(refused.stderr.contains("did not end within"), "{}", refused.told());
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    // By a signal too, and an end meanwhile.
    daemon.signal(Signal::SIGHUP)?;
    until("the reading", SOON, || Ok(reads(pid, &daemon.files().config())?.then_some(())))?;
    daemon.done(&["status"])?;
    assert_eq!(daemon.stop()?.sent, LOAD.packets());
    Ok(())
}

/// A file system that is frozen: nothing on it can be written, for as long as it is.
#[test]
fn a_file_that_cannot_be_written_now_holds_up_nobody_else() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let frozen = Frozen::make()?;
    fs::write(frozen.directory.path().join("mcrd.toml"), config())?;
    let file = frozen.directory.path().join("mcrd.toml");
    let path = file.to_str().context("a plain path")?;
    let daemon = Daemon::start(network.relay(), "", &["--config", path])?;
    run(Command::new("fsfreeze").arg("-f").arg(frozen.directory.path()))?;
    let add = |name: &str, group: &str| -> Vec<String> {
        ["rule", "add", "--name", name, "--in", "v1", "--group", group, "--out", "v2"].map(str::to_owned).to_vec()
    };
    let mut words = add("kept", "239.9.9.1");
    words.push("--persist".to_owned());
    let mut mcrctl = Command::new(netns_tests::programs::path("mcrctl")?);
    let persisting = Process::spawn(mcrctl.arg("--socket").arg(daemon.files().socket()).args(&words))?;
    until("the new rule", SOON, || Ok(daemon.ctl(&["rule", "show", "kept"])?.status.success().then_some(())))?;
    daemon.done(&add("other", "239.9.9.2"))?;
    daemon.done(&["status"])?;
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    ensure!(persisting.running()?, "it was written while nothing can be: {}", persisting.stderr());
    run(Command::new("fsfreeze").arg("-u").arg(frozen.directory.path()))?;
    persisting.wait(SOON)?.success()?;
    ensure!(fs::read_to_string(&file)?.contains("239.9.9.1"), "{}", fs::read_to_string(&file)?);
    daemon.stop()?;
    Ok(())
}

/// A small file system of its own; it is thawed and gone at drop.
struct Frozen {
    directory: tempfile::TempDir,
    _image: tempfile::NamedTempFile,
}

impl Frozen {
    fn make() -> Result<Self> {
        let (directory, image) = (tempfile::tempdir()?, tempfile::NamedTempFile::new()?);
        image.as_file().set_len(16 << 20)?;
        run(Command::new("mkfs.ext4").arg("-q").arg(image.path()))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(directory.path()))?;
        Ok(Self { directory, _image: image })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The first fails where it is thawed already.
        let _ = Command::new("fsfreeze").arg("-u").arg(self.directory.path()).stderr(Stdio::null()).status();
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let files = Files::new(&config())?;
    let (mut reader, writer) = small_pipe()?;
    let mut command = files.command(network.relay(), &[])?;
    let daemon = Running::start(command.env("RUST_LOG", "debug").stdout(Stdio::piped()).stderr(writer))?;
    drop(command);
    let done = |words: &[&str]| ctl(&files.socket(), words)?.success();
    until("mcrd's answer", SOON, || Ok(ctl(&files.socket(), &["status"])?.status.success().then_some(())))?;
    for _ in 0..100 {
        done(&["reload"])?;
    }
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    // Nothing of it was read until now, and it is full.
    let mut log = vec![0; 1 << 16];
    let read = reader.read(&mut log)?;
    ensure!(read > 2048 && log.starts_with(b"["), "{}", String::from_utf8_lossy(&log[..read]));
    for _ in 0..100 {
        done(&["reload"])?;
    }
    daemon.signal(Signal::SIGTERM)?;
    assert_eq!(Final::parse(&daemon.ended()?)?.sent, LOAD.packets());
    Ok(())
}

/// A pipe that holds one page.
fn small_pipe() -> Result<(File, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: two integers that the kernel writes.
    ensure!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0, "no pipe");
    // SAFETY: both are fresh, and nobody else's.
    let (reader, writer) = unsafe { (File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: takes integers.
    ensure!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) } == 4096, "the pipe's size");
    Ok((reader, writer))
}

#[test]
fn a_socket_that_takes_no_connection_is_not_waited_for() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let files = Files::new(&config())?;
    let listener = UnixListener::bind(files.socket())?;
    // SAFETY: takes integers. Once more, with room for one connection that waits.
    ensure!(unsafe { libc::listen(listener.as_raw_fd(), 0) } == 0, "listen");
    let _waiting = UnixStream::connect(files.socket())?;
    let mcrd = Process::spawn(&mut files.command(network.relay(), &[])?)?;
    let finished = mcrd.wait(SOON)?.exited(1)?;
    ensure!(finished.stderr.contains("already serves"), "{}", finished.told());
    // Nor by the control tool.
    let told = ctl(&files.socket(), &["status"])?.exited(1)?;
    ensure!(told.stderr.contains("takes no connection"), "{}", told.told());
    drop(listener);
    let daemon = Daemon::start_with(files, network.relay(), &[])?;
    daemon.stop()?;
    Ok(())
}

/// Thirty clients that ask for the counters of many rules, and take them later.
#[test]
fn large_answers_are_shared() -> Result<()> {
    needs_root!();
    const CLIENTS: usize = 30;
    let network = Topology::chain(1).build()?;
    // They wait for an interface, which costs nothing but their place in the answer.
    let config = format!("[limits]\nrules = 8000\n{}", rules::file(&rules::streams(8_000, "absent", "v2")));
    let daemon = Daemon::start(network.relay(), &config, &[])?;
    let request = b"{\"command\":\"stats\"}\n";
    let ask = || -> Result<UnixStream> {
        let mut stream = UnixStream::connect(daemon.files().socket())?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(request)?;
        Ok(stream)
    };
    let length = line(ask()?)?.len();
    let before = memory(&daemon, "VmHWM:")?;
    let asking = (0..CLIENTS).map(|_| ask()).collect::<Result<Vec<UnixStream>>>()?;
    thread::sleep(Duration::from_secs(3));
    for stream in asking {
        let answer = line(stream)?;
        ensure!(answer.starts_with("{\"stats\":") && answer.len() > length / 2, "{} bytes", answer.len());
    }
    let grown = (memory(&daemon, "VmHWM:")?.saturating_sub(before)) << 10;
    ensure!(grown < 10 * length as u64, "{CLIENTS} answers of {length} bytes took {grown} bytes");
    daemon.stop()?;
    Ok(())
}

/// Files that are no configuration are refused for what they are, before they take memory without bounds.
#[test]
fn a_large_file_of_rubbish_is_refused_in_bounds() -> Result<()> {
    needs_root!();
    let (network, daemon) = start()?;
    for (piece, bytes) in [("a\n", 45 << 20), ("a=[[],", 45 << 20), ("a.b.c.d=1\n", 31 << 20), ("a\n", 9 << 20)] {
        fs::write(daemon.files().config(), piece.repeat(bytes / piece.len()))?;
        let before = memory(&daemon, "VmHWM:")?;
        let refused = daemon.ctl(&["reload"])?;
        ensure!(!refused.status.success(), "{}", refused.told());
        let grown = memory(&daemon, "VmHWM:")?.saturating_sub(before) >> 10;
        ensure!(grown < 200, "{bytes} bytes of {piece:?} took {grown} MiB: {}", refused.told());
    }
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    daemon.stop()?;
    Ok(())
}

fn line(mut stream: UnixStream) -> Result<String> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 1 << 20];
    while bytes.last() != Some(&b'\n') {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the end after {} bytes", bytes.len());
        bytes.extend(&piece[..read]);
    }
    Ok(String::from_utf8(bytes)?)
}

/// A line of the daemon's memory, in KiB.
fn memory(daemon: &Daemon, key: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_owned())?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
