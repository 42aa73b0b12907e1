//! A control socket whose handler holds real rules but no datapath.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::Duration,
};

use mcr_userspace::{
    control::{
        peer::Peer,
        protocol::{
            ErrorCode, Events, LogLevel, LogLevelView, Request, Response, RuleState, RuleView, STATS_VERSION, Stats,
            Status, Top,
        },
        server::{Handler, Server, ServerHandle},
    },
    rules::{check::check_rule, lint, set::RuleSet},
};
use tempfile::TempDir;

/// A request that is always answered.
pub const STATUS: &[u8] = br#"{"command":"status"}"#;

struct Rules(Mutex<RuleSet>);

impl Handler for Rules {
    fn handle(&self, request: Request, _: &Peer) -> Response {
        let mut rules = self.0.lock().expect("no thread panics with the rules");
        let none = |name: &str| Response::refused(ErrorCode::NotFound, format!("there is no rule `{name}`"));
        match request {
            Request::RuleAdd { rule, replace, .. } => match check_rule(&rule) {
                Err(problems) => Response::problems(&problems),
                Ok(checked) => {
                    let name = checked.rule.name.clone();
                    let replaced = replace && rules.get(&name).is_some();
                    let done = match replaced {
                        true => rules.replace(checked.rule).map(|(_, warnings)| warnings),
                        false => rules.insert(checked.rule),
                    };
                    match done {
                        Ok(more) => {
                            let warnings = lint::lines([checked.warnings, more].concat());
                            Response::RuleAdded { name, replaced, changed: true, warnings }
                        }
                        Err(problem) => Response::refused(problem.kind.into(), problem),
                    }
                }
            },
            Request::RuleDel { name, names, .. } => {
                let names: Vec<String> = name.into_iter().chain(names).collect();
                match names.iter().find(|name| rules.get(name).is_none()) {
                    Some(name) => none(name),
                    None => {
                        names.iter().for_each(|name| drop(rules.remove(name)));
                        Response::RuleDeleted { name: names.first().cloned(), names, warnings: Vec::new() }
                    }
                }
            }
            Request::RuleList {} => {
                Response::Rules(rules.iter().map(|rule| RuleView::new(rule, RuleState::Active, None)).collect())
            }
            Request::RuleShow { name } => rules
                .get(&name)
                .map_or_else(|| none(&name), |rule| Response::Rule(RuleView::new(rule, RuleState::Active, None))),
            Request::Reload(_) | Request::Confirm {} => {
                Response::refused(ErrorCode::Unavailable, "the daemon has no configuration file")
            }
            Request::Stats { .. } => Response::Stats(Stats { version: STATS_VERSION, ..Stats::default() }),
            Request::Top {} => Response::Top(Top::default()),
            Request::LogLevel { .. } => Response::LogLevel(LogLevelView { level: LogLevel::Info, rust_log: None }),
            Request::Events { .. } => Response::Events(Events::default()),
            Request::Capture(_) => Response::refused(ErrorCode::Unavailable, "nothing is forwarded here"),
            Request::RuleSet { .. }
            | Request::RuleSwitch { .. }
            | Request::BatchPart { .. }
            | Request::Batch { .. }
            | Request::Export {}
            | Request::ExplainRule { .. }
            | Request::ExplainPacket { .. }
            | Request::Unmatched { .. } => Response::refused(ErrorCode::Unavailable, "no daemon behind this"),
            Request::Status {} => Response::Status(Status { rules: rules.len() as u64, ..Status::default() }),
        }
    }
}

/// A served socket in a directory of its own.
pub struct Daemon {
    pub directory: TempDir,
    pub handle: Option<ServerHandle>,
}

impl Daemon {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("run")).expect("a directory");
        let server = Server::bind(&directory.path().join("run/mcrd.sock")).expect("a socket");
        let handle = Some(server.serve(Arc::new(Rules(Mutex::new(RuleSet::new(1000))))));
        Self { directory, handle }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/mcrd.sock")
    }

    pub fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.socket()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        BufReader::new(stream)
    }

    pub fn mcrctl(&self, arguments: &[&str]) -> (i32, String, String) {
        let socket = self.socket();
        mcrctl(&[&["--socket", socket.to_str().expect("a plain path")], arguments].concat())
    }
}

/// Exit code, standard output, standard error.
pub fn mcrctl(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_mcrctl"))
        .args(arguments)
        .env_remove("MCR_SOCKET")
        .output()
        .expect("mcrctl runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

pub fn read_line(reader: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line
}

/// The answer; a server that hangs up first may have said why.
pub fn ask(reader: &mut BufReader<UnixStream>, line: &[u8]) -> String {
    reader.get_mut().write_all(&[line, b"\n"].concat()).ok();
    read_line(reader)
}

pub fn is_status(answer: &str) -> bool {
    answer.starts_with(r#"{"status":"#)
}
