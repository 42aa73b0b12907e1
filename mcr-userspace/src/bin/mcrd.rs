//! The forwarding daemon.

use std::{process::ExitCode, sync::OnceLock};

use mcr_userspace::{
    daemon::{
        logger::{Log, print_last},
        options::{Args, Options},
        run::{final_of_nothing, run},
        signals::Signals,
    },
    kernel::descriptors::explained,
    usage,
};

/// Set once the command line is read.
static LOG: OnceLock<Log> = OnceLock::new();

fn main() -> ExitCode {
    // Before all else: whatever comes from now on is heard, and does not end the process where it is.
    let signals = match Signals::catch(leave) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("mcrd: signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let args: Args = usage::parse(false);
    let log = match Log::start(args.log_format, args.log_level) {
        Ok(log) => LOG.get_or_init(|| log),
        Err(error) => {
            eprintln!("mcrd: the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match Options::from_args(args).map(|options| run(options, &signals)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            log.say(&format!("mcrd: {:#}", explained(error)));
            ExitCode::FAILURE
        }
        Err(message) => {
            message.lines().for_each(|line| log.say(line));
            ExitCode::from(2)
        }
    };
    log.finish();
    code
}

/// Asked to end while it reads its file.
fn leave() {
    LOG.get().inspect(|log| log.finish());
    print_last(final_of_nothing());
}
