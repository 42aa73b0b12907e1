//! `mcrctl capture`: packets of rules as a line each, or as pcapng into a file or a pipe.

mod line;
mod sums;

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, ErrorKind, IsTerminal, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use self::sums::Sums;
use super::run::Failure;
use crate::{
    control::{
        client::Client,
        protocol::{CaptureSpec, Capturing, ErrorCode, MAX_SNAPLEN, Point, Request, Response},
    },
    pcapng::{self, Block},
    rules::value::shown,
};

#[derive(Debug, Args)]
pub(super) struct CaptureArgs {
    /// Rules: names, or patterns of names ('ch-*')
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Where to look: at packets as they came in, as each output sent them, or at what was dropped [default: all three]
    #[arg(long, value_name = "POINT", value_delimiter = ',')]
    point: Vec<Point>,
    /// End after N packets
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after N seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Keep at most N bytes of each packet [default: 0, which keeps all]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_SNAPLEN)))]
    snaplen: Option<u32>,
    /// Write pcapng into FILE; `-` is standard output, for a pipe into tshark
    #[arg(long, short, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Captures until Ctrl-C, or until enough has come.
pub(super) fn capture(args: &CaptureArgs, mut client: Client, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let to_stdout = args.write.as_deref().is_some_and(|path| path == Path::new("-"));
    if to_stdout && io::stdout().is_terminal() {
        let why = "mcrctl: --write -: standard output is a terminal; write `| tshark -r -` behind it";
        return Err(Failure::Refused(ErrorCode::Invalid, vec![why.to_owned()]));
    }
    let spec = CaptureSpec {
        rules: args.names.clone(),
        points: args.point.clone(),
        count: args.count,
        seconds: args.seconds,
        snaplen: args.snaplen,
    };
    let capturing = match super::run::ask(&mut client, &Request::Capture(spec))? {
        Response::Capturing(capturing) => capturing,
        _ => return Err(unavailable("mcrd gave an answer to another question".to_owned())),
    };
    // Only now: a request that is refused leaves the file as it is.
    let mut file = match &args.write {
        Some(path) if !to_stdout => Some((path, BufWriter::new(create(path)?))),
        _ => None,
    };
    let mut stream = client.into_stream()?;
    end_at_signals(stream.get_ref())?;
    if !json {
        writeln!(io::stderr(), "mcrctl: {}; Ctrl-C ends it", announced(&capturing)).ok();
    }
    let sums = match &mut file {
        Some((path, file)) => read(&mut stream, |block, _, is_last| {
            file.write_all(block).and_then(|()| if is_last { file.flush() } else { Ok(()) }).map_err(|error| {
                unavailable(format!(
                    "cannot write {}: {error}; what came before stands in it",
                    shown(&path.to_string_lossy())
                ))
            })
        }),
        None => read(&mut stream, |block, sums, is_last| {
            match to_stdout {
                true => out.write_all(block)?,
                false => line::show(block, sums, json, out)?,
            }
            if is_last { Ok(out.flush()?) } else { Ok(()) }
        }),
    }?;
    sums.show(json, &mut io::stderr()).ok();
    if sums.is_complete() {
        return Ok(());
    }
    Err(unavailable("mcrd has ended the capture before its end; its log says why".to_owned()))
}

/// Gives each block to `see`, with all that is known of the points, and whether it is the last that has come so far.
fn read(
    stream: &mut BufReader<UnixStream>,
    mut see: impl FnMut(&[u8], &Sums, bool) -> Result<(), Failure>,
) -> Result<Sums, Failure> {
    let mut sums = Sums::default();
    let mut block = Vec::new();
    loop {
        match pcapng::next(stream, &mut block) {
            Ok(true) => {}
            Ok(false) => return Ok(sums),
            // Killed, or out of its mind.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(unavailable(format!("what mcrd sends is {error}; is it of this version?")));
            }
            Err(_) => return Ok(sums),
        }
        match pcapng::parse(&block) {
            Some(Block::Interface { name }) => sums.interface(name),
            Some(Block::Packet { interface, .. }) => sums.packet(interface),
            Some(Block::Statistics { interface, dropped, .. }) => sums.statistics(interface, dropped),
            Some(Block::Other) | None => {}
        }
        see(&block, &sums, stream.buffer().is_empty())?;
    }
}

/// The first SIGINT or SIGTERM asks mcrd for the capture's end; a second one ends this program.
fn end_at_signals(stream: &UnixStream) -> io::Result<()> {
    let stream = stream.try_clone()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().spawn(move || {
        for (times, signal) in signals.forever().enumerate() {
            match times {
                0 => stream.shutdown(Shutdown::Write).ok(),
                _ => emulate_default_handler(signal).ok(),
            };
        }
    })?;
    Ok(())
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ErrorCode::Denied,
            _ => ErrorCode::Unavailable,
        };
        let line = format!("mcrctl: cannot write {}: {error}; name another file", shown(&path.to_string_lossy()));
        Failure::Refused(code, vec![line])
    })
}

fn announced(Capturing { rules, points, .. }: &Capturing) -> String {
    let what = match rules.as_slice() {
        [rule] => format!("rule {}", shown(rule)),
        rules => format!("{} rules", rules.len()),
    };
    let points: Vec<&str> = points.iter().map(|point| point.name()).collect();
    format!("capturing {what} at {}", points.join(", "))
}

fn unavailable(what: String) -> Failure {
    Failure::Refused(ErrorCode::Unavailable, vec![format!("mcrctl: {what}")])
}
