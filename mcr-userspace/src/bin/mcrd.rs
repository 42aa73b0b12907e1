//! The forwarding daemon.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use mcr_userspace::daemon::{
    options::{Args, LogFormat, Options},
    run::run,
};

fn main() -> ExitCode {
    let args = Args::parse();
    log_to_stderr(args.log_format);
    let options = match Options::from_args(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcrd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `RUST_LOG` decides what is logged; `info` unless it is set.
fn log_to_stderr(format: LogFormat) {
    let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    if format == LogFormat::Json {
        builder.format(|out, record| {
            let line = serde_json::json!({
                "time": out.timestamp_millis().to_string(),
                "level": record.level().as_str(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            writeln!(out, "{line}")
        });
    }
    builder.init();
}
